/* SPDX-License-Identifier: MIT */
/*
 * What slab.c, grow.c and shrink.c share (layer 2): where a block lies in its slab, and how free bits
 * are set and taken. Included by these only.
 */
#ifndef MEWS_LIB_SLAB_BITS_H
#define MEWS_LIB_SLAB_BITS_H

#include "lines.h"
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

/* Sets the bits of mask; returns those that were set before. S1: pairs with S2 in take_bits. */
static inline uint64_t put_bits(mews_word *words, mews_word *summary, uint64_t word, uint64_t mask)
{
	uint64_t old = atomic_fetch_or(&words[word], mask);

	if (old == 0)
		atomic_fetch_or(&summary[word / 64], (uint64_t)1 << word % 64);
	return old & mask;
}

static inline uint64_t put_word(struct mews_window *w, uint64_t word, uint64_t mask)
{
	return put_bits(w->free, w->summary, word, mask);
}

/* Clears those above: mostly all of a word's bits are wanted, and else few are not. */
static inline uint64_t lowest_bits(uint64_t mask, size_t count)
{
	size_t have = (size_t)__builtin_popcountll(mask);

	for (; have > count; have--)
		mask &= ~((uint64_t)1 << (63 - __builtin_clzll(mask)));
	return mask;
}

/* Takes up to count bits of a word. S2: pairs with S1: what was put is seen by its taker. */
static inline uint64_t take_bits(mews_word *words, mews_word *summary, uint64_t word, size_t count)
{
	uint64_t have = atomic_load(&words[word]);
	uint64_t take;

	do {
		take = lowest_bits(have, count);
		if (take == have) {
			atomic_fetch_and(&summary[word / 64], ~((uint64_t)1 << word % 64));
			have = atomic_exchange(&words[word], 0);
			take = lowest_bits(have, count);
			if (take != have)
				put_bits(words, summary, word, have & ~take);
			return take;
		}
	} while (!atomic_compare_exchange_weak(&words[word], &have, have & ~take));
	return take;
}

/*
 * The addresses of the blocks whose bits are set in a word, below end, the lowest last; returns how many. Nobody
 * wrote them for long, and who leases them, from the end, will: the next address is found while the lines
 * of the ones before are on their way.
 */
