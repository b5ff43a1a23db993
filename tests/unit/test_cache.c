/* SPDX-License-Identifier: MIT */
/* Caches: open, closed, and what the sequences make of each; a closer takes all there is. */
#include <stdio.h>
#include <string.h>
#include "../../lib/cache.h"
#include "../../lib/exchange.h"
#include "../../lib/process.h"
#include "../support/pool.h"
#include "../support/suite.h"
#include "../support/threads.h"

static struct mews_pool *pool;
static struct mews_control *control;
static unsigned cpu;

static int set_up_with(size_t max_blocks)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 64, .max_blocks = max_blocks,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP,
		.decay_ms = MEWS_DECAY_NEVER,
	};
	void *block;

	if (mews_pool_create(&config, &pool))
		return -1;
	control = mews_control_of(pool);
	cpu = threads_pin(0);
	block = mews_lease(pool);
	mews_return(pool, block);
	return block ? 0 : -1;
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(4000);
}

/* So large that the share of a CPU does not bound its cache. */
static int set_up_large(void **state)
{
	(void)state;
	return set_up_with(8 * MEWS_CACHE_SLOTS_MAX * threads_cpus());
}

static int tear_down(void **state)
{
	(void)state;
	return mews_pool_dispose(pool);
}

static uint32_t state_of(void)
{
	return atomic_load(&control->sides.side[cpu].cache_state);
}

static void test_open_by_use(void **state)
{
	struct mews_cpu_cache *cache = mews_cache_of(pool, cpu);

	(void)state;
	assert_int_equal(state_of(), MEWS_CACHE_OPEN);
	assert_ptr_equal(cache->base, mews_cache_bottom(cache, control->plan.cache_capacity));
	assert_int_equal(cache->span, control->plan.window_bytes);
	assert_true(mews_cache_count(control, cpu) > 0);
}

static void open_cache(void)
{
	mews_cache_open(control, cpu, control->plan.cache_capacity);
}

static size_t close_cache(void **blocks)
{
	bool left = false;
	size_t count = 0;

	do
		count += mews_cache_close(control, cpu, blocks + count, &left);
	while (left);
	return count;
}

static void test_close_takes_all(void **state)
{
	void *blocks[MEWS_CACHE_SLOTS_MAX], *one;
	size_t before = mews_cache_count(control, cpu);

	(void)state;
	assert_int_equal(close_cache(blocks), before);
	assert_int_equal(state_of(), MEWS_CACHE_CLOSED);
	assert_int_equal(mews_cache_count(control, cpu), 0);
	assert_null(mews_seq_lease(pool, __rseq_offset));
	assert_int_equal(mews_seq_lease_many(pool, __rseq_offset, &one, 1), 0);
	assert_int_equal(mews_seq_return(pool, __rseq_offset, blocks[0]), 0);
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks, 1), 0);
	assert_int_equal(close_cache(blocks + before), 0);
	open_cache();
	open_cache();
	assert_int_equal(state_of(), MEWS_CACHE_OPEN);
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks, before), before);
}

/* Full and empty are found by the sequences, one by one and in bulk, to the block. */
static void test_bounds(void **state)
{
	uint32_t capacity = control->plan.cache_capacity;
	void *blocks[MEWS_CACHE_SLOTS_MAX + 1], *again[MEWS_CACHE_SLOTS_MAX + 1];
	size_t had = close_cache(blocks), got;

	(void)state;
	got = had + mews_slabs_take(&control->slabs, 0, blocks + had, capacity + 1 - had);
	assert_int_equal(got, capacity + 1);
	open_cache();
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks, capacity - 1),
			 capacity - 1);
	assert_true(mews_seq_return(pool, __rseq_offset, blocks[capacity - 1]));
	assert_false(mews_seq_return(pool, __rseq_offset, blocks[capacity]));
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks + capacity, 1), 0);
	assert_int_equal(mews_cache_count(control, cpu), capacity);
	assert_int_equal(mews_seq_lease_many(pool, __rseq_offset, again, capacity), capacity);
	assert_memory_equal(again, blocks, capacity * sizeof(void *));
	assert_null(mews_seq_lease(pool, __rseq_offset));
	mews_slabs_put(&control->slabs, blocks, capacity + 1, NULL, NULL);
}

