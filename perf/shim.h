/* SPDX-License-Identifier: MIT */
/*
 * The shim between benchmarks written in C and Google Benchmark (layer 6). Called by the files of
 * perf/ only; shim.cc, the one C++ file of the project, is its other side. Invariant: nothing here
 * is called inside a measured loop; a bench hands over what it measured when it is done with it.
 */
#ifndef PERF_SHIM_H
#define PERF_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PERF_ARGS 4     /* arguments of a bench, at most */
#define PERF_POINTS 12  /* values of one argument, at most */

/* One bench under way. Belongs to the thread that runs it, or to one that it started and joins. */
struct perf_run;

/*
 * One argument and its values: either listed in value[], 0 terminated, or, where value[0] is 0, the
 * range from low to high by the factor. Several arguments give every combination.
 */
struct perf_arg {
	const char *name;       /* NULL: no argument from here on */
	int64_t value[PERF_POINTS];
	int64_t low, high, factor;
};

struct perf_bench {
	const char *name;       /* copied; '/' separates workload and backend */
	void (*body)(struct perf_run *run, const void *closure);
	const void *closure;    /* must live as long as the process */
	struct perf_arg arg[PERF_ARGS];
	int iterations;         /* how often perf_next says yes; 0: 1 */
	int threads;            /* Google Benchmark's threads, each of which runs body; 0: 1 */
};

/* Registers a bench, before perf_main. */
void perf_register(const struct perf_bench *bench);

/* True as long as the body shall measure once more. */
bool perf_next(struct perf_run *run);

/* The time of the measurement just done. Once after each perf_next that said yes. */
void perf_seconds(struct perf_run *run, double seconds);

/* Argument number i of this run, and which of how many threads this is. */
int64_t perf_argument(const struct perf_run *run, int i);
int perf_thread(const struct perf_run *run, int *threads);

/* A named result. Overwrites the one of the same name; with threads, they are averaged. */
void perf_counter(struct perf_run *run, const char *name, double value);

/* The bench cannot run; its reason is reported in its place. perf_next says no from now on. */
void perf_skip(struct perf_run *run, const char *reason);

/* A line of the report's head, such as the kind of the cycles. */
void perf_context(const char *key, const char *value);

/* Runs what was registered, as the command line says (--help). Returns the exit status. */
int perf_main(int argc, char **argv);

#ifdef __cplusplus
}
#endif

#endif
