/* SPDX-License-Identifier: MIT */
/*
 * Slabs (layer 2): see slab.h for what they are. The one subtle thing is the summary, a bit a word
 * that says «may hold free blocks», so that a taker need not read every word:
 *
 *   taker                          putter
 *   clear the summary's bit        or the mask into the word
 *   exchange the word for 0        the word was 0? set the summary's bit
 *
 * Were the taker to clear after its exchange, a putter that came between the two would have its bit
 * cleared, and its blocks would be free and never found. In this order a bit may be set for an empty
 * word, which costs one look, and is never clear for a word with blocks but for the moment between
 * a putter's two steps. All four are sequentially consistent read-modify-writes.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include "slab.h"

static size_t round_line(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

/* Table sizes of one window, in bytes. */
struct window_tables {
	size_t free, summary, vacant, rung, blocks;
};

static struct window_tables window_tables(const struct mews_plan *plan)
{
	size_t slabs = plan->window_bytes / plan->slab_bytes;
	size_t words = slabs * mews_slabs_words(plan);

	return (struct window_tables) {
		.free = round_line(words * 8),
		.summary = round_line((words + 63) / 64 * 8),
		.vacant = round_line((slabs + 63) / 64 * 8),
		.rung = round_line(slabs),
		.blocks = round_line(slabs * 4),
	};
}

static size_t window_array_bytes(const struct mews_plan *plan)
{
	return round_line(plan->nodes * sizeof(struct mews_window));
}

size_t mews_slabs_table_bytes(const struct mews_plan *plan)
{
	struct window_tables t = window_tables(plan);

	return window_array_bytes(plan) +
		plan->nodes * (t.free + t.summary + t.vacant + t.rung + t.blocks);
}

static void lay_tables(struct mews_slabs *s, const struct mews_plan *plan, char *at)
{
	struct window_tables t = window_tables(plan);
	struct mews_window *w;

	s->window = (struct mews_window *)at;
	at += window_array_bytes(plan);
	for (w = s->window; w < s->window + plan->nodes; w++) {
		w->free = (mews_word *)at;
		w->summary = (mews_word *)(at += t.free);
		w->vacant = (mews_word *)(at += t.summary);
		w->rung = (_Atomic uint8_t *)(at += t.vacant);
		w->blocks = (_Atomic uint32_t *)(at += t.rung);
		at += t.blocks;
	}
}

/* 0 for 1, whose inverse does not fit: see divide(). */
static uint64_t inverse(uint64_t divisor)
{
	return divisor == 1 ? 0 : UINT64_MAX / divisor + 1;
}

int mews_slabs_init(struct mews_slabs *s, const struct mews_plan *plan, void *tables)
{
	*s = (struct mews_slabs) {
		.length = plan->nodes * plan->window_bytes,
		.windows = plan->nodes,
		.window_shift = plan->window_shift,
		.slab_shift = (uint32_t)__builtin_ctzll(plan->slab_bytes),
		.slab_blocks = plan->slab_blocks,
		.slab_words = mews_slabs_words(plan),
		.slabs = (uint32_t)(plan->window_bytes / plan->slab_bytes),
		.cell_blocks = plan->cell_blocks,
		.cell_bytes = plan->cell_bytes,
		.stride = plan->stride,
		.cell_inverse = inverse(plan->cell_bytes),
		.stride_inverse = inverse(plan->stride),
		.cell_blocks_inverse = inverse(plan->cell_blocks),
		.max_blocks = plan->max_blocks,
		.page = (size_t)sysconf(_SC_PAGESIZE),
		.plan = plan,
	};
	s->bits_shift = (uint32_t)__builtin_ctz(s->slab_words * 64);
	s->window_bits_shift = s->bits_shift + (uint32_t)__builtin_ctz(s->slabs);
	s->start = mews_place_reserve(s->length, plan->window_bytes);
	if (!s->start)
		return -ENOMEM;
	lay_tables(s, plan, tables);
	return 0;
}

void mews_slabs_fini(struct mews_slabs *s)
{
	mews_place_release(s->start, s->length);
}

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

void *mews_slabs_block(const struct mews_slabs *s, uint32_t number)
{
	uint32_t window = number >> s->window_bits_shift;
	uint32_t slab = number >> s->bits_shift & (s->slabs - 1);

	return block_in_slab(s, slab_start(s, window, slab), number & ((1u << s->bits_shift) - 1));
}

