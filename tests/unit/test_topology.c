/* SPDX-License-Identifier: MIT */
/*
 * Topology: this machine, canned ones (tests/machines) and synthetic ones; input that is damaged or
 * absurd; every call refused.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../numa/topology.h"
#include "../support/faults.h"
#include "../support/suite.h"
#include "../support/temporary.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define NONE MEWS_NO_INDEX

static struct mews_topology *t;

static int release(void **state)
{
	(void)state;
	mews_topology_free(t);
	t = NULL;
	return 0;
}

static bool below(uint32_t index, uint32_t count)
{
	return index == NONE || index < count;
}

static void check_nodes(void)
{
	uint64_t memory = 0;

	for (uint32_t i = 0; i < t->node_count; i++) {
		memory += t->node[i].memory;
		if (i > 0)
			assert_true(t->node[i].os_index > t->node[i - 1].os_index);
		for (uint32_t k = 0; k < t->node_count; k++) {
			uint32_t distance = t->distance[(size_t)i * t->node_count + k];

			assert_true(distance >= 1 && distance < UINT32_MAX);
			assert_true(i != k || distance == 10);
		}
	}
	assert_true(memory == t->memory);
}

/* What the header promises of any topology. */
static void check_sane(void)
{
	uint32_t possible = 0, allowed = 0, on_nodes = 0, nodes = 0;

	assert_non_null(t);
	assert_true(t->cpu_ids >= 1 && t->cpus >= 1 && t->node_count >= 1);
	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		const struct mews_topology_cpu *cpu = &t->cpu[i];

		possible += cpu->possible;
		allowed += cpu->possible && cpu->allowed;
		on_nodes += cpu->node != NONE;
		assert_true(below(cpu->node, t->node_count));
		assert_true(below(cpu->package, t->packages) && below(cpu->core, t->cores));
		assert_true(below(cpu->l2, t->l2_domains) && below(cpu->l3, t->l3_domains));
		assert_true(cpu->possible || !cpu->online);
	}
	assert_int_equal(possible, t->cpus);
	assert_int_equal(allowed, t->cpus_allowed);
	assert_true(t->page_size >= 4096 && (t->page_size & (t->page_size - 1)) == 0);
	for (uint32_t i = 0; i < t->node_count; i++)
		nodes += t->node[i].cpus;
	assert_int_equal(nodes, on_nodes);
	check_nodes();
}

static void load_xml(const char *name)
{
	char path[512];

	release(NULL);
	snprintf(path, sizeof(path), MEWS_SOURCE_DIR "/tests/machines/%s.xml", name);
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_XML, path, &t), 0);
	assert_memory_equal(t->source, "xml: ", 5);
	assert_false(t->this_machine);
	check_sane();
}

static void load_synthetic(const char *text)
{
	release(NULL);
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_SYNTHETIC, text, &t), 0);
	assert_memory_equal(t->source, "synthetic: ", 11);
	assert_false(t->this_machine);
	check_sane();
}

static uint32_t distance(uint32_t from, uint32_t to)
{
	return t->distance[(size_t)from * t->node_count + to];
}

static void test_this_machine(void **state)
{
	cpu_set_t mine;

	(void)state;
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_MACHINE, NULL, &t), 0);
	check_sane();
	assert_string_equal(t->source, "this machine");
	assert_true(t->this_machine);
	assert_int_equal(t->page_size, getpagesize());
	assert_true(t->cpu_ids >= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(sched_getaffinity(0, sizeof(mine), &mine), 0);
	for (uint32_t i = 0; i < t->cpu_ids; i++)
		if (CPU_ISSET(i, &mine))
			assert_true(t->cpu[i].possible && t->cpu[i].online && t->cpu[i].allowed);
	assert_int_equal(t->cpus_allowed, CPU_COUNT(&mine));
	assert_true(t->memory >= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)getpagesize());
	assert_true(mews_topology_memory_node(t, t->cpu[sched_getcpu()].node) != NONE);
}

