/* SPDX-License-Identifier: MIT */
/*
 * Slabs (layer 2): runs of equal blocks, one window of address space a node, one bit a free block.
 * Called by depot.c and what stands above. Invariant: a set bit is a free block that lies nowhere
 * else; who clears it owns the block. Metadata lies outside the blocks.
 *
 *             take      put       grow      free_count
 *   take      safe      safe      safe      a moment's value
 *   put       safe      safe      safe      exact if nobody takes (see drain.c)
 *   grow      safe      safe      safe      a moment's value
 */
#ifndef MEWS_LIB_SLAB_H
#define MEWS_LIB_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../numa/place.h"
#include "../numa/plan.h"
#include "budget.h"
#include "tagstack.h"

#define MEWS_LOOKS 4

/* What the keeper remembers of a window: see keeper.c. */
struct mews_window_look {
	uint64_t free[MEWS_LOOKS];      /* fewest free blocks before each look, the newest first */
	uint64_t grown;                 /* growths at the last look */
	uint64_t give;                  /* bytes that it is giving back, over several steps */
	uint64_t stuck;                 /* so many were free when it could give nothing back */
	uint32_t since_trim;            /* looks since it gave memory back, 0: it never did */
	uint32_t since_growth;
	uint32_t hold, holds;           /* looks to leave the window alone; and the next time */
	bool parts, all;                /* of slabs too; everything that is free */
	bool anew;                      /* decided since the last step */
};

/* One node's share. Bitmaps are indexed by the number of the block within the window. */
struct mews_window {
	mews_word *free;                /* [words] bit: the block is free and lies in its slab */
	mews_word *summary;             /* bit: this word of free[] may not be zero */
	/*
	 * Parts of slabs whose memory went back to the system: a free block is in free[] while all its
	 * pages have memory, else in bare[]. Who changes a page's bit in gone[] holds all the blocks on it.
	 */
	mews_word *bare, *bare_summary; /* as free[] and its summary */
	mews_word *gone;                /* [pages] bit: was backed once, and has no memory now */
	mews_word *vacant;              /* bit: a slab below the frontier with no memory behind it */
	mews_word *partial;             /* bit: a slab that has only its first blocks: see grow.c */
	_Atomic uint8_t *rung;          /* [extents] enum mews_page_policy that backs it; 0: none */
	_Atomic uint32_t *blocks;       /* [slabs] blocks carved of each slab */
	_Atomic uint32_t frontier;      /* slabs from here on were never used */
	_Atomic uint32_t rest;          /* growths that are refused unasked */
	_Atomic uint32_t on_thp;        /* growths that ask for transparent huge pages only: see back() */
	uint64_t advised;               /* bytes: new slabs below it need not be advised for them */
	mews_word carved;               /* blocks: the sum of blocks[] */
	struct mews_budget budget;      /* bytes, with the limit of the node */
	mews_word free_blocks;          /* bits of free[]: may differ for a moment, and be below zero */
	mews_word low;                  /* the fewest of them since the keeper's last look */
	mews_word bare_blocks;          /* bits of bare[], and more for a moment */
	mews_word grown;                /* growths, and times that bare blocks got memory again */
	_Atomic uint32_t trim_at;       /* where a trim ran out of time: see mews_slabs_trim */
	mews_word trim_gave;            /* bytes that it had given back between the top and there */
	uint64_t reserved;              /* of the pool's initial_blocks, which are to stay */
	_Atomic uint32_t backed_bare;   /* bare blocks may have memory: see settle_word */
	struct mews_window_look look;   /* the keeper's */
	mews_word backed_1g, backed_2m, backed_thp, backed_base, unbound;
};

struct mews_slabs {
	char *start;                    /* windows lie side by side, aligned to their size */
	uint64_t length;                /* of all windows */
	uint32_t windows;
	uint32_t window_shift, slab_shift, extent_shift;
	uint32_t slab_blocks, slab_words;
	uint32_t bits_shift;            /* of a slab's bits: slab_words * 64, a power of two */
	uint32_t window_bits_shift;     /* of a window's */
	uint32_t slabs;                 /* in one window, a power of two */
	uint32_t cell_blocks;
	size_t cell_bytes, stride, page;
	/* 2^64 / size, rounded up: division by multiplying */
	uint64_t cell_inverse, stride_inverse, cell_blocks_inverse;
	mews_word max_blocks;           /* the limit in force, which may change */
	/*
	 * Blocks that count against it: carved in any window, or about to be, less those that are bare or in
	 * the hands of a trim. Above max_blocks only where that fell.
	 */
	mews_word claimed;
	_Atomic uint32_t growing;       /* growths and trims under way, */
	_Atomic uint32_t begun;         /* all that ever were, */
	_Atomic uint32_t grown;         /* and those that have ended: see mews_fetch */
	_Atomic uint32_t trimmed;       /* slabs given back */
	const struct mews_plan *plan;
	struct mews_window *window;
};