enum mews_verdict mews_slabs_find(const struct mews_slabs *s, const void *block, uint32_t *number)
{
	uint64_t offset = (uintptr_t)block - (uintptr_t)s->start;
	uint64_t in_slab, cell, in_cell, index;
	uint32_t window, slab;

	*number = MEWS_NONE;
	if (offset >= s->length)
		return MEWS_BLOCK_FOREIGN;
	window = (uint32_t)(offset >> s->window_shift);
	slab = (uint32_t)((offset & (((uint64_t)1 << s->window_shift) - 1)) >> s->slab_shift);
	in_slab = offset & (((uint64_t)1 << s->slab_shift) - 1);
	cell = divide(in_slab, s->cell_inverse);
	in_cell = in_slab - cell * s->cell_bytes;
	index = divide(in_cell, s->stride_inverse);
	if (cell * s->cell_blocks + index >=
	    atomic_load_explicit(&s->window[window].blocks[slab], memory_order_relaxed))
		return MEWS_BLOCK_FOREIGN;
	if (in_cell != index * s->stride || index >= s->cell_blocks)
		return MEWS_BLOCK_INTERIOR;
	*number = window << s->window_bits_shift | slab << s->bits_shift |
		  (uint32_t)(cell * s->cell_blocks + index);
	return MEWS_BLOCK_START;
}

/* Sets the bits of mask; returns those that were set before. S1: pairs with take_word's exchange. */
static uint64_t put_word(struct mews_window *w, uint64_t word, uint64_t mask)
{
	uint64_t old = atomic_fetch_or(&w->free[word], mask);

	if (old == 0)
		atomic_fetch_or(&w->summary[word / 64], (uint64_t)1 << word % 64);
	return old & mask;
}

static uint64_t lowest_bits(uint64_t mask, size_t count)
{
	uint64_t rest = mask;

	while (rest && count--)
		rest &= rest - 1;
	return mask & ~rest;
}

/* Takes up to count bits of a word. S2: pairs with put_word: what was put is seen by its taker. */
static uint64_t take_word(struct mews_window *w, uint64_t word, size_t count)
{
	uint64_t have = atomic_load(&w->free[word]);
	uint64_t take;

	do {
		take = lowest_bits(have, count);
		if (take == have) {
			atomic_fetch_and(&w->summary[word / 64], ~((uint64_t)1 << word % 64));
			have = atomic_exchange(&w->free[word], 0);
			take = lowest_bits(have, count);
			if (take != have)
				put_word(w, word, have & ~take);
			return take;
		}
	} while (!atomic_compare_exchange_weak(&w->free[word], &have, have & ~take));
	return take;
}

static size_t list_blocks(const struct mews_slabs *s, uint32_t window, uint64_t word, uint64_t bits,
			  void **blocks)
{
	uint32_t first = (uint32_t)(word * 64) & ((1u << s->bits_shift) - 1);
	char *slab = slab_start(s, window, (uint32_t)(word >> (s->bits_shift - 6)));
	size_t n = 0;

	for (; bits; bits &= bits - 1)
		blocks[n++] = block_in_slab(s, slab, first + (uint32_t)__builtin_ctzll(bits));
	return n;
}

static uint64_t words_in_use(const struct mews_slabs *s, const struct mews_window *w)
{
	/* Relaxed: a slab that is missed here is found by the next call. */
	return (uint64_t)atomic_load_explicit(&w->frontier, memory_order_relaxed) * s->slab_words;
}

size_t mews_slabs_take(struct mews_slabs *s, uint32_t window, void **blocks, size_t count)
{
	struct mews_window *w = &s->window[window];
	uint64_t groups = (words_in_use(s, w) + 63) / 64;
	uint64_t group, bits, word;
	size_t got = 0;

	for (group = 0; group < groups; group++) {
		bits = atomic_load(&w->summary[group]);
		for (; bits; bits &= bits - 1) {
			word = group * 64 + (uint64_t)__builtin_ctzll(bits);
			got += list_blocks(s, window, word, take_word(w, word, count - got),
					   blocks + got);
			if (got == count)
				return got;
		}
	}
	return got;
}

