/* SPDX-License-Identifier: MIT */
/*
 * Memory that goes back from slabs to the system, and comes again (layer 2): the trimming half of
 * slab.h. A whole slab goes back when all its blocks are free. Of another slab those pages do on which
 * every block is free; their blocks are then bare: still carved and free, and backed again before one
 * is leased. Called by drain.c, trim.c, keeper.c and grow.c. Invariant: a page is flagged in gone[]
 * only while each block on it is bare or in the hands of one operation here.
 *
 * A thread that gives memory back may be stopped for ever, with whatever it has in hand. So that does not
 * count against the maximum, any more than bare blocks do, and others may carve as many elsewhere: a
 * window has address space for a slab more than the pool. What is put back is claimed again, as a growth
 * would claim it; where others have made use of the room, it becomes bare, with its memory.
 *
 * The search for pages goes chunk by chunk: as many words of free bits as span 64 KiB at least. Its free
 * and bare blocks are taken, so that they are nobody else's; then runs of neighbours among them say
 * which pages are theirs alone. Put back, a block is free or bare by what gone[] says of its pages.
 */
#include <errno.h>
#include <stdatomic.h>
#include "../numa/kernel.h"
#include "slab_bits.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define CHUNK_WORDS_MAX 128             /* of 64 blocks of 8 bytes */
#define RUNG_SPLITTING 255              /* of an extent whose huge pages one thread is splitting */

static uint64_t given_by(const struct mews_trim *trim)
{
	return trim->slab_bytes + trim->part_bytes;
}

static bool reached(const struct mews_trim *trim)
{
	return given_by(trim) >= trim->bytes;
}

static uint64_t first_page(const struct mews_slabs *s, uint32_t slab)
{
	return ((uint64_t)slab << s->slab_shift) / s->page;
}

/* Bits of gone[] from page `from` on, to the end of its word or to page `to`. */
static uint64_t page_mask(uint64_t from, uint64_t to)
{
	uint64_t mask = UINT64_MAX << from % 64;

	return from / 64 == to / 64 ? mask & ~(UINT64_MAX << to % 64) : mask;
}

enum flags { FLAGS_COUNT, FLAGS_SET, FLAGS_CLEAR };

/* How many pages of [from, to) are flagged as gone, or change by being set or cleared. */
static uint64_t flag_pages(struct mews_window *w, uint64_t from, uint64_t to, enum flags how)
{
	uint64_t pages = 0, mask, old;

	for (; from < to; from = (from | 63) + 1) {
		mask = page_mask(from, to);
		old = how == FLAGS_SET ? ~atomic_fetch_or(&w->gone[from / 64], mask) :
		      how == FLAGS_CLEAR ? atomic_fetch_and(&w->gone[from / 64], ~mask) :
		      atomic_load(&w->gone[from / 64]);
		pages += (uint64_t)__builtin_popcountll(old & mask);
	}
	return pages;
}

/* The pages that a block lies on. */
static void pages_of(const struct mews_slabs *s, uint32_t slab, uint32_t index, uint64_t *from,
		     uint64_t *to)
{
	size_t start = block_offset(s, index);

	*from = first_page(s, slab) + start / s->page;
	*to = first_page(s, slab) + (start + s->stride - 1) / s->page + 1;
}

static uint32_t slab_of_word(const struct mews_slabs *s, uint64_t word)
{
	return (uint32_t)(word >> (s->bits_shift - 6));
}

static uint32_t first_of_word(const struct mews_slabs *s, uint64_t word)
{
	return (uint32_t)(word * 64) & ((1u << s->bits_shift) - 1);
}

/* Of blocks in hand those that lie on a page without memory. */
static uint64_t bare_among(const struct mews_slabs *s, struct mews_window *w, uint64_t word,
			   uint64_t bits)
{
	uint64_t from, to, bare = 0, rest;

	for (rest = bits; rest; rest &= rest - 1) {
		pages_of(s, slab_of_word(s, word),
			 first_of_word(s, word) + (uint32_t)__builtin_ctzll(rest), &from, &to);
		if (flag_pages(w, from, to, FLAGS_COUNT))
			bare |= rest & -rest;
	}
	return bare;
}

