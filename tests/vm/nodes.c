/* SPDX-License-Identifier: MIT */
/*
 * Where the blocks of a pool lie, asked of the kernel page by page, on a machine with real nodes: the
 * one that run boots, or a user's own. Skipped where there is one node. Policies, used up nodes,
 * huge pages by node, foreign returns, and the statistics beside what the kernel counts.
 * --plant unbound: a kernel that takes no notice of mbind, which must be found.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../numa/kernel.h"
#include "../support/check.h"
#include "../support/nodes.h"
#include "../support/options.h"
#include "../support/pool.h"
#include "../support/threads.h"

#define MIB ((uint64_t)1 << 20)
#define LARGE 65536             /* a block for filling nodes */
#define FILLABLE (4096 * MIB)   /* a larger node is somebody's server */

static struct nodes nodes;

static struct mews_pool *pool_of(enum mews_node_policy policy, enum mews_page_policy pages,
				 size_t block_size, size_t blocks)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .name = "nodes", .block_size = block_size,
		.node_policy = policy, .page_policy = pages, .mode = MEWS_MODE_SERVER,
		.max_blocks = blocks, .checks = MEWS_CHECKS_CHEAP,
		.decay_ms = MEWS_DECAY_NEVER,   /* what is compared shall hold still */
	};
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

static const struct mews_node_stats *stats_on(const struct mews_stats *stats, unsigned index)
{
	for (unsigned i = 0; i < stats->nodes; i++)
		if (stats->node[i].node == nodes.node[index].id)
			return &stats->node[i];
	fail_msg("no statistics of node %u", nodes.node[index].id);
	return NULL;
}

static uint64_t backed(const struct mews_node_stats *node)
{
	return node->backed_1g + node->backed_2m + node->backed_thp + node->backed_base;
}

/* All pages of a block lie on this node, says the kernel. */
static void lies_on(const void *block, size_t length, unsigned index, const char *what)
{
	size_t pages[NODES_MOST] = { 0 }, absent = 0;

	nodes_of_range(&nodes, block, length, pages, &absent);
	assert_int_equal(absent, 0);
	for (unsigned i = 0; i < nodes.count; i++)
		if (pages[i] && i != index)
			fail_msg("%s: %zu pages of a block on node %u, not %u", what, pages[i],
				 nodes.node[i].id, nodes.node[index].id);
}

/* The node whose window a block lies in, by the pool's own arithmetic. */
static unsigned claimed(struct mews_pool *pool, const void *block)
{
	const struct mews_control *control = mews_control_of(pool);

	return nodes_index(&nodes, control->plan.window_node[mews_slabs_window_of(&control->slabs,
								  block)]);
}

/* What the pool says of each node is what the kernel finds behind the pool's address range. */
static void agrees_with_kernel(struct mews_pool *pool)
{
	const struct mews_slabs *slabs = &mews_control_of(pool)->slabs;
	struct mews_stats stats = stats_of(pool);
	uint64_t bytes[NODES_MOST] = { 0 };

	nodes_of_maps(&nodes, slabs->start, slabs->length, bytes);
	for (unsigned i = 0; i < nodes.count; i++)
		if (nodes.node[i].memory)
			assert_int_equal(backed(stats_on(&stats, i)), bytes[i]);
		else
			assert_int_equal(bytes[i], 0);
}

