/* SPDX-License-Identifier: MIT */
/*
 * The plan: what its header promises, for every block size, machine, mode and size of pool; the
 * figures of the default pool; each limit that bounds something; requests that are refused; purity.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../lib/ledger.h"
#include "../../numa/plan.h"
#include "../support/faults.h"
#include "../support/suite.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* Canned machines by name, or synthetic ones. */
static const char *const machines[] = {
	"one-cpu", "two-nodes", "eight-nodes", "node-without-memory", "node-without-cpus", "sparse",
	"synthetic node:8 core:32 pu:2", "synthetic node:64(memory=1GB) pu:2",
	"synthetic node:100(memory=1GB) pu:1", "synthetic node:1 pu:4",
};
#define MACHINES (sizeof(machines) / sizeof(machines[0]))

static struct mews_topology *topologies[MACHINES];

static const size_t sizes[] = {
	0, 1, 7, 8, 9, 24, 63, 64, 65, 100, 128, 200, 512, 1000, 1024, 1500, 2048, 3000, 3072, 4000,
	4032, 4033, 4096, 4097, 6000, 8192, 9000, 12288, 16384, 20000, 32768, 40000, 65536, 65537,
	100000, 131072, 300000, 524288, 1 << 20, (1 << 20) + 1, 3 << 20, 5 << 20, 16 << 20,
	(16 << 20) + 1, 33 << 20, 64 << 20,
};
static const size_t alignments[] = { 0, 8, 16, 32, 64, 128, 512, 4096, 65536, 2 << 20 };
static const size_t pools[] = { 0, 1, 3, 8, 100, 1000, 65536, 1000000 };

static struct mews_plan_request request;
static struct mews_limits limits;
static struct mews_plan plan;
static char error[160];

static const struct mews_topology *machine(const char *name)
{
	for (size_t i = 0; i < MACHINES; i++)
		if (strcmp(machines[i], name) == 0)
			return topologies[i];
	fail_msg("no machine %s", name);
	return NULL;
}

static int load_machines(void **state)
{
	(void)state;
	for (size_t i = 0; i < MACHINES; i++) {
		char path[512];
		int result;

		if (strncmp(machines[i], "synthetic ", 10) == 0) {
			result = mews_topology_load(MEWS_TOPOLOGY_SYNTHETIC, machines[i] + 10,
						    &topologies[i]);
		} else {
			snprintf(path, sizeof(path), MEWS_SOURCE_DIR "/tests/machines/%s.xml",
				 machines[i]);
			result = mews_topology_load(MEWS_TOPOLOGY_XML, path, &topologies[i]);
		}
		if (result != 0)
			return result;
	}
	return 0;
}

static int free_machines(void **state)
{
	(void)state;
	for (size_t i = 0; i < MACHINES; i++)
		mews_topology_free(topologies[i]);
	return 0;
}

/* Limits of a process that may use all of this machine. */
static void no_limits(const struct mews_topology *t)
{
	limits = (struct mews_limits){
		.affinity_cpus = t->cpus_allowed, .usable_cpus = t->cpus_allowed,
		.quota_source = "none", .usable_source = "sched_getaffinity",
		.memory = MEWS_UNLIMITED, .memory_source = "none",
		.memory_high = MEWS_UNLIMITED, .address_space = MEWS_UNLIMITED,
	};
}

static int start(void **state)
{
	(void)state;
	request = (struct mews_plan_request){ 0 };
	no_limits(machine("two-nodes"));
	return 0;
}

static int finish(void **state)
{
	(void)state;
	mews_plan_free(&plan);
	return 0;
}

static void make(const char *name)
{
	mews_plan_free(&plan);
	assert_int_equal(mews_plan_make(machine(name), &limits, &request, &plan, error), 0);
}

static bool said(const char *text)
{
	for (uint32_t i = 0; i < plan.reasons; i++)
		if (strstr(plan.reason[i], text) != NULL)
			return true;
	for (uint32_t i = 0; i < plan.reasons; i++)
		print_message("  %s\n", plan.reason[i]);
	return false;
}

static bool power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static uint64_t block_offset(uint32_t index)
{
	return (uint64_t)(index / plan.cell_blocks) * plan.cell_bytes +
		(uint64_t)(index % plan.cell_blocks) * plan.stride;
}