/*
 * How many blocks are in hand at a time that count: of a pool that has few, few, or a thread that is
 * stopped just then would have them all.
 */
static size_t at_a_time(const struct mews_slabs *s)
{
	uint64_t share = atomic_load(&s->max_blocks) / 64;

	return share < 1 ? 1 : share < 64 ? share : 64;
}

/* Puts blocks with memory back, as far as the maximum has room for them. Returns those that it has not. */
static uint64_t free_again(struct mews_slabs *s, struct mews_window *w, uint64_t word, uint64_t bits)
{
	uint64_t some, room = 1;

	for (; bits && room; bits &= ~some) {
		some = lowest_bits(bits, at_a_time(s));
		room = claim_blocks(s, (uint64_t)__builtin_popcountll(some));
		some = lowest_bits(some, room);
		if (some)
			put_word(w, word, some);
		add_to(&w->free_blocks, room);
	}
	return bits;
}

/* Puts blocks in hand back where their pages say. */
static void settle_word(struct mews_slabs *s, struct mews_window *w, uint64_t word, uint64_t bits)
{
	uint64_t bare = bare_among(s, w, word, bits), over = free_again(s, w, word, bits & ~bare);

	if (bare | over) {
		add_to(&w->bare_blocks, (uint64_t)__builtin_popcountll(bare | over));
		put_bits(w->bare, w->bare_summary, word, bare | over);
	}
	if (over)
		atomic_store(&w->backed_bare, 1); /* give_parts shall look for it */
}

static uint64_t take_bare(struct mews_window *w, uint64_t word, size_t count)
{
	uint64_t bits = take_bits(w->bare, w->bare_summary, word, count);

	atomic_fetch_sub_explicit(&w->bare_blocks, (uint64_t)__builtin_popcountll(bits),
				  memory_order_relaxed);
	return bits;
}

/* Takes all that is free of a word, bare or not: it does not count against the maximum then. */
static uint64_t take_free(struct mews_slabs *s, struct mews_window *w, uint64_t word)
{
	uint64_t bits = 0, some, count;

	while (atomic_load(&w->free[word])) {
		some = take_bits(w->free, w->summary, word, at_a_time(s));
		count = (uint64_t)__builtin_popcountll(some);
		unclaim_blocks(s, count);
		add_to(&w->free_blocks, -count);
		bits |= some;
	}
	if (atomic_load(&w->bare[word]))
		bits |= take_bare(w, word, 64);
	return bits;
}

/* How many of a slab's blocks [from, to) are free, bare ones included. */
static uint64_t free_among(const struct mews_slabs *s, const struct mews_window *w, uint32_t slab,
			   uint64_t from, uint64_t to)
{
	uint64_t count = 0, word, at;

	for (word = from / 64; word * 64 < to; word++) {
		at = (uint64_t)slab * s->slab_words + word;
		count += (uint64_t)__builtin_popcountll((atomic_load(&w->free[at]) | atomic_load(&w->bare[at])) &
							word_mask(to, word) & ~word_mask(from, word));
	}
	return count;
}

/* Gives the first `end` words of a slab their bits back. */
static void settle_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab,
			uint32_t end, uint32_t blocks)
{
	uint32_t word;

	for (word = 0; word < end; word++)
		settle_word(s, w, (uint64_t)slab * s->slab_words + word, word_mask(blocks, word));
}

/* Takes all blocks of a slab at once, or none. */
static bool take_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab,
		      uint32_t blocks)
{
	uint64_t first = (uint64_t)slab * s->slab_words, whole, got;
	uint32_t end = (blocks + 63) / 64, word;

	for (word = 0; word < end; word++) {
		whole = word_mask(blocks, word);
		got = take_free(s, w, first + word);
		if (got != whole) {
			settle_word(s, w, first + word, got);
			settle_slab(s, w, slab, word, blocks);
			return false;
		}
	}
	return true;
}

static uint64_t first_extent(const struct mews_slabs *s, uint32_t slab)
{
	return (uint64_t)slab << (s->slab_shift - s->extent_shift);
}

