/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a block (layer 5): what wait.c needs of pool.c. The queue is in waiters.h.
 */
#ifndef MEWS_LIB_WAIT_H
#define MEWS_LIB_WAIT_H

#include "control.h"

/*
 * As mews_lease that found its CPU's cache empty, but that a failure counts as none. watch: begins the
 * detour before it looks, so that a return that this look misses is one that sees the waiter. caller: for
 * the sites. NULL and *error.
 */
void *mews_lease_look(struct mews_control *control, bool watch, void *caller, int *error);

/* Makes a block that was handed over a lease. */
void *mews_lease_accept(struct mews_control *control, uint32_t number, void *caller);

#endif