static void test_affinity(void **state)
{
	cpu_set_t mine, one;
	int cpu = sched_getcpu(), error;

	(void)state;
	sched_getaffinity(0, sizeof(mine), &mine);
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	error = mews_topology_load(MEWS_TOPOLOGY_MACHINE, NULL, &t);
	sched_setaffinity(0, sizeof(mine), &mine);
	assert_int_equal(error, 0);
	check_sane();
	assert_int_equal(t->cpus_allowed, 1);
	assert_true(t->cpu[cpu].allowed);
}

static void test_one_cpu(void **state)
{
	(void)state;
	load_xml("one-cpu");
	assert_int_equal(t->cpu_ids, 1);
	assert_int_equal(t->cpus_allowed, 1);
	assert_int_equal(t->node_count, 1);
	assert_int_equal(t->l1_bytes, 48 << 10);
	assert_int_equal(t->l2_bytes, MIB);
	assert_int_equal(t->l3_bytes, 16 * MIB);
	assert_true(t->huge_2m && !t->huge_1g);
	assert_int_equal(t->page_size, 4096);
	assert_true(t->memory == 2 * GIB);
}

static void test_two_nodes(void **state)
{
	(void)state;
	load_xml("two-nodes");
	assert_int_equal(t->cpus, 8);
	assert_int_equal(t->packages, 2);
	assert_int_equal(t->l3_domains, 2);
	assert_int_equal(t->l2_domains, 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(t->cpu[i].node, i / 4);
		assert_int_equal(t->cpu[i].l3, i / 4);
		assert_int_equal(t->cpu[i].package, i / 4);
		assert_int_equal(t->cpu[i].core, i);
	}
	assert_int_equal(distance(0, 1), 21);
	assert_int_equal(distance(1, 0), 21);
	assert_true(t->huge_2m && t->huge_1g);
	assert_int_equal(mews_topology_memory_node(t, 1), 1);
}

static void test_eight_nodes(void **state)
{
	(void)state;
	load_xml("eight-nodes");
	assert_int_equal(t->cpus, 32);
	assert_int_equal(t->l3_domains, 16);
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(t->cpu[i].node, i % 8);
	assert_int_equal(t->cpu[3].l3, t->cpu[11].l3);
	assert_int_not_equal(t->cpu[3].l3, t->cpu[19].l3);
	assert_int_equal(distance(0, 1), 16);
	assert_int_equal(distance(0, 4), 34);
	assert_int_equal(distance(1, 7), 22);
	assert_int_equal(distance(7, 0), 16);
}

static void test_node_without_memory(void **state)
{
	(void)state;
	load_xml("node-without-memory");
	assert_int_equal(t->node[1].cpus, 2);
	assert_true(t->node[1].memory == 0);
	assert_int_equal(t->cpu[2].node, 1);
	assert_int_equal(mews_topology_memory_node(t, 0), 0);
	assert_int_equal(mews_topology_memory_node(t, 1), 2);
	assert_int_equal(mews_topology_memory_node(t, 2), 2);
	assert_int_equal(mews_topology_memory_node(t, 3), NONE);
	assert_int_equal(mews_topology_memory_node(t, NONE), NONE);
}

static void test_node_without_cpus(void **state)
{
	(void)state;
	load_xml("node-without-cpus");
	assert_int_equal(t->node_count, 4);
	assert_int_equal(t->node[0].cpus, 2);
	assert_int_equal(t->node[2].cpus, 0);
	assert_true(t->node[2].memory == 64 * GIB && t->node[2].allowed);
	assert_true(t->node[3].memory == 64 * GIB && !t->node[3].allowed);
	assert_int_equal(mews_topology_memory_node(t, 2), 2);
	/* Forbidden itself; 0, 1 and 2 allowed: the nearest of them. */
	assert_int_equal(mews_topology_memory_node(t, 3), 1);
	assert_int_equal(distance(0, 2), 17);
	assert_int_equal(distance(2, 3), 28);
}

/* Node 1 is empty: 0 and 2 are equally near, and the lower number is chosen. */
static void test_equally_near(void **state)
{
	(void)state;
	load_xml("eight-nodes");
	t->node[1].memory = 0;
	assert_int_equal(mews_topology_memory_node(t, 1), 0);
	t->node[0].allowed = false;
	assert_int_equal(mews_topology_memory_node(t, 1), 2);
}

