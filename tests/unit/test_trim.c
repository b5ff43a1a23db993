/* SPDX-License-Identifier: MIT */
/* Trimming: free slabs go back, used ones stay, the target and the budget hold, blocks come again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "lib/control.h"
#include "tests/support/pool.h"

#define BLOCKS 4000

static void *block[BLOCKS];

static struct mews_pool *make_pool(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	return pool;
}

static void test_all(void **state)
{
	struct mews_pool *pool = make_pool();

	(void)state;
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(stats_of(pool).carved, BLOCKS);
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(stats_of(pool).carved, 0);
	assert_int_equal(stats_of(pool).backed_bytes, 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	memset(block[BLOCKS - 1], 1, 4032);
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_target(void **state)
{
	struct mews_pool *pool = make_pool();
	uint64_t before = stats_of(pool).backed_bytes;

	(void)state;
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_trim(pool, before, 0), 0);
	assert_int_equal(stats_of(pool).backed_bytes, before);
	assert_int_equal(mews_pool_trim(pool, before / 2, 0), 0);
	assert_in_range(stats_of(pool).backed_bytes, before / 4, before / 2);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* One block of the first slab stays out: that slab stays, the others go, and nothing is lost. */
static void test_used(void **state)
{
	struct mews_pool *pool = make_pool();
	void *kept = block[0];
	struct audit audit;

	(void)state;
	mews_return_many(pool, block + 1, BLOCKS - 1);
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(stats_of(pool).leased, 1);
	assert_in_range(stats_of(pool).backed_bytes, 1, (uint64_t)2 << 20);
	assert_true(audit_pool(pool, &kept, 1, &audit));
	memset(kept, 1, 4032);
	mews_return(pool, kept);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Leases and returns some; how many lie in caches, side stacks and depots then. */
static uint64_t use_some(struct mews_pool *pool)
{
	struct mews_stats stats;

	assert_int_equal(mews_lease_many(pool, block, 1000), 1000);
	for (int i = 0; i < 1000; i++)
		mews_return(pool, block[i]);
	stats = stats_of(pool);
	return stats.cached + stats.side + stats.depot;
}

static void limit_nodes(struct mews_pool *pool, size_t bytes)
{
	struct mews_stats stats = stats_of(pool);

	for (uint32_t i = 0; i < stats.nodes; i++)
		assert_int_equal(mews_pool_set_node_limit(pool, stats.node[i].node, bytes), 0);
}

/* Each block that goes from there to its slab is counted under one cause. */
static void test_causes(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = 2000,
					   .decay_ms = MEWS_DECAY_NEVER };
	uint64_t by_hand, for_others;
	struct mews_stats stats;
	struct mews_pool *pool;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	for_others = use_some(pool);
	assert_true(for_others > 0);
	assert_int_equal(mews_pool_drain(pool, NULL), 0);
	by_hand = use_some(pool);
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	for_others += use_some(pool);
	limit_nodes(pool, 1);
	stats = stats_of(pool);
	assert_int_equal(stats.reclaimed_by_hand, by_hand);
	assert_int_equal(stats.reclaimed_for_others, for_others);
	assert_int_equal(stats.reclaimed_idle + stats.reclaimed_orphaned + stats.reclaimed_depot, 0);
	assert_int_equal(stats.carved, stats.slab);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_budget(void **state)
{
	struct mews_pool *pool = make_pool();
	int steps = 0, result;

	(void)state;
	mews_return_many(pool, block, BLOCKS);
	while ((result = mews_pool_trim(pool, 0, 1)) == -EAGAIN)
		steps++;
	assert_int_equal(result, 0);
	/* One CPU a step at the least, then one of the eight slabs. */
	assert_in_range(steps, 2, 16 + mews_control_of(pool)->sides.count);
	assert_int_equal(stats_of(pool).backed_bytes, 0);
	assert_int_equal(mews_pool_trim(NULL, 0, 0), -EINVAL);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static uint64_t slab_of(const struct mews_slabs *slabs, const void *block)
{
	return (uint64_t)((const char *)block - slabs->start) >> slabs->slab_shift;
}

/* Where another trim was late is nothing to a new one: what is free by now may lie above. */
static void test_leftover(void **state)
{
	struct mews_trim late = { .bytes = UINT64_MAX, .end = 1, .parts = true };
	struct mews_pool *pool = make_pool();
	struct mews_slabs *slabs = &mews_control_of(pool)->slabs;
	uint64_t before = stats_of(pool).backed_bytes, top = 0;

	(void)state;
	for (uint32_t window = 0; window < slabs->windows; window++)
		for (int call = 0; call < 9; call++) /* the eight slabs as a whole, the first in parts */
			mews_slabs_trim(slabs, window, &late);
	assert_int_equal(stats_of(pool).backed_bytes, before);
	for (int i = 0; i < BLOCKS; i++)
		if (slab_of(slabs, block[i]) > top)
			top = slab_of(slabs, block[i]);
	for (int i = 0; i < BLOCKS; i++)
		if (slab_of(slabs, block[i]) == top) {
			mews_return(pool, block[i]);
			block[i] = NULL;
		}
	assert_int_equal(mews_pool_trim(pool, 0, 100000000), 0);
	assert_true(stats_of(pool).backed_bytes < before);
	for (int i = 0; i < BLOCKS; i++)
		if (block[i])
			mews_return(pool, block[i]);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_target),
		cmocka_unit_test(test_used),
		cmocka_unit_test(test_causes),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_leftover),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
