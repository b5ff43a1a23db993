/* SPDX-License-Identifier: MIT */
/*
 * Parts of slabs: pages on which no block is in use go back, and no other; blocks of all sizes; what
 * they held stays; they are backed again before they are leased, or not leased at all.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../numa/kernel.h"
#include "../support/pool.h"
#include "../support/rng.h"
#include "../support/threads.h"

#define MANY 20000

static void *block[MANY], *kept[MANY];
static size_t kept_count;
static struct mews_kernel table;
static int refuse;

static int no_memory(void *addr, size_t length, int advice)
{
	if (refuse && advice == MADV_POPULATE_WRITE) {
		errno = ENOMEM;
		return -1;
	}
	return mews_kernel_real.madvise(addr, length, advice);
}

/* A pool of count blocks, all leased, each filled with a byte of its own. */
static struct mews_pool *full_pool(size_t size, size_t count, enum mews_mode mode,
				   enum mews_page_policy pages)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = size, .alignment = size < 64 ? 8 : 0,
		.max_blocks = count, .mode = mode, .page_policy = pages,
		.decay_ms = MEWS_DECAY_NEVER,
	};
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_lease_many(pool, block, count), count);
	for (size_t i = 0; i < count; i++)
		memset(block[i], (int)(i % 255 + 1), size);
	return pool;
}

/* Returns all but about one in so many; those are kept[], in the order of block[]. */
static void return_most(struct mews_pool *pool, size_t count, uint64_t seed, unsigned one_in)
{
	struct rng rng = { seed };

	for (size_t i = kept_count = 0; i < count; i++)
		if (rng_below(&rng, one_in) == 0)
			kept[kept_count++] = block[i];
		else
			mews_return(pool, block[i]);
}

static void check_kept(size_t size)
{
	for (size_t i = 0; i < kept_count; i++)
		for (size_t at = 1; at < size; at++)
			assert_int_equal(((char *)kept[i])[at], ((char *)kept[i])[0]);
}

/* All of it again: what was bare is backed and zero or as it was, and can be written. */
static void lease_again(struct mews_pool *pool, size_t size, size_t count)
{
	size_t got = mews_lease_many(pool, block, count - kept_count);

	assert_int_equal(got, count - kept_count);
	for (size_t i = 0; i < got; i++)
		memset(block[i], 0x55, size);
	check_kept(size);
	memcpy(block + got, kept, kept_count * sizeof(*kept));
	check_audit(pool, block, count);
	mews_return_many(pool, block, count);
}

static void part_and_revive(size_t size, size_t count, enum mews_mode mode,
			    enum mews_page_policy pages, unsigned one_in)
{
	struct mews_pool *pool = full_pool(size, count, mode, pages);
	uint64_t before = stats_of(pool).backed_bytes;
	struct mews_stats stats;

