/* SPDX-License-Identifier: MIT */
/*
 * The keeper (layer 5): gives back what pools do not use, by itself. One thread for all pools of a
 * process, or the caller's, by mews_keeper_step. Called by create.c, drain.c, process.c and pool.c.
 */
#ifndef MEWS_LIB_KEEPER_H
#define MEWS_LIB_KEEPER_H

#include "control.h"

/* Starts the thread if a pool wants one and there is none. 0, or -errno where it was refused. */
int mews_keeper_ensure(void);

/* Whether there is a thread. */
bool mews_keeper_runs(void);

/*
 * Keeps steps off this pool, so that none has blocks in its hands, until it is resumed. False where a
 * step did not end in some milliseconds: it may be stopped for ever.
 */
bool mews_keeper_hold(struct mews_control *control);
void mews_keeper_resume(struct mews_control *control);

/* Waits for the step on this pool, which is in no list any more: none comes after it. */
void mews_keeper_leave(struct mews_control *control);

/* In the child of a fork: the thread is not here. */
void mews_keeper_child(void);

/* Makes the next step of every pool immediate, and its decay short: memory is scarce. Any context. */
void mews_keeper_hasten(void);

void mews_keeper_rouse(struct mews_control *control);

/* At the end of an operation, inside the gate: the pool may have something to give back again. */
static inline void mews_keeper_stir(struct mews_control *control)
{
	/* Sequentially consistent, after G1 of this operation: see fall_asleep in keeper.c. */
	if (__builtin_expect(atomic_load(&control->keeping.asleep), 0))
		mews_keeper_rouse(control);
}

#endif