static inline size_t list_blocks(const struct mews_slabs *s, uint32_t window, uint64_t word,
				 uint64_t bits, void **end)
{
	uint32_t first = (uint32_t)(word * 64) & ((1u << s->bits_shift) - 1);
	char *slab = slab_start(s, window, (uint32_t)(word >> (s->bits_shift - 6)));
	size_t n = 0;

	for (; bits; bits &= bits - 1, n++) {
		*--end = block_in_slab(s, slab, first + (uint32_t)__builtin_ctzll(bits));
		mews_near(*end);
	}
	return n;
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

static inline uint64_t extent_bytes(const struct mews_slabs *s)
{
	return (uint64_t)1 << s->extent_shift;
}

static inline uint64_t round_up(uint64_t bytes, uint64_t to)
{
	return (bytes + to - 1) & ~(to - 1);
}

/* Where the first `blocks` blocks of a slab end. */
static inline uint64_t blocks_end(const struct mews_slabs *s, uint64_t blocks)
{
	return block_offset(s, (uint32_t)blocks - 1) + s->stride;
}

/* How many blocks of a slab end within its first bytes. */
static inline uint64_t blocks_within(const struct mews_slabs *s, uint64_t bytes)
{
	uint64_t cell = divide(bytes, s->cell_inverse);
	uint64_t in_cell = divide(bytes - cell * s->cell_bytes, s->stride_inverse);
	uint64_t fit = cell * s->cell_blocks + (in_cell < s->cell_blocks ? in_cell : s->cell_blocks);

	return fit < s->slab_blocks ? fit : s->slab_blocks;
}

/* How many end where the first `blocks`, at least one, do, or later in that extent. */
static inline uint64_t to_extent_end(const struct mews_slabs *s, uint64_t blocks)
{
	return blocks_within(s, round_up(blocks_end(s, blocks), extent_bytes(s)));
}

/* Bytes to back for the first `blocks` blocks of a slab: whole extents, where they fill the last. */
static inline uint64_t slab_length(const struct mews_slabs *s, uint64_t blocks)
{
	if (blocks == 0)
		return 0;
	return round_up(blocks_end(s, blocks), s->plan->page_top != MEWS_PAGES_BASE &&
			blocks == to_extent_end(s, blocks) ? extent_bytes(s) : s->page);
}

/* Counts the bytes behind a window by what backs them. */
static inline mews_word *backed_by(struct mews_window *w, enum mews_page_policy rung)
{
	return rung == MEWS_PAGES_1G ? &w->backed_1g : rung == MEWS_PAGES_2M ? &w->backed_2m :
	       rung == MEWS_PAGES_THP ? &w->backed_thp : &w->backed_base;
}

/* Relaxed: counts, they publish nothing. */
static inline void add_to(mews_word *word, uint64_t amount)
{
	atomic_fetch_add_explicit(word, amount, memory_order_relaxed);
}

/* How memory of a window is asked for. */
static inline struct mews_place_request place_request(const struct mews_slabs *s, uint32_t window,
						      enum mews_page_policy top, bool local)
{
	return (struct mews_place_request) {
		.node = s->plan->window_node[window],
		.policy = s->plan->node_policy,
		.top = top,
		.bind = s->windows > 1,
		.local = local,
	};
}

static inline void mark_slab(mews_word *marks, uint32_t slab)
{
	atomic_fetch_or(&marks[slab / 64], (uint64_t)1 << slab % 64);
}

static inline bool unmark_slab(mews_word *marks, uint32_t slab)
{
	uint64_t bit = (uint64_t)1 << slab % 64;

	return atomic_fetch_and(&marks[slab / 64], ~bit) & bit;
}

/* Ends the claim of a slab, by what it has now. */
static inline void unclaim_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab)
{
	uint32_t blocks = atomic_load(&w->blocks[slab]);

	if (blocks < s->slab_blocks)
		mark_slab(blocks ? w->partial : w->vacant, slab);
}

/*
 * Between the two calls blocks or slabs are in the caller's hands, for as long as system calls take. Who
 * reads growing and grown around its look at the slabs knows that some were on their way, or came.
 */
static inline void begin_move(struct mews_slabs *s)
{
	atomic_fetch_add(&s->growing, 1);
	atomic_fetch_add(&s->begun, 1); /* in this order: see grow_extent */
}

/* refused: by a limit, which stands in the reader's way as well; it need not look again for that. */
static inline void end_move(struct mews_slabs *s, bool refused)
{
	if (!refused)
		atomic_fetch_add(&s->grown, 1); /* before growing falls: one of the two is seen */
	atomic_fetch_sub(&s->growing, 1);
}

/* Claims up to want blocks of max_blocks. Relaxed: a count, it publishes nothing. */
static inline uint64_t claim_blocks(struct mews_slabs *s, uint64_t want)
{
	uint64_t claimed = atomic_load_explicit(&s->claimed, memory_order_relaxed);
	uint64_t limit = atomic_load(&s->max_blocks), claim;

	do {
		if (claimed >= limit)
			return 0;
		claim = limit - claimed < want ? limit - claimed : want;
	} while (!atomic_compare_exchange_weak_explicit(&s->claimed, &claimed, claimed + claim,
			memory_order_relaxed, memory_order_relaxed));
	return claim;
}

static inline void unclaim_blocks(struct mews_slabs *s, uint64_t count)
{
	atomic_fetch_sub_explicit(&s->claimed, count, memory_order_relaxed);
}

/* Bytes of the window and the process together. */
static inline void release_bytes(struct mews_window *w, uint64_t bytes)
{
	mews_budget_release(&w->budget, bytes);
	mews_budget_release(&mews_process_budget, bytes);
}

static inline bool claim_bytes(struct mews_window *w, uint64_t bytes)
{
	if (!mews_budget_claim(&w->budget, bytes))
		return false;
	if (mews_budget_claim(&mews_process_budget, bytes))
		return true;
	mews_budget_release(&w->budget, bytes);
	return false;
}

#endif
