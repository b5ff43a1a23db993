/* SPDX-License-Identifier: MIT */
/*
 * The memory behind the slabs (layer 2): growth, reserve, trimming, and what a fork's child makes of
 * pages that it shares. The other half of slab.h; slab.c is about the blocks. Invariant: blocks are
 * counted in `carved` before their memory is backed and until it is given back, so that the count
 * never passes max_blocks, and their free bits are set only while it is there.
 */
#include <errno.h>
#include <stdatomic.h>
#include "slab_bits.h"

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
		enum mews_page_policy top, bool local)
{
	struct mews_window *w = &s->window[window];
	struct mews_place_request request = {
		.node = s->plan->window_node[window],
		.policy = s->plan->node_policy,
		.top = top,
		.bind = s->windows > 1,
		.local = local,
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
static size_t back_slab(struct mews_slabs *s, uint32_t window, bool local, uint64_t claim,
			void **blocks, size_t count)
{
	struct mews_window *w = &s->window[window];
	char *start;
	uint32_t slab;
	size_t i;

	if (!claim_slab(s, w, &slab))
		return 0;
	start = slab_start(s, window, slab);
	if (back(s, window, start, slab_length(s, claim), s->plan->page_top, local)) {
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
static bool grow_slab(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
		      size_t *count, int *error)
{
	uint64_t claim;
	bool backed;

	*error = ENOBUFS;
	if (atomic_load(&s->carved) == s->max_blocks)
		return (*count = 0);
	atomic_fetch_add(&s->growing, 1);
	claim = claim_blocks(s, s->slab_blocks);
	backed = claim && back_slab(s, window, local, claim, blocks, *count);
	if (claim && !backed)
		atomic_fetch_sub_explicit(&s->carved, claim, memory_order_relaxed);
	*count = !backed ? 0 : *count < claim ? *count : claim;
	*error = claim ? ENOMEM : ENOBUFS;
	atomic_fetch_add(&s->grown, 1); /* before growing falls: one of the two is seen */
	atomic_fetch_sub(&s->growing, 1);
	return backed;
}

static size_t grow_slabs(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
			 size_t count, int *error)
{
	size_t got = 0, more;
	uint32_t slabs;
	int ignored;

	for (slabs = 0; slabs < s->plan->growth_slabs; slabs++) {
		more = count - got;
		if (!grow_slab(s, window, local, blocks + got, &more, slabs ? &ignored : error))
			break;
		got += more;
	}
	return got;
}

size_t mews_slabs_grow(struct mews_slabs *s, uint32_t window, void **blocks, size_t count,
		       int *error)
{
	return grow_slabs(s, window, true, blocks, count, error);
}

size_t mews_slabs_grow_anywhere(struct mews_slabs *s, uint32_t window, void **blocks, size_t count,
				int *error)
{
	return grow_slabs(s, window, false, blocks, count, error);
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
	    back(s, window, slab_start(s, window, first), gigabyte, MEWS_PAGES_1G,
		 true))
		return false;
	atomic_store(&w->frontier, first + slabs);
	for (i = 0; i < slabs; i++) {
		claim_blocks(s, s->slab_blocks);
		publish(s, window, first + i, s->slab_blocks, 0);
	}
	return true;
}

/* Backs more for the count blocks wanted; false where the window gives none. */
static bool reserve_in(struct mews_slabs *s, uint32_t window, uint64_t count, bool local)
{
	uint64_t before = atomic_load(&s->carved);
	size_t none = 0;
	int error;

	if ((count - before) / s->slab_blocks < ((uint64_t)1 << 30 >> s->slab_shift) ||
	    !reserve_gigabyte(s, window))
		grow_slab(s, window, local, NULL, &none, &error);
	return atomic_load(&s->carved) != before;
}

/*
 * Rounds over the windows, each when the one before gave nothing: those that CPUs are at home in, all
 * with memory to spare, all from wherever the kernel finds memory.
 */
enum { ROUND_HOME, ROUND_LOCAL, ROUND_ANYWHERE, ROUNDS };

int mews_slabs_reserve(struct mews_slabs *s, uint64_t count)
{
	bool only_home = s->windows == 1 || s->plan->node_policy == MEWS_NODE_STRICT;
	uint32_t window, failed = 0, round;

	for (window = 0; atomic_load(&s->carved) < count; window = (window + 1) % s->windows) {
		round = failed / s->windows;
		if (round == (only_home ? ROUND_LOCAL : ROUNDS))
			return -ENOMEM;
		if ((round > ROUND_HOME || s->plan->home_windows >> window & 1) &&
		    reserve_in(s, window, count, round < ROUND_ANYWHERE))
			failed = 0;
		else
			failed++;
	}
	return 0;
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
