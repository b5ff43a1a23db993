/* SPDX-License-Identifier: MIT */
/*
 * Patience with whoever uses the other half of a core (layer 6): a bench looks again, or waits, as long as it
 * lasts, and goes to another CPU after a while. Called by measure.c, team.c and filled.c.
 */
#ifndef PERF_PATIENCE_H
#define PERF_PATIENCE_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

#define PERF_QUIET 3            /* looks alone in a row: a busy neighbour pauses for less */

/* One thread's. */
struct perf_patience {
	double left, until_move;        /* ticks */
	cpu_set_t allowed;
};

/*
 * How long a bench repeats, in sum, what it did beside somebody on its core's other half, in ns:
 * PERF_PATIENCE in the environment, in ms, or 40.
 */
double perf_patience_ns(void);

/* So much for the calling thread; close lets it run again wherever it could. */
void perf_patience_open(struct perf_patience *patience, double ns);
void perf_patience_close(const struct perf_patience *patience);

/*
 * The time since `since` (perf_ticks) was in vain. True where the thread is on another CPU now, the next of
 * those it may run on: nobody may use the other half of that one's core.
 */
bool perf_patience_spend(struct perf_patience *patience, uint64_t since);

/* Looks until nobody is there, as long as it lasts, for what cannot be repeated; what the last look saw. */
struct perf_look perf_wait_alone(struct perf_patience *patience);

#endif
