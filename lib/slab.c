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
#include <unistd.h>
#include "slab_bits.h"

static size_t round_line(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Table sizes of one window, in bytes. */
struct window_tables {
	size_t free, summary, gone, marks, rung, blocks;
};

static struct window_tables window_tables(const struct mews_plan *plan)
{
	size_t slabs = plan->window_bytes / plan->slab_bytes;
	size_t words = slabs * mews_slabs_words(plan);

	return (struct window_tables) {
		.free = round_line(words * 8),
		.summary = round_line((words + 63) / 64 * 8),
		.gone = round_line(plan->window_bytes / page_size() / 8 + 8),
		.marks = round_line((slabs + 63) / 64 * 8),
		.rung = round_line(plan->window_bytes / plan->extent_bytes),
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
		plan->nodes * (2 * (t.free + t.summary + t.marks) + t.gone + t.rung + t.blocks);
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
		w->bare = (mews_word *)(at += t.summary);
		w->bare_summary = (mews_word *)(at += t.free);
		w->gone = (mews_word *)(at += t.summary);
		w->vacant = (mews_word *)(at += t.gone);
		w->partial = (mews_word *)(at += t.marks);
		w->rung = (_Atomic uint8_t *)(at += t.marks);
		w->blocks = (_Atomic uint32_t *)(at += t.rung);
		at += t.blocks;
	}
}

/* 0 for 1, whose inverse does not fit: see divide(). */
static uint64_t inverse(uint64_t divisor)
{
	return divisor == 1 ? 0 : UINT64_MAX / divisor + 1;
}

/*
 * What the pools of the process have reserved together: three quarters of 47 bits at most, or many large
 * pools would leave the program no address space.
 */
#define RESERVED_MOST ((uint64_t)96 << 40)

static mews_word reserved;

static char *reserve(uint64_t length, uint64_t alignment)
{
	char *start = NULL;

	/* Relaxed, as at the end: a count, it publishes nothing. */
	if (atomic_fetch_add_explicit(&reserved, length, memory_order_relaxed) + length <= RESERVED_MOST)
		start = mews_place_reserve(length, alignment);
	if (!start)
		atomic_fetch_sub_explicit(&reserved, length, memory_order_relaxed);
	return start;
}

/*
 * Asks for transparent huge pages where a window begins, which saves each growth there a system call. Not all
 * of it: the kernel's thread that joins pages looks at whatever was asked for, be it empty.
 */
#define ADVISED_MOST ((uint64_t)1 << 30)

static void advise(struct mews_slabs *s, const struct mews_plan *plan)
{
	uint64_t bytes = plan->window_bytes < ADVISED_MOST ? plan->window_bytes : ADVISED_MOST;
	uint32_t i;

	for (i = 0; i < s->windows && plan->page_top <= MEWS_PAGES_THP; i++)
		if (mews_place_advise(s->start + ((uint64_t)i << s->window_shift), bytes))
			s->window[i].advised = bytes;
}

int mews_slabs_init(struct mews_slabs *s, const struct mews_plan *plan, void *tables)
{
	*s = (struct mews_slabs) {
		.length = plan->nodes * plan->window_bytes,
		.windows = plan->nodes,
		.window_shift = plan->window_shift,
		.slab_shift = (uint32_t)__builtin_ctzll(plan->slab_bytes),
		.extent_shift = (uint32_t)__builtin_ctzll(plan->extent_bytes),
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
		.page = page_size(),
		.plan = plan,
	};
	s->bits_shift = (uint32_t)__builtin_ctz(s->slab_words * 64);
	s->window_bits_shift = s->bits_shift + (uint32_t)__builtin_ctz(s->slabs);
	s->start = reserve(s->length, plan->window_bytes);
	if (!s->start)
		return -ENOMEM;
	lay_tables(s, plan, tables);
	advise(s, plan);
	return 0;
}

void mews_slabs_fini(struct mews_slabs *s)
{
	mews_place_release(s->start, s->length);
	atomic_fetch_sub_explicit(&reserved, s->length, memory_order_relaxed);
	mews_budget_release(&mews_process_budget, mews_slabs_backed(s));
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
	if (index >= s->cell_blocks)
		return MEWS_BLOCK_INTERIOR; /* of the line that spreads */
	*number = window << s->window_bits_shift | slab << s->bits_shift |
		  (uint32_t)(cell * s->cell_blocks + index);
	return in_cell == index * s->stride ? MEWS_BLOCK_START : MEWS_BLOCK_INTERIOR;
}

void *mews_slabs_first_from(const struct mews_slabs *s, uintptr_t address)
{
	uint64_t in_slab = address & (((uint64_t)1 << s->slab_shift) - 1);
	uint64_t cell = divide(in_slab, s->cell_inverse);
	uint64_t in_cell = in_slab - cell * s->cell_bytes;
	uint64_t index = divide(in_cell + s->stride - 1, s->stride_inverse);

	if (index >= s->cell_blocks) {
		index = 0;
		cell++;
	}
	return (void *)(address - in_slab + cell * s->cell_bytes + index * s->stride);
}

uint64_t mews_slabs_ready(const struct mews_slabs *s, uint32_t window)
{
	int64_t free = (int64_t)atomic_load_explicit(&s->window[window].free_blocks,
						     memory_order_relaxed);

	return free > 0 ? (uint64_t)free : 0;
}

/* Relaxed: a low-water mark that is lost to a race costs a trim that could have waited. */
static void note_taken(struct mews_slabs *s, uint32_t window, size_t count)
{
	struct mews_window *w = &s->window[window];
	uint64_t left;

	add_to(&w->free_blocks, -(uint64_t)count);
	left = mews_slabs_ready(s, window);
	if (left < atomic_load_explicit(&w->low, memory_order_relaxed))
		atomic_store_explicit(&w->low, left, memory_order_relaxed);
}

uint64_t mews_slabs_low(struct mews_slabs *s, uint32_t window)
{
	uint64_t now = mews_slabs_ready(s, window);
	uint64_t low = atomic_exchange_explicit(&s->window[window].low, now, memory_order_relaxed);

	return low < now ? low : now;
}

#define WORDS 32

/* Bits that were taken. */
struct taken {
	uint64_t word, bits;
};

/* Takes up to count bits of WORDS words at most. Returns how many, and *words, where they are in taken. */
static size_t take_words(struct mews_slabs *s, struct mews_window *w, size_t count, struct taken *taken,
			 size_t *words)
{
	uint64_t groups = (words_in_use(s, w) + 63) / 64;
	uint64_t group, bits, word;
	size_t got = 0, n = 0;

	for (group = 0; group < groups && got < count && n < WORDS; group++) {
		bits = atomic_load(&w->summary[group]);
		for (; bits && got < count && n < WORDS; bits &= bits - 1) {
			word = group * 64 + (uint64_t)__builtin_ctzll(bits);
			taken[n] = (struct taken) { word, take_bits(w->free, w->summary, word, count - got) };
			got += (size_t)__builtin_popcountll(taken[n].bits);
			n += taken[n].bits != 0;
		}
	}
	*words = n;
	return got;
}

/*
 * All words before the first block: an atomic operation between them would wait for the lines that were
 * asked for.
 */
size_t mews_slabs_take(struct mews_slabs *s, uint32_t window, void **blocks, size_t count)
{
	struct taken taken[WORDS];
	size_t got = 0, words, i;
	void **end;

	do {
		got += take_words(s, &s->window[window], count - got, taken, &words);
		end = blocks + got;
		for (i = 0; i < words; i++)
			end -= list_blocks(s, window, taken[i].word, taken[i].bits, end);
	} while (words == WORDS && got < count);
	note_taken(s, window, got);
	return got;
}

/* Frees one block. False where it is free already. */
static bool put_number(struct mews_slabs *s, uint32_t number)
{
	uint32_t bit = mews_slabs_bit(s, number);

	return !mews_slabs_is_bare(s, number) &&
	       !put_word(&s->window[number >> s->window_bits_shift], bit / 64,
			 (uint64_t)1 << bit % 64);
}

void mews_slabs_put(struct mews_slabs *s, void *const *blocks, size_t count,
		    mews_bad_block *bad, void *context)
{
	enum mews_verdict verdict;
	uint32_t number, window = 0;
	uint64_t put = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		verdict = mews_slabs_find(s, blocks[i], &number);
		if (verdict != MEWS_BLOCK_START || !put_number(s, number)) {
			bad(context, blocks[i], verdict);
			continue;
		}
		if (number >> s->window_bits_shift != window && put) {
			add_to(&s->window[window].free_blocks, put);
			put = 0;
		}
		window = number >> s->window_bits_shift;
		put++;
	}
	if (put)
		add_to(&s->window[window].free_blocks, put);
}

