/* SPDX-License-Identifier: MIT */
/*
 * What slab.c and grow.c share (layer 2): where a block lies in its slab, and how free bits are set.
 * Included by these two only.
 */
#ifndef MEWS_LIB_SLAB_BITS_H
#define MEWS_LIB_SLAB_BITS_H

#include "slab.h"

/*
 * x / divisor for x < 2^32 and divisor < 2^32: exact, since the error of the rounded inverse, at
 * most x * divisor / 2^64, is less than what is missing to the next multiple (Granlund and
 * Montgomery, PLDI 1994).
 */
static inline uint64_t divide(uint64_t x, uint64_t inverse)
{
	return inverse ? (uint64_t)((unsigned __int128)x * inverse >> 64) : x;
}

static inline char *slab_start(const struct mews_slabs *s, uint32_t window, uint32_t slab)
{
	return s->start + ((uint64_t)window << s->window_shift) + ((uint64_t)slab << s->slab_shift);
}

static inline size_t block_offset(const struct mews_slabs *s, uint32_t index)
{
	uint32_t cell = (uint32_t)divide(index, s->cell_blocks_inverse);

	return cell * s->cell_bytes + (index - cell * s->cell_blocks) * s->stride;
}

static inline char *block_in_slab(const struct mews_slabs *s, char *slab, uint32_t index)
{
	return slab + block_offset(s, index);
}

/* Sets the bits of mask; returns those that were set before. S1: pairs with take_word in slab.c. */
static inline uint64_t put_word(struct mews_window *w, uint64_t word, uint64_t mask)
{
	uint64_t old = atomic_fetch_or(&w->free[word], mask);

	if (old == 0)
		atomic_fetch_or(&w->summary[word / 64], (uint64_t)1 << word % 64);
	return old & mask;
}

static inline uint64_t words_in_use(const struct mews_slabs *s, const struct mews_window *w)
{
	/* Relaxed: a slab that is missed here is found by the next call. */
	return (uint64_t)atomic_load_explicit(&w->frontier, memory_order_relaxed) * s->slab_words;
}

/* The bits of a word of a slab that has `blocks` blocks. */
static inline uint64_t word_mask(uint64_t blocks, uint64_t word)
{
	if (blocks <= word * 64)
		return 0;
	return blocks - word * 64 >= 64 ? UINT64_MAX : ((uint64_t)1 << (blocks - word * 64)) - 1;
}

#endif
