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

/* Opens cpu's cache, if it is closed and no one else is at it. */
void mews_cache_open(struct mews_control *control, uint32_t cpu);

/*
 * Closes cpu's cache and takes what it holds into blocks[MEWS_CACHE_SLOTS_MAX]. Returns how many; 0
 * too where it was closed or someone else is at it. It stays closed until mews_cache_open.
 */
size_t mews_cache_close(struct mews_control *control, uint32_t cpu, void **blocks);

/* Blocks in cpu's cache; a moment's value. */
size_t mews_cache_count(const struct mews_control *control, uint32_t cpu);

/*
 * Shuts cpu's cache around a fork and opens it again as it was: nothing is taken, so cur stays, and
 * a return that read it before is still right after. Not concurrent with open and close.
 */
void mews_cache_freeze(struct mews_control *control, uint32_t cpu);
void mews_cache_thaw(struct mews_control *control, uint32_t cpu);

#endif