static bool mend(mews_word *words, mews_word *summary, uint64_t word)
{
	uint64_t bit = (uint64_t)1 << word % 64;

	return !(atomic_load(&summary[word / 64]) & bit) && atomic_load(&words[word]) &&
	       !(atomic_fetch_or(&summary[word / 64], bit) & bit);
}

bool mews_slabs_mend(struct mews_slabs *s)
{
	struct mews_window *w;
	uint64_t words, word;
	bool any = false;

	for (w = s->window; w < s->window + s->windows; w++) {
		words = words_in_use(s, w);
		for (word = 0; word < words; word++)
			any |= mend(w->free, w->summary, word);
		for (word = 0; word < words && atomic_load(&w->bare_blocks); word++)
			any |= mend(w->bare, w->bare_summary, word);
	}
	return any;
}

/*
 * Of each word free[] first, then bare[]: a block that gets memory again in between is not counted
 * twice. One that loses it may be: who must know looks at trimmed, which changes before.
 */
uint64_t mews_slabs_free(const struct mews_slabs *s, uint32_t window)
{
	const struct mews_window *w = &s->window[window];
	uint64_t words = words_in_use(s, w), word, free, bare, count = 0;

	for (word = 0; word < words; word++) {
		free = atomic_load(&w->free[word]);
		bare = 0;
		if (atomic_load_explicit(&w->bare_blocks, memory_order_relaxed))
			bare = atomic_load(&w->bare[word]);
		/* A block that goes from one to the other between the looks is one. */
		count += (uint64_t)__builtin_popcountll(free | bare);
	}
	return count;
}
