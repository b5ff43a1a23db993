/* SPDX-License-Identifier: MIT */
/*
 * Placement where the kernel refuses: every call of every action, once at each place and then
 * always, with base pages and with huge ones; afterwards the range is as it was, and nothing is
 * left mapped, open or reserved. And a kernel that does not know the newer calls.
 */
#include <errno.h>
#include <string.h>
#include "../../numa/place.h"
#include "../support/faults.h"
#include "../support/maps.h"
#include "../support/pages.h"
#include "../support/suite.h"

#define MIB ((size_t)1 << 20)

static const struct mews_place_request base = { .top = MEWS_PAGES_BASE };
static const struct mews_place_request from_top = { .top = MEWS_PAGES_AUTO };
static const struct mews_place_request from_2m = { .top = MEWS_PAGES_2M };

static unsigned long huge_runs;         /* in which huge pages were had in spite of the refusal */

static uint64_t total(const struct mews_backing *got)
{
	return got->pages_1g + got->pages_2m + got->thp + got->base;
}

/* Every call that an action makes is refused in turn, with each of these. */
static const int errors[] = { ENOMEM, EPERM, EINVAL, ENOSYS, EAGAIN };

struct action {
	const char *name;
	/* Does it on a reserved range of 8 MiB; returns whether it succeeded. */
	bool (*run)(char *range);
};

static bool run_reserve(char *range)
{
	char *other = mews_place_reserve(MIB, 2 * MIB);

	(void)range;
	if (other == NULL) {
		assert_int_equal(errno, ENOMEM);
		return false;
	}
	mews_place_release(other, MIB);
	return true;
}

static bool run_back(char *range, const struct mews_place_request *request)
{
	struct mews_backing got = { 0 };
	int result;

	errno = 77;
	result = mews_place_back(range + 2 * MIB, 2 * MIB, request, &got);
	assert_int_equal(errno, 77);
	assert_true(result == 0 || result == -ENOMEM);
	assert_int_equal(total(&got), result == 0 ? 2 * MIB : 0);
	/* Huge pages are in their file at once; that they are mapped too may have been refused. */
	huge_runs += got.pages_2m != 0;
	if (got.pages_2m != 0)
		assert_true(pages_zero(range + 2 * MIB, 2 * MIB));
	else if (result == 0)
		assert_true(pages_populated_zero(range + 2 * MIB, 2 * MIB));
	else
		assert_false(maps_readable(range + 2 * MIB));
	return result == 0;
}

static bool run_back_base(char *range)
{
	return run_back(range, &base);
}

static bool run_back_top(char *range)
{
	return run_back(range, &from_2m);
}

static bool run_back_bound(char *range)
{
	struct mews_place_request request = from_2m;

	request.bind = true;
	return run_back(range, &request);
}

static bool run_back_strict(char *range)
{
	struct mews_place_request request = from_2m;

	request.bind = true;
	request.policy = MEWS_NODE_STRICT;
	return run_back(range, &request);
}

static bool run_table(char *range)
{
	int result = mews_place_table(range, MIB);

	assert_true(result == 0 || result == -ENOMEM);
	assert_int_equal(maps_readable(range), result == 0);
	return result == 0;
}

static bool run_discard(char *range)
{
	struct mews_backing got = { 0 };

	if (mews_place_back(range, MIB, &base, &got) != 0)
		return false;
	if (mews_place_discard(range, MIB) != 0)
		return false;
	assert_false(maps_readable(range));
	return true;
}

static bool run_map(char *range)
{
	char *block = mews_place_map(3 * MIB, &from_top);

	(void)range;
	if (block == NULL) {
		assert_int_equal(errno, ENOMEM);
		return false;
	}
	assert_true(pages_populated_zero(block, 3 * MIB));
	mews_place_release(block, 3 * MIB);
	return true;
}

static void copy_half(const void *from, size_t length, void *to, void *context)
{
	++*(int *)context;
	memcpy(to, from, length / 2);
}

