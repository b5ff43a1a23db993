/* SPDX-License-Identifier: MIT */
/*
 * Topology (layer 0): asks hwloc what the machine is and keeps the few words that the plan needs.
 * Called by plan.c, lib/pool.c and tools. The only file that includes hwloc. Invariant: what is
 * returned is immutable, and every index in it is below the count it belongs to, or MEWS_NO_INDEX.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <hwloc.h>
#include <hwloc/distances.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kernel.h"
#include "topology.h"

/* What the largest kernel is built for; more is a mistake in the input, and hwloc would try. */
#define CPU_IDS_MAX 8192
#define NODES_MAX 1024
#define AFFINITY_BITS 65536
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20
#define TEXT_SIZE 8192

/* The smaller of two sizes, of which 0 means unknown. */
static size_t least_known(size_t a, size_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The highest number in a list like "0-3,8", or -1. */
static long last_of_list(const char *list)
{
	hwloc_bitmap_t set = hwloc_bitmap_alloc();
	long last = -1;

	if (set != NULL && hwloc_bitmap_list_sscanf(set, list) == 0)
		last = hwloc_bitmap_last(set);
	hwloc_bitmap_free(set);
	return last;
}

/* CPUs that the kernel may bring up later; hwloc knows only those that are there. -1: unknown. */
static long last_possible_cpu(void)
{
	char text[TEXT_SIZE];

	if (mews_kernel_read_text("/sys/devices/system/cpu/possible", text, sizeof(text)) <= 0)
		return -1;
	return last_of_list(text);
}

static int allocate(struct mews_topology *t)
{
	size_t nodes = t->node_count;

	t->cpu = calloc(t->cpu_ids, sizeof(*t->cpu));
	t->node = calloc(nodes, sizeof(*t->node));
	t->distance = calloc(nodes * nodes, sizeof(*t->distance));
	return t->cpu == NULL || t->node == NULL || t->distance == NULL ? -ENOMEM : 0;
}

/* hwloc's nodes by their number in node[], whose order is by os_index. */
static hwloc_obj_t node_object(hwloc_topology_t hw, const struct mews_topology *t, uint32_t index)
{
	return hwloc_get_numanode_obj_by_os_index(hw, t->node[index].os_index);
}

static uint32_t node_index(const struct mews_topology *t, uint32_t os_index)
{
	for (uint32_t i = 0; i < t->node_count; i++)
		if (t->node[i].os_index == os_index)
			return i;
	return MEWS_NO_INDEX;
}

static void take_page_sizes(struct mews_topology *t, hwloc_obj_t object)
{
	for (unsigned i = 0; i < object->attr->numanode.page_types_len; i++) {
		size_t size = object->attr->numanode.page_types[i].size;

		t->page_size = least_known(t->page_size, size);
		t->huge_2m |= size == (size_t)2 << 20;
		t->huge_1g |= size == (size_t)1 << 30;
	}
}

static int by_os_index(const void *a, const void *b)
{
	const struct mews_topology_node *x = a, *y = b;

	return (x->os_index > y->os_index) - (x->os_index < y->os_index);
}

static void take_nodes(struct mews_topology *t, hwloc_topology_t hw)
{
	hwloc_const_nodeset_t allowed = hwloc_topology_get_allowed_nodeset(hw);

	for (uint32_t i = 0; i < t->node_count; i++) {
		hwloc_obj_t object = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, i);

		t->node[i].os_index = object->os_index;
		t->node[i].memory = object->attr->numanode.local_memory;
		t->node[i].allowed = hwloc_bitmap_isset(allowed, object->os_index) > 0;
		t->memory += t->node[i].memory;
		take_page_sizes(t, object);
	}
	qsort(t->node, t->node_count, sizeof(*t->node), by_os_index);
}

/*
 * The node that a CPU is on. Several can be local to it (DRAM and HBM, or CXL memory near a
 * package): the one that is local to the fewest CPUs, then the lowest number, which the kernel
 * gives to nodes of CPUs first.
 */
static uint32_t node_of_cpu(hwloc_topology_t hw, const struct mews_topology *t, unsigned cpu)
{
	uint32_t best = MEWS_NO_INDEX;
	int least = INT_MAX;

	for (uint32_t i = 0; i < t->node_count; i++) {
		hwloc_obj_t object = node_object(hw, t, i);
		int weight = hwloc_bitmap_weight(object->complete_cpuset);

		if (hwloc_bitmap_isset(object->complete_cpuset, cpu) && weight < least) {
			least = weight;
			best = i;
		}
	}
	return best;
}

