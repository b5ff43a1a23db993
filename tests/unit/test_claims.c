/* SPDX-License-Identifier: MIT */
/*
 * Who a slab belongs to while two give it back and others grow: each of these was once another's already
 * when its operation, stopped for a while, went on. The files are included with a stop in them.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../lib/slab_bits.h"
#include "../support/suite.h"

/* What others do at the stop, once. */
static void (*meanwhile)(void);

static void stop_here(void)
{
	void (*others)(void) = meanwhile;

	meanwhile = NULL;
	if (others)
		others();
}

/* What others do before a growth reads a word. */
static void (*before_load)(const volatile void *word);

static void stop_before(const volatile void *word)
{
	if (before_load)
		before_load(word);
}

static void stop_and_unclaim(struct mews_slabs *s, struct mews_window *w, uint32_t slab)
{
	stop_here();
	unclaim_slab(s, w, slab);
}

static void stop_and_begin(struct mews_slabs *s)
{
	stop_here();
	begin_move(s);
}

#ifndef GROW_C /* a mutant */
#define GROW_C "../../lib/grow.c"
#endif
#ifndef SHRINK_C
#define SHRINK_C "../../lib/shrink.c"
#endif

#define unclaim_slab stop_and_unclaim
#undef atomic_load
#define atomic_load(word) (stop_before(word), atomic_load_explicit(word, memory_order_seq_cst))
#include GROW_C
#undef unclaim_slab
#undef atomic_load
#define atomic_load(word) atomic_load_explicit(word, memory_order_seq_cst)
#define begin_move stop_and_begin
#include SHRINK_C
#undef begin_move

static struct mews_pool *pool;
static struct mews_slabs *slabs;
static void no_block(void *context, const void *block, enum mews_verdict verdict)
{
	(void)context;
	(void)block;
	fail_msg("%s", verdict ? "a bad block" : "a double return");
}

/* Slabs of base pages. */
static void open_pool(size_t growth_blocks)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .mode = MEWS_MODE_WORKSTATION, .max_blocks = 100000,
		.growth_blocks = growth_blocks, .keeper = MEWS_KEEPER_CALLER, .decay_ms = MEWS_DECAY_NEVER,
	};

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	slabs = &mews_control_of(pool)->slabs;
}

static bool has_mark(const mews_word *marks, uint32_t slab)
{
	return atomic_load(&marks[slab / 64]) >> slab % 64 & 1;
}

/* No slab that has blocks may be claimed as one that has none. */
static void look(void)
{
	struct mews_window *w = slabs->window;

	for (uint32_t slab = 0; slab < atomic_load(&w->frontier); slab++) {
		if (has_mark(w->vacant, slab))
			assert_false(atomic_load(&w->blocks[slab]) || has_mark(w->partial, slab));
	}
}

static void trim(void)
{
	struct mews_trim all = { .bytes = UINT64_MAX };

	mews_slabs_trim(slabs, 0, &all);
}

static void come_between(void)
{
	fail_msg("a slab's claim ends after others could give it back, and claim it");
}

/* A growth that published a whole slab has no claim of it any more, whoever has it. */
static void test_growth_of_a_whole_slab(void **state)
{
	void *block;
	int error;

	(void)state;
	open_pool(100);
	assert_true(slabs->plan->growth_extents > 1);
	meanwhile = come_between;
	assert_int_equal(mews_slabs_grow(slabs, 0, &block, 1, &error), 1);
	meanwhile = NULL;
	mews_slabs_put(slabs, &block, 1, no_block, NULL);
	look();
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Another gives it back, and a growth at a limit backs a part of it. */
static void give_back_and_grow_in_part(void)
{
	void *block;
	int error;

	trim();
	atomic_store(&slabs->max_blocks, 31);
	assert_int_equal(mews_slabs_grow(slabs, 0, &block, 1, &error), 1);
	mews_slabs_put(slabs, &block, 1, no_block, NULL);
}

static void test_trim_of_what_became_partial(void **state)
{
	void *block;
	int error;

	(void)state;
	open_pool(1);
	assert_int_equal(mews_slabs_grow(slabs, 0, &block, 1, &error), 1);
	mews_slabs_put(slabs, &block, 1, no_block, NULL);
	meanwhile = give_back_and_grow_in_part;
	trim();
	assert_null(meanwhile);
	atomic_store(&slabs->max_blocks, 100000);
	look();
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Another takes the only slab that lacks blocks, */
static void other_takes(void)
{
	begin_move(slabs);
	assert_true(unmark_slab(slabs->window->partial, 0));
}

/* and puts it back, since a limit refuses it, behind our look at those that lack blocks; */
static void put_back_behind(const volatile void *word)
{
	if (word != slabs->window->vacant)
		return;
	before_load = NULL;
	mark_slab(slabs->window->partial, 0);
	end_move(slabs, true);
}

/* or takes it only when we saw that nobody is about. */
static void take_before(const volatile void *word)
{
	if (word != slabs->window->partial)
		return;
	other_takes();
	before_load = put_back_behind;
}

static void grow_beside(void (*other)(const volatile void *word))
{
	void *block;
	int error = 0;

	open_pool(1);
	atomic_store(&slabs->max_blocks, 31);
	assert_int_equal(mews_slabs_grow(slabs, 0, &block, 1, &error), 1);
	mews_slabs_put(slabs, &block, 1, no_block, NULL);
	atomic_store(&slabs->max_blocks, 100000);
	slabs->slabs = 1; /* no address space for more */
	if (other == put_back_behind)
		other_takes();
	before_load = other;
	assert_int_equal(mews_slabs_grow(slabs, 0, &block, 1, &error), 0);
	assert_null(before_load);
	assert_int_equal(error, ENOBUFS);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Then there was a slab at each moment, and it is not for us to say that there is none. */
static void test_growth_beside_another(void **state)
{
	(void)state;
	grow_beside(put_back_behind);
	grow_beside(take_before);
}

/* Nor where there are blocks that a limit in bytes has no room for. */
static void test_growth_beside_bare_blocks(void **state)
{
	struct mews_trim all = { .bytes = UINT64_MAX, .parts = true };
	void *block[2];
	int error = 0;

	(void)state;
	open_pool(1);
	assert_int_equal(mews_slabs_grow(slabs, 0, block, 2, &error), 2);
	mews_slabs_put(slabs, block + 1, 1, no_block, NULL);
	mews_slabs_trim(slabs, 0, &all);
	assert_true(atomic_load(&slabs->window->bare_blocks) > 0);
	slabs->slabs = 1;
	assert_int_equal(mews_set_hard_limit(1), 0);
	assert_int_equal(mews_slabs_grow(slabs, 0, block + 1, 1, &error), 0);
	assert_int_equal(error, ENOBUFS);
	assert_int_equal(mews_set_hard_limit(0), 0);
	assert_int_equal(mews_slabs_grow(slabs, 0, block + 1, 1, &error), 1);
	mews_slabs_put(slabs, block, 2, no_block, NULL);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth_of_a_whole_slab),
		cmocka_unit_test(test_trim_of_what_became_partial),
		cmocka_unit_test(test_growth_beside_another),
		cmocka_unit_test(test_growth_beside_bare_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