/* Every CPU leases; each block lies on the node of its CPU, or the nearest that has memory. */
static void place_everywhere(enum mews_node_policy policy, enum mews_page_policy pages,
			     const char *what)
{
	enum { COUNT = 700 };   /* more than a cache, and than a slab */
	struct mews_pool *pool = pool_of(policy, pages, 0, COUNT * threads_cpus() * 2);
	uint64_t leased[NODES_MOST] = { 0 };
	void *block[COUNT];
	void **all = calloc(threads_cpus(), sizeof(block));
	struct mews_stats stats;

	for (unsigned c = 0; c < threads_cpus(); c++) {
		unsigned home = nodes_nearest(&nodes, nodes_of_cpu(&nodes, threads_pin(c)), 0);

		for (unsigned i = 0; i < COUNT; i++) {
			all[c * COUNT + i] = mews_lease(pool);
			assert_non_null(all[c * COUNT + i]);
			lies_on(all[c * COUNT + i], 4032, home, what);
			assert_int_equal(claimed(pool, all[c * COUNT + i]), home);
		}
		leased[home] += COUNT;
	}
	stats = stats_of(pool);
	for (unsigned i = 0; i < nodes.count; i++)
		if (nodes.node[i].memory)
			assert_int_equal(stats_on(&stats, i)->leased, leased[i]);
	agrees_with_kernel(pool);
	mews_return_many(pool, all, COUNT * threads_cpus());
	free(all);
	threads_unpin();
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_each_cpu(void **state)
{
	(void)state;
	place_everywhere(MEWS_NODE_PREFERRED, MEWS_PAGES_BASE, "preferred, base pages");
	place_everywhere(MEWS_NODE_STRICT, MEWS_PAGES_BASE, "strict, base pages");
	place_everywhere(MEWS_NODE_PREFERRED, MEWS_PAGES_THP, "preferred, transparent huge pages");
	place_everywhere(MEWS_NODE_STRICT, MEWS_PAGES_THP, "strict, transparent huge pages");
	place_everywhere(MEWS_NODE_PREFERRED, MEWS_PAGES_2M, "preferred, from 2 MiB pages down");
	place_everywhere(MEWS_NODE_STRICT, MEWS_PAGES_2M, "strict, from 2 MiB pages down");
}

/* Nodes that no CPU is at home on get no initial blocks; the others get as much each. */
static void test_initial_blocks(void **state)
{
	const uint64_t each = 8 * MIB;
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 4096, .mode = MEWS_MODE_SERVER,
		.decay_ms = MEWS_DECAY_NEVER,
	};
	bool home[NODES_MOST] = { false };
	struct mews_stats stats;
	struct mews_pool *pool;

	(void)state;
	for (unsigned c = 0; c < threads_cpus(); c++)
		home[nodes_nearest(&nodes, nodes_of_cpu(&nodes, threads_pin(c)), 0)] = true;
	threads_unpin();
	for (unsigned i = 0; i < nodes.count; i++)
		config.initial_blocks += home[i] ? each / 4096 : 0;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	stats = stats_of(pool);
	for (unsigned i = 0; i < nodes.count; i++)
		if (home[i])
			assert_in_range(stats_on(&stats, i)->carved * 4096, each - 2 * MIB,
					each + 2 * MIB);
		else if (nodes.node[i].memory)
			assert_int_equal(stats_on(&stats, i)->carved, 0);
	agrees_with_kernel(pool);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* The kernel populates what a process that locks its memory makes writable: bound it must be by then. */
static void test_locked(void **state)
{
	if (mlockall(MCL_FUTURE)) {
		print_message("skip: mlockall: %s\n", strerror(errno));
		skip();
	}
	test_initial_blocks(state);
	munlockall();
}

/* What is too long for a block lies on the caller's node, too. */
static void test_oversize(void **state)
{
	const size_t lengths[] = { 5000, 3 * MIB + 5 };

	(void)state;
	for (unsigned strict = 0; strict < 2; strict++) {
		struct mews_pool *pool = pool_of(strict ? MEWS_NODE_STRICT : MEWS_NODE_PREFERRED,
						 MEWS_PAGES_AUTO, 0, 1000);

		for (unsigned c = 0; c < threads_cpus(); c++)
			for (unsigned i = 0; i < 2; i++) {
				unsigned node = nodes_of_cpu(&nodes, threads_pin(c));
				void *block = mews_lease_sized(pool, lengths[i]);

				assert_non_null(block);
				lies_on(block, lengths[i], nodes_nearest(&nodes, node, 0), "oversize");
				mews_return(pool, block);
			}
		assert_int_equal(mews_pool_dispose(pool), 0);
	}
	threads_unpin();
}

/* A CPU (as threads_pin counts) whose home is, or is not, the node. */
static unsigned cpu_with_home(unsigned home, bool equal)
{
	for (unsigned c = 0; c < threads_cpus(); c++) {
		unsigned cpu = threads_pin(c);

		if ((nodes_nearest(&nodes, nodes_of_cpu(&nodes, cpu), 0) == home) == equal)
			return c;
	}
	return UINT32_MAX;
}

/* Leased on one node, returned on another: they go home, and nobody else gets them meanwhile. */
static void test_foreign_returns(void **state)
{
	enum { COUNT = 3000 };
	struct mews_pool *pool = pool_of(MEWS_NODE_PREFERRED, MEWS_PAGES_BASE, 0, COUNT * 4);
	unsigned cpu = cpu_with_home(0, true), other = cpu_with_home(0, false), away;
	struct mews_stats stats;
	uint64_t carved;
	void *block[COUNT];

	(void)state;
	if (cpu == UINT32_MAX || other == UINT32_MAX) {
		mews_pool_dispose(pool);
		puts("skip: no foreign returns: all CPUs have one home");
		skip();
	}
	away = nodes_nearest(&nodes, nodes_of_cpu(&nodes, threads_pin(other)), 0);
	threads_pin(cpu);
	assert_int_equal(mews_lease_many(pool, block, COUNT), COUNT);
	stats = stats_of(pool);
	carved = stats_on(&stats, 0)->carved;
	threads_pin(other);
	mews_return_many(pool, block, COUNT);
	assert_int_equal(stats_of(pool).foreign_returns, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		block[i] = mews_lease(pool);
		lies_on(block[i], 4032, away, "leased after foreign returns");
	}
	mews_return_many(pool, block, COUNT);
	threads_pin(cpu);
	/* All but what waits on the other CPU for its magazine to fill. */
	assert_int_equal(mews_lease_many(pool, block, COUNT), COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		lies_on(block[i], 4032, 0, "came home");
	stats = stats_of(pool);
	assert_in_range(stats_on(&stats, 0)->carved, carved, carved + 1024);
	mews_return_many(pool, block, COUNT);
	threads_unpin();
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* The home of CPUs with the least memory; the test is skipped where filling that would be no test. */
static unsigned smallest_home(void)
{
	unsigned best = NODES_MOST;

	for (unsigned c = 0; c < threads_cpus(); c++) {
		unsigned home = nodes_nearest(&nodes, nodes_of_cpu(&nodes, threads_pin(c)), 0);

		if (best == NODES_MOST || nodes.node[home].memory < nodes.node[best].memory)
			best = home;
	}
	if (nodes.node[best].memory > FILLABLE) {
		printf("skip: the smallest node has %llu MiB: not filled outside of tests/vm\n",
		       (unsigned long long)(nodes.node[best].memory / MIB));
		skip();
	}
	return best;
}

/* Leases on the node until what it serves lies elsewhere, or nothing comes. */
static size_t fill(struct mews_pool *pool, unsigned home, void **block, size_t room)
{
	size_t count = 0;

	threads_pin(cpu_with_home(home, true));
	while (count < room && (block[count] = mews_lease(pool))) {
		unsigned told = claimed(pool, block[count]);

		lies_on(block[count++], LARGE, told, "a block of a node that fills up");
		if (told != home)
			break;
	}
	return count;
}

static void test_strict_used_up(void **state)
{
	unsigned home = smallest_home();
	size_t room = nodes.node[home].memory / LARGE, count;
	void **block = calloc(room, sizeof(*block));
	enum mews_page_policy pages[] = { MEWS_PAGES_BASE, MEWS_PAGES_2M };

	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		struct mews_pool *pool = pool_of(MEWS_NODE_STRICT, pages[p], LARGE, 2 * room);
		struct mews_stats stats;

		errno = 0;
		count = fill(pool, home, block, room);
		assert_in_range(count, room / 4, room - 1);
		assert_int_equal(errno, ENOMEM);
		stats = stats_of(pool);
		for (unsigned i = 0; i < nodes.count; i++)
			if (nodes.node[i].memory && i != home)
				assert_int_equal(stats_on(&stats, i)->carved, 0);
		assert_int_equal(stats.remote_node, 0);
		agrees_with_kernel(pool);
		mews_return_many(pool, block, count);
		assert_int_equal(mews_pool_dispose(pool), 0);
	}
	free(block);
	threads_unpin();
}

/* The next nearest serves, the pool knows, and what it says is where it lies. */
static void test_preferred_used_up(void **state)
{
	unsigned home = smallest_home(), next = nodes_nearest(&nodes, home, 1);
	size_t room = nodes.node[home].memory / LARGE, count;
	void **block = calloc(room, sizeof(*block));
	enum mews_page_policy pages[] = { MEWS_PAGES_BASE, MEWS_PAGES_2M };

	(void)state;
	for (unsigned p = 0; p < 2; p++) {
		struct mews_pool *pool = pool_of(MEWS_NODE_PREFERRED, pages[p], LARGE, 2 * room);
		struct mews_stats stats;

		count = fill(pool, home, block, room);
		assert_in_range(count, room / 4, room - 1);
		assert_non_null(block[count - 1]);
		assert_int_equal(claimed(pool, block[count - 1]), next);
		stats = stats_of(pool);
		assert_in_range(stats.remote_node, 1, count);
		assert_int_equal(stats_on(&stats, next)->leased, 1);
		agrees_with_kernel(pool);
		mews_return_many(pool, block, count);
		assert_int_equal(mews_pool_dispose(pool), 0);
	}
	free(block);
	threads_unpin();
}

/* A node at its limit in bytes: the next serves, or nobody; the kernel's count is within the limit. */
static void test_node_limit(void **state)
{
	const size_t limit = 24 * MIB, room = 4 * limit / LARGE;
	unsigned home = nodes_nearest(&nodes, nodes_of_cpu(&nodes, threads_pin(0)), 0);
	unsigned next = nodes_nearest(&nodes, home, 1);
	void **block = calloc(room, sizeof(*block));

	(void)state;
	for (unsigned strict = 0; strict < 2; strict++) {
		struct mews_pool *pool = pool_of(strict ? MEWS_NODE_STRICT : MEWS_NODE_PREFERRED,
						 MEWS_PAGES_2M, LARGE, 2 * room);
		uint64_t bytes[NODES_MOST] = { 0 };
		size_t count;

		assert_int_equal(mews_pool_set_node_limit(pool, nodes.node[home].id, limit), 0);
		errno = 0;
		count = fill(pool, home, block, room);
		assert_in_range(count, limit / LARGE / 2, limit / LARGE + 1);
		if (strict)
			assert_int_equal(errno, ENOBUFS);
		else
			assert_int_equal(claimed(pool, block[count - 1]), next);
		nodes_of_maps(&nodes, mews_control_of(pool)->slabs.start,
			      mews_control_of(pool)->slabs.length, bytes);
		assert_in_range(bytes[home], limit / 2, limit);
		agrees_with_kernel(pool);
		mews_return_many(pool, block, count);
		assert_int_equal(mews_pool_dispose(pool), 0);
	}
	free(block);
	threads_unpin();
}

/* Each node's pages serve that node, to the last extent of them; then smaller pages of the same node. */
static void use_up_huge(unsigned home, struct mews_pool *pool, void **block, size_t *count)
{
	uint64_t had = nodes_hugepages(&nodes, home, 2048, "free_hugepages") * 2 * MIB;
	uint64_t left = had % mews_control_of(pool)->plan.extent_bytes;
	size_t more = had / LARGE + 64;
	struct mews_stats stats;

	threads_pin(cpu_with_home(home, true));
	for (size_t i = 0; i < more; i++, ++*count) {
		block[*count] = mews_lease(pool);
		assert_non_null(block[*count]);
		lies_on(block[*count], LARGE, home, "huge pages, exhausted");
	}
	stats = stats_of(pool);
	assert_int_equal(stats_on(&stats, home)->backed_2m, had - left);
	assert_in_range(stats_on(&stats, home)->backed_thp + stats_on(&stats, home)->backed_base, 1,
			64 * MIB);
	assert_int_equal(nodes_hugepages(&nodes, home, 2048, "free_hugepages") * 2 * MIB, left);
}

/* Kernels before 5.14 cannot populate at once: there a pool takes no hugetlb pages, see place.c. */
static void skip_unless_hugetlb(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool known = page != MAP_FAILED && madvise(page, 4096, MADV_POPULATE_WRITE) == 0;

	munmap(page, 4096);
	if (!known) {
		puts("skip: this kernel cannot populate at once: pools take no hugetlb pages");
		skip();
	}
}

static uint64_t huge_pages(uint64_t *free_pages)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < nodes.count; i++) {
		free_pages[i] = nodes_hugepages(&nodes, i, 2048, "free_hugepages");
		all += free_pages[i];
	}
	return all;
}