static void check_geometry(void)
{
	uint64_t used = block_offset(plan.slab_blocks - 1) + plan.stride, last = 0;

	assert_true(plan.stride >= plan.block_size && plan.stride % plan.alignment == 0);
	assert_true(plan.cell_bytes % plan.alignment == 0);
	assert_true(plan.cell_bytes >= plan.cell_blocks * plan.stride);
	assert_true(plan.cell_bytes - plan.cell_blocks * plan.stride <= 64);
	assert_true(power_of_two(plan.slab_bytes) && plan.slab_bytes >= plan.alignment);
	assert_in_range(plan.slab_blocks, 1, 65536);
	assert_true(power_of_two(plan.extent_bytes) && plan.extent_bytes <= plan.slab_bytes);
	assert_true(plan.extent_bytes >= plan.stride);
	assert_true(plan.extent_bytes == plan.slab_bytes || plan.extent_bytes == 2 * MIB ||
		    (plan.extent_bytes > 2 * MIB && plan.extent_bytes < 2 * plan.stride));
	assert_true(used <= plan.slab_bytes);
	/* One block more would cross the end, or pass the number that a slab may have. */
	assert_true(plan.slab_blocks == 65536 ||
		    block_offset(plan.slab_blocks) + plan.stride > plan.slab_bytes);
	for (uint32_t i = 1; i < plan.slab_blocks; i += 1 + plan.slab_blocks / 64) {
		assert_true(block_offset(i) % plan.alignment == 0);
		assert_true(block_offset(i) >= last + plan.stride);
		last = block_offset(i);
	}
}

/* The tail of a slab is bounded where the pool is large enough to choose. */
static void check_waste(void)
{
	uint64_t used = block_offset(plan.slab_blocks - 1) + plan.stride;
	uint64_t waste = plan.slab_bytes - used, slabs = plan.max_blocks / plan.slab_blocks;
	unsigned share;

	if (slabs < 2 || plan.stride > 4 * MIB)
		return;
	share = plan.mode == MEWS_MODE_WORKSTATION ? 8 : plan.stride <= 128 * KIB ? 128 : 32;
	if (waste * share > plan.slab_bytes)
		fail_msg("mode %d: %zu bytes in slabs of %zu: %zu unused", plan.mode, plan.stride,
			 plan.slab_bytes, (size_t)waste);
}

static void check_windows(const struct mews_topology *t)
{
	uint64_t slabs = (plan.max_blocks + plan.slab_blocks - 1) / plan.slab_blocks;

	assert_in_range(plan.nodes, 1, 64);
	assert_true(power_of_two(plan.window_bytes) && plan.window_bytes >= plan.slab_bytes);
	assert_true(plan.window_bytes == (uint64_t)1 << plan.window_shift);
	assert_true(plan.nodes * plan.window_bytes <= (uint64_t)1 << 44);
	assert_true(plan.nodes * (plan.window_bytes / plan.slab_bytes) >= slabs);
	/* A slab that stands in for one that is being given back, if address space is not short. */
	assert_true(plan.window_bytes / plan.slab_bytes > slabs ||
		    plan.window_bytes * plan.nodes * 2 > (uint64_t)1 << 44 ||
		    plan.window_bytes * plan.nodes * 2 > limits.address_space / 4);
	for (uint32_t w = 0; w < plan.nodes; w++) {
		const uint32_t *row = plan.window_order + (size_t)w * plan.nodes;
		uint64_t seen = 0;

		assert_int_equal(row[0], w);
		for (uint32_t i = 0; i < plan.nodes; i++) {
			assert_true(row[i] < plan.nodes);
			seen |= (uint64_t)1 << row[i];
		}
		assert_int_equal(__builtin_popcountll(seen), plan.nodes);
	}
	assert_int_equal(plan.cpu_ids, t->cpu_ids);
}

static void check_cpus(void)
{
	uint64_t windows_with_depot = 0;

	assert_true(plan.depots >= plan.nodes);
	for (uint32_t d = 0; d < plan.depots; d++) {
		assert_true(plan.depot_window[d] < plan.nodes);
		windows_with_depot |= (uint64_t)1 << plan.depot_window[d];
	}
	assert_int_equal(__builtin_popcountll(windows_with_depot), plan.nodes);
	for (uint32_t cpu = 0; cpu < plan.cpu_ids; cpu++) {
		assert_true(plan.cpu_window[cpu] < plan.nodes);
		assert_true(plan.cpu_depot[cpu] < plan.depots);
		assert_int_equal(plan.depot_window[plan.cpu_depot[cpu]], plan.cpu_window[cpu]);
	}
}

