/* SPDX-License-Identifier: MIT */
/* Budgets: no limit is no limit, a limit is exact, also when many claim at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "lib/budget.h"
#include "tests/support/threads.h"

static void test_zeros_are_no_limit(void **state)
{
	struct mews_budget budget = { 0 };

	(void)state;
	assert_true(mews_budget_limit(&budget) == UINT64_MAX);
	assert_true(mews_budget_claim(&budget, (uint64_t)1 << 62));
	assert_true(mews_budget_claim(&budget, (uint64_t)1 << 62));
	assert_true(mews_budget_excess(&budget) == 0);
}

static void test_limit(void **state)
{
	struct mews_budget budget = { 0 };

	(void)state;
	mews_budget_set_limit(&budget, 100);
	assert_false(mews_budget_claim(&budget, 101));
	assert_false(mews_budget_claim(&budget, UINT64_MAX));
	assert_true(mews_budget_claim(&budget, 60));
	assert_false(mews_budget_claim(&budget, 41));
	assert_true(mews_budget_claim(&budget, 40));
	assert_false(mews_budget_claim(&budget, 1));
	mews_budget_set_limit(&budget, 70);
	assert_int_equal(mews_budget_excess(&budget), 30);
	mews_budget_release(&budget, 30);
	assert_int_equal(mews_budget_excess(&budget), 0);
	assert_false(mews_budget_claim(&budget, 1));
	mews_budget_release(&budget, 70);
	assert_true(mews_budget_claim(&budget, 70));
}

static void *claim_and_release(void *argument)
{
	struct worker *worker = argument;
	struct mews_budget *budget = worker->shared;

	for (int i = 0; i < 100000; i++) {
		uint64_t bytes = 1 + rng_below(&worker->rng, 60);

		if (!mews_budget_claim(budget, bytes))
			continue;
		if (atomic_load(&budget->used) > 100)
			return worker;
		mews_budget_release(budget, bytes);
	}
	return NULL;
}

static void test_many_at_once(void **state)
{
	struct mews_budget budget = { 0 };
	struct worker workers[4];
	void *passed;

	(void)state;
	mews_budget_set_limit(&budget, 100);
	threads_start(workers, 4, 1, &budget, claim_and_release);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(workers[i].thread, &passed), 0);
		assert_null(passed);
	}
	assert_int_equal(atomic_load(&budget.used), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeros_are_no_limit),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
