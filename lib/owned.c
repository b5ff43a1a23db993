/* SPDX-License-Identifier: MIT */
/*
 * Owner words (layer 4): see owned.h. Why a look into the slot decides, for a block b whose word, of
 * owner A, tells slot s of cache c. Who looks reads word, cur, slot, and compares the word last:
 *
 *   b lies in s, as it was put there: cur is above s and s holds b whenever they are read, until b
 *     leaves. Who takes it, but for A's user, changes the word first (W1).
 *   b does not: it was leased from there, when cur stood at s; or its return had not committed yet, when
 *     cur stood at s too. To stand above s another block was put in s first, or nothing where the cache
 *     begins above s since (W2), so who reads cur above s (W3) reads that, or what came later; b itself
 *     only if its word was changed for that.
 *
 * So a look that is wrong is one whose word has changed meanwhile, and the compare-and-swap after it
 * fails; what A's user does meanwhile is A's own, or the mistake of who returns a block that A returns
 * too. On x86-64 stores are seen in order; on aarch64 slots and cur are stored with release.
 */
#include <errno.h>
#include <string.h>
#include "owned.h"

#if defined(__aarch64__)
_Static_assert(offsetof(struct mews_cpu_cache, cur) == 0, "stlr has no offset");
#endif
_Static_assert(MEWS_BLOCK_SIZE_MAX == 1 << 26, "no shift is larger");
_Static_assert(8 * MEWS_MAGAZINE_MAX < MEWS_CACHE_SLOTS_MAX, "no slot begins a stride: 0 is no slot's half");
_Static_assert(8192 * (uint64_t)MEWS_CACHE_STRIDE <= MEWS_WORD_SLOT, "a word holds any CPU's slots");

/* Blocks are a stride apart, and more at the end of a cell: no two in one step of 2^shift. */
static unsigned shift_of(const struct mews_plan *plan)
{
	return 63 - (unsigned)__builtin_clzll(plan->stride);
}

size_t mews_owned_table_bytes(const struct mews_plan *plan)
{
	return (plan->nodes * plan->window_bytes >> shift_of(plan)) * sizeof(mews_word) +
		2 * MEWS_GROUP_WORDS * sizeof(mews_word);
}

static uint64_t index_of(const struct mews_control *control, const void *address)
{
	return mews_word_index(mews_word_by(shift_of(&control->plan)), address);
}

int mews_owned_init(struct mews_control *control, void *table)
{
	const struct mews_slabs *slabs = &control->slabs;
	struct mews_words *words = (struct mews_words *)
		((char *)control->pool - MEWS_CACHE_STRIDE - sizeof(struct mews_words));
	uint64_t first = index_of(control, slabs->start);

	/* An index has not all bits of the address: were they to wrap within the pool, try elsewhere. */
	if (index_of(control, slabs->start + slabs->length - 1) < first)
		return -ENOMEM;
	words->by = mews_word_by(shift_of(&control->plan));
	words->words = (uintptr_t)table - first / MEWS_GROUP_WORDS * MEWS_GROUP_WORDS *
		       sizeof(mews_word);
	control->words = words;
	return 0;
}

void *mews_owned_block_at(const struct mews_control *control, uint64_t group, unsigned i)
{
	const struct mews_slabs *slabs = &control->slabs;
	uint64_t steps = group * MEWS_GROUP_WORDS + i - index_of(control, slabs->start);

	return mews_slabs_first_from(slabs, (uintptr_t)slabs->start +
				     (steps << shift_of(&control->plan)));
}

bool mews_owned_lies(const struct mews_control *control, uint64_t word, const void *block)
{
	/* Half of the address: the caches span less than 4 GiB. */
	const char *first = (const char *)control->pool - MEWS_CACHE_HEADER_AT;
	const char *slot = first + (uint32_t)((word & MEWS_WORD_SLOT) - (uintptr_t)first);
	const struct mews_cpu_cache *cache = (const struct mews_cpu_cache *)
		(((uintptr_t)slot & ~(uintptr_t)(MEWS_CACHE_STRIDE - 1)) + MEWS_CACHE_HEADER_AT);

	/* W3: acquires what was done before cur moved, or the slot was filled. 0 is no slot. */
	return word & MEWS_WORD_SLOT &&
	       (const char *)__atomic_load_n(&cache->cur, __ATOMIC_ACQUIRE) > slot &&
	       __atomic_load_n((void *const *)slot, __ATOMIC_ACQUIRE) == block;
}

bool mews_owned_out(const struct mews_control *control, uint64_t word, const void *block)
{
	return word && !(word & MEWS_WORD_SETTLED) && !mews_owned_lies(control, word, block);
}

void mews_owned_lend(struct mews_control *control, void *const *blocks, size_t count)
{
	size_t i;

	/* Relaxed: the block is in hand; who gets it from here gets the word with it. */
	for (i = 0; i < count; i++)
		atomic_store_explicit(mews_owned_word(control, blocks[i]), MEWS_NOBODY,
				      memory_order_relaxed);
}

void mews_owned_settle(struct mews_control *control, void *const *blocks, size_t count)
{
	mews_word *word;
	uint64_t seen;
	size_t i;

	/* Relaxed: as above; a closer's cur (W1) and every structure that takes blocks release it. */
	for (i = 0; i < count; i++) {
		word = mews_owned_word(control, blocks[i]);
		seen = atomic_load_explicit(word, memory_order_relaxed);
		atomic_store_explicit(word, mews_owned_settled(seen), memory_order_relaxed);
	}
}

size_t mews_owned_lease(struct mews_control *control, void **blocks, size_t count)
{
	struct mews_bound bound = mews_bind_key(control->pool, MEWS_NOBODY);
	size_t got = 0;

	while (got < count &&
	       (blocks[got] = mews_seq_owned_lease_any(bound, mews_rseq_offset)))
		got++;
	return got;
}

size_t mews_owned_take(struct mews_control *control, void **blocks, size_t count)
{
	struct mews_bound bound = mews_bind_key(control->pool, MEWS_NOBODY);
	size_t at = count;

	/* From the top, and so from the end. */
	while (at && (blocks[at - 1] = mews_seq_owned_take(bound, mews_rseq_offset)))
		at--;
	memmove(blocks, blocks + at, (count - at) * sizeof(*blocks));
	return count - at;
}

size_t mews_owned_put(struct mews_control *control, void *const *blocks, size_t count)
{
	struct mews_bound bound;
	uint64_t word;
	size_t put;

	for (put = 0; put < count; put++) {
		/* Relaxed: as above. */
		word = atomic_load_explicit(mews_owned_word(control, blocks[put]),
					    memory_order_relaxed);
		bound = mews_bind_key(control->pool, mews_owned_settled(word) & ~MEWS_WORD_SLOT);
		if (!mews_seq_owned_return_any(bound, mews_rseq_offset, blocks[put]))
			break;
	}
	return put;
}