static void check_caches(void)
{
	uint64_t caches = (uint64_t)limits.affinity_cpus * plan.cache_most;
	uint64_t depots = (uint64_t)plan.depots * plan.depot_magazines * plan.magazine;
	bool server = plan.mode == MEWS_MODE_SERVER;

	assert_int_equal(plan.cache_capacity, 4 * plan.magazine);
	assert_in_range(plan.cache_most, plan.cache_capacity, MEWS_CACHE_SLOTS_MAX);
	assert_in_range(plan.magazine, 1, MEWS_MAGAZINE_MAX);
	assert_true(plan.magazine < 8 || plan.magazine % 4 == 0);
	assert_true(server || plan.cache_most <= 32);
	assert_true(plan.magazine == 1 || caches <= plan.max_blocks / 4);
	assert_true(plan.depot_magazines == 1 || depots <= plan.max_blocks / 2);
	assert_true(plan.depot_magazines >= 1);
	assert_true(plan.idle_bytes <= plan.max_blocks * plan.stride);
}

static void check_reasons(void)
{
	assert_in_range(plan.reasons, 10, MEWS_PLAN_REASONS - 1);
	for (uint32_t i = 0; i < plan.reasons; i++) {
		size_t length = strlen(plan.reason[i]);

		if (length == 0 || length == MEWS_PLAN_REASON_LENGTH - 1)
			fail_msg("reason %u is cut: %s", i, plan.reason[i]);
		assert_null(strchr(plan.reason[i], '\n'));
	}
}

static void check_plan(const struct mews_topology *t)
{
	assert_true(plan.mode == MEWS_MODE_SERVER || plan.mode == MEWS_MODE_WORKSTATION);
	assert_in_range(plan.page_top, MEWS_PAGES_1G, MEWS_PAGES_BASE);
	check_geometry();
	check_waste();
	check_windows(t);
	check_cpus();
	check_caches();
	check_reasons();
	assert_true(plan.max_blocks >= 1 && plan.growth_extents >= 1);
	assert_true(plan.initial_blocks <= plan.max_blocks);
	assert_true(plan.oversize_limit > 0);
	if (request.max_blocks == 0 && plan.max_blocks > plan.slab_blocks)
		assert_true(plan.max_blocks / plan.slab_blocks * plan.slab_bytes <=
			    plan.hard_limit);
}

/* How many of all combinations are planned: one in so many. Under a tool each takes long. */
static unsigned one_in(void)
{
	const char *preload = getenv("LD_PRELOAD");

	if (mews_asan_active() && !getenv("MEWS_TEST_LONG"))
		return 7;
	return preload != NULL && strstr(preload, "vgpreload") != NULL ? 23 : 1;
}

static unsigned long sweep(const struct mews_topology *t)
{
	unsigned long plans = 0, combination = 0, thin = one_in();

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (size_t a = 0; a < sizeof(alignments) / sizeof(alignments[0]); a++)
			for (size_t p = 0; p < sizeof(pools) / sizeof(pools[0]); p++) {
				if (combination++ % thin != 0)
					continue;
				request.block_size = sizes[s];
				request.alignment = alignments[a];
				request.max_blocks = pools[p];
				mews_plan_free(&plan);
				if (mews_plan_make(t, &limits, &request, &plan, error) != 0)
					fail_msg("block %zu alignment %zu pool %zu: %s", sizes[s],
						 alignments[a], pools[p], error);
				check_plan(t);
				plans++;
			}
	return plans;
}

static void test_sweep(void **state)
{
	unsigned long plans = 0;

	(void)state;
	for (size_t m = 0; m < MACHINES; m++)
		for (int mode = MEWS_MODE_AUTO; mode <= MEWS_MODE_WORKSTATION; mode++) {
			request.mode = mode;
			no_limits(topologies[m]);
			plans += sweep(topologies[m]);
		}
	print_message("%lu plans\n", plans);
	assert_true(plans > 100000 / one_in());
}

/* A container: little memory, one and a half CPUs, a limit of address space. */
static void test_sweep_limited(void **state)
{
	static const uint64_t memory[] = { 0, 4096, 3 * 1000 * 1000, 64 * MIB, 700 * MIB };
	static const uint64_t space[] = { 64 * MIB, GIB, MEWS_UNLIMITED };

	(void)state;
	for (size_t m = 0; m < sizeof(memory) / sizeof(memory[0]); m++)
		for (size_t a = 0; a < sizeof(space) / sizeof(space[0]); a++) {
			no_limits(machine("eight-nodes"));
			limits.memory = memory[m];
			limits.address_space = space[a];
			limits.usable_cpus = 2;
			sweep(machine("eight-nodes"));
		}
}

