/* SPDX-License-Identifier: MIT */
/*
 * The memory behind the slabs (layer 2): growth, reserve, and what a fork's child makes of pages that
 * it shares. slab.c is about the blocks, shrink.c about memory that goes back. Invariant: blocks are
 * counted in `claimed`, and their bytes in the budgets of the window and the process, before their
 * memory is backed and until it is given back, so that no limit is passed, and their free bits are
 * set only while it is there.
 *
 * A slab grows by an extent at a time, from the first on; near a limit it may get less than that. Until
 * it is whole it is in its window's `partial`, and who takes it out of there extends it, or gives its
 * memory back: nobody else does meanwhile. Part of an extent gets base pages, and so does its rest.
 */
#include <errno.h>
#include <stdatomic.h>
#include "slab_bits.h"

/* Takes the lowest slab that is set in vacant or partial out of it. */
static bool claim_marked(struct mews_window *w, mews_word *marks, uint32_t *slab)
{
	uint32_t groups = (atomic_load(&w->frontier) + 63) / 64;
	uint64_t bits, lowest;
	uint32_t group;

	for (group = 0; group < groups; group++) {
		bits = atomic_load(&marks[group]);
		while (bits) {
			lowest = bits & -bits;
			bits = atomic_fetch_and(&marks[group], ~lowest);
			if (bits & lowest) {
				*slab = group * 64 + (uint32_t)__builtin_ctzll(lowest);
				return true;
			}
		}
	}
	return false;
}

/* What a growth claims: blocks from .. to of a slab, and the memory behind them. */
struct claim {
	uint32_t window, slab;
	bool fresh;             /* nothing of the slab was ever backed */
	bool local;             /* on the window's own node only */
	uint64_t from, to;      /* from: the slab has as many */
	uint64_t bytes;
};

/* Claims a slab to back: one that has only its first blocks, one that lost its memory, a new one. */
static bool claim_slab(struct mews_slabs *s, struct mews_window *w, struct claim *c)
{
	uint32_t frontier;

	if (claim_marked(w, w->partial, &c->slab) || claim_marked(w, w->vacant, &c->slab))
		return true;
	frontier = atomic_load(&w->frontier);
	do {
		if (frontier == s->slabs)
			return false;
	} while (!atomic_compare_exchange_weak(&w->frontier, &frontier, frontier + 1));
	c->slab = frontier;
	c->fresh = true;
	return true;
}

static enum mews_page_policy rung_of(const struct mews_backing *got)
{
	return got->pages_1g ? MEWS_PAGES_1G : got->pages_2m ? MEWS_PAGES_2M :
	       got->thp ? MEWS_PAGES_THP : MEWS_PAGES_BASE;
}

/* Notes what backs the extents of a range. */
static void note_rung(struct mews_slabs *s, struct mews_window *w, uint64_t offset, uint64_t length,
		      enum mews_page_policy rung)
{
	uint64_t extent;

	for (extent = offset >> s->extent_shift; extent << s->extent_shift < offset + length; extent++)
		atomic_store(&w->rung[extent], (uint8_t)rung);
}

/* Takes one of a number of growths. Relaxed: a hint. */
static bool count_down(_Atomic uint32_t *growths)
{
	uint32_t left = atomic_load_explicit(growths, memory_order_relaxed);

	if (left)
		atomic_store_explicit(growths, left - 1, memory_order_relaxed);
	return left;
}

/*
 * Backs part of a window for a claim. A window that got transparent huge pages asks for nothing else for a while:
 * where no pages are reserved, the asking was 15 ns of a block's 525 (docs/performance.md, Growth).
 */
static int back(struct mews_slabs *s, const struct claim *c, char *start, uint64_t length,
		enum mews_page_policy top)
{
	struct mews_window *w = &s->window[c->window];
	uint64_t offset = (uint64_t)(start - slab_start(s, c->window, 0));
	bool thp = top <= MEWS_PAGES_THP && count_down(&w->on_thp);
	struct mews_place_request request = place_request(s, c->window, thp ? MEWS_PAGES_THP : top,
							  c->local);
	struct mews_backing got = { 0 };
	int error;

