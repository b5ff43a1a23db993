/* SPDX-License-Identifier: MIT */
/*
 * Times of single operations, counted in steps (layer 6). workload_body.h notes, threaded.c reads.
 * Invariant: up to PERF_TAIL_LINEAR ticks a step is one tick; from there each power of two has
 * PERF_TAIL_STEPS of them, so that none is wider than a 128th of the time it stands for.
 */
#ifndef PERF_TAIL_H
#define PERF_TAIL_H

#include <stdint.h>

#define PERF_TAIL_BITS 13
#define PERF_TAIL_LINEAR (1 << PERF_TAIL_BITS)
#define PERF_TAIL_STEP_BITS 7
#define PERF_TAIL_STEPS (1 << PERF_TAIL_STEP_BITS)
#define PERF_TAIL_ALL (PERF_TAIL_LINEAR + (64 - PERF_TAIL_BITS) * PERF_TAIL_STEPS)

struct perf_tail {
	uint32_t step[PERF_TAIL_ALL];
	uint64_t longest;
};

static inline void perf_tail_note(struct perf_tail *tail, uint64_t ticks)
{
	uint64_t step = ticks;

	if (ticks >= PERF_TAIL_LINEAR) {
		uint32_t power = 63 - (uint32_t)__builtin_clzll(ticks);

		/* of the bits below the highest, the first ones */
		step = PERF_TAIL_LINEAR + (power - PERF_TAIL_BITS) * PERF_TAIL_STEPS +
		       (ticks >> (power - PERF_TAIL_STEP_BITS)) % PERF_TAIL_STEPS;
	}
	tail->step[step]++;
	if (ticks > tail->longest)
		tail->longest = ticks;
}

/* The longest time that a step stands for, in ticks. */
static inline double perf_tail_end(uint32_t step)
{
	uint32_t coarse = step - PERF_TAIL_LINEAR;

	if (step < PERF_TAIL_LINEAR)
		return step;
	return (double)(PERF_TAIL_STEPS + coarse % PERF_TAIL_STEPS + 1) *
	       (double)(1ull << (PERF_TAIL_BITS - PERF_TAIL_STEP_BITS + coarse / PERF_TAIL_STEPS));
}

#endif