static void test_default_pool(void **state)
{
	(void)state;
	make("two-nodes");
	assert_int_equal(plan.mode, MEWS_MODE_SERVER);
	assert_int_equal(plan.block_size, 4032);
	assert_int_equal(plan.alignment, 64);
	assert_int_equal(plan.stride, 4096);
	assert_int_equal(plan.cell_blocks, 4);
	assert_int_equal(plan.cell_bytes, 16448);
	assert_int_equal(plan.slab_bytes, 2 * MIB);
	assert_int_equal(plan.slab_blocks, 510);
	assert_true(plan.hard_limit == 24 * GIB);
	assert_true(plan.max_blocks == 24 * GIB / (2 * MIB) * 510);
	assert_int_equal(plan.nodes, 2);
	assert_true(plan.home_windows == 3);
	assert_true(plan.window_bytes == 32 * GIB);
	assert_int_equal(plan.cache_capacity, 496); /* as with an L2 of 2 MiB */
	assert_int_equal(plan.cache_most, 992);
	assert_int_equal(plan.magazine, 124);
	assert_int_equal(plan.depots, 2);
	assert_int_equal(plan.depot_magazines, 16);
	assert_int_equal(plan.page_top, MEWS_PAGES_2M);
	assert_int_equal(plan.growth_extents, 1);
	assert_true(plan.oversize_limit == GIB);
	assert_true(said("block 4,032 B usable in a stride of 4 KiB"));
	assert_true(said("cache of 496 blocks a CPU = L2 1 MiB / 4 KiB, as if it were 2 MiB; four magazines of 124; "
			 "in long bursts 992"));
	assert_true(said("hard limit 24 GiB = 75 % of 32 GiB"));
}

/* First lines of the 64 blocks of a burst: spread over the sets of the L1, or nearly. */
static void test_colour(void **state)
{
	static const size_t bytes[] = { 0, 1024, 2048, 4032, 4096, 8192, 16384, 32768, 65536, 131072 };

	(void)state;
	for (size_t s = 0; s < sizeof(bytes) / sizeof(bytes[0]); s++) {
		unsigned in_set[64] = { 0 }, most = 0;

		request.block_size = bytes[s];
		make("two-nodes");
		for (uint32_t i = 0; i < 64 && i < plan.slab_blocks; i++) {
			unsigned *set = &in_set[block_offset(i) / 64 % 64];

			most = ++*set > most ? *set : most;
		}
		if (most > 4)
			fail_msg("%zu: %u first lines in one set", bytes[s], most);
	}
	request.block_size = 256 * KIB;
	make("two-nodes");
	assert_int_equal(plan.cell_bytes, 256 * KIB);
	request.block_size = 4096;
	request.alignment = 4096;
	make("two-nodes");
	assert_int_equal(plan.cell_bytes, 4096);
	assert_int_equal(plan.slab_blocks, 512);
}

