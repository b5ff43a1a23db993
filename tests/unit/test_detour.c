/* SPDX-License-Identifier: MIT */
/* Detours: the caches are empty and stay closed, operations go on, and afterwards all is as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "lib/detour.h"
#include "lib/exchange.h"
#include "tests/support/pool.h"

#define BLOCKS 500

static void work(struct mews_pool *pool)
{
	void *block[BLOCKS];
	int i;

	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	for (i = 0; i < BLOCKS / 2; i++)
		mews_return(pool, block[i]);
	mews_return_many(pool, block + BLOCKS / 2, BLOCKS / 2);
}

static void test_detour(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_control *control;
	struct mews_pool *pool;
	bool cached;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	control = mews_control_of(pool);
	cached = control->path == MEWS_PATH_RSEQ;
	work(pool);
	assert_int_equal(stats_of(pool).cached > 0, cached);

	mews_detour_begin(control, MEWS_DETOUR_WAIT);
	assert_int_equal(stats_of(pool).cached, 0);
	mews_detour_begin(control, MEWS_DETOUR_SAMPLE);
	work(pool);
	mews_detour_end(control, MEWS_DETOUR_WAIT);
	work(pool);
	assert_int_equal(stats_of(pool).cached, 0);
	assert_true(stats_of(pool).side > 0);
	assert_int_equal(stats_of(pool).leased, 0);

	mews_detour_end(control, MEWS_DETOUR_SAMPLE);
	assert_int_equal(stats_of(pool).side, 0);
	work(pool);
	assert_int_equal(stats_of(pool).cached > 0, cached);
	assert_int_equal(stats_of(pool).leased, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* A cache that is open and empty is closed too: a return by a hit would not be seen. */
static void test_detour_around_an_empty_cache(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;
	void *block[BLOCKS];

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	mews_return(pool, block[0]);
	assert_ptr_equal(mews_lease(pool), block[0]);
	mews_detour_begin(mews_control_of(pool), MEWS_DETOUR_SAMPLE);
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(stats_of(pool).cached, 0);
	mews_detour_end(mews_control_of(pool), MEWS_DETOUR_SAMPLE);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Who sets a detour passes over a cache that someone is at: then who wakes it closes it. */
static void test_detour_beside_a_wake(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = 100 * BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_control *control;
	struct mews_pool *pool;
	uint32_t cpu = 0;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	control = mews_control_of(pool);
	work(pool);
	while (cpu < control->sides.count &&
	       atomic_load(&control->sides.side[cpu].cache_state) != MEWS_CACHE_OPEN)
		cpu++;
	assert_int_equal(cpu < control->sides.count, control->path == MEWS_PATH_RSEQ);
	if (cpu < control->sides.count) {
		atomic_store(&control->sides.side[cpu].cache_state, MEWS_CACHE_BUSY);
		mews_detour_begin(control, MEWS_DETOUR_WAIT);
		atomic_store(&control->sides.side[cpu].cache_state, MEWS_CACHE_RESTING);
		assert_true(mews_wake_cache(control, cpu));
		assert_int_equal(atomic_load(&control->sides.side[cpu].cache_state), MEWS_CACHE_CLOSED);
		assert_int_equal(stats_of(pool).cached, 0);
		mews_detour_end(control, MEWS_DETOUR_WAIT);
	}
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_detour),
		cmocka_unit_test(test_detour_around_an_empty_cache),
		cmocka_unit_test(test_detour_beside_a_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