/* Each package has two nodes beside it, and all share one whose number is lower. */
static void test_two_kinds_of_memory(void **state)
{
	(void)state;
	load_xml("two-kinds-of-memory");
	assert_int_equal(t->node_count, 5);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(t->node[t->cpu[i].node].os_index, i < 2 ? 1 : 2);
	assert_int_equal(t->node[0].cpus, 0);
	assert_int_equal(t->node[1].cpus, 2);
	assert_int_equal(t->node[3].cpus, 0);
}

static void test_no_node_qualifies(void **state)
{
	(void)state;
	load_xml("node-without-memory");
	t->node[0].allowed = t->node[2].allowed = false;
	for (uint32_t i = 0; i < t->node_count; i++)
		assert_int_equal(mews_topology_memory_node(t, i), NONE);
}

static void test_sparse(void **state)
{
	static const uint32_t offline[] = { 6, 102, 511 }, absent[] = { 1, 50, 103, 509 };

	(void)state;
	load_xml("sparse");
	assert_int_equal(t->cpu_ids, 512);
	assert_int_equal(t->cpus, 11);
	assert_int_equal(t->cpus_allowed, 6);
	assert_int_equal(t->node[0].os_index, 3);
	assert_int_equal(t->node[1].os_index, 17);
	assert_int_equal(t->cpu[510].node, 0);
	assert_true(t->cpu[510].online && !t->cpu[510].allowed);
	for (size_t i = 0; i < sizeof(offline) / sizeof(offline[0]); i++) {
		const struct mews_topology_cpu *cpu = &t->cpu[offline[i]];

		assert_true(cpu->possible && !cpu->online);
		assert_int_equal(cpu->node, offline[i] == 102 ? 1 : 0);
		assert_int_equal(cpu->l3, NONE);
	}
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		assert_false(t->cpu[absent[i]].possible);
		assert_int_equal(t->cpu[absent[i]].node, NONE);
	}
}

static void test_synthetic(void **state)
{
	(void)state;
	load_synthetic("node:1 pu:1");
	assert_int_equal(t->cpu_ids, 1);
	assert_int_equal(t->node_count, 1);
	assert_int_equal(t->l2_bytes, 0);
	assert_int_equal(t->cpu[0].l3, NONE);
	load_synthetic("node:2(memory=4GB) l3:2(size=8MB) l2:2(size=512kB) core:1 pu:2");
	assert_int_equal(t->cpus, 16);
	assert_int_equal(t->l3_domains, 4);
	assert_int_equal(t->l2_bytes, 512000);
	assert_int_equal(t->cpu[15].node, 1);
	assert_int_equal(t->cpu[14].core, t->cpu[15].core);
	assert_int_equal(distance(0, 1), 20);
	load_synthetic("node:8 core:32 pu:2");
	assert_int_equal(t->cpus, 512);
	assert_int_equal(t->node[7].cpus, 64);
	load_synthetic("node:2(indexes=3,500) core:2 pu:2(indexes=0,5,100,101,200,300,400,511)");
	assert_int_equal(t->cpu_ids, 512);
	assert_int_equal(t->cpus, 8);
	assert_int_equal(t->node[1].os_index, 500);
	assert_int_equal(t->cpu[300].node, 1);
}

/* hwloc adds the node, by a memcpy between parts that overlap: not for valgrind to see. */
static void test_synthetic_without_node(void **state)
{
	const char *preload = getenv("LD_PRELOAD");

	(void)state;
	if (preload != NULL && strstr(preload, "vgpreload") != NULL) {
		print_message("skip: valgrind would blame hwloc\n");
		skip();
	}
	load_synthetic("pack:2 l3:2 core:4 pu:2");
	assert_int_equal(t->cpus, 32);
	assert_int_equal(t->node_count, 1);
	assert_int_equal(t->packages, 2);
	assert_int_equal(t->l3_domains, 4);
	load_synthetic("4");
	assert_int_equal(t->cpus, 4);
}

