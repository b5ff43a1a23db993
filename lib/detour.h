/* SPDX-License-Identifier: MIT */
/*
 * Detours (layer 5): times in which every operation of a pool takes the slow path, since each must be
 * seen: somebody waits for a block, leases are sampled. The caches stay closed, so that the hit path
 * needs no check for them; blocks lie on the side stacks meanwhile, as on the fallback path.
 *
 * An operation that saw no detour may be about to open its CPU's cache, or to wake it, and who sets a detour
 * passes over a cache that someone is at. It looks again once it is done, and closes the cache if there is
 * one now: so setting a detour waits for nobody.
 */
#ifndef MEWS_LIB_DETOUR_H
#define MEWS_LIB_DETOUR_H

#include "control.h"

/*
 * Adds a reason, and closes the caches and takes what lies in them and beside them to the slabs, unless
 * it was there already. True where it was not. Inside the gate of a pool that is not disposed; in any
 * context.
 */
bool mews_detour_set(struct mews_control *control, enum mews_detour reason);

/*
 * The same from a control call, outside of the gate; when it returns, and the reason is new, every
 * operation that had seen no detour has ended too.
 */
void mews_detour_begin(struct mews_control *control, enum mews_detour reason);

/*
 * Waits until every operation that saw the reasons of before the call has ended, then empties and
 * closes the caches.
 */
void mews_detour_settle(struct mews_control *control);

/* Takes a reason away, from a control call. With the last one, caches open again as they miss. */
void mews_detour_end(struct mews_control *control, enum mews_detour reason);

#endif