	request.thp = thp;
	request.advised = thp && c->fresh && offset + length <= w->advised;
	error = mews_place_back(start, length, &request, &got);
	if (error)
		return error;
	if (!thp && got.thp)
		atomic_store_explicit(&w->on_thp, MEWS_GROWTH_REST, memory_order_relaxed);
	else if (thp && !got.thp)
		atomic_store_explicit(&w->on_thp, 0, memory_order_relaxed);
	add_to(backed_by(w, rung_of(&got)), length);
	add_to(&w->unbound, got.unbound);
	note_rung(s, w, offset, length, rung_of(&got));
	return 0;
}

/* Makes the claim's blocks known, which are backed; the first `taken` of them are in hand. */
static void publish(struct mews_slabs *s, const struct claim *c, uint64_t taken)
{
	struct mews_window *w = &s->window[c->window];
	uint64_t first = c->from + taken, word, bits;

	atomic_store_explicit(&w->blocks[c->slab], (uint32_t)c->to, memory_order_relaxed);
	add_to(&w->carved, c->to - c->from);
	add_to(&w->free_blocks, c->to - first);
	for (word = first / 64; word * 64 < c->to; word++) {
		bits = word_mask(c->to, word);
		if (first > word * 64)
			bits &= UINT64_MAX << (first - word * 64);
		if (bits)
			put_word(w, (uint64_t)c->slab * s->slab_words + word, bits);
	}
}

/*
 * Claims blocks and their memory: to the end of an extent, or, where a limit in bytes has no room for
 * that, half as many, and so on. False where there is none for one block.
 */
static bool claim_memory(struct mews_slabs *s, struct claim *c)
{
	uint64_t blocks = claim_blocks(s, to_extent_end(s, c->from + 1) - c->from);
	uint64_t wanted = blocks;

	for (; blocks; blocks /= 2) {
		c->to = c->from + blocks;
		c->bytes = slab_length(s, c->to) - slab_length(s, c->from);
		if (claim_bytes(&s->window[c->window], c->bytes))
			break;
	}
	unclaim_blocks(s, wanted - blocks);
	return blocks > 0;
}

static void release_memory(struct mews_slabs *s, const struct claim *c)
{
	unclaim_blocks(s, c->to - c->from);
	release_bytes(&s->window[c->window], c->bytes);
}

/* A slab's later blocks may lie on the page of its first ones: then there is nothing to do. */
static int back_claim(struct mews_slabs *s, const struct claim *c)
{
	uint64_t had = slab_length(s, c->from);
	bool whole = !((had | c->bytes) & (extent_bytes(s) - 1)); /* an extent has pages of one kind */

	return c->bytes ? back(s, c, slab_start(s, c->window, c->slab) + had, c->bytes,
			       whole ? s->plan->page_top : MEWS_PAGES_BASE) : 0;
}

/* Claims, backs and publishes part of a slab. Takes up to *count of its blocks. 0 or an errno. */
static int grow_claimed(struct mews_slabs *s, struct claim *c, void **blocks, size_t *count)
{
	char *start = slab_start(s, c->window, c->slab);
	size_t i;

	c->from = atomic_load(&s->window[c->window].blocks[c->slab]);
	if (!claim_memory(s, c))
		return ENOBUFS;
	if (back_claim(s, c)) {
		release_memory(s, c);
		return ENOMEM;
	}
	*count = *count < c->to - c->from ? *count : c->to - c->from;
	for (i = 0; i < *count; i++) { /* as list_blocks does */
		blocks[*count - 1 - i] = block_in_slab(s, start, (uint32_t)(c->from + i));
		mews_near(blocks[*count - 1 - i]);
	}
	publish(s, c, *count);
	return 0;
}

/*
 * Backs one extent of a slab; takes up to count of its blocks. False and *error as mews_slabs_grow.
 * Address space is used up (ENOMEM) where no slab is left, and no bare block, and nobody had one in hand
 * while we looked: others had left before, and who begins counts itself before it takes any.
 */