void mews_slabs_put(struct mews_slabs *s, void *const *blocks, size_t count,
		    mews_bad_block *bad, void *context)
{
	enum mews_verdict verdict;
	uint32_t number, bit;
	size_t i;

	for (i = 0; i < count; i++) {
		verdict = mews_slabs_find(s, blocks[i], &number);
		if (verdict != MEWS_BLOCK_START) {
			bad(context, blocks[i], verdict);
			continue;
		}
		bit = mews_slabs_bit(s, number);
		if (put_word(&s->window[number >> s->window_bits_shift], bit / 64,
			     (uint64_t)1 << bit % 64))
			bad(context, blocks[i], MEWS_BLOCK_START);
	}
}

/* Claims up to want blocks of max_blocks. Relaxed: a count, it publishes nothing. */
static uint64_t claim_blocks(struct mews_slabs *s, uint64_t want)
{
	uint64_t carved = atomic_load_explicit(&s->carved, memory_order_relaxed);
	uint64_t claim;

	do {
		claim = s->max_blocks - carved < want ? s->max_blocks - carved : want;
		if (claim == 0)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(&s->carved, &carved, carved + claim,
			memory_order_relaxed, memory_order_relaxed));
	return claim;
}

static bool claim_vacant(struct mews_window *w, uint32_t *slab)
{
	uint32_t groups = (atomic_load(&w->frontier) + 63) / 64;
	uint64_t bits, lowest;
	uint32_t group;

	for (group = 0; group < groups; group++) {
		bits = atomic_load(&w->vacant[group]);
		while (bits) {
			lowest = bits & -bits;
			bits = atomic_fetch_and(&w->vacant[group], ~lowest);
			if (bits & lowest) {
				*slab = group * 64 + (uint32_t)__builtin_ctzll(lowest);
				return true;
			}
		}
	}
	return false;
}

/* Claims a slab's address space: one that lost its memory, else one never used. */
static bool claim_slab(struct mews_slabs *s, struct mews_window *w, uint32_t *slab)
{
	uint32_t frontier;

	if (claim_vacant(w, slab))
		return true;
	frontier = atomic_load(&w->frontier);
	do {
		if (frontier == s->slabs)
			return false;
	} while (!atomic_compare_exchange_weak(&w->frontier, &frontier, frontier + 1));
	*slab = frontier;
	return true;
}

static void unclaim_slab(struct mews_window *w, uint32_t slab)
{
	atomic_fetch_or(&w->vacant[slab / 64], (uint64_t)1 << slab % 64);
}

static void add(mews_word *word, uint64_t amount)
{
	atomic_fetch_add_explicit(word, amount, memory_order_relaxed);
}

static enum mews_page_policy rung_of(const struct mews_backing *got)
{
	return got->pages_1g ? MEWS_PAGES_1G : got->pages_2m ? MEWS_PAGES_2M :
	       got->thp ? MEWS_PAGES_THP : MEWS_PAGES_BASE;
}

static mews_word *backed_by(struct mews_window *w, enum mews_page_policy rung)
{
	return rung == MEWS_PAGES_1G ? &w->backed_1g : rung == MEWS_PAGES_2M ? &w->backed_2m :
	       rung == MEWS_PAGES_THP ? &w->backed_thp : &w->backed_base;
}

/* Notes what backs the slabs of a range. */
static void note_rung(struct mews_slabs *s, struct mews_window *w, uint64_t offset, uint64_t length,
		      enum mews_page_policy rung)
{
	uint64_t slab;

	for (slab = offset >> s->slab_shift; slab << s->slab_shift < offset + length; slab++)
		atomic_store(&w->rung[slab], (uint8_t)rung);
}

/* Backs part of a window: whole slabs, or the first blocks of one. */
static int back(struct mews_slabs *s, uint32_t window, char *start, uint64_t length,
		enum mews_page_policy top)
{
	struct mews_window *w = &s->window[window];
	struct mews_place_request request = {
		.node = s->plan->window_node[window],
		.policy = s->plan->node_policy,
		.top = top,
		.bind = s->windows > 1,
	};
	struct mews_backing got = { 0 };
	int error = mews_place_back(start, length, &request, &got);

