/* SPDX-License-Identifier: MIT */
/*
 * Slabs of several extents: they grow one by one, to the byte that a limit allows; each has pages of its
 * own kind, which are counted, parted and, in the child of a fork, copied extent by extent, whatever
 * blocks lie across their ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/memfd.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../numa/kernel.h"
#include "../support/pages.h"
#include "../support/pool.h"

#define MIB ((size_t)1 << 20)
#define MANY 400
#define PAGE ((size_t)4096)

static void *block[MANY], *kept[MANY];
static struct mews_kernel table;
static unsigned asked;

/* Pages that a fork shares, as those of hugetlbfs are, for three extents; more there are not. */
static int some_files(const char *name, unsigned flags)
{
	if (asked++ < 3)
		return mews_kernel_real.memfd_create(name, flags & MFD_CLOEXEC);
	errno = ENOMEM;
	return -1;
}

static struct mews_pool *make_pool(size_t size, enum mews_page_policy pages)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = size, .mode = MEWS_MODE_SERVER,
		.page_policy = pages, .keeper = MEWS_KEEPER_CALLER, .decay_ms = MEWS_DECAY_NEVER,
	};
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

/* Bytes of a pool by what backs them, on all nodes. */
static struct mews_node_stats backed(struct mews_pool *pool)
{
	struct mews_stats stats = stats_of(pool);
	struct mews_node_stats sum = { 0 };

	for (uint32_t i = 0; i < stats.nodes; i++) {
		sum.backed_2m += stats.node[i].backed_2m;
		sum.backed_thp += stats.node[i].backed_thp;
		sum.backed_base += stats.node[i].backed_base;
	}
	return sum;
}