static uint32_t ancestor_index(hwloc_topology_t hw, hwloc_obj_t pu, hwloc_obj_type_t type)
{
	hwloc_obj_t object = hwloc_get_ancestor_obj_by_type(hw, type, pu);

	return object == NULL ? MEWS_NO_INDEX : object->logical_index;
}

static void take_online_cpu(struct mews_topology *t, hwloc_topology_t hw, hwloc_obj_t pu)
{
	struct mews_topology_cpu *cpu = &t->cpu[pu->os_index];
	uint32_t package = ancestor_index(hw, pu, HWLOC_OBJ_PACKAGE);
	uint32_t core = ancestor_index(hw, pu, HWLOC_OBJ_CORE);

	cpu->online = true;
	cpu->package = package == MEWS_NO_INDEX ? 0 : package;
	cpu->core = core == MEWS_NO_INDEX ? pu->logical_index : core;
	cpu->l2 = ancestor_index(hw, pu, HWLOC_OBJ_L2CACHE);
	cpu->l3 = ancestor_index(hw, pu, HWLOC_OBJ_L3CACHE);
}

static void take_cpus(struct mews_topology *t, hwloc_topology_t hw)
{
	hwloc_const_cpuset_t all = hwloc_topology_get_complete_cpuset(hw);
	hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(hw);
	hwloc_obj_t pu = NULL;

	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		struct mews_topology_cpu *cpu = &t->cpu[i];

		*cpu = (struct mews_topology_cpu){
			.possible = hwloc_bitmap_isset(all, i) > 0,
			.allowed = hwloc_bitmap_isset(allowed, i) > 0,
			.node = node_of_cpu(hw, t, i),
			.package = MEWS_NO_INDEX, .core = MEWS_NO_INDEX,
			.l2 = MEWS_NO_INDEX, .l3 = MEWS_NO_INDEX,
		};
		if (cpu->node != MEWS_NO_INDEX)
			t->node[cpu->node].cpus++;
	}
	while ((pu = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_PU, pu)) != NULL)
		take_online_cpu(t, hw, pu);
}

/* How many there are, and the size of the smallest: a hybrid machine has several sizes. */
static size_t take_caches(hwloc_topology_t hw, hwloc_obj_type_t type, uint32_t *count)
{
	hwloc_obj_t cache = NULL;
	size_t bytes = 0;

	*count = 0;
	while ((cache = hwloc_get_next_obj_by_type(hw, type, cache)) != NULL) {
		bytes = least_known(bytes, cache->attr->cache.size);
		++*count;
	}
	return bytes;
}

static void take_counts(struct mews_topology *t, hwloc_topology_t hw)
{
	uint32_t l1_domains;
	int packages = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PACKAGE);
	int cores = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_CORE);

	t->packages = packages > 0 ? (uint32_t)packages : 1;
	t->cores = cores > 0 ? (uint32_t)cores :
		(uint32_t)hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_PU);
	t->l1_bytes = take_caches(hw, HWLOC_OBJ_L1CACHE, &l1_domains);
	t->l2_bytes = take_caches(hw, HWLOC_OBJ_L2CACHE, &t->l2_domains);
	t->l3_bytes = take_caches(hw, HWLOC_OBJ_L3CACHE, &t->l3_domains);
}

static uint32_t clamped(uint64_t distance)
{
	return distance == 0 ? DISTANCE_REMOTE :
		distance > UINT32_MAX - 1 ? UINT32_MAX - 1 : (uint32_t)distance;
}

static void take_matrix(struct mews_topology *t, const struct hwloc_distances_s *matrix)
{
	for (unsigned from = 0; from < matrix->nbobjs; from++)
		for (unsigned to = 0; to < matrix->nbobjs; to++) {
			uint32_t a, b;

			if (matrix->objs[from] == NULL || matrix->objs[to] == NULL)
				continue;
			a = node_index(t, matrix->objs[from]->os_index);
			b = node_index(t, matrix->objs[to]->os_index);
			if (a != MEWS_NO_INDEX && b != MEWS_NO_INDEX)
				t->distance[(size_t)a * t->node_count + b] =
					clamped(matrix->values[from * matrix->nbobjs + to]);
		}
}