/* Counts the first `length` bytes of a slab as not backed any more. How many of them were. */
static uint64_t forget_backing(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint64_t length)
{
	uint64_t extent = first_extent(s, slab), page = first_page(s, slab), at, bytes, sum = 0;

	for (at = 0; at < length; at += extent_bytes(s)) {
		bytes = length - at < extent_bytes(s) ? length - at : extent_bytes(s);
		bytes -= s->page * flag_pages(w, page + at / s->page, page + (at + bytes) / s->page,
					      FLAGS_CLEAR);
		atomic_fetch_sub(backed_by(w, atomic_exchange(&w->rung[extent++], 0)), bytes);
		sum += bytes;
	}
	return sum;
}

/*
 * Gives the memory of a slab back whose blocks are all in hand. Their bytes are claimed until that has
 * happened.
 */
static bool discard_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t blocks,
			 struct mews_trim *trim)
{
	char *start = slab_start(s, (uint32_t)(w - s->window), slab);
	uint64_t length;

	if (mews_place_discard(start, (size_t)1 << s->slab_shift)) {
		settle_slab(s, w, slab, (blocks + 63) / 64, blocks);
		return false;
	}
	atomic_store(&w->blocks[slab], 0);
	atomic_fetch_sub(&w->carved, blocks);
	length = forget_backing(s, w, slab, slab_length(s, blocks));
	release_bytes(w, length);
	trim->slab_bytes += length;
	mark_slab(w->vacant, slab); /* the claim of a partial one ends here too */
	atomic_fetch_add(&s->trimmed, 1);
	return true;
}

/*
 * Gives a slab back, if all its blocks are free; part of a 1 GiB page can't be. One that is partial is
 * claimed first: see grow.c.
 */
static void give_slab(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t blocks,
		      struct mews_trim *trim)
{
	bool partial = blocks < s->slab_blocks, done;

	if (trim->within && slab_length(s, blocks) > trim->bytes - given_by(trim))
		return;
	if (atomic_load(&w->rung[first_extent(s, slab)]) == MEWS_PAGES_1G || free_among(s, w, slab, 0, blocks) < blocks)
		return;
	begin_move(s);
	if (!partial || unmark_slab(w->partial, slab)) {
		blocks = atomic_load(&w->blocks[slab]);
		/* Given back meanwhile, and grown in part: only its claim makes that ours. */
		done = (partial || blocks == s->slab_blocks) && blocks && take_slab(s, w, slab, blocks) &&
		       discard_slab(s, w, slab, blocks, trim);
		if (partial && !done)
			unclaim_slab(s, w, slab);
	}
	end_move(s, false);
}

/* A slab, some blocks of which are in hand: bits of owned[], from word `first` of the slab on. */
struct chunk {
	struct mews_slabs *slabs;
	struct mews_window *window;
	uint32_t slab, blocks;          /* blocks of the slab */
	uint32_t first, words;
	bool bare;                      /* bare blocks may have memory, too */
	uint64_t parting;               /* bit: an extent of the slab that may lose pages */
	uint64_t owned[CHUNK_WORDS_MAX];
};

/*
 * Makes an extent ready for losing pages. Whole huge pages become base pages, for good: the kernel must
 * not join them again over the gaps. False: another thread is at it, or the pages can't be split.
 */
static bool split_extent(const struct chunk *c, uint64_t extent)
{
	struct mews_slabs *s = c->slabs;
	struct mews_window *w = c->window;
	char *start = slab_start(s, (uint32_t)(w - s->window), 0);
	uint8_t rung = MEWS_PAGES_THP;

	if (!(c->parting >> (extent - first_extent(s, c->slab)) & 1))
		return false;
	if (!atomic_compare_exchange_strong(&w->rung[extent], &rung, RUNG_SPLITTING))
		return rung == MEWS_PAGES_BASE;
	mews_place_split(start + (extent << s->extent_shift), extent_bytes(s));
	atomic_fetch_sub(&w->backed_thp, extent_bytes(s));
	add_to(&w->backed_base, extent_bytes(s));
	atomic_store(&w->rung[extent], MEWS_PAGES_BASE);
	return true;
}