	if (error)
		return error;
	add(backed_by(w, rung_of(&got)), length);
	add(&w->unbound, got.unbound);
	note_rung(s, w, (uint64_t)(start - slab_start(s, window, 0)), length, rung_of(&got));
	return 0;
}

/* Bytes to back for the first `blocks` blocks of a slab: all of it for a whole one. */
static uint64_t slab_length(const struct mews_slabs *s, uint64_t blocks)
{
	uint64_t bytes = (uint64_t)1 << s->slab_shift;

	if (blocks < s->slab_blocks || s->plan->page_top == MEWS_PAGES_BASE)
		bytes = block_offset(s, (uint32_t)blocks - 1) + s->stride;
	return (bytes + s->page - 1) / s->page * s->page;
}

/* The bits of a word of a slab that has `blocks` blocks. */
static uint64_t word_mask(uint64_t blocks, uint64_t word)
{
	if (blocks <= word * 64)
		return 0;
	return blocks - word * 64 >= 64 ? UINT64_MAX : ((uint64_t)1 << (blocks - word * 64)) - 1;
}

/* Makes the first `blocks` blocks of a backed slab known; the first `taken` of them are in hand. */
static void publish(struct mews_slabs *s, uint32_t window, uint32_t slab, uint64_t blocks,
		    uint64_t taken)
{
	struct mews_window *w = &s->window[window];
	uint64_t word, bits;

	atomic_store_explicit(&w->blocks[slab], (uint32_t)blocks, memory_order_relaxed);
	add(&w->carved, blocks);
	for (word = taken / 64; word * 64 < blocks; word++) {
		bits = word_mask(blocks, word);
		if (taken > word * 64)
			bits &= UINT64_MAX << (taken - word * 64);
		if (bits)
			put_word(w, (uint64_t)slab * s->slab_words + word, bits);
	}
}

/* Backs a slab whose blocks are claimed. 0 where there is no memory or address space for it. */
static size_t back_slab(struct mews_slabs *s, uint32_t window, uint64_t claim, void **blocks,
			size_t count)
{
	struct mews_window *w = &s->window[window];
	char *start;
	uint32_t slab;
	size_t i;

	if (!claim_slab(s, w, &slab))
		return 0;
	start = slab_start(s, window, slab);
	if (back(s, window, start, slab_length(s, claim), s->plan->page_top)) {
		unclaim_slab(w, slab);
		return 0;
	}
	count = count < claim ? count : claim;
	for (i = 0; i < count; i++)
		blocks[i] = block_in_slab(s, start, (uint32_t)i);
	publish(s, window, slab, claim, count);
	return claim;
}

/*
 * Backs one slab; takes up to count of its blocks. False and *error as mews_slabs_grow. Who counts
 * growing and grown around its look at the slabs knows that blocks were on their way, or came.
 */
static bool grow_slab(struct mews_slabs *s, uint32_t window, void **blocks, size_t *count,
		      int *error)
{
	uint64_t claim;
	bool backed;

	*error = ENOBUFS;
	if (atomic_load(&s->carved) == s->max_blocks)
		return (*count = 0);
	atomic_fetch_add(&s->growing, 1);
	claim = claim_blocks(s, s->slab_blocks);
	backed = claim && back_slab(s, window, claim, blocks, *count);
	if (claim && !backed)
		atomic_fetch_sub_explicit(&s->carved, claim, memory_order_relaxed);
	*count = !backed ? 0 : *count < claim ? *count : claim;
	*error = claim ? ENOMEM : ENOBUFS;
	atomic_fetch_add(&s->grown, 1); /* before growing falls: one of the two is seen */
	atomic_fetch_sub(&s->growing, 1);
	return backed;
}

size_t mews_slabs_grow(struct mews_slabs *s, uint32_t window, void **blocks, size_t count,
		       int *error)
{
	size_t got = 0, more;
	uint32_t slabs;
	int ignored;

	for (slabs = 0; slabs < s->plan->growth_slabs; slabs++) {
		more = count - got;
		if (!grow_slab(s, window, blocks + got, &more, slabs ? &ignored : error))
			break;
		got += more;
	}
	return got;
}

