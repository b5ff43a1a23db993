/* SPDX-License-Identifier: MIT */
/*
 * Slabs: the arithmetic between addresses and numbers, the maximum, misuse, windows that are full,
 * and threads that take, put and grow at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "../../lib/slab.h"
#include "../support/faults.h"
#include "../support/ledger.h"
#include "../support/plan.h"
#include "../support/suite.h"
#include "../support/threads.h"

struct fixture {
	struct mews_plan plan;
	struct mews_slabs slabs;
	void *tables;
	unsigned bad[3];        /* by verdict */
};

static void set_up(struct fixture *f, uint32_t windows, size_t stride, uint32_t cell_blocks,
		   uint64_t max_blocks)
{
	memset(f, 0, sizeof(*f));
	f->plan = plan_by_hand(windows, stride, cell_blocks);
	f->plan.max_blocks = max_blocks;
	f->tables = aligned_alloc(128, (mews_slabs_table_bytes(&f->plan) + 127) & ~(size_t)127);
	memset(f->tables, 0, mews_slabs_table_bytes(&f->plan));
	assert_int_equal(mews_slabs_init(&f->slabs, &f->plan, f->tables), 0);
}

static void tear_down(struct fixture *f)
{
	mews_slabs_fini(&f->slabs);
	free(f->tables);
}

static void count_bad(void *context, const void *block, enum mews_verdict verdict)
{
	struct fixture *f = context;

	(void)block;
	f->bad[verdict]++;
}

static void put(struct fixture *f, void *const *blocks, size_t count)
{
	mews_slabs_put(&f->slabs, blocks, count, count_bad, f);
}

/* Grows until no more comes; returns how many blocks were had, all of them leased. */
static size_t take_everything(struct fixture *f, uint32_t window, void **blocks, size_t room,
			      int *error)
{
	size_t got = 0, more;

	*error = 0;
	while ((more = mews_slabs_grow(&f->slabs, window, blocks + got, 7, error)) > 0) {
		got += more;
		got += mews_slabs_take(&f->slabs, window, blocks + got, room - got);
	}
	return got;
}

static void check_arithmetic(size_t stride, uint32_t cell_blocks)
{
	static void *blocks[70000];
	struct fixture f;
	uint32_t number, last = MEWS_NONE;
	int error;
	size_t got;

	set_up(&f, 2, stride, cell_blocks, UINT32_MAX / 2);
	got = take_everything(&f, 1, blocks, 70000, &error);
	assert_int_equal(error, ENOMEM);
	assert_int_equal(got, f.slabs.slabs * f.plan.slab_blocks);
	for (size_t i = 0; i < got; i++) {
		char *block = blocks[i];

		assert_int_equal(mews_slabs_find(&f.slabs, block, &number), MEWS_BLOCK_START);
		assert_ptr_equal(mews_slabs_block(&f.slabs, number), block);
		assert_int_not_equal(number, last);
		last = number;
		assert_int_equal(mews_slabs_window_of(&f.slabs, block), 1);
		assert_int_equal(mews_slabs_find(&f.slabs, block + stride - 1, &number),
				 MEWS_BLOCK_INTERIOR);
		assert_int_equal(number, last);
	}
	put(&f, blocks, got);
	assert_int_equal(mews_slabs_free(&f.slabs, 1), got);
	assert_int_equal(f.bad[0] + f.bad[1] + f.bad[2], 0);
	tear_down(&f);
}

static void test_arithmetic(void **state)
{
	static const size_t strides[] = { 16, 24, 64, 192, 1000, 1024, 4096, 5000, 32768 };

	(void)state;
	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		check_arithmetic(strides[i], 0);
		if (strides[i] <= 4096)
			check_arithmetic(strides[i], 3);
	}
}

static void test_maximum(void **state)
{
	static void *blocks[4096];
	struct fixture f;
	int error;

	(void)state;
	for (uint64_t max = 1; max < 200; max = max * 2 + 5) {
		set_up(&f, 1, 1024, 0, max);
		assert_int_equal(take_everything(&f, 0, blocks, 4096, &error), max);
		assert_int_equal(error, ENOBUFS);
		assert_int_equal(atomic_load(&f.slabs.claimed), max);
		tear_down(&f);
	}
}

