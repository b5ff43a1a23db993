/* SPDX-License-Identifier: MIT */
/* The side table: the gate lets nobody be overlooked; stacks keep blocks, once each. */
#include <stdlib.h>
#include <string.h>
#include "../../lib/side.h"
#include "../support/plan.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define SIDES 4
#define BLOCKS 64

static struct mews_side side[SIDES];
static struct mews_plan plan;
static struct mews_slabs slabs;
static struct mews_sides sides;
static void *tables, *blocks[BLOCKS];
static unsigned bad_count;

static int set_up(void **state)
{
	int error;

	(void)state;
	memset(side, 0, sizeof(side));
	bad_count = 0;
	plan = plan_by_hand(1, 1024, 0);
	tables = calloc(1, mews_slabs_table_bytes(&plan));
	if (mews_slabs_init(&slabs, &plan, tables))
		return -1;
	sides = (struct mews_sides){ .count = SIDES, .side = side,
				     .link = calloc(4096, sizeof(mews_word)), .slabs = &slabs };
	return mews_slabs_grow(&slabs, 0, blocks, BLOCKS, &error) == BLOCKS ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	mews_slabs_fini(&slabs);
	free(sides.link);
	free(tables);
	return 0;
}

static void bad(void *context, const void *block, enum mews_verdict verdict)
{
	(void)context;
	(void)block;
	(void)verdict;
	bad_count++;
}

static void test_stack(void **state)
{
	void *back[BLOCKS];

	(void)state;
	mews_side_push(&sides, &side[1].local, blocks, 10, bad, NULL);
	mews_side_push(&sides, &side[1].local, blocks + 10, 1, bad, NULL);
	assert_int_equal(mews_side_depth(&sides, &side[1].local), 11);
	assert_int_equal(mews_side_depth(&sides, &side[1].away), 0);
	assert_int_equal(mews_side_pop(&sides, &side[1].local, back, 4), 4);
	assert_ptr_equal(back[0], blocks[10]);
	assert_int_equal(mews_side_pop(&sides, &side[1].local, back + 4, BLOCKS), 7);
	assert_int_equal(mews_side_pop(&sides, &side[1].local, back, BLOCKS), 0);
	assert_int_equal(bad_count, 0);
}

/* Pushed twice, a block would close the list to a circle, and a drain would never end. */
static void test_twice_is_refused(void **state)
{
	void *back[BLOCKS];

	(void)state;
	mews_side_push(&sides, &side[0].local, blocks, 5, bad, NULL);
	mews_side_push(&sides, &side[0].local, blocks + 2, 1, bad, NULL);
	mews_side_push(&sides, &side[2].away, blocks + 3, 3, bad, NULL);
	assert_int_equal(bad_count, 3);
	assert_int_equal(mews_side_pop(&sides, &side[0].local, back, BLOCKS), 5);
	assert_int_equal(mews_side_pop(&sides, &side[2].away, back, BLOCKS), 1);
	assert_ptr_equal(back[0], blocks[5]);
	mews_side_push(&sides, &side[0].local, blocks, 6, bad, NULL);
	assert_int_equal(bad_count, 3);
}

static void test_gate_numbers(void **state)
{
	struct mews_pass pass = mews_gate_enter(&sides, 4711), other;
	uint64_t traffic;

	(void)state;
	assert_true(pass.cpu < SIDES);
	traffic = mews_gate_traffic(&sides);
	assert_int_equal(mews_gate_inside(traffic), 1);
	other = mews_gate_enter(&sides, 1);
	assert_int_equal(mews_gate_inside(mews_gate_traffic(&sides)), 2);
	mews_gate_leave(&other);
	assert_int_equal(mews_gate_inside(mews_gate_traffic(&sides)), 1);
	assert_true(mews_gate_traffic(&sides) != traffic); /* who came and went is seen */
	traffic = mews_gate_traffic(&sides);
	assert_true(mews_gate_traffic(&sides) == traffic);
	mews_gate_leave(&pass);
	mews_gate_wait(&sides);
	pass = mews_gate_enter(&sides, 2);
	mews_gate_reset(&sides);
	mews_gate_wait(&sides);
}

/*
 * Operations read a state; who changes it waits at the gate; after that none may still act on the
 * old.
 */
struct shared {
	_Atomic uint32_t state, acted;
	atomic_bool stop, failed;
};

static void *operate(void *argument)
{
	struct worker *worker = argument;
	struct shared *shared = worker->shared;

	while (!atomic_load(&shared->stop)) {
		struct mews_pass pass = mews_gate_enter(&sides, rng_below(&worker->rng, SIDES));
		uint32_t seen = atomic_load(&shared->state);

		for (uint32_t spin = rng_below(&worker->rng, 50); spin > 0; spin--)
			__asm__ volatile ("" ::: "memory");
		if (atomic_load(&shared->acted) > seen)
			atomic_store(&shared->failed, true);
		mews_gate_leave(&pass);
	}
	return NULL;
}

static void test_gate_waits(void **state)
{
	static struct shared shared;
	struct worker workers[4];

	(void)state;
	threads_start(workers, 4, 5, &shared, operate);
	for (uint32_t i = 1; i < 2000; i++) {
		atomic_store(&shared.state, i);
		mews_gate_wait(&sides);
		atomic_store(&shared.acted, i);
	}
	atomic_store(&shared.stop, true);
	threads_join(workers, 4);
	assert_false(atomic_load(&shared.failed));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stack, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_twice_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gate_numbers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_gate_waits, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
