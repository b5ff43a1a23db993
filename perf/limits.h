/* SPDX-License-Identifier: MIT */
/*
 * The benches of what the CPU's stores cost (layer 6), see limits.c. Called by backends_shared.c.
 */
#ifndef PERF_LIMITS_H
#define PERF_LIMITS_H

/* Registers them; nothing on a CPU for which none is written. */
void perf_add_limits(void);

/* The same for memory: backing.c. */
void perf_add_backing(void);

#endif