static void test_pointers_that_are_no_blocks(void **state)
{
	struct fixture f;
	uint32_t number;
	void *block;
	int local, error;

	(void)state;
	set_up(&f, 1, 1024, 3, 100);
	assert_int_equal(mews_slabs_grow(&f.slabs, 0, &block, 1, &error), 1);
	assert_int_equal(mews_slabs_find(&f.slabs, &local, &number), MEWS_BLOCK_FOREIGN);
	assert_int_equal(mews_slabs_find(&f.slabs, NULL, &number), MEWS_BLOCK_FOREIGN);
	assert_int_equal(mews_slabs_find(&f.slabs, f.slabs.start + f.slabs.length, &number),
			 MEWS_BLOCK_FOREIGN);
	assert_int_equal(mews_slabs_find(&f.slabs, f.slabs.start - 1, &number),
			 MEWS_BLOCK_FOREIGN);
	/* A slab that was never carved; and the line that ends a cell. */
	assert_int_equal(mews_slabs_find(&f.slabs, f.slabs.start + 5 * PLAN_SLAB_BYTES, &number),
			 MEWS_BLOCK_FOREIGN);
	assert_int_equal(mews_slabs_find(&f.slabs, (char *)block + 3 * 1024, &number),
			 MEWS_BLOCK_INTERIOR);
	assert_int_equal(number, MEWS_NONE);
	tear_down(&f);
}

static void test_misuse_is_told(void **state)
{
	struct fixture f;
	void *blocks[8], *wrong[3];
	int error, local;

	(void)state;
	set_up(&f, 1, 1024, 0, 100);
	assert_int_equal(mews_slabs_grow(&f.slabs, 0, blocks, 8, &error), 8);
	wrong[0] = &local;
	wrong[1] = (char *)blocks[3] + 8;
	wrong[2] = blocks[3];
	put(&f, wrong, 3);
	assert_int_equal(f.bad[MEWS_BLOCK_FOREIGN], 1);
	assert_int_equal(f.bad[MEWS_BLOCK_INTERIOR], 1);
	assert_int_equal(f.bad[MEWS_BLOCK_START], 0);
	put(&f, blocks + 3, 1);
	assert_int_equal(f.bad[MEWS_BLOCK_START], 1);
	tear_down(&f);
}

static char *least_of(void *const *blocks, size_t count)
{
	char *least = blocks[0];

	for (size_t i = 1; i < count; i++)
		if ((char *)blocks[i] < least)
			least = blocks[i];
	return least;
}

/* The lowest are taken, so that what is used stays together, and lie last, where leases begin. */
static void test_lowest_first(void **state)
{
	void *blocks[64], *again[64];
	struct fixture f;
	char *lowest;
	int error;

	(void)state;
	set_up(&f, 1, 1024, 0, 64);
	assert_int_equal(mews_slabs_grow(&f.slabs, 0, blocks, 64, &error), 64);
	lowest = least_of(blocks, 64);
	put(&f, blocks + 32, 32);
	put(&f, blocks, 32);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, again, 40), 40);
	for (int i = 0; i < 40; i++)
		assert_ptr_equal(again[i], lowest + (39 - i) * 1024);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, again, 64), 24);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, again, 64), 0);
	tear_down(&f);
}

/* One free block in each of more words than a take looks at before it lists their blocks. */
static void test_many_words(void **state)
{
	enum { WORDS = 80 };
	void *blocks[64 * WORDS], *again[WORDS + WORDS / 2];
	struct fixture f;
	int error;

	(void)state;
	set_up(&f, 1, 64, 0, 64 * WORDS);
	assert_int_equal(take_everything(&f, 0, blocks, 64 * WORDS, &error), 64 * WORDS);
	for (size_t i = 0; i < 64 * WORDS; i++)
		if ((uintptr_t)blocks[i] / 64 % 64 == 5)
			put(&f, &blocks[i], 1);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, again, WORDS / 2), WORDS / 2);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, again + WORDS / 2, WORDS), WORDS / 2);
	put(&f, again, WORDS);
	for (int verdict = 0; verdict < 3; verdict++)
		assert_int_equal(f.bad[verdict], 0);
	assert_int_equal(mews_slabs_free(&f.slabs, 0), WORDS);
	tear_down(&f);
}

static void test_reserve(void **state)
{
	struct fixture f;
	void *blocks[200];

	(void)state;
	set_up(&f, 2, 1024, 0, 150);
	assert_int_equal(mews_slabs_reserve(&f.slabs, 150), 0);
	assert_int_equal(atomic_load(&f.slabs.claimed), 150);
	assert_int_equal(mews_slabs_free(&f.slabs, 0) + mews_slabs_free(&f.slabs, 1), 150);
	assert_int_equal(mews_slabs_take(&f.slabs, 0, blocks, 200) +
			 mews_slabs_take(&f.slabs, 1, blocks, 200), 150);
	tear_down(&f);
}

