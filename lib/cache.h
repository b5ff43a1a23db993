/* SPDX-License-Identifier: MIT */
/*
 * The caches (layer 4): opening and closing a CPU's cache from anywhere. What a cache is stands in
 * mews/inline.h, how it is used in the sequences. Called by exchange.c and drain.c. Invariant: a
 * closed cache holds nothing.
 *
 *             sequence   open           close          count
 *   open      safe       one succeeds   one succeeds   safe
 *   close     safe       one succeeds   one succeeds   safe
 */
#ifndef MEWS_LIB_CACHE_H
#define MEWS_LIB_CACHE_H

#include "control.h"

/* Opens cpu's cache with room for capacity blocks (<= plan->cache_most), if it is closed and no one else is at it. */
void mews_cache_open(struct mews_control *control, uint32_t cpu, uint32_t capacity);

#define MEWS_CACHE_TAKE 504     /* blocks: what a thread with a small stack can take at a time */

/*
 * Closes cpu's cache, open or resting, and takes what it holds into blocks[MEWS_CACHE_TAKE], the top ones
 * first. Returns how many; 0 too where it was closed or someone else is at it. *left: false at first, and
 * true where the cache held more: then nobody else gets at it, and the next call goes on. It stays
 * closed until mews_cache_open.
 */
size_t mews_cache_close(struct mews_control *control, uint32_t cpu, void **blocks, bool *left);

/*
 * Shuts cpu's cache with what it holds, until its next operation, which wakes it: it finds all its blocks
 * there. A cache that still rests after a while is one that nobody uses. A hit could not say so: it would
 * have to count. False where the cache is not open.
 */
bool mews_cache_rest(struct mews_control *control, uint32_t cpu);
/* False where it does not rest, or not any more. */
bool mews_cache_wake(struct mews_control *control, uint32_t cpu);

static inline bool mews_cache_rests(const struct mews_side *side)
{
	/* Relaxed: a hint; who wakes claims it first. */
	return atomic_load_explicit(&side->cache_state, memory_order_relaxed) == MEWS_CACHE_RESTING;
}

/* Blocks in cpu's cache; a moment's value. */
size_t mews_cache_count(const struct mews_control *control, uint32_t cpu);

/*
 * Shuts cpu's cache around a fork and opens it again as it was: nothing is taken, so cur stays, and
 * a return that read it before is still right after. Not concurrent with open and close.
 */
void mews_cache_freeze(struct mews_control *control, uint32_t cpu);
void mews_cache_thaw(struct mews_control *control, uint32_t cpu);

#endif