static void take_distances(struct mews_topology *t, hwloc_topology_t hw)
{
	struct hwloc_distances_s *matrix;
	unsigned count = 1;
	size_t nodes = t->node_count;

	for (size_t i = 0; i < nodes * nodes; i++)
		t->distance[i] = i % (nodes + 1) == 0 ? DISTANCE_LOCAL : DISTANCE_REMOTE;
	if (hwloc_distances_get_by_type(hw, HWLOC_OBJ_NUMANODE, &count, &matrix,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 || count == 0)
		return;
	take_matrix(t, matrix);
	hwloc_distances_release(hw, matrix);
}

/* Affinity of the caller; a set too small for this kernel's masks leaves all as hwloc has it. */
static void restrict_cpus(struct mews_topology *t)
{
	size_t size = CPU_ALLOC_SIZE(AFFINITY_BITS);
	cpu_set_t *set = CPU_ALLOC(AFFINITY_BITS);

	if (set != NULL && mews_kernel->sched_getaffinity(0, size, set) >= 0)
		for (uint32_t i = 0; i < t->cpu_ids; i++)
			t->cpu[i].allowed &= CPU_ISSET_S(i, size, set) != 0;
	CPU_FREE(set);
}

/* The cpuset's nodes, where hwloc could not find the cgroup (in a container, say). */
static void restrict_nodes(struct mews_topology *t)
{
	static const char key[] = "Mems_allowed_list:";
	char text[TEXT_SIZE], *line;
	hwloc_bitmap_t set;

	if (mews_kernel_read_text("/proc/self/status", text, sizeof(text)) <= 0)
		return;
	line = strstr(text, key);
	set = hwloc_bitmap_alloc();
	if (line != NULL && set != NULL) {
		line += strlen(key) + strspn(line + strlen(key), " \t");
		line[strcspn(line, "\n")] = 0;
		if (hwloc_bitmap_list_sscanf(set, line) == 0)
			for (uint32_t i = 0; i < t->node_count; i++)
				if (!hwloc_bitmap_isset(set, t->node[i].os_index))
					t->node[i].allowed = false;
	}
	hwloc_bitmap_free(set);
}

/* While a large guest boots, its only node tells less memory than there is; /proc/meminfo knows. */
static void correct_memory(struct mews_topology *t)
{
	char text[TEXT_SIZE];
	unsigned long long kib;

	if (t->node_count != 1 ||
	    mews_kernel_read_text("/proc/meminfo", text, sizeof(text)) <= 0 ||
	    sscanf(text, "MemTotal: %llu kB", &kib) != 1 || kib * 1024 <= t->memory)
		return;
	t->node[0].memory = t->memory = kib * 1024;
}

/*
 * The node of a CPU that is offline, which hwloc does not see: it may come back. The kernel keeps the
 * link to its node.
 */
static uint32_t node_of_offline_cpu(const struct mews_topology *t, uint32_t cpu)
{
	char path[80];
	int fd;

	for (uint32_t i = 0; i < t->node_count; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/node%u", cpu,
			 t->node[i].os_index);
		fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			mews_kernel->close(fd);
			return i;
		}
	}
	return MEWS_NO_INDEX;
}

static void place_offline_cpus(struct mews_topology *t)
{
	for (uint32_t i = 0; t->node_count > 1 && i < t->cpu_ids; i++) {
		struct mews_topology_cpu *cpu = &t->cpu[i];

		if (!cpu->possible || cpu->node != MEWS_NO_INDEX)
			continue;
		cpu->node = node_of_offline_cpu(t, i);
		if (cpu->node != MEWS_NO_INDEX)
			t->node[cpu->node].cpus++;
	}
}

/* What only the running system can tell. */
static void take_machine(struct mews_topology *t, long last_possible)
{
	for (long i = 0; i <= last_possible; i++)
		t->cpu[i].possible = true;
	place_offline_cpus(t);
	restrict_cpus(t);
	restrict_nodes(t);
	correct_memory(t);
	t->page_size = (size_t)getpagesize();
}

static void count_cpus(struct mews_topology *t)
{
	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		t->cpus += t->cpu[i].possible;
		t->cpus_allowed += t->cpu[i].possible && t->cpu[i].allowed;
	}
}

static int take_all(struct mews_topology *t, hwloc_topology_t hw)
{
	long last = hwloc_bitmap_last(hwloc_topology_get_complete_cpuset(hw));
	long last_possible = -1;
	int nodes = hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_NUMANODE);

	t->this_machine = hwloc_topology_is_thissystem(hw);
	if (t->this_machine)
		last_possible = last_possible_cpu();
	last = last_possible > last ? last_possible : last;
	if (last < 0 || last >= CPU_IDS_MAX || nodes <= 0 || nodes > NODES_MAX)
		return -EINVAL;
	t->cpu_ids = (uint32_t)last + 1;
	t->node_count = (uint32_t)nodes;
	if (allocate(t) != 0)
		return -ENOMEM;
	take_nodes(t, hw);
	take_cpus(t, hw);
	take_counts(t, hw);
	take_distances(t, hw);
	if (t->this_machine)
		take_machine(t, last_possible);
	count_cpus(t);
	t->page_size = t->page_size == 0 ? 4096 : t->page_size;
	return 0;
}