/* The pages [*low, *high) of the window on which only blocks first to last, neighbours in hand, lie. */
static void pages_of_run(const struct chunk *c, uint32_t first, uint32_t last, uint64_t *low,
			 uint64_t *high)
{
	const struct mews_slabs *s = c->slabs;
	size_t from = first ? block_offset(s, first - 1) + s->stride : 0;
	/* A partial slab may get more blocks, on the page of its last one. */
	size_t to = last + 1 < c->blocks ? block_offset(s, last + 1) :
		    c->blocks < s->slab_blocks ? block_offset(s, last) + s->stride :
		    slab_length(s, c->blocks);

	*low = first_page(s, c->slab) + (from + s->page - 1) / s->page;
	*high = first_page(s, c->slab) + to / s->page;
}

static int discard_pages(const struct chunk *c, uint64_t from, uint64_t to)
{
	const struct mews_slabs *s = c->slabs;
	char *start = slab_start(s, (uint32_t)(c->window - s->window), 0);

	return mews_place_discard_part(start + from * s->page, (to - from) * s->page);
}

/* Gives the pages back on which only blocks first to last lie, extent by extent. How many bytes. */
static uint64_t discard_run(const struct chunk *c, uint32_t first, uint32_t last)
{
	uint64_t pages = extent_bytes(c->slabs) / c->slabs->page, low, high, end, gone = 0;
	struct mews_window *w = c->window;

	for (pages_of_run(c, first, last, &low, &high); low < high; low = end) {
		end = low / pages * pages + pages < high ? low / pages * pages + pages : high;
		if (flag_pages(w, low, end, FLAGS_COUNT) < end - low && split_extent(c, low / pages) &&
		    !discard_pages(c, low, end))
			gone += flag_pages(w, low, end, FLAGS_SET);
	}
	return c->slabs->page * gone;
}

/*
 * What a refill that failed may have populated goes back: those pages that are flagged as gone still. Not
 * a page that lies under a neighbour as well: that may be in use by now, backed by another thread.
 */
static uint64_t drop_run(const struct chunk *c, uint32_t first, uint32_t last)
{
	uint64_t low, high, page;

	for (pages_of_run(c, first, last, &low, &high); low < high; low = page + 1) {
		for (page = low; page < high && flag_pages(c->window, page, page + 1, FLAGS_COUNT);)
			page++;
		if (page > low)
			discard_pages(c, low, page);
	}
	return 0;
}

static bool owns(const struct chunk *c, uint32_t index)
{
	return c->owned[index / 64 - c->first] >> index % 64 & 1;
}

/* Calls run() for each run of neighbours in hand. The sum of what it returns. */
static uint64_t each_run(const struct chunk *c,
			 uint64_t (*run)(const struct chunk *c, uint32_t first, uint32_t last))
{
	uint32_t end = (c->first + c->words) * 64, index, first;
	uint64_t bytes = 0;

	end = end < c->blocks ? end : c->blocks;
	for (index = c->first * 64; index < end; index++) {
		if (!owns(c, index))
			continue;
		for (first = index; index + 1 < end && owns(c, index + 1);)
			index++;
		bytes += run(c, first, index);
	}
	return bytes;
}

/* Any block that may have memory to give. */
static bool any_to_give(const struct chunk *c, uint64_t word)
{
	uint64_t any = 0, end = word + c->words;

	for (; word < end; word++)
		any |= atomic_load(&c->window->free[word]) |
		       (c->bare ? atomic_load(&c->window->bare[word]) : 0);
	return any != 0;
}

static uint64_t give_chunk(struct chunk *c)
{
	struct mews_window *w = c->window;
	uint64_t word = (uint64_t)c->slab * c->slabs->slab_words + c->first, bytes;
	uint32_t i;

	if (!any_to_give(c, word))
		return 0;
	begin_move(c->slabs);
	for (i = 0; i < c->words; i++)
		c->owned[i] = take_free(c->slabs, w, word + i);
	bytes = each_run(c, discard_run);
	if (bytes) {
		atomic_fetch_sub(&w->backed_base, bytes);
		release_bytes(w, bytes);
		/* Before the bare bits: who saw a block free and then bare sees this change too. */
		atomic_fetch_add(&c->slabs->trimmed, 1);
	}
	for (i = 0; i < c->words; i++)
		settle_word(c->slabs, w, word + i, c->owned[i]);
	end_move(c->slabs, false);
	return bytes;
}