static void test_huge_pages(void **state)
{
	uint64_t before[NODES_MOST], after[NODES_MOST];
	size_t room = huge_pages(before) * 2 * MIB / LARGE + 64 * nodes.count, count = 0;
	struct mews_pool *pool;
	void **block;

	(void)state;
	skip_unless_hugetlb();
	block = calloc(room, sizeof(*block));
	pool = pool_of(MEWS_NODE_PREFERRED, MEWS_PAGES_2M, LARGE, 4 * room);
	for (unsigned i = 0; i < nodes.count; i++)
		if (cpu_with_home(i, true) != UINT32_MAX)
			use_up_huge(i, pool, block, &count);
	agrees_with_kernel(pool);
	mews_return_many(pool, block, count);
	assert_int_equal(mews_pool_dispose(pool), 0);
	huge_pages(after);
	assert_memory_equal(before, after, nodes.count * sizeof(before[0]));
	free(block);
	threads_unpin();
}

/*
 * A pool that begins with a gigabyte more than there is in pages of that size: they are used up, each for
 * its own node, in the middle of it, and smaller ones go on.
 */
static void test_gigantic_pages(void **state)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = LARGE, .page_policy = MEWS_PAGES_1G,
		.node_policy = MEWS_NODE_STRICT, .mode = MEWS_MODE_SERVER,
		.decay_ms = MEWS_DECAY_NEVER,
	};
	uint64_t had[NODES_MOST], all = 0, got, smaller = 0;
	struct mews_stats stats;
	struct mews_pool *pool;

	(void)state;
	skip_unless_hugetlb();
	for (unsigned i = 0; i < nodes.count; i++)
		all += had[i] = nodes_hugepages(&nodes, i, 1048576, "free_hugepages");
	if (all == 0) {
		puts("skip: no node has a page of 1 GiB");
		skip();
	}
	config.initial_blocks = (all + 1) * 1024 * MIB / LARGE;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	stats = stats_of(pool);
	for (unsigned i = 0; i < nodes.count; i++) {
		if (!nodes.node[i].memory)
			continue;
		got = stats_on(&stats, i)->backed_1g;
		assert_int_equal(got, had[i] << 30);
		assert_int_equal(nodes_hugepages(&nodes, i, 1048576, "free_hugepages"), 0);
		smaller += backed(stats_on(&stats, i)) - got;
	}
	assert_in_range(smaller, 1024 * MIB, 1088 * MIB);
	agrees_with_kernel(pool);
	assert_int_equal(mews_pool_dispose(pool), 0);
	for (unsigned i = 0; i < nodes.count; i++)
		assert_int_equal(nodes_hugepages(&nodes, i, 1048576, "free_hugepages"), had[i]);
}

static long no_mbind(void *addr, unsigned long length, int mode, const unsigned long *mask,
		     unsigned long maxnode, unsigned flags)
{
	(void)addr;
	(void)length;
	(void)mode;
	(void)mask;
	(void)maxnode;
	(void)flags;
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_cpu), cmocka_unit_test(test_foreign_returns),
		cmocka_unit_test(test_initial_blocks), cmocka_unit_test(test_locked),
		cmocka_unit_test(test_oversize),
		cmocka_unit_test(test_strict_used_up), cmocka_unit_test(test_preferred_used_up),
		cmocka_unit_test(test_node_limit), cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_gigantic_pages),
	};
	struct mews_kernel kernel = mews_kernel_real;
	struct options options;
	int failed;

	options_parse(&options, "Where blocks lie, on a machine with several nodes.", argc, argv);
	nodes_read(&nodes);
	if (nodes.count < 2)
		check_skip("this machine has one node: nothing can lie wrong");
	kernel.mbind = no_mbind;
	if (options.plant)
		mews_kernel = &kernel;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return options.plant ? failed == 0 : failed;
}