static void test_strides(void **state)
{
	static const struct {
		size_t block, alignment, stride;
	} rows[] = {
		{ 1, 0, 64 }, { 1, 8, 8 }, { 20, 8, 24 }, { 64, 0, 64 }, { 65, 0, 128 },
		{ 4032, 0, 4032 }, { 4096, 0, 4096 }, { 0, 4096, 4096 }, { 0, 8192, 8192 },
		{ 100, 4096, 4096 }, { 5000, 2 << 20, 2 << 20 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		request.block_size = rows[i].block;
		request.alignment = rows[i].alignment;
		make("two-nodes");
		assert_int_equal(plan.stride, rows[i].stride);
	}
}

static void test_small_pools(void **state)
{
	(void)state;
	request.max_blocks = 1;
	make("two-nodes");
	assert_int_equal(plan.slab_bytes, 4096);
	assert_int_equal(plan.max_blocks, 1);
	assert_true(plan.window_bytes == 2 * 4096); /* and a slab that stands in for it */
	assert_true(said("the whole pool fits"));
	request.max_blocks = 100;
	make("two-nodes");
	assert_int_equal(plan.slab_bytes, 512 * KIB);
	/* A quarter of 100 blocks, shared by 8 CPUs. */
	assert_int_equal(plan.cache_capacity, 4);
	request = (struct mews_plan_request){ .block_size = 8, .alignment = 8 };
	make("two-nodes");
	assert_int_equal(plan.slab_bytes, 512 * KIB);
	assert_int_equal(plan.slab_blocks, 65536);
	assert_int_equal(plan.growth_extents, 4);
}

static void test_mode(void **state)
{
	(void)state;
	limits.usable_cpus = 1;
	strcpy(limits.usable_source, "/sys/fs/cgroup/cpu.max");
	make("two-nodes");
	assert_int_equal(plan.mode, MEWS_MODE_WORKSTATION);
	assert_int_equal(plan.page_top, MEWS_PAGES_BASE);
	assert_true(plan.cache_capacity <= 32 && plan.slab_bytes < 2 * MIB);
	assert_true(said("mode workstation: 1 usable CPU (/sys/fs/cgroup/cpu.max)"));
	request.mode = MEWS_MODE_SERVER;
	make("two-nodes");
	assert_int_equal(plan.mode, MEWS_MODE_SERVER);
	request.mode = MEWS_MODE_AUTO;
	no_limits(machine("two-nodes"));
	limits.memory = 300 * MIB;
	strcpy(limits.memory_source, "/sys/fs/cgroup/memory.max");
	make("two-nodes");
	assert_int_equal(plan.mode, MEWS_MODE_WORKSTATION);
	assert_true(plan.hard_limit == 225 * MIB);
	assert_true(said("hard limit 225 MiB = 75 % of 300 MiB (/sys/fs/cgroup/memory.max)"));
	assert_true(said("below 256 MiB"));
}

static void test_hard_limit(void **state)
{
	(void)state;
	limits.memory = 8 * GIB;
	limits.memory_high = 4 * GIB;
	make("two-nodes");
	assert_true(plan.hard_limit == 3 * GIB);
	assert_true(said("memory.high"));
	no_limits(machine("node-without-cpus"));
	make("node-without-cpus");
	assert_true(plan.hard_limit == 60 * GIB);       /* node 3 is forbidden */
	no_limits(machine("two-nodes"));
	limits.address_space = 4 * GIB;
	make("two-nodes");
	assert_true(plan.hard_limit == 2 * GIB);
	assert_true(plan.nodes * plan.window_bytes <= GIB);
	assert_true(said("half of RLIMIT_AS 4 GiB"));
	assert_true(said("a quarter of RLIMIT_AS"));
}

static void test_too_many_blocks(void **state)
{
	(void)state;
	request.max_blocks = 40 * GIB / 4096;
	make("two-nodes");
	assert_true(plan.max_blocks == 40 * GIB / 4096);
	assert_true(said("more than the hard limit"));
	request.max_blocks = SIZE_MAX;
	request.growth_blocks = SIZE_MAX;
	make("two-nodes");
	check_plan(machine("two-nodes"));
	assert_true(said("lowered to"));
	assert_true(said("an eighth of 47 bits"));
	request.initial_blocks = SIZE_MAX;
	mews_plan_free(&plan);
	assert_int_equal(mews_plan_make(machine("two-nodes"), &limits, &request, &plan, error),
			 -ENOMEM);
	assert_non_null(strstr(error, "initial_blocks"));
}

static void test_pages(void **state)
{
	(void)state;
	request.initial_blocks = 300000;
	make("two-nodes");
	assert_int_equal(plan.page_top, MEWS_PAGES_1G);
	make("eight-nodes");            /* whose kernel has no pages of 1 GiB */
	assert_int_equal(plan.page_top, MEWS_PAGES_2M);
	make("sparse");                 /* and this one none of 2 MiB either */
	assert_int_equal(plan.page_top, MEWS_PAGES_THP);
	for (int pages = MEWS_PAGES_1G; pages <= MEWS_PAGES_BASE; pages++) {
		request.page_policy = pages;
		make("sparse");
		assert_int_equal(plan.page_top, pages);
	}
}

static void test_nodes(void **state)
{
	(void)state;
	make("node-without-memory");
	assert_int_equal(plan.nodes, 2);
	assert_int_equal(plan.window_node[1], 2);
	assert_int_equal(plan.cpu_window[0], 0);
	assert_int_equal(plan.cpu_window[2], 1);        /* on node 1: nearer to 2 than to 0 */
	assert_int_equal(plan.cpu_window[4], 1);
	assert_int_equal(plan.depots, 3);
	make("node-without-cpus");
	assert_int_equal(plan.nodes, 3);
	assert_int_equal(plan.window_node[2], 2);
	assert_true(plan.home_windows == 3);            /* nobody is at home on node 2 */
	assert_int_equal(plan.depots, 3);
	assert_int_equal(plan.window_order[0 * 3 + 1], 2);
	assert_int_equal(plan.window_order[1 * 3 + 1], 0);
	make("sparse");
	assert_int_equal(plan.window_node[0], 3);
	assert_int_equal(plan.window_node[1], 17);
	assert_int_equal(plan.cpu_window[102], 1);      /* offline, and its node is known */
	assert_int_equal(plan.cpu_window[50], 0);       /* no such CPU */
	assert_int_equal(plan.depots, 4);
	make("eight-nodes");
	assert_int_equal(plan.depots, 16);
	assert_int_equal(plan.window_order[3 * 8 + 1], 2);
	assert_int_equal(plan.window_order[3 * 8 + 2], 4);
	assert_int_equal(plan.window_order[3 * 8 + 7], 7);
	make("synthetic node:100(memory=1GB) pu:1");
	assert_int_equal(plan.nodes, 64);
}

static void test_growth(void **state)
{
	(void)state;
	request.growth_blocks = 511;
	make("two-nodes");
	assert_int_equal(plan.growth_extents, 2);
	request.growth_blocks = 510;
	make("two-nodes");
	assert_int_equal(plan.growth_extents, 1);
	request.growth_blocks = SIZE_MAX;
	request.max_blocks = 5100;
	make("two-nodes");
	assert_int_equal(plan.growth_extents, 10);
}

static void refused(const char *member)
{
	mews_plan_free(&plan);
	assert_int_equal(mews_plan_make(machine("two-nodes"), &limits, &request, &plan, error),
			 -EINVAL);
	assert_memory_equal(error, member, strlen(member));
	assert_int_equal(mews_plan_make(machine("two-nodes"), &limits, &request, &plan, NULL),
			 -EINVAL);
	assert_null(plan.cpu_window);
	request = (struct mews_plan_request){ 0 };
}

static void test_refused(void **state)
{
	static const size_t bad[] = { 1, 4, 12, 65, 4095, 4 << 20, SIZE_MAX };

	(void)state;
	request.block_size = MEWS_BLOCK_SIZE_MAX + 1;
	refused("block_size: 1 to 67,108,864 bytes");
	request.block_size = SIZE_MAX;
	refused("block_size: ");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		request.alignment = bad[i];
		refused("alignment: a power of two");
	}
	request.max_blocks = 10;
	request.initial_blocks = 11;
	refused("initial_blocks: at most max_blocks");
	request.mode = (enum mews_mode)3;
	refused("mode: ");
	request.node_policy = (enum mews_node_policy)-1;
	refused("node_policy: ");
	request.page_policy = (enum mews_page_policy)5;
	refused("page_policy: ");
}

