/* SPDX-License-Identifier: MIT */
/*
 * Detours (layer 5): times in which every operation of a pool takes the slow path, since each must be
 * seen: somebody waits for a block, leases are sampled. The caches stay closed, so that the hit path
 * needs no check for them; blocks lie on the side stacks meanwhile, as on the fallback path. Called
 * from control calls, never from a lease or a return, and never inside the gate.
 */
#ifndef MEWS_LIB_DETOUR_H
#define MEWS_LIB_DETOUR_H

#include "control.h"

enum mews_detour {
	MEWS_DETOUR_WAIT = 1,   /* a return must see who waits */
	MEWS_DETOUR_SAMPLE = 2, /* a lease must be counted */
};

/*
 * Adds a reason. When it returns to the one who added the first, every operation that had seen none
 * has ended, and the caches are empty and closed; to others it may return before.
 */
void mews_detour_begin(struct mews_control *control, enum mews_detour reason);

/*
 * Waits until every operation that saw the reasons of before the call has ended, then empties and
 * closes the caches.
 */
void mews_detour_settle(struct mews_control *control);

/* Takes a reason away. With the last one, caches open again as they miss. */
void mews_detour_end(struct mews_control *control, enum mews_detour reason);

static inline bool mews_detour_under_way(const struct mews_control *control)
{
	/* Sequentially consistent, after G1: see side.h. */
	return atomic_load(&control->detours) != 0;
}

#endif