static uint32_t chunk_words(const struct mews_slabs *s)
{
	uint32_t words = 1;

	while (words < CHUNK_WORDS_MAX && words < s->slab_words &&
	       words * 64 * s->stride < CHUNK_BYTES)
		words *= 2;
	return words;
}

/*
 * The extents of a slab that may lose pages: those on base pages; on huge ones where so many of the blocks
 * that end there are free that they are worth splitting; on hugetlb pages none.
 */
static uint64_t worth_parting(const struct mews_slabs *s, const struct mews_window *w, uint32_t slab,
			      uint32_t blocks, uint32_t splits)
{
	uint64_t from = 0, to, worth = 0;
	uint32_t extent;
	uint8_t rung;

	for (extent = 0; from < blocks; extent++, from = to) {
		to = blocks_within(s, (extent + 1) * extent_bytes(s));
		rung = atomic_load(&w->rung[first_extent(s, slab) + extent]);
		if (rung == MEWS_PAGES_BASE || (rung == MEWS_PAGES_THP &&
		    free_among(s, w, slab, from, to) * 256 >= (to - from) * splits))
			worth |= (uint64_t)1 << extent;
	}
	return worth;
}

/*
 * True where time was up within the slab. Only chunks that gave something count: the next call finds
 * them bare, and gets further.
 */
static bool give_parts(struct mews_slabs *s, struct mews_window *w, uint32_t slab, uint32_t blocks,
		       bool bare, struct mews_trim *trim)
{
	struct chunk chunk = { .slabs = s, .window = w, .slab = slab, .blocks = blocks,
			       .bare = bare };
	uint64_t given;

	chunk.parting = worth_parting(s, w, slab, blocks, trim->splits);
	if (!chunk.parting)
		return false;
	chunk.words = chunk_words(s);
	for (; chunk.first * 64 < blocks && !reached(trim); chunk.first += chunk.words) {
		if (trim->within && chunk.words * 64 * s->stride >
		    trim->bytes - given_by(trim))
			return false;
		given = give_chunk(&chunk);
		trim->part_bytes += given;
		if (given && trim->end && mews_kernel_now() >= trim->end)
			return true;
	}
	return false;
}

/* A position in a walk over the slabs from the top, first for whole ones, then for parts. */
static bool stop_at(struct mews_window *w, const struct mews_trim *trim, uint32_t slab,
		    uint32_t parts)
{
	if (!trim->end || mews_kernel_now() < trim->end)
		return false;
	atomic_store(&w->trim_at, slab * 2 + parts);
	return true;
}

/* Who ends a walk before it has looked everywhere leaves the rest of it to the next. */
static bool stop_short(struct mews_window *w, bool bare, bool late)
{
	if (bare)
		atomic_store(&w->backed_bare, 1);
	return late;
}

/* From a position on. True where time was up. */
static bool walk(struct mews_slabs *s, struct mews_window *w, struct mews_trim *trim, uint32_t at)
{
	uint32_t slab = at ? at / 2 : atomic_load(&w->frontier), parts = at & 1, blocks;
	bool bare = trim->parts && atomic_exchange(&w->backed_bare, 0), within = false;

	for (; parts <= trim->parts; parts++, slab = atomic_load(&w->frontier))
		while (slab-- > 0) {
			if (reached(trim))
				return stop_short(w, bare, false);
			blocks = atomic_load(&w->blocks[slab]);
			if (blocks && parts)
				within = give_parts(s, w, slab, blocks, bare, trim);
			else if (blocks)
				give_slab(s, w, slab, blocks, trim);
			if ((blocks || slab % 1024 == 0) && slab + within &&
			    stop_at(w, trim, slab + within, parts))
				return stop_short(w, bare, true);
		}
	return false;
}

/*
 * A slab that a walk has passed may be free by the time that it ends, where it took several calls, with
 * all its blocks bare by then. A walk that gave nothing has passed none of those.
 */
bool mews_slabs_trim(struct mews_slabs *s, uint32_t window, struct mews_trim *trim)
{
	struct mews_window *w = &s->window[window];
	uint32_t at = trim->end ? atomic_exchange(&w->trim_at, 0) : 0;
	uint64_t gave;
	bool late;

	for (at = trim->anew ? 0 : at;; at = 0) {
		gave = (at ? atomic_load(&w->trim_gave) : 0) - given_by(trim);
		late = walk(s, w, trim, at);
		gave += given_by(trim);
		if (late)
			atomic_store(&w->trim_gave, gave);
		if (late || !at || !gave || reached(trim))
			return late;
	}
}

