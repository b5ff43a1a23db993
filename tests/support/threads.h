/* SPDX-License-Identifier: MIT */
/*
 * Threads, CPUs and time for the tests: run n workers and wait for them, pin to a CPU, walk the
 * allowed CPUs. Errors end the process by a CHECK.
 */
#ifndef TESTS_SUPPORT_THREADS_H
#define TESTS_SUPPORT_THREADS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include "rng.h"

#define THREADS_CPUS_MAX 1024

struct worker {
	unsigned index;
	struct rng rng;
	void *shared;           /* what the workers of one run have in common */
	pthread_t thread;
};

/* Runs count workers, seeded from seed, and waits until all have ended. */
void threads_run(unsigned count, uint64_t seed, void *shared, void *(*body)(void *worker));

/* The same in two halves; workers is an array of count. */
void threads_start(struct worker *workers, unsigned count, uint64_t seed, void *shared,
		   void *(*body)(void *worker));
void threads_join(struct worker *workers, unsigned count);

/* CPUs this process was allowed when it first asked. */
unsigned threads_cpus(void);

/* Pins the calling thread to the index-th of them (modulo their number); returns the CPU's id. */
unsigned threads_pin(unsigned index);
/* The same for another thread, which may just have ended; safe in a signal handler. */
void threads_pin_other(pid_t tid, unsigned index);
/* Lets the calling thread run on all of them again. */
void threads_unpin(void);

pid_t threads_tid(void);

double threads_now(void);                       /* seconds, CLOCK_MONOTONIC */
struct timespec threads_deadline(double seconds); /* from now, CLOCK_MONOTONIC */
void threads_sleep(double seconds);

#endif
