/* SPDX-License-Identifier: MIT */
/* Depots: capacity, last in first out, one depot's magazines stay its own, threads. */
#include <stdlib.h>
#include <string.h>
#include "../../lib/depot.h"
#include "../support/plan.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define MAGAZINE 8
#define CAPACITY 5

struct fixture {
	struct mews_plan plan;
	struct mews_depots depots;
	void *tables;
};

static void set_up(struct fixture *f)
{
	f->plan = plan_by_hand(2, 1024, 0);
	f->tables = aligned_alloc(128, mews_depots_table_bytes(&f->plan));
	memset(f->tables, 0, mews_depots_table_bytes(&f->plan));
	mews_depots_init(&f->depots, &f->plan, f->tables);
}

/* A magazine of made-up blocks: depots never touch what they keep. */
static void make(void **blocks, uintptr_t id)
{
	for (uintptr_t i = 0; i < MAGAZINE; i++)
		blocks[i] = (void *)(id * 64 + i + 1);
}

static uintptr_t id_of(void *const *blocks)
{
	uintptr_t id = ((uintptr_t)blocks[0] - 1) / 64;

	for (uintptr_t i = 0; i < MAGAZINE; i++)
		assert_int_equal((uintptr_t)blocks[i], id * 64 + i + 1);
	return id;
}

static void test_capacity(void **state)
{
	void *blocks[MAGAZINE];
	struct fixture f;

	(void)state;
	set_up(&f);
	for (int round = 0; round < 3; round++) {
		for (uintptr_t i = 0; i < CAPACITY; i++) {
			make(blocks, i);
			assert_true(mews_depot_put(&f.depots, 1, blocks));
			assert_int_equal(mews_depot_blocks(&f.depots, 1), (i + 1) * MAGAZINE);
		}
		assert_false(mews_depot_put(&f.depots, 1, blocks));
		assert_int_equal(mews_depot_blocks(&f.depots, 0), 0);
		assert_false(mews_depot_take(&f.depots, 0, blocks));
		for (uintptr_t i = CAPACITY; i-- > 0;) {
			assert_true(mews_depot_take(&f.depots, 1, blocks));
			assert_int_equal(id_of(blocks), i);
		}
		assert_false(mews_depot_take(&f.depots, 1, blocks));
	}
	free(f.tables);
}

/* Magazines that move together: all that there are, never one in two hands. */
static void test_several_at_a_time(void **state)
{
	struct mews_magazine some[MEWS_AT_ONCE], others[MEWS_AT_ONCE];
	struct fixture f;

	(void)state;
	set_up(&f);
	assert_int_equal(mews_depot_pop_empty(&f.depots, 0, some, 3), 3);
	for (uintptr_t i = 0; i < 3; i++)
		make(some[i].slots, i);
	assert_int_equal(mews_depot_pop_empty(&f.depots, 0, others, 3), CAPACITY - 3);
	assert_int_equal(mews_depot_pop_empty(&f.depots, 0, others, 1), 0);
	assert_int_equal(mews_depot_push_full(&f.depots, 0, some, 3), 3);
	assert_int_equal(mews_depot_blocks(&f.depots, 0), 3 * MAGAZINE);
	mews_depot_low(&f.depots, 0);
	assert_int_equal(mews_depot_pop_full(&f.depots, 0, others, 2), 2);
	assert_int_equal(id_of(others[0].slots), 2);
	assert_int_equal(id_of(others[1].slots), 1);
	assert_int_equal(mews_depot_low(&f.depots, 0), 1);
	mews_depot_push_empty(&f.depots, 0, others, 2);
	assert_int_equal(mews_depot_pop_full(&f.depots, 0, some, 3), 1);
	assert_int_equal(id_of(some[0].slots), 0);
	assert_int_equal(mews_depot_pop_full(&f.depots, 0, others, 3), 0);
	assert_int_equal(mews_depot_pop_empty(&f.depots, 0, others, 3), 2);
	assert_ptr_not_equal(others[0].slots, others[1].slots);
	free(f.tables);
}

static void test_depots_know_their_window(void **state)
{
	struct fixture f;

	(void)state;
	set_up(&f);
	assert_int_equal(f.depots.count, 2);
	assert_int_equal(f.depots.depot[0].window, 0);
	assert_int_equal(f.depots.depot[1].window, 1);
	free(f.tables);
}

struct shared {
	struct fixture f;
	_Atomic uint32_t out[CAPACITY];
	atomic_uint failures;
};

static void *move_magazines(void *argument)
{
	struct worker *worker = argument;
	struct shared *shared = worker->shared;
	void *blocks[MAGAZINE];

	for (unsigned i = 0; i < 40000; i++) {
		uintptr_t id;

		if (!mews_depot_take(&shared->f.depots, 0, blocks))
			continue;
		id = ((uintptr_t)blocks[0] - 1) / 64;
		for (uintptr_t k = 0; k < MAGAZINE; k++)
			if ((uintptr_t)blocks[k] != id * 64 + k + 1 || id >= CAPACITY)
				atomic_fetch_add(&shared->failures, 1);
		if (id < CAPACITY && atomic_exchange(&shared->out[id], 1))
			atomic_fetch_add(&shared->failures, 1);
		if (id < CAPACITY)
			atomic_store(&shared->out[id], 0);
		while (!mews_depot_put(&shared->f.depots, 0, blocks))
			sched_yield();
	}
	return NULL;
}

static void test_threads(void **state)
{
	static struct shared shared;
	void *blocks[MAGAZINE];

	(void)state;
	set_up(&shared.f);
	for (uintptr_t i = 0; i < CAPACITY; i++) {
		make(blocks, i);
		assert_true(mews_depot_put(&shared.f.depots, 0, blocks));
	}
	threads_run(6, 11, &shared, move_magazines);
	assert_int_equal(atomic_load(&shared.failures), 0);
	assert_int_equal(mews_depot_blocks(&shared.f.depots, 0), CAPACITY * MAGAZINE);
	free(shared.f.tables);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capacity),
		cmocka_unit_test(test_several_at_a_time),
		cmocka_unit_test(test_depots_know_their_window),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