/* A partial bulk: what is there, what fits. */
static void test_partial_bulk(void **state)
{
	uint32_t capacity = control->plan.cache_capacity;
	void *blocks[2 * MEWS_CACHE_SLOTS_MAX];
	size_t had = close_cache(blocks);
	size_t got = had + mews_slabs_take(&control->slabs, 0, blocks + had, capacity + 5 - had);

	(void)state;
	open_cache();
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks, 3), 3);
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks + 3, got - 3), capacity - 3);
	assert_int_equal(mews_cache_count(control, cpu), capacity);
	assert_int_equal(mews_seq_lease_many(pool, __rseq_offset, blocks, capacity - 2), capacity - 2);
	assert_int_equal(mews_seq_lease_many(pool, __rseq_offset, blocks + capacity - 2, 9), 2);
	mews_slabs_put(&control->slabs, blocks, got, NULL, NULL);
}

/* One burst of count blocks; returns the exchanges with the depot that it took. */
static uint64_t burst(size_t count)
{
	struct mews_stats before = { .size = sizeof(before) }, after = before;
	void *blocks[4 * MEWS_CACHE_SLOTS_MAX];

	assert_int_equal(mews_pool_stats(pool, &before), 0);
	for (size_t i = 0; i < count; i++)
		assert_non_null(blocks[i] = mews_lease(pool));
	for (size_t i = 0; i < count; i++)
		mews_return(pool, blocks[i]);
	assert_int_equal(mews_pool_stats(pool, &after), 0);
	return after.lease_misses - before.lease_misses + after.return_misses - before.return_misses;
}

static uint32_t capacity_of(void)
{
	struct mews_cpu_cache *cache = mews_cache_of(pool, cpu);

	return (uint32_t)((void **)cache - cache->base);
}

/*
 * In bursts that are longer than it, a cache grows until they fit; in such that are longer by far, or where
 * it is closed, it goes back. A closer takes it in two parts.
 */
static void test_bursts(void **state)
{
	uint32_t capacity = control->plan.cache_capacity, most = control->plan.cache_most;
	void *blocks[MEWS_CACHE_SLOTS_MAX];
	size_t count;

	(void)state;
	assert_in_range(most, capacity + 1, MEWS_CACHE_SLOTS_MAX);
	burst(capacity / 2);
	assert_int_equal(capacity_of(), capacity);
	for (int i = 0; i < 4; i++)
		burst(most - control->plan.magazine);
	assert_int_equal(capacity_of(), most);
	assert_int_equal(burst(most - control->plan.magazine), 0);
	burst(4 * MEWS_CACHE_SLOTS_MAX);
	assert_int_equal(capacity_of(), capacity);
	for (int i = 0; i < 4; i++)
		burst(most - control->plan.magazine);
	count = close_cache(blocks);
	assert_in_range(count, most - control->plan.magazine, most);
	assert_int_equal(state_of(), MEWS_CACHE_CLOSED);
	assert_null(mews_seq_lease(pool, __rseq_offset));
	assert_int_equal(mews_seq_return(pool, __rseq_offset, blocks[0]), 0);
	open_cache();
	assert_int_equal(capacity_of(), capacity);
	mews_slabs_put(&control->slabs, blocks, count, NULL, NULL);
}

/* Bulk calls of a magazine at a time, of which whole ones go to the depot: they open the cache, or wake it. */
static void test_bulk_opens(void **state)
{
	size_t count = control->plan.magazine;
	void *blocks[MEWS_CACHE_SLOTS_MAX];
	struct mews_stats before, after;

	(void)state;
	for (int rests = 0; rests < 2; rests++) {
		mews_slabs_put(&control->slabs, blocks, close_cache(blocks), NULL, NULL);
		assert_int_equal(mews_lease_many(pool, blocks, count), count);
		if (rests) {
			open_cache();
			assert_true(mews_cache_rest(control, cpu));
		}
		mews_return_many(pool, blocks, count);
		assert_int_equal(state_of(), MEWS_CACHE_OPEN);
		assert_int_equal(mews_cache_count(control, cpu), count);
		before = stats_of(pool);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(mews_lease_many(pool, blocks, count), count);
			mews_return_many(pool, blocks, count);
		}
		after = stats_of(pool);
		assert_int_equal(after.lease_misses, before.lease_misses);
	}
}