/* Initial blocks lie where CPUs are at home; elsewhere only if there is no more, and never if strict. */
static void test_reserve_at_home(void **state)
{
	struct fixture f;
	uint64_t window;

	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		set_up(&f, 2, 1024, 0, 100000);
		f.plan.home_windows = 2;
		f.plan.node_policy = strict ? MEWS_NODE_STRICT : MEWS_NODE_PREFERRED;
		window = f.plan.window_bytes / f.plan.slab_bytes * f.plan.slab_blocks;
		assert_int_equal(mews_slabs_reserve(&f.slabs, window), 0);
		assert_int_equal(mews_slabs_free(&f.slabs, 0), 0);
		assert_int_equal(mews_slabs_free(&f.slabs, 1), window);
		assert_int_equal(mews_slabs_reserve(&f.slabs, window + 1), strict ? -ENOMEM : 0);
		assert_int_equal(mews_slabs_free(&f.slabs, 0) > 0, !strict);
		tear_down(&f);
	}
}

/* A node that has no memory is asked every 64th time; one that nobody can stand in for, each time. */
static void test_rest(void **state)
{
	struct fixture f;
	void *block;
	int error;

	(void)state;
	for (uint32_t windows = 1; windows < 3; windows++) {
		set_up(&f, windows, 1024, 0, 100000);
		faults_install();
		faults_refuse(faults_call("mprotect"), 1, ENOMEM);
		assert_int_equal(mews_slabs_grow(&f.slabs, 0, &block, 1, &error), 0);
		assert_int_equal(error, ENOMEM);
		for (unsigned i = 0; windows > 1 && i < MEWS_GROWTH_REST; i++) {
			error = 0;
			assert_int_equal(mews_slabs_grow(&f.slabs, 0, &block, 1, &error), 0);
			assert_int_equal(error, ENOMEM);
		}
		assert_int_equal(faults_counted(faults_call("mprotect")), 1);
		assert_int_equal(mews_slabs_grow(&f.slabs, 0, &block, 1, &error), 1);
		faults_remove();
		tear_down(&f);
	}
}

struct shared {
	struct fixture f;
	struct ledger *ledger;
};

static void *churn(void *argument)
{
	struct worker *worker = argument;
	struct shared *shared = worker->shared;
	void *blocks[90];
	int error;

	for (unsigned i = 0; i < 5000; i++) {
		uint32_t window = rng_below(&worker->rng, 2);
		size_t want = 1 + rng_below(&worker->rng, 90);
		size_t got = mews_slabs_take(&shared->f.slabs, window, blocks, want);

		if (got == 0)
			got = mews_slabs_grow(&shared->f.slabs, window, blocks, want, &error);
		for (size_t k = 0; k < got; k++)
			ledger_take(shared->ledger, blocks[k]);
		for (size_t k = 0; k < got; k++)
			ledger_give(shared->ledger, blocks[k]);
		put(&shared->f, blocks, got);
	}
	return NULL;
}

static void test_threads(void **state)
{
	static struct shared shared;
	uint64_t free_blocks;

	(void)state;
	set_up(&shared.f, 2, 512, 3, 1500);
	shared.ledger = ledger_new(1500, 512);
	threads_run(6, 7, &shared, churn);
	free_blocks = mews_slabs_free(&shared.f.slabs, 0) + mews_slabs_free(&shared.f.slabs, 1);
	assert_int_equal(free_blocks, atomic_load(&shared.f.slabs.claimed));
	assert_int_equal(shared.f.bad[0] + shared.f.bad[1] + shared.f.bad[2], 0);
	ledger_free(shared.ledger);
	tear_down(&shared.f);
}

/* Who puts or takes blocks has stopped between the word and its summary. */
static void test_mend(void **state)
{
	static void *blocks[200];
	struct mews_window *w;
	struct fixture f;
	size_t got;
	int error;

	(void)state;
	set_up(&f, 2, 64, 0, 200);
	w = &f.slabs.window[1];
	got = take_everything(&f, 1, blocks, 200, &error);
	assert_false(mews_slabs_mend(&f.slabs));
	put(&f, blocks, got);
	assert_false(mews_slabs_mend(&f.slabs));
	atomic_store(&w->summary[0], 0);
	assert_int_equal(mews_slabs_take(&f.slabs, 1, blocks, 1), 0);
	assert_true(mews_slabs_mend(&f.slabs));
	assert_false(mews_slabs_mend(&f.slabs));
	assert_int_equal(mews_slabs_take(&f.slabs, 1, blocks, 1), 1);
	put(&f, blocks, 1);
	atomic_store(&w->bare_blocks, 1);
	atomic_store(&w->bare[0], 1);
	assert_true(mews_slabs_mend(&f.slabs));
	assert_int_equal(atomic_load(&w->bare_summary[0]), 1);
	tear_down(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_maximum),
		cmocka_unit_test(test_pointers_that_are_no_blocks),
		cmocka_unit_test(test_misuse_is_told),
		cmocka_unit_test(test_lowest_first),
		cmocka_unit_test(test_many_words),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_reserve_at_home),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_mend),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