static void same_numbers(const uint32_t *a, const uint32_t *b, size_t count)
{
	assert_ptr_not_equal(a, b);
	assert_memory_equal(a, b, count * sizeof(*a));
}

/* Equal input, equal plan; and nobody was asked for anything meanwhile. */
static void test_pure(void **state)
{
	struct mews_plan again, flat;

	(void)state;
	faults_install();
	make("eight-nodes");
	assert_int_equal(mews_plan_make(machine("eight-nodes"), &limits, &request, &again, NULL),
			 0);
	assert_int_equal(faults_counted(FAULTS_ANY), 0);
	faults_remove();
	same_numbers(plan.cpu_window, again.cpu_window, plan.cpu_ids);
	same_numbers(plan.cpu_depot, again.cpu_depot, plan.cpu_ids);
	same_numbers(plan.depot_window, again.depot_window, plan.depots);
	same_numbers(plan.window_node, again.window_node, plan.nodes);
	same_numbers(plan.window_order, again.window_order, (size_t)plan.nodes * plan.nodes);
	flat = plan;
	flat.cpu_window = again.cpu_window;
	flat.cpu_depot = again.cpu_depot;
	flat.depot_window = again.depot_window;
	flat.window_node = again.window_node;
	flat.window_order = again.window_order;
	assert_memory_equal(&flat, &again, sizeof(flat));
	mews_plan_free(&again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sweep), TEST(test_sweep_limited), TEST(test_default_pool),
		TEST(test_colour), TEST(test_strides), TEST(test_small_pools), TEST(test_mode),
		TEST(test_hard_limit), TEST(test_too_many_blocks), TEST(test_pages),
		TEST(test_nodes), TEST(test_growth), TEST(test_refused), TEST(test_pure),
	};

	return cmocka_run_group_tests(tests, load_machines, free_machines);
}
