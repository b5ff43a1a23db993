/* SPDX-License-Identifier: MIT */
/* Tagged stack: order, depth, bulk, and many threads that keep every number exactly once. */
#include <stdlib.h>
#include <string.h>
#include "../../lib/tagstack.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define NUMBERS 64
#define THREADS 8
#define STEPS 60000

static mews_word link_of[NUMBERS];

static void test_empty(void **state)
{
	struct mews_tagstack stack = { 0 };
	uint32_t number[4];

	(void)state;
	assert_int_equal(mews_tagstack_pop(&stack, link_of), MEWS_NONE);
	assert_int_equal(mews_tagstack_pop_many(&stack, link_of, number, 4), 0);
	assert_int_equal(mews_tagstack_depth(&stack, link_of), 0);
}

static void test_last_in_first_out(void **state)
{
	struct mews_tagstack stack = { 0 };

	(void)state;
	for (uint32_t i = 0; i < NUMBERS; i++) {
		mews_tagstack_push(&stack, link_of, i);
		assert_int_equal(mews_tagstack_depth(&stack, link_of), i + 1);
	}
	for (uint32_t i = NUMBERS; i-- > 0;) {
		assert_int_equal(mews_tagstack_pop(&stack, link_of), i);
		assert_int_equal(mews_tagstack_depth(&stack, link_of), i);
	}
	assert_int_equal(mews_tagstack_pop(&stack, link_of), MEWS_NONE);
}

static void test_many(void **state)
{
	static const uint32_t in[] = { 5, 0, 63, 7 };
	struct mews_tagstack stack = { 0 };
	uint32_t out[8];

	(void)state;
	mews_tagstack_push(&stack, link_of, 9);
	mews_tagstack_push_many(&stack, link_of, in, 4);
	assert_int_equal(mews_tagstack_depth(&stack, link_of), 5);
	assert_int_equal(mews_tagstack_pop_many(&stack, link_of, out, 2), 2);
	assert_int_equal(out[0], 7);
	assert_int_equal(out[1], 63);
	assert_int_equal(mews_tagstack_depth(&stack, link_of), 3);
	assert_int_equal(mews_tagstack_pop_many(&stack, link_of, out, 8), 3);
	assert_int_equal(out[2], 9);
}

/* A head read before a pop and a push of the same number must not compare equal afterwards. */
static void test_tag_moves(void **state)
{
	struct mews_tagstack stack = { 0 };
	uint64_t before;

	(void)state;
	mews_tagstack_push(&stack, link_of, 1);
	before = atomic_load(&stack.head);
	assert_int_equal(mews_tagstack_pop(&stack, link_of), 1);
	mews_tagstack_push(&stack, link_of, 1);
	assert_int_equal(mews_tagstack_top(before), mews_tagstack_top(atomic_load(&stack.head)));
	assert_int_not_equal(before, atomic_load(&stack.head));
}

struct shared {
	struct mews_tagstack stack[2];
	_Atomic uint32_t owner[NUMBERS];
	atomic_bool failed;
};

static void own(struct shared *shared, const uint32_t *number, size_t count, uint32_t me)
{
	for (size_t i = 0; i < count; i++)
		if (atomic_exchange(&shared->owner[number[i]], me) != 0)
			atomic_store(&shared->failed, true);
}

static void disown(struct shared *shared, const uint32_t *number, size_t count, uint32_t me)
{
	for (size_t i = 0; i < count; i++)
		if (atomic_exchange(&shared->owner[number[i]], 0) != me)
			atomic_store(&shared->failed, true);
}

static void *move_numbers(void *argument)
{
	struct worker *worker = argument;
	struct shared *shared = worker->shared;
	uint32_t number[8];

	for (unsigned i = 0; i < STEPS; i++) {
		uint32_t choice = rng_below(&worker->rng, 16);
		size_t count = mews_tagstack_pop_many(&shared->stack[choice & 1], link_of, number,
						      1 + choice / 2);

		own(shared, number, count, worker->index + 1);
		disown(shared, number, count, worker->index + 1);
		if (count)
			mews_tagstack_push_many(&shared->stack[choice >> 3], link_of, number, count);
	}
	return NULL;
}

/* Two stacks over one link table, as a depot's. Each number survives, once. */
static void test_threads(void **state)
{
	static struct shared shared;
	uint32_t number[NUMBERS + 1], seen[NUMBERS] = { 0 };
	size_t count;

	(void)state;
	for (uint32_t i = 0; i < NUMBERS; i++)
		mews_tagstack_push(&shared.stack[i & 1], link_of, i);
	threads_run(THREADS, 42, &shared, move_numbers);
	assert_false(atomic_load(&shared.failed));
	count = mews_tagstack_depth(&shared.stack[0], link_of) +
		mews_tagstack_depth(&shared.stack[1], link_of);
	assert_int_equal(count, NUMBERS);
	count = mews_tagstack_pop_many(&shared.stack[0], link_of, number, NUMBERS + 1);
	count += mews_tagstack_pop_many(&shared.stack[1], link_of, number + count,
					NUMBERS + 1 - count);
	assert_int_equal(count, NUMBERS);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(seen[number[i]]++, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_tag_moves),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