/*
 * Backs a run of pages again; they belong to blocks in hand, and maybe to their bare neighbours, which
 * another thread may be backing. 0, ENOBUFS (a limit in bytes) or ENOMEM.
 */
static int refill_run(struct mews_slabs *s, struct mews_window *w, bool local, uint64_t from,
		      uint64_t to)
{
	uint32_t window = (uint32_t)(w - s->window);
	struct mews_place_request request = place_request(s, window, MEWS_PAGES_BASE, local);
	uint64_t bytes = (to - from) * s->page, cleared;

	if (from == to)
		return 0;
	if (!claim_bytes(w, bytes))
		return ENOBUFS;
	if (mews_place_refill(slab_start(s, window, 0) + from * s->page, bytes, &request)) {
		release_bytes(w, bytes);
		return ENOMEM;
	}
	/* Flags fall when the pages are there: a neighbour that sees them fall need not back them. */
	cleared = s->page * flag_pages(w, from, to, FLAGS_CLEAR);
	add_to(&w->backed_base, cleared);
	release_bytes(w, bytes - cleared);
	return 0;
}

/* Backs the pages of blocks in hand, in runs as long as can be. 0 or an errno, as refill_run. */
static int refill(struct mews_slabs *s, struct mews_window *w, bool local, uint64_t word,
		  uint64_t bits)
{
	uint64_t from = 0, to = 0, page, end;
	int error;

	for (; bits; bits &= bits - 1) {
		pages_of(s, slab_of_word(s, word),
			 first_of_word(s, word) + (uint32_t)__builtin_ctzll(bits), &page, &end);
		for (page = page < to ? to : page; page < end; page++) {
			if (!flag_pages(w, page, page + 1, FLAGS_COUNT))
				continue;
			if (page != to) {
				error = refill_run(s, w, local, from, to);
				if (error)
					return error;
				from = page;
			}
			to = page + 1;
		}
	}
	return refill_run(s, w, local, from, to);
}

/* Some bare blocks, of one word. 0: there are none. */
static uint64_t claim_bare(struct mews_slabs *s, struct mews_window *w, size_t count, uint64_t *word)
{
	uint64_t groups = (words_in_use(s, w) + 63) / 64, group, summary, bits;

	for (group = 0; group < groups; group++)
		for (summary = atomic_load(&w->bare_summary[group]); summary; summary &= summary - 1) {
			*word = group * 64 + (uint64_t)__builtin_ctzll(summary);
			bits = take_bare(w, *word, count);
			if (bits)
				return bits;
		}
	return 0;
}

/* Blocks that got no memory, or not all of it, go back. */
static void drop_refused(struct mews_slabs *s, struct mews_window *w, uint64_t word, uint64_t bits)
{
	struct chunk c = { .slabs = s, .window = w, .slab = slab_of_word(s, word), .words = 1,
			   .first = first_of_word(s, word) / 64 };

	c.blocks = atomic_load(&w->blocks[c.slab]);
	c.owned[0] = bits;
	each_run(&c, drop_run);
	unclaim_blocks(s, (uint64_t)__builtin_popcountll(bits));
	settle_word(s, w, word, bits);
}

size_t mews_slabs_revive(struct mews_slabs *s, uint32_t window, bool local, void **blocks,
			 size_t count, int *refused)
{
	struct mews_window *w = &s->window[window];
	uint64_t word, bits, claimed;
	size_t got = 0;

	*refused = 0;
	while (got < count && !*refused) {
		claimed = claim_blocks(s, count - got);
		if (!claimed)
			*refused = ENOBUFS;
		bits = claimed ? claim_bare(s, w, claimed, &word) : 0;
		unclaim_blocks(s, claimed - (uint64_t)__builtin_popcountll(bits));
		if (!bits)
			break;
		*refused = refill(s, w, local, word, bits);
		if (*refused)
			drop_refused(s, w, word, bits);
		else
			got += list_blocks(s, window, word, bits,
					   blocks + got + __builtin_popcountll(bits));
	}
	return got;
}
