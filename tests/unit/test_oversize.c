/* SPDX-License-Identifier: MIT */
/* Oversize leases: mapped, counted, limited, unmapped at the return, which may come once only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../lib/budget.h"
#include "../../lib/oversize.h"
#include "../support/maps.h"
#include "../support/suite.h"
#include "../support/threads.h"

static struct mews_oversize oversize;
static const struct mews_place_request request = { .top = MEWS_PAGES_BASE };

static int set_up(void **state)
{
	*state = calloc(MEWS_OVERSIZE_ENTRIES, sizeof(struct mews_oversize_entry));
	mews_oversize_init(&oversize, *state);
	return *state ? 0 : -1;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

/* As the pool does while it lives. */
static bool give_back(struct mews_oversize *from, void *block)
{
	if (!mews_oversize_return(from, block))
		return false;
	mews_oversize_uncount(from);
	return true;
}

static void test_lease_and_return(void **state)
{
	char *block = mews_oversize_lease(&oversize, 10000, &request);

	(void)state;
	assert_non_null(block);
	assert_int_equal(atomic_load(&oversize.count), 1);
	assert_int_equal(atomic_load(&oversize.bytes), 12288);
	block[0] = block[9999] = 1;
	assert_true(give_back(&oversize, block));
	assert_false(maps_readable(block));
	assert_int_equal(atomic_load(&oversize.count), 0);
	assert_int_equal(atomic_load(&oversize.bytes), 0);
}

static void test_what_is_no_lease(void **state)
{
	char *block = mews_oversize_lease(&oversize, 10000, &request);

	(void)state;
	assert_false(give_back(&oversize, NULL));
	assert_false(give_back(&oversize, (void *)1));
	assert_false(give_back(&oversize, block + 4096));
	assert_false(give_back(&oversize, &oversize));
	assert_true(give_back(&oversize, block));
	assert_false(give_back(&oversize, block));
}

static void test_limit(void **state)
{
	void *first;

	(void)state;
	mews_budget_set_limit(&mews_process_budget, 65536);
	first = mews_oversize_lease(&oversize, 60000, &request);
	assert_non_null(first);
	errno = 0;
	assert_null(mews_oversize_lease(&oversize, 5000, &request));
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(atomic_load(&oversize.count), 1);
	assert_true(give_back(&oversize, first));
	assert_int_equal(atomic_load(&oversize.bytes), 0);
	assert_int_equal(atomic_load(&mews_process_budget.used), 0);
	mews_budget_set_limit(&mews_process_budget, UINT64_MAX);
}

static void *churn(void *argument)
{
	struct worker *worker = argument;
	char *blocks[16] = { NULL };

	for (unsigned i = 0; i < 3000; i++) {
		unsigned slot = rng_below(&worker->rng, 16);

		if (blocks[slot] && (blocks[slot][100] != (char)worker->index ||
				     !give_back(&oversize, blocks[slot])))
			return worker;
		blocks[slot] = mews_oversize_lease(&oversize, 5000 + slot * 1000, &request);
		if (!blocks[slot])
			return worker;
		blocks[slot][100] = (char)worker->index;
	}
	for (unsigned slot = 0; slot < 16; slot++)
		if (blocks[slot] && !give_back(&oversize, blocks[slot]))
			return worker;
	return NULL;
}

static void test_threads(void **state)
{
	struct worker workers[4];
	void *failed;

	(void)state;
	threads_start(workers, 4, 3, NULL, churn);
	for (int i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, &failed);
		assert_null(failed);
	}
	assert_int_equal(atomic_load(&oversize.count), 0);
	assert_int_equal(atomic_load(&oversize.bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lease_and_return, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_no_lease, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
