/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a block (layer 5): what wait.c needs of pool.c. The queue is in waiters.h.
 */
#ifndef MEWS_LIB_WAIT_H
#define MEWS_LIB_WAIT_H

#include "control.h"

/*
 * As mews_lease that found its CPU's cache empty, but that a failure counts as none. caller: for the
 * sites. NULL and *error.
 */
void *mews_lease_look(struct mews_control *control, void *caller, int *error);

/*
 * The same for a waiter: begins the detour before it looks, so that a return that this look misses is one
 * that sees the waiter; and looks as from `cpu`, wherever its thread is by now: at the blocks for which
 * its queue is told to look.
 */
void *mews_lease_watch(struct mews_control *control, uint32_t cpu, void *caller, int *error);

/* Makes a block that was handed over a lease. */
void *mews_lease_accept(struct mews_control *control, uint32_t number, void *caller);

#endif