	return_most(pool, count, size, one_in);
	assert_int_equal(mews_pool_collect(pool), 0);
	check_audit(pool, kept, kept_count);
	check_kept(size);
	stats = stats_of(pool);
	assert_int_equal(stats.leased, kept_count);
	assert_int_equal(stats.carved, stats.leased + stats.slab);
	assert_int_equal(stats.trimmed_slabs + stats.trimmed_parts, before - stats.backed_bytes);
	assert_int_equal(stats.trimmed_by_hand, before - stats.backed_bytes);
	/* A block in use keeps two pages at most, and the ends of a chunk of 64 KiB and more one. */
	assert_in_range(stats.backed_bytes, 0, kept_count * (2 * 4096 + stats.stride) + before / 8);
	lease_again(pool, size, count);
	assert_int_equal(mews_pool_collect(pool), 0);
	assert_int_equal(stats_of(pool).backed_bytes, 0);
	assert_int_equal(stats_of(pool).carved, 0);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_sizes(void **state)
{
	static const struct { size_t size, count; unsigned one_in; } cases[] = {
		{ 8, 20000, 5000 }, { 64, 20000, 1000 }, { 200, 20000, 300 }, { 1024, 8000, 100 },
		{ 4032, 8000, 64 }, { 5000, 4000, 20 }, { 65536, 300, 3 }, { 300000, 60, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		part_and_revive(cases[i].size, cases[i].count, MEWS_MODE_SERVER, MEWS_PAGES_THP,
				cases[i].one_in);
		part_and_revive(cases[i].size, cases[i].count, MEWS_MODE_WORKSTATION,
				MEWS_PAGES_BASE, cases[i].one_in);
	}
}

/* Bytes on huge pages, or on base pages, of all nodes. */
static uint64_t backed(struct mews_pool *pool, bool huge)
{
	struct mews_stats stats = stats_of(pool);
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < stats.nodes; i++)
		bytes += huge ? stats.node[i].backed_thp : stats.node[i].backed_base;
	return bytes;
}

/* Huge pages are not split for a little. */
static void test_split_threshold(void **state)
{
	struct mews_pool *pool = full_pool(4032, 4000, MEWS_MODE_SERVER, MEWS_PAGES_THP);
	struct mews_stats stats = stats_of(pool);

	(void)state;
	if (!backed(pool, true)) {
		mews_pool_dispose(pool);
		skip();
	}
	mews_return_many(pool, block + 100, 40); /* of 510 in their slab: less than an eighth */
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(stats_of(pool).trimmed_parts, 0);
	assert_int_equal(stats_of(pool).backed_bytes, stats.backed_bytes);
	assert_int_equal(mews_pool_collect(pool), 0);
	assert_true(stats_of(pool).trimmed_parts > 0);
	assert_true(backed(pool, false) > 0);
	mews_return_many(pool, block, 100);
	mews_return_many(pool, block + 140, 4000 - 140);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* The system has no memory for the pages: the lease fails, nothing is lost, and later it succeeds. */
static void test_refused(void **state)
{
	struct mews_pool *pool = full_pool(4032, 2000, MEWS_MODE_SERVER, MEWS_PAGES_THP);
	size_t got;

	(void)state;
	return_most(pool, 2000, 7, 10);
	assert_int_equal(mews_pool_collect(pool), 0);
	table = mews_kernel_real;
	table.madvise = no_memory;
	mews_kernel = &table;
	refuse = 1;
	got = mews_lease_many(pool, block, 2000);
	assert_int_equal(errno, ENOMEM);
	assert_in_range(got, 0, 1000);
	refuse = 0;
	mews_return_many(pool, block, got);
	check_audit(pool, kept, kept_count);
	lease_again(pool, 4032, 2000);
	mews_kernel = &mews_kernel_real;
	assert_int_equal(mews_pool_dispose(pool), 0);
}

#define THEIRS 200

static struct mews_pool *shared;
static void *theirs[THEIRS];
static _Atomic int refuse_once;

static void *lease_theirs(void *unused)
{
	assert_int_equal(mews_lease_many(shared, theirs, THEIRS), THEIRS);
	for (int i = 0; i < THEIRS; i++)
		memset(theirs[i], i + 1, 4032);
	return unused;
}

/* Memory for one call runs out half way; meanwhile another thread gets the blocks behind. */
static int no_memory_beside(void *addr, size_t length, int advice)
{
	pthread_t thread;

	if (advice != MADV_POPULATE_WRITE || !atomic_exchange(&refuse_once, 0))
		return mews_kernel_real.madvise(addr, length, advice);
	assert_int_equal(mews_kernel_real.madvise(addr, length, advice), 0);
	assert_int_equal(pthread_create(&thread, NULL, lease_theirs, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	errno = ENOMEM;
	return -1;
}

/* A page that is refused to one thread may be in use by the other, and stays as that one wrote it. */
static void test_refused_beside(void **state)
{
	void *mine;

	(void)state;
	shared = full_pool(4032, 1000, MEWS_MODE_SERVER, MEWS_PAGES_BASE);
	kept[0] = block[0];
	mews_return_many(shared, block + 1, 999);
	assert_int_equal(mews_pool_collect(shared), 0);
	table = mews_kernel_real;
	table.madvise = no_memory_beside;
	mews_kernel = &table;
	refuse_once = 1;
	mine = mews_lease(shared);
	assert_int_equal(refuse_once, 0);
	mews_kernel = &mews_kernel_real;
	for (int i = 0; i < THEIRS; i++)
		for (int at = 0; at < 4032; at++)
			assert_int_equal(((unsigned char *)theirs[i])[at], i + 1);
	mews_return(shared, mine);
	mews_return_many(shared, theirs, THEIRS);
	check_audit(shared, kept, 1);
	mews_return(shared, kept[0]);
	assert_int_equal(mews_pool_dispose(shared), 0);
}

/* A double return of a bare block is one, and does not give it memory or a second life. */
static void test_double_return(void **state)
{
	struct mews_pool *pool = full_pool(4032, 1000, MEWS_MODE_SERVER, MEWS_PAGES_BASE);
	struct mews_control *control = mews_control_of(pool);
	uint32_t number;
	void *bare = block[300];

	(void)state;
	mews_return_many(pool, block + 1, 999);
	kept[0] = block[0];
	assert_int_equal(mews_pool_collect(pool), 0);
	if (mews_slabs_find(&control->slabs, bare, &number) == MEWS_BLOCK_START) {
		assert_true(mews_slabs_is_bare(&control->slabs, number));
		mews_return(pool, bare);
		assert_int_equal(mews_pool_collect(pool), 0);
		assert_int_equal(stats_of(pool).double_returns, 1);
	}
	check_audit(pool, kept, 1);
	mews_return(pool, kept[0]);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* In small steps: each call gets further, and all of them together as far as one without a bound. */
static void test_budget(void **state)
{
	struct mews_pool *pool = full_pool(64, 20000, MEWS_MODE_SERVER, MEWS_PAGES_BASE);
	uint64_t before, after;
	int calls = 0, result;

	(void)state;
	return_most(pool, 20000, 3, 2000);
	do {
		before = stats_of(pool).backed_bytes;
		result = mews_pool_trim(pool, 0, 1);
		assert_in_range(++calls, 1, 10000);
	} while (result == -EAGAIN);
	assert_int_equal(result, 0);
	assert_true(calls > 3);
	after = stats_of(pool).backed_bytes;
	assert_true(after <= before);
	assert_int_equal(mews_pool_collect(pool), 0);
	assert_in_range(stats_of(pool).backed_bytes, after * 7 / 8, after);
	check_audit(pool, kept, kept_count);
	mews_return_many(pool, kept, kept_count);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/*
 * A thread that stopped within an operation has hidden a word of free blocks, or a slab's blocks are in
 * its hands: leases find the ones, and make up for the others. On one CPU: all of it in one window.
 */
static void test_stopped_thread(void **state)
{
	unsigned cpu = threads_pin(0);
	struct mews_pool *pool = full_pool(4032, 40, MEWS_MODE_SERVER, MEWS_PAGES_BASE);
	struct mews_control *control = mews_control_of(pool);
	struct mews_window *w = &control->slabs.window[control->plan.cpu_window[cpu]];
	uint64_t bits;

	(void)state;
	mews_return_many(pool, block, 40);
	assert_int_equal(mews_pool_drain(pool, NULL), 0);
	atomic_fetch_add(&control->sides.side[0].gate[0], 1);
	atomic_store(&w->summary[0], 0);
	assert_int_equal(mews_lease_many(pool, block, 40), 40);
	atomic_fetch_sub(&control->sides.side[0].gate[0], 1);
	mews_return_many(pool, block, 40);
	assert_int_equal(mews_pool_drain(pool, NULL), 0);
	bits = atomic_exchange(&w->free[0], 0);
	assert_int_equal(bits, (UINT64_C(1) << 40) - 1);
	atomic_fetch_sub(&control->slabs.claimed, 40);
	assert_int_equal(mews_lease_many(pool, block, 40), 40);
	assert_int_equal(mews_lease_many(pool, block, 1), 0);
	mews_return_many(pool, block, 40);
	atomic_fetch_or(&w->bare_summary[0], 1);
	atomic_fetch_add(&w->bare_blocks, 40);
	atomic_fetch_or(&w->bare[0], bits);
	atomic_fetch_sub(&w->free_blocks, 40);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
	threads_unpin();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_split_threshold),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_beside),
		cmocka_unit_test(test_double_return),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_stopped_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