static int load_text(const char *text)
{
	char path[256];
	int fd = mkstemp(temporary_name(path, sizeof(path), "topology")), error;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	t = (struct mews_topology *)&fd;
	error = mews_topology_load(MEWS_TOPOLOGY_XML, path, &t);
	unlink(path);
	return error;
}

static void test_bad_xml(void **state)
{
	static const char *const texts[] = {
		"", "no XML", "<?xml version=\"1.0\"?>", "<topology", "<topology version=\"2.0\">",
		"<?xml version=\"1.0\"?>\n<topology version=\"2.0\">\n</topology>\n",
		"<topology version=\"2.0\"><object type=\"Machine\"/></topology>",
		"<?xml version=\"1.0\"?>\n<topology version=\"9.0\">\n<object type=\"PU\"/>\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(load_text(texts[i]), -EINVAL);
		assert_null(t);
	}
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_XML, "/nowhere/at.all", &t), -ENOENT);
	assert_null(t);
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_XML, "/tmp", &t), -EINVAL);
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_XML, NULL, &t), -EINVAL);
}

/* A machine cut off anywhere is refused, or is a machine. */
static void test_truncated_xml(void **state)
{
	static char text[65536];
	FILE *file = fopen(MEWS_SOURCE_DIR "/tests/machines/two-nodes.xml", "r");
	size_t length;

	(void)state;
	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	assert_int_equal(load_text(text), 0);
	release(NULL);
	for (size_t cut = 37; cut < length - 20; cut += 331) {
		char kept = text[cut];

		text[cut] = 0;
		if (load_text(text) == 0)
			check_sane();
		else
			assert_null(t);
		release(NULL);
		text[cut] = kept;
	}
}

static void test_bad_synthetic(void **state)
{
	static const char *const texts[] = {
		"", "x", "pu", "pu:0", "pu:-1", "core:2", "pack:2(", "pack:2[",
		"node:2 node:2 pu:2(",
		"pu:8193", "pu:100000000", "core:100000 pu:100000", "99999999999999999999999 4",
		"node:1025 pu:1", "node:8192 pu:1", "node:2 core:4096 pu:2",
		"node:2(indexes=3,2000000000) pu:1", "pu:2(indexes=0,400000000)",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int error = mews_topology_load(MEWS_TOPOLOGY_SYNTHETIC, texts[i], &t);

		if (error != -EINVAL)
			fail_msg("\"%s\" gave %d", texts[i], error);
		assert_null(t);
	}
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_SYNTHETIC, NULL, &t), -EINVAL);
	assert_int_equal(mews_topology_load((enum mews_topology_source)7, "pu:1", &t), -EINVAL);
}

static void test_every_call_refused(void **state)
{
	unsigned long nth = 0, refused;

	(void)state;
	do {
		faults_install();
		faults_refuse(FAULTS_ANY, ++nth, EACCES);
		assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_MACHINE, NULL, &t), 0);
		refused = faults_refused();
		faults_remove();
		check_sane();
		release(NULL);
	} while (refused != 0);
	print_message("%lu calls, each refused once\n", nth - 1);
	assert_true(nth > 8);
	faults_install();
	faults_refuse_from(FAULTS_ANY, 1, EACCES);
	assert_int_equal(mews_topology_load(MEWS_TOPOLOGY_MACHINE, NULL, &t), 0);
	faults_remove();
	check_sane();
}

#define TEST(name) cmocka_unit_test_teardown(name, release)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_this_machine), TEST(test_affinity), TEST(test_one_cpu),
		TEST(test_two_nodes), TEST(test_eight_nodes), TEST(test_node_without_memory),
		TEST(test_node_without_cpus), TEST(test_equally_near),
		TEST(test_two_kinds_of_memory), TEST(test_no_node_qualifies), TEST(test_sparse),
		TEST(test_synthetic), TEST(test_synthetic_without_node), TEST(test_bad_xml),
		TEST(test_truncated_xml), TEST(test_bad_synthetic), TEST(test_every_call_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