static bool grow_extent(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
		      size_t *count, int *error)
{
	struct mews_window *w = &s->window[window];
	struct claim claim = { .window = window, .local = local };
	uint32_t begun;
	bool alone;

	*error = ENOBUFS;
	if (mews_slabs_at_limit(s))
		return (*count = 0);
	begin_move(s);
	begun = atomic_load(&s->begun);
	alone = atomic_load(&s->growing) == 1;
	if (claim_slab(s, w, &claim)) {
		*error = grow_claimed(s, &claim, blocks, count);
		/* A whole one is anybody's from its publication on, and may be given back already. */
		if (*error || claim.to < s->slab_blocks)
			unclaim_slab(s, w, claim.slab);
	} else if (!atomic_load(&w->bare_blocks) && alone && atomic_load(&s->begun) == begun) {
		*error = ENOMEM;
	}
	*count = *error ? 0 : *count;
	end_move(s, *error == ENOBUFS);
	return !*error;
}

/* Carved blocks without memory come before more carved ones. At the limit, nobody is to wait for this. */
static size_t revive(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
		     size_t count, int *refused)
{
	size_t got;

	if (!atomic_load(&s->window[window].bare_blocks) || mews_slabs_at_limit(s))
		return 0;
	begin_move(s);
	got = mews_slabs_revive(s, window, local, blocks, count, refused);
	end_move(s, !got && *refused == ENOBUFS);
	return got;
}

static size_t grow_slabs(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
			 size_t count, int *error)
{
	int refused = 0;
	uint32_t extents;
	size_t got, more;
	int ignored;

	got = revive(s, window, local, blocks, count, &refused);
	for (extents = got ? s->plan->growth_extents : 0; extents < s->plan->growth_extents; extents++) {
		more = count - got;
		if (!grow_extent(s, window, local, blocks + got, &more, extents ? &ignored : error))
			break;
		got += more;
	}
	if (got)
		add_to(&s->window[window].grown, 1);
	else if (refused == ENOMEM)
		*error = ENOMEM;
	return got;
}

size_t mews_slabs_grow(struct mews_slabs *s, uint32_t window, void **blocks, size_t count,
		       int *error)
{
	bool others = s->windows > 1 && s->plan->node_policy != MEWS_NODE_STRICT;
	struct mews_window *w = &s->window[window];
	size_t got;

	if (others && count_down(&w->rest)) {
		*error = mews_slabs_at_limit(s) ? ENOBUFS : ENOMEM;
		return 0;
	}
	got = grow_slabs(s, window, true, blocks, count, error);
	if (others && !got && *error == ENOMEM)
		atomic_store_explicit(&w->rest, MEWS_GROWTH_REST, memory_order_relaxed);
	return got;
}

size_t mews_slabs_grow_anywhere(struct mews_slabs *s, uint32_t window, void **blocks, size_t count,
				int *error)
{
	return grow_slabs(s, window, false, blocks, count, error);
}

/* Backs 1 GiB at once with one page, where the frontier and the limits allow it. Not concurrent. */
static bool reserve_gigabyte(struct mews_slabs *s, uint32_t window)
{
	const uint64_t gigabyte = (uint64_t)1 << 30;
	struct mews_window *w = &s->window[window];
	uint32_t slabs = (uint32_t)(gigabyte >> s->slab_shift), first = atomic_load(&w->frontier), i;
	struct claim c = { .window = window, .local = true, .to = s->slab_blocks };

	if (s->plan->page_top != MEWS_PAGES_1G || slabs == 0 || first + slabs > s->slabs ||
	    ((uint64_t)first << s->slab_shift) % gigabyte ||
	    atomic_load(&s->claimed) + (uint64_t)slabs * s->slab_blocks >
	    atomic_load(&s->max_blocks) || !claim_bytes(w, gigabyte))
		return false;
	if (back(s, &c, slab_start(s, window, first), gigabyte, MEWS_PAGES_1G)) {
		w->advised = 0; /* the range may be mapped anew, and the frontier stays */
		release_bytes(w, gigabyte);
		return false;
	}
	atomic_store(&w->frontier, first + slabs);
	for (i = 0; i < slabs; i++) {
		claim_blocks(s, s->slab_blocks);
		c.slab = first + i;
		publish(s, &c, 0);
	}
	return true;
}

/* Backs more for the count blocks wanted; false where the window gives none. */
static bool reserve_in(struct mews_slabs *s, uint32_t window, uint64_t count, bool local)
{
	uint64_t before = atomic_load(&s->claimed);
	size_t none = 0;
	int error;

	if ((count - before) / s->slab_blocks < ((uint64_t)1 << 30 >> s->slab_shift) ||
	    !reserve_gigabyte(s, window))
		grow_extent(s, window, local, NULL, &none, &error);
	return atomic_load(&s->claimed) != before;
}