/* Backs 1 GiB at once with one page, where the frontier allows it. Not concurrent. */
static bool reserve_gigabyte(struct mews_slabs *s, uint32_t window)
{
	const uint64_t gigabyte = (uint64_t)1 << 30;
	struct mews_window *w = &s->window[window];
	uint32_t slabs = (uint32_t)(gigabyte >> s->slab_shift), first = atomic_load(&w->frontier), i;

	if (s->plan->page_top != MEWS_PAGES_1G || slabs == 0 || first + slabs > s->slabs ||
	    ((uint64_t)first << s->slab_shift) % gigabyte ||
	    atomic_load(&s->carved) + (uint64_t)slabs * s->slab_blocks > s->max_blocks ||
	    back(s, window, slab_start(s, window, first), gigabyte, MEWS_PAGES_1G))
		return false;
	atomic_store(&w->frontier, first + slabs);
	for (i = 0; i < slabs; i++) {
		claim_blocks(s, s->slab_blocks);
		publish(s, window, first + i, s->slab_blocks, 0);
	}
	return true;
}

int mews_slabs_reserve(struct mews_slabs *s, uint64_t count)
{
	uint32_t window = 0;
	uint64_t before;
	size_t none;
	int error;

	while ((before = atomic_load(&s->carved)) < count) {
		none = 0;
		if ((count - before) / s->slab_blocks < ((uint64_t)1 << 30 >> s->slab_shift) ||
		    !reserve_gigabyte(s, window))
			grow_slab(s, window, NULL, &none, &error);
		if (atomic_load(&s->carved) == before)
			return -ENOMEM;
		window = (window + 1) % s->windows;
	}
	return 0;
}

uint64_t mews_slabs_free(const struct mews_slabs *s, uint32_t window)
{
	const struct mews_window *w = &s->window[window];
	uint64_t words = words_in_use(s, w), word, count = 0;

	for (word = 0; word < words; word++)
		count += (uint64_t)__builtin_popcountll(atomic_load_explicit(&w->free[word],
									     memory_order_relaxed));
	return count;
}

static uint64_t slab_free(const struct mews_slabs *s, const struct mews_window *w, uint32_t slab)
{
	uint64_t count = 0, word = (uint64_t)slab * s->slab_words, end = word + s->slab_words;

	for (; word < end; word++)
		count += (uint64_t)__builtin_popcountll(atomic_load(&w->free[word]));
	return count;
}

/* Gives the first `end` words of a slab their bits back. */
static void put_words(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t end,
		      uint32_t blocks)
{
	uint32_t word;

	for (word = 0; word < end; word++)
		put_word(w, (uint64_t)slab * s->slab_words + word, word_mask(blocks, word));
}

/* Takes all blocks of a word, or none; the summary first, as take_word does. */
static bool take_whole_word(struct mews_window *w, uint64_t word, uint64_t whole)
{
	uint64_t bit = (uint64_t)1 << word % 64;

	if (atomic_load(&w->free[word]) != whole)
		return false;
	atomic_fetch_and(&w->summary[word / 64], ~bit);
	if (atomic_compare_exchange_strong(&w->free[word], &whole, 0))
		return true;
	atomic_fetch_or(&w->summary[word / 64], bit);
	return false;
}

/* Takes all blocks of a slab at once, or none. */
static bool take_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t blocks)
{
	uint64_t first = (uint64_t)slab * s->slab_words;
	uint32_t end = (blocks + 63) / 64, word;

	for (word = 0; word < end; word++)
		if (!take_whole_word(w, first + word, word_mask(blocks, word))) {
			put_words(s, w, slab, word, blocks);
			return false;
		}
	return true;
}

/* Gives the memory of a slab back whose blocks are all in hand. Part of a 1 GiB page can't be. */
static bool discard_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t blocks)
{
	char *start = slab_start(s, (uint32_t)(w - s->window), slab);
	uint64_t length = slab_length(s, blocks);

	if (atomic_load(&w->rung[slab]) == MEWS_PAGES_1G ||
	    mews_place_discard(start, (size_t)1 << s->slab_shift)) {
		put_words(s, w, slab, (blocks + 63) / 64, blocks);
		return false;
	}
	atomic_fetch_sub(backed_by(w, atomic_exchange(&w->rung[slab], 0)), length);
	atomic_store(&w->blocks[slab], 0);
	atomic_fetch_sub(&w->carved, blocks);
	unclaim_slab(w, slab);
	atomic_fetch_sub(&s->carved, blocks);
	atomic_fetch_add(&s->trimmed, 1);
	return true;
}

