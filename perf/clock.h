/* SPDX-License-Identifier: MIT */
/*
 * The clock of the benches (layer 6): time, core cycles, and what else the CPU will count. Called
 * by measure.c and team.c. Cycles come from perf_event where the machine allows it. Where it does
 * not (most virtual machines), they are calibrated: a chain of dependent one-cycle additions is
 * timed right before and right after the measured batch, which gives the time stamp counter's ticks
 * per core cycle at that moment. Invariant: the kind of the cycles is always told, by
 * perf_cycles_kind.
 *
 * A virtual machine's CPU is half a core, and nothing tells it that somebody else uses the other half:
 * no time is stolen, but every loop that is wide takes up to twice as long. Eight chains of additions
 * side by side, timed beside the one, do tell: alone they are as fast as this process has ever seen them.
 */
#ifndef PERF_CLOCK_H
#define PERF_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum { PERF_CYCLES, PERF_INSTRUCTIONS, PERF_DTLB_MISSES, PERF_EVENTS };

/* The core as it is at a moment: it takes two microseconds to tell. */
struct perf_look {
	double ticks_a_cycle;           /* the calibration */
	double width;                   /* additions a cycle */
};

/* Counts of one thread: perf_event's for the CPU, or the calibration. Used by that thread only. */
struct perf_clock {
	bool counting;                  /* perf_event works */
	int fd[PERF_EVENTS];            /* -1: refused */
	uint64_t at[PERF_EVENTS];
	struct perf_look before;        /* the batch */
	uint64_t ticks;
};

/* One batch, measured. */
struct perf_sample {
	bool steady;                    /* the calibrations before and after agree within 2 % */
	bool alone;                     /* nobody used the core's other half, before and after */
	double ticks;
	double event[PERF_EVENTS];      /* negative: not counted */
};

void perf_clock_open(struct perf_clock *clock);
void perf_clock_close(struct perf_clock *clock);

/* Around a batch, on one thread. Again: what was run since the start does not count. */
void perf_clock_start(struct perf_clock *clock);
void perf_clock_start_again(struct perf_clock *clock);
void perf_clock_stop(struct perf_clock *clock, struct perf_sample *sample);

struct perf_look perf_look(void);

/* The widest that the core was seen to be, in the circumstances in which it is looked at. */
struct perf_widest {
	_Atomic double width;
};

/* Finds the widest by looking around for 50 ms: a neighbour rests for a millisecond now and then. */
void perf_look_around(struct perf_widest *widest);

/* Whether nobody used the core's other half, nor moved its clock, at both looks. Any thread. */
bool perf_alone_between(struct perf_widest *widest, const struct perf_look *before,
			const struct perf_look *after);

/* The widest of a thread beside which this process runs no other; perf_clock_open has found it. */
extern struct perf_widest perf_widest;

/* The time stamp counter, and how many of its ticks a nanosecond has. */
uint64_t perf_ticks(void);
double perf_ticks_a_ns(void);

/* CPU time in ns, of the calling thread or of the process: what other processes disturb least. */
double perf_cpu_ns(bool whole_process);

/* "counted (perf_event, user only)" or "calibrated (...)": what the cycles of this process are. */
const char *perf_cycles_kind(void);

#endif