/* What a pointer turns out to be. */
enum mews_verdict {
	MEWS_BLOCK_START,
	MEWS_BLOCK_INTERIOR,
	MEWS_BLOCK_FOREIGN,
};

/* Told of a block that a function leaves out. */
typedef void mews_bad_block(void *context, const void *block, enum mews_verdict verdict);

/* Bytes of tables that a pool of this plan needs; mews_slabs_init lays them out at tables. */
size_t mews_slabs_table_bytes(const struct mews_plan *plan);

/* Reserves the windows. 0 or -ENOMEM. tables: zeroed memory of mews_slabs_table_bytes. */
int mews_slabs_init(struct mews_slabs *slabs, const struct mews_plan *plan, void *tables);
void mews_slabs_fini(struct mews_slabs *slabs);

/* Words of one slab's bits: a power of two, so that a number is put together by shifts. */
static inline uint32_t mews_slabs_words(const struct mews_plan *plan)
{
	uint32_t words = (plan->slab_blocks + 63) / 64;

	return words < 2 ? 1 : 2u << (31 - __builtin_clz(words - 1));
}

/* How many numbers a pool of this plan has: {window, slab, block in the slab}, with gaps. */
static inline uint64_t mews_plan_numbers(const struct mews_plan *plan)
{
	return plan->nodes * (plan->window_bytes / plan->slab_bytes) * mews_slabs_words(plan) * 64;
}

static inline uint64_t mews_slabs_numbers(const struct mews_slabs *s)
{
	return (uint64_t)s->windows << s->window_bits_shift;
}

/* The window an address lies in; only for addresses within the slabs. */
static inline uint32_t mews_slabs_window_of(const struct mews_slabs *s, const void *block)
{
	return (uint32_t)(((uintptr_t)block - (uintptr_t)s->start) >> s->window_shift);
}

static inline bool mews_slabs_contain(const struct mews_slabs *s, const void *block)
{
	return (uintptr_t)block - (uintptr_t)s->start < s->length;
}

/* The bit of a block within its window's words. */
static inline uint32_t mews_slabs_bit(const struct mews_slabs *s, uint32_t number)
{
	return number & (uint32_t)(((uint64_t)1 << s->window_bits_shift) - 1);
}

/* True where all blocks that the pool may have are claimed; a moment's value. */
static inline bool mews_slabs_at_limit(const struct mews_slabs *s)
{
	return atomic_load(&s->claimed) >= atomic_load(&s->max_blocks);
}

/* True where a block is free and has no memory, or not all of it. */
static inline bool mews_slabs_is_bare(const struct mews_slabs *s, uint32_t number)
{
	const struct mews_window *w = &s->window[number >> s->window_bits_shift];
	uint32_t bit = mews_slabs_bit(s, number);

	/* Relaxed: a pool that never gave parts back reads one word that nobody writes. */
	return atomic_load_explicit(&w->bare_blocks, memory_order_relaxed) &&
	       atomic_load(&w->bare[bit / 64]) >> bit % 64 & 1;
}

/* True where the block lies free in its slab; a moment's value. */
static inline bool mews_slabs_is_free(const struct mews_slabs *s, uint32_t number)
{
	uint32_t bit = mews_slabs_bit(s, number);

	return (atomic_load(&s->window[number >> s->window_bits_shift].free[bit / 64]) >> bit % 64 &
		1) || mews_slabs_is_bare(s, number);
}

void *mews_slabs_block(const struct mews_slabs *slabs, uint32_t number);

/* The verdict on a pointer, and the number of the block it lies in, or MEWS_NONE. Reads no block. */
enum mews_verdict mews_slabs_find(const struct mews_slabs *slabs, const void *block,
				  uint32_t *number);

/* Where the first block that starts at or behind an address of the slabs would start. */
void *mews_slabs_first_from(const struct mews_slabs *slabs, uintptr_t address);

/*
 * Takes up to count free blocks of a window, those at the lowest addresses. Returns how many. The lowest lies
 * last, as whoever leases from the end has it first: its line was asked for first.
 */
size_t mews_slabs_take(struct mews_slabs *slabs, uint32_t window, void **blocks, size_t count);

/*
 * Frees blocks of any windows. Those that are no start of a block, or already free, stay out of it
 * and are told to bad(), with number MEWS_NONE where the pointer is no block.
 */