bool mews_slabs_trim_one(struct mews_slabs *s)
{
	struct mews_window *w;
	uint32_t slab, blocks;

	for (w = s->window; w < s->window + s->windows; w++)
		for (slab = atomic_load(&w->frontier); slab-- > 0;) {
			blocks = atomic_load(&w->blocks[slab]);
			if (blocks && slab_free(s, w, slab) == blocks &&
			    take_slab(s, w, slab, blocks) && discard_slab(s, w, slab, blocks))
				return true;
		}
	return false;
}

uint64_t mews_slabs_backed(const struct mews_slabs *s)
{
	const struct mews_window *w;
	uint64_t bytes = 0;

	for (w = s->window; w < s->window + s->windows; w++)
		bytes += atomic_load(&w->backed_1g) + atomic_load(&w->backed_2m) +
			 atomic_load(&w->backed_thp) + atomic_load(&w->backed_base);
	return bytes;
}

static bool slab_is_shared(const struct mews_window *w, uint32_t slab)
{
	uint8_t rung = atomic_load(&w->rung[slab]);

	return rung == MEWS_PAGES_1G || rung == MEWS_PAGES_2M;
}

/* A run of shared slabs, as mews_place_privatize hands it to its callback. */
struct shared_run {
	const struct mews_slabs *slabs;
	const struct mews_window *window;
	uint32_t first, count;
};

/*
 * By words that are read as they are: AddressSanitizer may have a block poisoned that is free in a
 * cache, and a loop over plain words would become a memcpy, which it checks.
 */
static __attribute__((no_sanitize("address"))) void copy_words(const char *from, char *to,
							       size_t length)
{
	size_t at;

	for (at = 0; at < length; at += sizeof(uint64_t))
		*(volatile uint64_t *)(to + at) = *(const volatile uint64_t *)(from + at);
}

/* Copies the blocks that are not free: a free one's contents are nobody's. */
static void copy_blocks(const void *from, size_t length, void *to, void *context)
{
	const struct shared_run *run = context;
	const struct mews_slabs *s = run->slabs;
	uint32_t slab, i, blocks;
	const mews_word *words;
	size_t at;

	(void)length; /* run says the same */
	for (slab = run->first; slab < run->first + run->count; slab++) {
		words = run->window->free + (uint64_t)slab * s->slab_words;
		blocks = atomic_load(&run->window->blocks[slab]);
		for (i = 0; i < blocks; i++) {
			if (atomic_load(&words[i / 64]) >> i % 64 & 1)
				continue;
			at = ((size_t)(slab - run->first) << s->slab_shift) + block_offset(s, i);
			copy_words((const char *)from + at, (char *)to + at, s->stride);
		}
	}
}

static bool privatize_run(struct mews_slabs *s, struct mews_window *w, struct shared_run *run)
{
	char *start = slab_start(s, (uint32_t)(w - s->window), run->first);
	uint64_t bytes = (uint64_t)1 << s->slab_shift;
	uint32_t slab;

	if (mews_place_privatize(start, run->count * bytes, copy_blocks, run))
		return false;
	for (slab = run->first; slab < run->first + run->count; slab++) {
		atomic_fetch_sub(backed_by(w, atomic_load(&w->rung[slab])), bytes);
		add(&w->backed_base, bytes);
		atomic_store(&w->rung[slab], MEWS_PAGES_BASE);
	}
	return true;
}

/* Run by run: a 1 GiB page is in one run with all its slabs, and can't be replaced in part. */
bool mews_slabs_privatize(struct mews_slabs *s)
{
	struct mews_window *w;
	struct shared_run run;
	uint32_t slab, end;
	bool all = true;

	for (w = s->window; w < s->window + s->windows; w++) {
		end = atomic_load(&w->frontier);
		for (slab = 0; slab < end; slab++) {
			run = (struct shared_run) { .slabs = s, .window = w, .first = slab };
			while (slab < end && slab_is_shared(w, slab)) {
				run.count++;
				slab++;
			}
			if (run.count)
				all &= privatize_run(s, w, &run);
		}
	}
	return all;
}