/*
 * Rounds over the windows, each when the one before gave nothing: those that CPUs are at home in, all
 * with memory to spare, all from wherever the kernel finds memory.
 */
enum { ROUND_HOME, ROUND_LOCAL, ROUND_ANYWHERE, ROUNDS };

static int reserve(struct mews_slabs *s, uint64_t count)
{
	bool only_home = s->windows == 1 || s->plan->node_policy == MEWS_NODE_STRICT;
	uint32_t window, failed = 0, round;

	for (window = 0; atomic_load(&s->claimed) < count; window = (window + 1) % s->windows) {
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

int mews_slabs_reserve(struct mews_slabs *s, uint64_t count)
{
	int result = reserve(s, count);
	struct mews_window *w;

	for (w = s->window; w < s->window + s->windows; w++) {
		w->reserved = atomic_load(&w->carved) < count ? atomic_load(&w->carved) : count;
		count -= w->reserved;
	}
	return result;
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

/* A run of shared extents, as mews_place_privatize hands it to its callback: bytes of the window. */
struct shared_run {
	const struct mews_slabs *slabs;
	const struct mews_window *window;
	uint64_t from, to;
};

static bool extent_is_shared(const struct mews_window *w, uint64_t extent)
{
	uint8_t rung = atomic_load(&w->rung[extent]);

	return rung == MEWS_PAGES_1G || rung == MEWS_PAGES_2M;
}

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

/* Copies what of a block lies in the run. */
static void copy_block(const struct shared_run *run, uint64_t at, const char *from, char *to)
{
	uint64_t end = at + run->slabs->stride;

	at = at < run->from ? run->from : at;
	end = end < run->to ? end : run->to;
	if (at < end)
		copy_words(from + (at - run->from), to + (at - run->from), end - at);
}

/* Copies the blocks that are not free: a free one's contents are nobody's. */
static void copy_blocks(const void *from, size_t length, void *to, void *context)
{
	const struct shared_run *run = context;
	const struct mews_slabs *s = run->slabs;
	const mews_word *words;
	uint32_t i, blocks;
	uint64_t slab;

	(void)length; /* run says the same */
	for (slab = run->from >> s->slab_shift; slab << s->slab_shift < run->to; slab++) {
		words = run->window->free + slab * s->slab_words;
		blocks = atomic_load(&run->window->blocks[slab]);
		for (i = 0; i < blocks; i++)
			if (!(atomic_load(&words[i / 64]) >> i % 64 & 1))
				copy_block(run, (slab << s->slab_shift) + block_offset(s, i), from, to);
	}
}

static bool privatize_run(struct mews_slabs *s, struct mews_window *w, struct shared_run *run)
{
	char *start = slab_start(s, (uint32_t)(w - s->window), 0) + run->from;
	uint64_t extent;

	if (mews_place_privatize(start, run->to - run->from, copy_blocks, run))
		return false;
	for (extent = run->from >> s->extent_shift; extent < run->to >> s->extent_shift; extent++)
		atomic_fetch_sub(backed_by(w, atomic_exchange(&w->rung[extent], MEWS_PAGES_BASE)),
				 extent_bytes(s));
	add_to(&w->backed_base, run->to - run->from);
	return true;
}

/* Run by run: a 1 GiB page is in one run with all its slabs, and can't be replaced in part. */
bool mews_slabs_privatize(struct mews_slabs *s)
{
	struct shared_run run = { .slabs = s };
	struct mews_window *w;
	uint64_t extent, end;
	bool all = true;

	for (w = s->window; w < s->window + s->windows; w++) {
		end = (uint64_t)atomic_load(&w->frontier) << (s->slab_shift - s->extent_shift);
		run.window = w;
		for (extent = 0; extent < end; extent++) {
			run.from = extent << s->extent_shift;
			while (extent < end && extent_is_shared(w, extent))
				extent++;
			run.to = extent << s->extent_shift;
			if (run.from < run.to)
				all &= privatize_run(s, w, &run);
		}
	}
	return all;
}
