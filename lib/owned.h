/* SPDX-License-Identifier: MIT */
/*
 * Owner words (layer 4): what the blocks of a pool with owners have beside them, and such a pool's
 * caches for those who need no owner. What a word holds stands in mews/owner_inline.h. Called by
 * cache.c, exchange.c, pool.c and owner_*.c. Who writes a word:
 *
 *   a sequence, on a block at the top of its CPU's cache or in its caller's hands   plain store
 *   the slow path, on a block that it has in hand; a closer, on what it takes       plain store
 *   a return by who is not the owner, adopting, disowning, the owner's end          compare-and-swap
 *
 * Invariant: a block leaves a cache after its word has changed (W1), but for a lease by the word's
 * owner, so that anybody else who finds it gone there, and compares the word after that (W2), fails. A
 * free block that lies in no cache has a settled word, or 0, as in the beginning. A word that is not
 * settled and has an owner's key was written by this owner's user.
 */
#ifndef MEWS_LIB_OWNED_H
#define MEWS_LIB_OWNED_H

#include "control.h"

#define MEWS_WORD_ENDED UINT64_C(1)             /* and came back when its owner ended */
#define MEWS_WORD_SETTLED (UINT64_C(1) << 32)   /* it is free, whatever lies in the slot */
#define MEWS_WORD_SLOT (MEWS_WORD_SETTLED - 8)
#define MEWS_WORD_KEY_SHIFT 33
#define MEWS_WORD_KEY (~UINT64_C(0) << MEWS_WORD_KEY_SHIFT)
#define MEWS_NOBODY (UINT64_C(1) << MEWS_WORD_KEY_SHIFT) /* the key of leases without an owner */

#define MEWS_GROUP_WORDS 8

/* Bytes of the table of a pool of this plan, and its entry into the pool: 0 or -ENOMEM. */
size_t mews_owned_table_bytes(const struct mews_plan *plan);
int mews_owned_init(struct mews_control *control, void *table);

static inline bool mews_owned(const struct mews_control *control)
{
	return control->words != NULL;
}

/* Only for addresses within the slabs. */
static inline mews_word *mews_owned_word(const struct mews_control *control, const void *block)
{
	return (mews_word *)(control->words->words +
			     mews_word_index(control->words->by, block) * sizeof(mews_word));
}

/* The group that a block's word belongs to. */
static inline uint64_t mews_owned_group(const struct mews_control *control, const void *block)
{
	return mews_word_index(control->words->by, block) / MEWS_GROUP_WORDS;
}

/* The word and the block that are a group's i-th; there may be no such block. */
static inline mews_word *mews_owned_word_at(const struct mews_control *control, uint64_t group,
					    unsigned i)
{
	return (mews_word *)(control->words->words +
			     (group * MEWS_GROUP_WORDS + i) * sizeof(mews_word));
}

void *mews_owned_block_at(const struct mews_control *control, uint64_t group, unsigned i);

/* The word of a free block that lies nowhere: with an owner only if this ended. */
static inline uint64_t mews_owned_settled(uint64_t word)
{
	return (word & MEWS_WORD_ENDED ? word : 0) | MEWS_WORD_SETTLED;
}

/* True where the block, whose word was read as `word`, lies in the slot that this tells. */
bool mews_owned_lies(const struct mews_control *control, uint64_t word, const void *block);

/* True where it is out on lease. */
bool mews_owned_out(const struct mews_control *control, uint64_t word, const void *block);

/* Blocks in the caller's hands become leases of nobody's; or free ones, by settled words. */
void mews_owned_lend(struct mews_control *control, void *const *blocks, size_t count);
void mews_owned_settle(struct mews_control *control, void *const *blocks, size_t count);

/*
 * Takes up to count blocks of this CPU's cache: as leases of nobody's; as free ones, the coldest first.
 * Returns how many.
 */
size_t mews_owned_lease(struct mews_control *control, void **blocks, size_t count);
size_t mews_owned_take(struct mews_control *control, void **blocks, size_t count);

/* Puts free blocks on this CPU's cache, as mews_seq_return_many. Returns how many. */
size_t mews_owned_put(struct mews_control *control, void *const *blocks, size_t count);

#endif