/* An overflow of a cache that is full. Returns how many magazines it says that others will read. */
static uint32_t overflow(void)
{
	void *blocks[MEWS_CACHE_SLOTS_MAX];
	size_t room = capacity_of() - mews_cache_count(control, cpu);
	struct mews_sent sent;
	struct mews_pass pass;

	assert_int_equal(mews_slabs_take(&control->slabs, 0, blocks, room), room);
	assert_int_equal(mews_seq_return_many(pool, __rseq_offset, blocks, room), room);
	pass = mews_pass_gate(control, cpu);
	mews_overflow(control, &pass, &sent);
	mews_pass_end(&pass);
	return sent.count;
}

/*
 * Only from a CPU that returns what others take: an overflow after an overflow, and a depot that lost some. Where
 * slots can't be sent, more magazines leave at a time, and none is sent.
 */
static void test_sent(void **state)
{
	uint32_t depot = control->plan.cpu_depot[cpu];
	_Atomic uint32_t *took = &control->sides.side[cpu].took;

	(void)state;
	burst(4 * MEWS_CACHE_SLOTS_MAX);
	mews_collect_cache(control, cpu);
	open_cache();
	mews_collect_depot(control, depot, UINT32_MAX);
	atomic_store(took, 0);
	control->depots.sends = true;
	assert_int_equal(overflow(), 2);
	assert_int_equal(overflow(), 0);
	mews_collect_depot(control, depot, 1);
	assert_int_equal(overflow(), 2);
	mews_collect_depot(control, depot, UINT32_MAX);
	control->depots.sends = false;
	assert_int_equal(overflow(), 0);
	assert_int_equal(mews_depot_blocks(&control->depots, depot), 3 * control->plan.magazine);
	control->depots.sends = true;
	mews_collect_depot(control, depot, UINT32_MAX);
	atomic_store(took, 1);
	assert_int_equal(overflow(), 0); /* it grew */
	atomic_store(took, 1);
	assert_int_equal(overflow(), 0);
	assert_int_equal(mews_depot_blocks(&control->depots, depot), control->plan.magazine);
}

#define AT_ONCE 8

static _Atomic bool stop;

static void *move_bounds(void *unused)
{
	(void)unused;
	threads_pin(1);
	while (!atomic_load(&stop)) {
		mews_cache_rest(control, cpu);
		mews_cache_wake(control, cpu);
	}
	return NULL;
}

/*
 * A cache that wakes while its CPU is in the midst of a bulk sequence: whichever bound that reads, it moves no
 * more than it was asked for.
 */
static void test_bounds_that_move(void **state)
{
	void *held[MEWS_CACHE_SLOTS_MAX + AT_ONCE];
	size_t n = close_cache(held), all = control->plan.cache_capacity + AT_ONCE / 2, put;
	double end = threads_now() + 0.5;
	pthread_t other;

	(void)state;
	n += mews_slabs_take(&control->slabs, 0, held + n, all - n);
	assert_int_equal(n, all);
	open_cache();
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&other, NULL, move_bounds, NULL), 0);
	for (n -= mews_seq_return_many(pool, __rseq_offset, held + AT_ONCE, n - AT_ONCE);
	     threads_now() < end;)
		for (int i = 0; i < 1000; i++) {
			put = n < AT_ONCE ? 0 : mews_seq_return_many(pool, __rseq_offset, held, AT_ONCE);
			assert_in_range(put, 0, AT_ONCE);
			n -= put;
			memmove(held, held + put, n * sizeof(*held));
			put = mews_seq_lease_many(pool, __rseq_offset, held + n, AT_ONCE);
			assert_in_range(put, 0, AT_ONCE);
			n += put;
		}
	atomic_store(&stop, true);
	pthread_join(other, NULL);
	n += close_cache(held + n);
	assert_int_equal(n, all);
	mews_slabs_put(&control->slabs, held, n, NULL, NULL);
	open_cache();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_by_use, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_close_takes_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_partial_bulk, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bursts, set_up_large, tear_down),
		cmocka_unit_test_setup_teardown(test_sent, set_up_large, tear_down),
		cmocka_unit_test_setup_teardown(test_bulk_opens, set_up_large, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds_that_move, set_up_large, tear_down),
	};

	if (__rseq_size == 0) {
		puts("skip: no restartable sequences, no caches");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