/* Everything goes back, of each kind of pages as much as there was. */
static void give_all(struct mews_pool *pool)
{
	struct mews_node_stats bytes;

	assert_int_equal(mews_pool_collect(pool), 0);
	bytes = backed(pool);
	assert_int_equal(bytes.backed_2m, 0);
	assert_int_equal(bytes.backed_thp, 0);
	assert_int_equal(bytes.backed_base, 0);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Of blocks side by side, so many end within the first bytes of a slab. */
static uint32_t blocks_to(const struct mews_plan *plan, uint64_t bytes)
{
	uint32_t blocks = 0;

	while (blocks < plan->slab_blocks &&
	       blocks / plan->cell_blocks * plan->cell_bytes +
	       (blocks % plan->cell_blocks + 1) * plan->stride <= bytes)
		blocks++;
	return blocks;
}

static void no_block(void *context, const void *bad, enum mews_verdict verdict)
{
	(void)context;
	(void)verdict;
	fail_msg("%p is not a block that is out", bad);
}

/* A slab gets an extent at a time, all blocks that end in it, and the next slab only then. */
static void grow_slab(size_t size, size_t extent, enum mews_page_policy pages)
{
	struct mews_pool *pool = make_pool(size, pages);
	struct mews_slabs *slabs = &mews_control_of(pool)->slabs;
	const struct mews_plan *plan = slabs->plan;
	struct mews_window *window = slabs->window;
	uint64_t at = 0;
	size_t had = 0;
	int error;

	assert_true(plan->slab_bytes > extent);
	assert_int_equal(plan->extent_bytes, extent);
	while (atomic_load(&window->blocks[0]) < plan->slab_blocks) {
		assert_int_equal(mews_slabs_grow(slabs, 0, block + had, 1, &error), 1);
		had++;
		at += extent;
		assert_int_equal(atomic_load(&window->blocks[0]), blocks_to(plan, at));
		assert_int_equal(mews_slabs_free(slabs, 0), blocks_to(plan, at) - had);
		if (pages != MEWS_PAGES_BASE)
			assert_int_equal(stats_of(pool).backed_bytes, at);
	}
	assert_int_equal(atomic_load(&window->frontier), 1);
	assert_int_equal(mews_slabs_grow(slabs, 0, block + had, 1, &error), 1);
	assert_int_equal(atomic_load(&window->blocks[1]), blocks_to(plan, extent));
	mews_slabs_put(slabs, block, had + 1, no_block, NULL);
	check_audit(pool, NULL, 0);
	give_all(pool);
}

static void test_growth(void **state)
{
	static const struct { size_t size, extent; } cases[] = {
		{ 64 << 10, 2 * MIB }, { 128 << 10, 2 * MIB }, { 300000, 2 * MIB },
		{ 2100000, 4 * MIB }, { 5000000, 8 * MIB },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		grow_slab(cases[i].size, cases[i].extent, MEWS_PAGES_THP);
		grow_slab(cases[i].size, cases[i].extent, MEWS_PAGES_BASE);
	}
}

/* A limit between two ends of an extent is used up, to less than `left`; where it rises the extent goes on. */
static void rise(size_t size, uint64_t from, uint64_t to, uint64_t left)
{
	struct mews_pool *pool = make_pool(size, MEWS_PAGES_THP);
	uint64_t limit, backed;
	size_t got = 0;

	for (limit = from; limit < to; limit += limit / 3) {
		assert_int_equal(mews_set_hard_limit(limit), 0);
		got += mews_lease_many(pool, block + got, MANY - got);
		backed = stats_of(pool).backed_bytes;
		assert_in_range(backed, limit < left ? 0 : limit - left, limit);
		check_audit(pool, block, got);
	}
	assert_int_equal(mews_set_hard_limit(0), 0);
	assert_true(got > 2);
	mews_return_many(pool, block, got);
	give_all(pool);
}

static void test_limit(void **state)
{
	(void)state;
	rise(64 << 10, 100000, 20 * MIB, 2 * 65600 + PAGE);
	rise(128 << 10, 300000, 20 * MIB, 2 * 131136 + PAGE);
	rise(20 * MIB, 44 * MIB, 150 * MIB, 32 * MIB); /* the second ends amid an extent and a huge page */
}

static int by_address(const void *a, const void *b)
{
	const char *const *first = a, *const *second = b;

	return (*first > *second) - (*first < *second);
}

/* A huge page in use but for a block in 16 stays whole, however much of its slab is free. */
static void test_split(void **state)
{
	struct mews_pool *pool = make_pool(128 << 10, MEWS_PAGES_THP);
	size_t few = 0, i;

	(void)state;
	assert_int_equal(mews_lease_many(pool, block, 127), 127);
	if (!backed(pool).backed_thp) {
		mews_return_many(pool, block, 127);
		assert_int_equal(mews_pool_dispose(pool), 0);
		skip();
	}
	qsort(block, 127, sizeof(block[0]), by_address);
	for (i = 0; i < 127; i++)
		if (i < 64 && i % 16 != 3)
			kept[few++] = block[i];
		else
			mews_return(pool, block[i]);
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(backed(pool).backed_thp, 8 * MIB);
	assert_in_range(backed(pool).backed_base, 0, 2 * PAGE + 131136);
	check_audit(pool, kept, few);
	mews_return_many(pool, kept, few);
	give_all(pool);
}

static char mark(const void *of, size_t at)
{
	return (char)(((uintptr_t)of >> 12) * 31 + at / PAGE * 7 + 1);
}

static void fill(void *const *blocks, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++)
		for (size_t at = 0; at < size; at += 64)
			((char *)blocks[i])[at] = mark(blocks[i], at);
}

static bool filled(void *const *blocks, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++)
		for (size_t at = 0; at < size; at += 64)
			if (((char *)blocks[i])[at] != mark(blocks[i], at))
				return false;
	return true;
}

/* The child has the blocks with what they held, and what it writes is its own. */
static void fork_with(struct mews_pool *pool, void *const *blocks, size_t count, size_t size)
{
	pid_t child = fork();
	struct audit audit;
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		if (!filled(blocks, count, size))
			_exit(1);
		for (size_t i = 0; i < count; i++)
			memset(blocks[i], 0x55, size);
		if (backed(pool).backed_2m || !audit_pool(pool, blocks, count, &audit))
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_true(filled(blocks, count, size));
}

