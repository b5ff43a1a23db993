/* SPDX-License-Identifier: MIT */
/*
 * Leases with owners, inlined (opt-in): what mews/inline.h is to mews/mews.h, this is to mews/owner.h;
 * what is said there holds here.
 *
 * Every block of a pool with owners has a word, in a table beside the blocks:
 *
 *   bit 63 .. 33   32        31 .. 3                         0
 *       owner      settled   slot: low half of its address   ended
 *
 * The slot is one of a cache, or 0, which is none. The block is out exactly if it does not lie in that
 * slot, and its word is not settled. So a return changes the word, before it commits, to the slot into
 * which it puts the block; a lease commits, and the block lies there no more. A sequence that was
 * aborted, or whose thread died in it, has done the one or the other. For this to hold no block leaves
 * a cache, but by a lease of its word's owner, before its word has changed.
 *
 * A hit needs a block whose word has the owner already: from its last lease of it. Any other is a
 * miss, which makes the block's group of eight words known to the owner: mews_owner_end looks through
 * the groups that it knows.
 */
#ifndef MEWS_OWNER_INLINE_H
#define MEWS_OWNER_INLINE_H

#include <mews/inline.h>
#include <mews/owner.h>

/*
 * An owner and a pool, as the sequences want them: a user keeps it in a local variable, so that its
 * members stay in registers. Valid as long as both.
 */
struct mews_bound {
	struct mews_pool *pool;
	struct mews_owner *owner;
	uint64_t words, by;     /* address of a word = words + mews_word_index(by, block) * 8 */
	uint64_t key;           /* word = key + low half of the slot's address */
	uint64_t tag;           /* = high half of a word that is not settled */
};

/* Stands before the header of the cache of zeros for -1, and is all zeros in a pool without owners. */
struct mews_words {
	uint64_t words, by;
};

#if defined(__cplusplus)
extern "C" {
#endif

/* What the hit path calls when there is no hit. Not for other callers. */
MEWS_API void *mews_owner_lease_slow_2(struct mews_pool *pool, struct mews_owner *owner);

#if defined(__cplusplus)
}
#endif

#if defined(__x86_64__)
#include <mews/owned_x86_64.h>
#elif defined(__aarch64__)
#include <mews/owned_aarch64.h>
#endif

/* key: the owner's, all its bits in place. */
static inline __attribute__((always_inline)) struct mews_bound
mews_bind_key(struct mews_pool *pool, uint64_t key)
{
	const struct mews_words *words = (const struct mews_words *)
		((const char *)pool - (1 << MEWS_CACHE_SHIFT) - sizeof(struct mews_words));
	struct mews_bound bound;

	bound.pool = pool;
	bound.owner = NULL;
	bound.words = words->words;
	bound.by = words->by;
	bound.key = key;
	bound.tag = key >> 32;
	return bound;
}

/* Neither may be NULL. */
static inline __attribute__((always_inline)) struct mews_bound mews_bind_inline(struct mews_pool *pool,
									 struct mews_owner *owner)
{
	/* An owner begins with its key. */
	struct mews_bound bound = mews_bind_key(pool, *(const uint64_t *)(const void *)owner);

	bound.owner = owner;
	return bound;
}

/* As mews_owner_lease. */
static inline __attribute__((always_inline)) void *mews_owner_lease_inline(struct mews_bound bound)
{
	void *block = mews_seq_owned_lease(bound, __rseq_offset);

	if (__builtin_expect(!block, 0))
		return mews_owner_lease_slow_2(bound.pool, bound.owner);
	mews_tsan_acquire(block);
	return block;
}

/* As mews_owner_return. */
static inline __attribute__((always_inline)) void mews_owner_return_inline(struct mews_bound bound,
									   void *block)
{
	mews_tsan_release(block);
	if (__builtin_expect(!mews_seq_owned_return(bound, __rseq_offset, block), 0))
		mews_return_slow_2(bound.pool, block);
}

#endif