/* Tells a missing file from a bad one: hwloc's errno does not. */
static int set_xml(hwloc_topology_t hw, const char *path)
{
	int fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EINVAL;
	mews_kernel->close(fd);
	return hwloc_topology_set_xml(hw, path) == 0 ? 0 : -EINVAL;
}

/* Whether all of "indexes=3,500" are numbers that a CPU or a node can have. */
static bool indexes_sane(const char *text)
{
	while ((text = strstr(text, "indexes=")) != NULL)
		for (text += strlen("indexes="); *text >= '0' && *text <= '9'; text += *text == ',')
			if (strtoul(text, (char **)&text, 10) >= CPU_IDS_MAX)
				return false;
	return true;
}

/*
 * Whether a synthetic description stays within what a kernel can have, since hwloc would build any
 * number for minutes. Its CPUs are the product of its numbers ("core:4", or "4" alone), without
 * what stands in parentheses and brackets, which adds none; its nodes the product up to theirs.
 */
static bool synthetic_sane(const char *text)
{
	unsigned long product = 1;

	if (!indexes_sane(text))
		return false;
	while (*text != 0 && product <= CPU_IDS_MAX) {
		size_t word = strcspn(text, " (["), skip = word;
		const char *colon = memchr(text, ':', word);
		unsigned long number = strtoul(colon != NULL ? colon + 1 : text, NULL, 10);

		if (text[word] == '(' || text[word] == '[')
			skip += strcspn(text + word, ")]");
		product *= number > CPU_IDS_MAX ? CPU_IDS_MAX + 1 : number == 0 ? 1 : number;
		if ((*text == 'n' || *text == 'N') && product > NODES_MAX)
			return false;
		text += skip + (text[skip] != 0);
	}
	return product <= CPU_IDS_MAX;
}

static int set_synthetic(hwloc_topology_t hw, const char *text)
{
	return synthetic_sane(text) && hwloc_topology_set_synthetic(hw, text) == 0 ? 0 : -EINVAL;
}

static int set_source(hwloc_topology_t hw, enum mews_topology_source source, const char *arg,
		      struct mews_topology *t)
{
	switch (source) {
	case MEWS_TOPOLOGY_MACHINE:
		snprintf(t->source, sizeof(t->source), "this machine");
		/* It would move the calling thread over all CPUs, to learn what /sys tells too. */
		hwloc_topology_set_components(hw, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
		return 0;
	case MEWS_TOPOLOGY_XML:
		snprintf(t->source, sizeof(t->source), "xml: %s", arg != NULL ? arg : "");
		return arg == NULL ? -EINVAL : set_xml(hw, arg);
	case MEWS_TOPOLOGY_SYNTHETIC:
		snprintf(t->source, sizeof(t->source), "synthetic: %s", arg != NULL ? arg : "");
		return arg == NULL ? -EINVAL : set_synthetic(hw, arg);
	}
	return -EINVAL;
}

static int load(hwloc_topology_t hw, enum mews_topology_source source, const char *arg,
		struct mews_topology *t)
{
	int error = set_source(hw, source, arg, t);

	if (error != 0)
		return error;
	/* Devices are not asked for, so that no driver is woken. */
	if (hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 ||
	    hwloc_topology_set_io_types_filter(hw, HWLOC_TYPE_FILTER_KEEP_NONE) != 0)
		return -EINVAL;
	errno = 0;
	if (hwloc_topology_load(hw) != 0)
		return errno == ENOMEM ? -ENOMEM : -EINVAL;
	return take_all(t, hw);
}

int mews_topology_load(enum mews_topology_source source, const char *arg,
		       struct mews_topology **topology)
{
	struct mews_topology *t = calloc(1, sizeof(*t));
	hwloc_topology_t hw;
	int error = -ENOMEM;

	*topology = NULL;
	if (t != NULL && hwloc_topology_init(&hw) == 0) {
		error = load(hw, source, arg, t);
		hwloc_topology_destroy(hw);
	}
	if (error == 0)
		*topology = t;
	else
		mews_topology_free(t);
	return error;
}

void mews_topology_free(struct mews_topology *topology)
{
	if (topology == NULL)
		return;
	free(topology->cpu);
	free(topology->node);
	free(topology->distance);
	free(topology);
}

uint32_t mews_topology_memory_node(const struct mews_topology *topology, uint32_t node)
{
	uint32_t best = MEWS_NO_INDEX, least = UINT32_MAX;

	for (uint32_t i = 0; node < topology->node_count && i < topology->node_count; i++) {
		uint32_t distance = i == node ? 0 :
			topology->distance[(size_t)node * topology->node_count + i];

		if (topology->node[i].memory == 0 || !topology->node[i].allowed ||
		    distance >= least)
			continue;
		least = distance;
		best = i;
	}
	return best;
}