static bool run_privatize(char *range)
{
	struct mews_backing got = { 0 };
	int copies = 0, result;

	if (mews_place_back(range, MIB, &base, &got) != 0)
		return false;
	memset(range, 7, MIB);
	result = mews_place_privatize(range, MIB, copy_half, &copies);
	assert_true(result == 0 || result == -ENOMEM);
	assert_int_equal(range[0], 7);
	assert_int_equal(range[MIB - 1], result == 0 ? 0 : 7);
	assert_true(result != 0 || copies == 1);
	return result == 0;
}

static const struct action actions[] = {
	{ "reserve", run_reserve }, { "back base", run_back_base }, { "back", run_back_top },
	{ "back bound", run_back_bound }, { "back strict", run_back_strict },
	{ "table", run_table }, { "discard", run_discard }, { "map", run_map },
	{ "privatize", run_privatize },
};

/* Runs an action with a refusal set up; returns how many calls were refused. */
static unsigned long run_refused(const struct action *action, int call, unsigned long nth,
				 int error, bool all_after)
{
	char *range = mews_place_reserve(8 * MIB, 2 * MIB);
	unsigned long refused;

	faults_install();
	if (all_after)
		faults_refuse_from(call, nth, error);
	else
		faults_refuse(call, nth, error);
	action->run(range);
	refused = faults_refused();
	faults_remove();
	mews_place_release(range, 8 * MIB);
	return refused;
}

/* Refuses each call of an action once, at each place, and then always. */
static unsigned long refuse_call(const struct action *action, int call, int error)
{
	unsigned long nth = 1;

	while (run_refused(action, call, nth, error, false) != 0)
		nth++;
	run_refused(action, call, 1, error, true);
	return nth + 1;
}

/* What munmap refuses to take stays, whoever calls it: no leak of ours, and not for huge pages. */
static unsigned long refuse_every_call(bool munmap_too)
{
	int munmap_call = faults_call("munmap");
	unsigned long runs = 0;

	for (size_t a = 0; a < sizeof(actions) / sizeof(actions[0]); a++)
		for (int call = 0; call < faults_calls(); call++)
			for (size_t e = 0; e < sizeof(errors) / sizeof(errors[0]); e++) {
				size_t before = maps_read().bytes;

				if (call == munmap_call && !munmap_too)
					continue;
				runs += refuse_call(&actions[a], call, errors[e]);
				if (call == munmap_call || maps_read().bytes == before)
					continue;
				maps_print();
				fail_msg("%s leaks where %s is refused: %s", actions[a].name,
					 faults_name(call), strerror(errors[e]));
			}
	return runs;
}

static void test_every_call_refused(void **state)
{
	unsigned long runs = refuse_every_call(true);

	(void)state;
	print_message("%lu runs with a call refused\n", runs);
	assert_true(runs > 1000);
}

/* A kernel that does not know the advice, and has no huge pages: touched, and there. */
static void test_old_kernel(void **state)
{
	struct mews_backing got = { 0 };
	char *range = mews_place_reserve(4 * MIB, 2 * MIB);

	(void)state;
	faults_install();
	faults_refuse_from(faults_call("madvise"), 1, EINVAL);
	assert_int_equal(mews_place_back(range, 4 * MIB, &from_2m, &got), 0);
	faults_remove();
	assert_int_equal(got.base, 4 * MIB);
	assert_true(pages_populated_zero(range, 4 * MIB));
	mews_place_release(range, 4 * MIB);
}

static void test_hugetlb_refused(void **state)
{
	long before = pages_held();

	(void)state;
	if (!pages_reserve(16)) {
		print_message("skip: no huge pages can be reserved here\n");
		skip();
	}
	assert_true(refuse_every_call(false) > 1000);
	assert_true(huge_runs > 100);
	assert_int_equal(pages_held(), before);
}

static int unreserve(void **state)
{
	(void)state;
	pages_unreserve();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_call_refused),
		cmocka_unit_test(test_old_kernel),
		cmocka_unit_test_teardown(test_hugetlb_refused, unreserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