static void tell_pages(struct mews_pool *pool)
{
	struct mews_node_stats bytes = backed(pool);

	print_message("%llu MiB on shared pages, %llu on huge ones, %llu KiB on base pages\n",
		      (unsigned long long)bytes.backed_2m / MIB, (unsigned long long)bytes.backed_thp / MIB,
		      (unsigned long long)bytes.backed_base / 1024);
}

static void mix(size_t size, size_t count, enum mews_page_policy pages)
{
	struct mews_pool *pool = make_pool(size, pages);
	size_t few = 0, i;

	asked = 0;
	assert_int_equal(mews_lease_many(pool, block, count), count);
	tell_pages(pool);
	assert_true(backed(pool).backed_2m > 0);
	/* Who got no such page does not ask for each extent again. */
	assert_in_range(asked, 4, backed(pool).backed_thp ? 5 : MANY);
	fill(block, count, size);
	check_audit(pool, block, count);
	fork_with(pool, block, count, size);
	for (i = 0; i < count; i++)
		if (i % 37 < 2)
			kept[few++] = block[i];
		else
			mews_return(pool, block[i]);
	assert_int_equal(mews_pool_collect(pool), 0);
	tell_pages(pool);
	assert_true(stats_of(pool).trimmed_parts > 0);
	check_audit(pool, kept, few);
	assert_true(filled(kept, few, size));
	fork_with(pool, kept, few, size);
	assert_int_equal(mews_lease_many(pool, block, count - few), count - few);
	for (i = 0; i < few; i++)
		block[count - few + i] = kept[i];
	fill(block, count - few, size);
	check_audit(pool, block, count);
	fork_with(pool, block, count, size);
	mews_return_many(pool, block, count);
	give_all(pool);
}

static void test_mixed(void **state)
{
	(void)state;
	table = mews_kernel_real;
	table.memfd_create = some_files;
	mews_kernel = &table;
	mix(128 << 10, 200, MEWS_PAGES_2M);
	mix(64 << 10, MANY, MEWS_PAGES_2M);
	mix(300000, 90, MEWS_PAGES_2M);
	mix(2100000, 30, MEWS_PAGES_2M);
	mews_kernel = &mews_kernel_real;
}

static size_t advices;
static bool refuses;

static int count_advice(void *addr, size_t length, int advice)
{
	advices += advice == MADV_HUGEPAGE;
	if (refuses && advice == MADV_HUGEPAGE && length > 2 * MIB) {
		errno = ENOMEM;
		return -1;
	}
	return mews_kernel_real.madvise(addr, length, advice);
}

/* Advices that so many growths of one slab each ask for; all get huge pages. */
static size_t advices_of(struct mews_pool *pool, size_t growths)
{
	size_t before = advices, had = 0;
	int error;

	for (; had < growths; had++)
		assert_int_equal(mews_slabs_grow(&mews_control_of(pool)->slabs, 0, block + had, 1, &error), 1);
	assert_int_equal(backed(pool).backed_thp, growths * 2 * MIB);
	mews_slabs_put(&mews_control_of(pool)->slabs, block, had, no_block, NULL);
	return advices - before;
}

/*
 * New slabs at a window's beginning were advised to have huge pages, but for the first, which looks whether
 * there are any. One whose memory went back has to be told again, and all where the advice was refused.
 */
static void advise(bool refused)
{
	struct mews_pool *pool;

	advices = 0;
	refuses = refused;
	pool = make_pool(4032, MEWS_PAGES_THP);
	assert_int_equal(advices, mews_control_of(pool)->slabs.windows);
	assert_int_equal(advices_of(pool, 10), refused ? 10 : 1);
	assert_int_equal(mews_pool_collect(pool), 0);
	assert_int_equal(advices_of(pool, 12), refused ? 12 : 10);
	give_all(pool);
}

static void test_advice(void **state)
{
	(void)state;
	if (!pages_thp()) {
		puts("skip: transparent huge pages are switched off");
		skip();
	}
	table = mews_kernel_real;
	table.madvise = count_advice;
	mews_kernel = &table;
	advise(false);
	advise(true);
	mews_kernel = &mews_kernel_real;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth), cmocka_unit_test(test_limit), cmocka_unit_test(test_split),
		cmocka_unit_test(test_mixed), cmocka_unit_test(test_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