void mews_slabs_put(struct mews_slabs *slabs, void *const *blocks, size_t count,
		    mews_bad_block *bad, void *context);

/*
 * The most that the limit may be: what address space there is for, but for a slab a window, which stands
 * in for one that is being given back.
 */
static inline uint64_t mews_slabs_room(const struct mews_slabs *s)
{
	uint64_t slabs = s->slabs > 1 ? s->slabs - 1 : 1;
	uint64_t room = s->windows * slabs * s->slab_blocks;

	return room > s->plan->max_blocks ? room : s->plan->max_blocks;
}

/*
 * Backs one extent more of a window and takes up to count of its blocks; the rest is free then.
 * Returns how many, at least 1; 0 and *error: ENOBUFS (a limit is reached: the pool's blocks, or the
 * bytes of the node or of the process), ENOMEM (the node has none, or its window is full). Where other
 * nodes may serve, a node that has refused so is not asked again for MEWS_GROWTH_REST growths: each
 * lease on its CPUs comes here, and asking costs tens of microseconds. For as many, a window that got
 * transparent huge pages does not ask for reserved ones.
 */
#define MEWS_GROWTH_REST 64
size_t mews_slabs_grow(struct mews_slabs *slabs, uint32_t window, void **blocks, size_t count,
		       int *error);

/*
 * The same where no node has memory to spare: the kernel finds some, by reclaim or wherever it is.
 * Only for pools that prefer nodes.
 */
size_t mews_slabs_grow_anywhere(struct mews_slabs *slabs, uint32_t window, void **blocks,
				size_t count, int *error);

/*
 * Backs at least count blocks before the pool is used, in turn in all windows that CPUs are at home
 * in, by 1 GiB pages where the plan says so. Where these have no more, other windows serve, unless
 * the policy is strict. 0 or -ENOMEM. Not concurrent with anything.
 */
int mews_slabs_reserve(struct mews_slabs *slabs, uint64_t count);

/* The fewest free blocks with memory that a window had since the last call. One caller at a time. */
uint64_t mews_slabs_low(struct mews_slabs *slabs, uint32_t window);

/* Blocks carved in all windows, whether they have memory or not. */
static inline uint64_t mews_slabs_carved(const struct mews_slabs *s)
{
	uint64_t carved = 0;
	uint32_t i;

	for (i = 0; i < s->windows; i++)
		carved += atomic_load(&s->window[i].carved);
	return carved;
}

/*
 * Finds words with free blocks that no taker would look at: who put or took blocks there has stopped
 * between the word and its summary. True where there was one; the next taker finds it.
 */
bool mews_slabs_mend(struct mews_slabs *slabs);

/* Free blocks with memory, without a walk over them. */
uint64_t mews_slabs_ready(const struct mews_slabs *slabs, uint32_t window);

/* Free blocks in the slabs of one window, bare ones included. */
uint64_t mews_slabs_free(const struct mews_slabs *slabs, uint32_t window);

/*
 * In the child of a fork: own copies of the blocks that lie on pages shared with the parent. False
 * where memory for them was refused: those blocks are still the parent's too.
 */
bool mews_slabs_privatize(struct mews_slabs *slabs);

/* What a trim shall do, and what it did. */
struct mews_trim {
	uint64_t bytes;                 /* to give back: it stops at the first step that reaches it */
	int64_t end;                    /* time of mews_kernel_now() to stop at; 0: none */
	bool within;                    /* but not by a slab that is more than what is left of them */
	bool parts;                     /* parts of slabs too, once no slab is wholly free */
	bool anew;                      /* from the top, wherever an earlier call had no time left */
	uint32_t splits;                /* blocks in 256 that must be free where huge pages are split */
	uint64_t slab_bytes, part_bytes; /* given back, added to */
};

/*
 * Gives free memory of a window back to the system: slabs whose blocks are all free, from the highest
 * address down, since blocks are taken from the lowest; then, where asked, pages of other slabs whose
 * blocks are all free. True where time was up: the next call with an end goes on from there, and then
 * once more from the top, as long as that gives. False: nothing more is to be had, or it was reached.
 */
bool mews_slabs_trim(struct mews_slabs *slabs, uint32_t window, struct mews_trim *trim);

/*
 * Backs bare blocks again and takes up to count of them; local: not where the window's node has no
 * memory. Returns how many; 0 and *refused: 0, there are none; ENOBUFS, a limit has no room for them;
 * ENOMEM, the system has none.
 */
size_t mews_slabs_revive(struct mews_slabs *slabs, uint32_t window, bool local, void **blocks,
			 size_t count, int *refused);

/* Bytes behind all slabs. */
uint64_t mews_slabs_backed(const struct mews_slabs *slabs);

#endif
