/* SPDX-License-Identifier: MIT */
/*
 * Ways to measure a loop (layer 6): many short batches on one thread, in cycles; or a team of
 * threads for a while, in slot time. Called by the files of workloads.
 */
#ifndef PERF_MEASURE_H
#define PERF_MEASURE_H

#include "backend.h"
#include "shim.h"

/*
 * Runs loop in batches of about 5 us on a thread of its own (so that no allocator takes a short
 * cut for programs with one thread), one batch for each perf_next. Reports the medians of one
 * block's lease and return: cycles, ns, and what perf_event counts.
 */
void perf_measure(struct perf_run *run, const struct perf_backend *backend, perf_loop *loop,
		  struct perf_local *local);

/* The same without a report, on the caller's thread: the median of the cycles of one block. */
double perf_loop_cycles(perf_loop *loop, struct perf_local *local);

/*
 * Runs body(arg) to its end on another thread: the backend's own kind where it has one. Aborts
 * where there is no thread to be had.
 */
void perf_on_thread(const struct perf_backend *backend, void *(*body)(void *), void *arg);

/* One member of a team, and what it did. */
struct perf_member {
	struct perf_team *team;
	int index;
	struct perf_local local;
	uint64_t operations;
	uint64_t start, end;            /* ticks */
	double cpu_seconds;
};

struct perf_team {
	const struct perf_backend *backend;
	int threads;
	int cpu;                        /* -1: anywhere; else member i runs on usable CPU cpu + i */
	double seconds;                 /* how long */
	bool looks;                     /* around stretches; goes on until enough is alone, or patience ends */
	void (*prepare)(struct perf_member *member);  /* on the member's thread; may be NULL */
	uint64_t (*chunk)(struct perf_member *member); /* some hundred operations: how many */
	void (*finish)(struct perf_member *member);   /* on its thread, all chunks done; may be NULL */
	/* the result */
	struct perf_member *member;
	uint64_t operations;
	double wall, cpu_seconds;
	/* what members did in stretches at whose ends nobody used their core's other half */
	_Atomic uint64_t alone_operations, alone_ns;
	atomic_bool stop;
};

/*
 * Runs the team: all start together, the clock runs from the first start to the last end. The
 * caller frees team->member. 0, or -errno.
 */
int perf_team_run(struct perf_team *team);

/* Whether what was alone is enough to go by: a tenth of the seconds. */
bool perf_team_alone(const struct perf_team *team);

/* How many CPUs this process may use, and pins the caller to the i-th of them (modulo), or to one by its id. */
int perf_cpus(void);
void perf_pin(int i);
void perf_pin_to(int cpu);

/* Zeroed memory that starts at a cache line; never NULL. */
void *perf_lines(size_t bytes);

/* Sorts values; the q-quantile, 0 <= q <= 1. */
double perf_quantile(double *value, int count, double q);

/* A permutation or choices, see struct perf_local; malloc'ed. */
enum perf_order { PERF_LIFO, PERF_FIFO, PERF_RANDOM };
uint16_t *perf_order_of(enum perf_order kind, uint32_t count);
uint16_t *perf_choices(uint32_t seed, unsigned percent_remote);

/* A small generator: the next of 2^32 numbers. */
uint32_t perf_random(uint32_t *state);

#endif
