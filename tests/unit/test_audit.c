/* SPDX-License-Identifier: MIT */
/* The audit itself: it passes a sound pool, and finds each damage that is done to its tables. */
#include <stdio.h>
#include <string.h>
#include "../../lib/cache.h"
#include "../../lib/control.h"
#include "../support/audit.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define COUNT 1000
#define OUT 10

static struct mews_pool *pool;
static struct mews_control *control;
static void *out[OUT];

/* A pool with something in each tier. */
static int set_up(void **state)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 64, .max_blocks = COUNT,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP,
		.node_policy = MEWS_NODE_STRICT,        /* all in window 0, where damage is done */
		.decay_ms = MEWS_DECAY_NEVER,
	};
	void *blocks[COUNT];

	(void)state;
	threads_pin(0);
	if (mews_pool_create(&config, &pool))
		return -1;
	control = mews_control_of(pool);
	if (mews_lease_many(pool, blocks, COUNT) != COUNT)
		return -1;
	mews_return_many(pool, blocks, COUNT / 2);
	for (int i = COUNT / 2; i < COUNT - OUT; i++)
		mews_return(pool, blocks[i]);
	memcpy(out, blocks + COUNT - OUT, sizeof(out));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mews_return_many(pool, out, OUT);
	return mews_pool_dispose(pool);
}

static void assert_sound(void)
{
	struct audit audit;

	if (!audit_pool(pool, out, OUT, &audit))
		fail_msg("%s", audit.message);
	assert_int_equal(audit.leased, OUT);
	assert_int_equal(audit.carved, COUNT);
	assert_int_equal(audit.cached + audit.side + audit.depot + audit.slab, COUNT - OUT);
}

static void assert_found(const char *text)
{
	struct audit audit;

	assert_false(audit_pool(pool, out, OUT, &audit));
	if (!strstr(audit.message, text))
		fail_msg("«%s» says nothing of «%s»", audit.message, text);
}

static void test_sound_pool(void **state)
{
	(void)state;
	assert_sound();
}

static void test_list_of_the_caller(void **state)
{
	void *kept = out[3];

	(void)state;
	out[3] = out[4];
	assert_found("is in leased");
	out[3] = (char *)kept + 8;
	assert_found("not the start");
	out[3] = &kept;
	assert_found("outside the slabs");
	out[3] = kept;
	assert_sound();
}

/* A window's word that is in use, and its lowest free bit. */
static mews_word *free_word(uint64_t *bit)
{
	mews_word *word = control->slabs.window[0].free;

	while (!atomic_load(word))
		word++;
	*bit = atomic_load(word) & -atomic_load(word);
	return word;
}

static void test_free_bits(void **state)
{
	uint32_t number;
	mews_word *word;
	uint64_t bit;

	(void)state;
	word = free_word(&bit);
	atomic_fetch_and(word, ~bit);
	assert_found("is lost");
	atomic_fetch_or(word, bit);
	assert_int_equal(mews_slabs_find(&control->slabs, out[0], &number), MEWS_BLOCK_START);
	mews_slabs_put(&control->slabs, out, 1, NULL, NULL);
	assert_found("leased 0 and in the free bits");
	word = &control->slabs.window[0].free[number / 64];
	atomic_fetch_and(word, ~((uint64_t)1 << number % 64));
	assert_found("free and");
	atomic_fetch_sub(&control->slabs.window[0].free_blocks, 1);
	assert_sound();
}

static void test_summary(void **state)
{
	mews_word *word, *summary;
	uint64_t bit, index, kept;

	(void)state;
	word = free_word(&bit);
	index = (uint64_t)(word - control->slabs.window[0].free);
	summary = &control->slabs.window[0].summary[index / 64];
	kept = atomic_exchange(summary, 0);
	assert_found("summary hides");
	atomic_store(summary, kept);
	assert_sound();
}

static struct mews_cpu_cache *some_cache(void)
{
	for (uint32_t cpu = 0; cpu < control->sides.count; cpu++)
		if (mews_cache_count(control, cpu) > 2)
			return mews_cache_of(pool, cpu);
	fail_msg("no cache holds anything");
	return NULL;
}

static void test_caches(void **state)
{
	struct mews_cpu_cache *cache = some_cache();
	void **bottom = cache->base, **cur = cache->cur, *kept = bottom[0];

	(void)state;
	bottom[0] = bottom[1];
	assert_found("in the cache of CPU");
	bottom[0] = kept;
	cache->cur--;
	assert_found("is lost");
	cache->cur = bottom + 5000;
	assert_found("cur stands at");
	cache->cur = cur;
	cache->span--;
	assert_found("wrong bounds");
	cache->span++;
	assert_sound();
}

static void test_depots(void **state)
{
	struct mews_depot *depot = &control->depots.depot[0];
	uint64_t head = atomic_load(&depot->full.head);
	uint32_t top = mews_tagstack_top(head);
	uint64_t link;

	(void)state;
	assert_int_not_equal(top, MEWS_NONE);
	link = atomic_load(&depot->link[top]);
	atomic_store(&depot->link[top], link + ((uint64_t)1 << 32));
	assert_found("a stack of depot 0");
	atomic_store(&depot->link[top], link);
	atomic_store(&depot->full.head, mews_tagstack_next_head(head, (uint32_t)link - 1));
	assert_found("magazines on its stacks");
	atomic_store(&depot->full.head, head);
	assert_sound();
}

static void test_gate(void **state)
{
	(void)state;
	atomic_fetch_add(&control->sides.side[0].gate[1], 1);
	assert_found("still inside");
	atomic_fetch_sub(&control->sides.side[0].gate[1], 1);
	assert_sound();
}

static void test_counts(void **state)
{
	(void)state;
	atomic_fetch_add(&control->slabs.claimed, 1);
	assert_found("blocks with memory in all slabs");
	atomic_fetch_sub(&control->slabs.claimed, 1);
	assert_sound();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound_pool),
		cmocka_unit_test(test_list_of_the_caller),
		cmocka_unit_test(test_free_bits),
		cmocka_unit_test(test_summary),
		cmocka_unit_test(test_caches),
		cmocka_unit_test(test_depots),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_counts),
	};

	if (__rseq_size == 0) {
		puts("skip: no restartable sequences, no caches to damage");
		return 77;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
