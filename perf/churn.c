/* SPDX-License-Identifier: MIT */
/*
 * What threads that come and go cost, and what a pool holds before it has done anything (layer 6).
 * Called by main.c, in a process of its own for each backend.
 */
#include "workloads.h"

#include <pthread.h>
#include <stdlib.h>

#include "clock.h"
#include "measure.h"
#include "memory.h"

#define CHURN_BLOCKS 32
#define TURNS 10

static void *churn_member(void *arg)
{
	const struct perf_backend *backend = arg;
	static const uint16_t order[CHURN_BLOCKS];
	void *block[CHURN_BLOCKS];
	struct perf_local local = { .block = block, .count = 1, .order = order };

	if (!backend)
		return NULL;
	backend->enter();
	for (int i = 0; i < CHURN_BLOCKS; i++)
		backend->burst(&local, 1);
	backend->leave();
	return NULL;
}

/* Microseconds, and of the CPU, of one thread's start, its 32 leases and returns, its end. */
struct churn {
	double us, cpu_us;
};

static struct churn churn(const struct perf_backend *backend, int threads)
{
	double cpu = perf_cpu_ns(true);
	uint64_t start = perf_ticks();

	for (int i = 0; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, churn_member, (void *)backend))
			abort();
		pthread_join(thread, NULL);
	}
	return (struct churn){
		.us = (double)(perf_ticks() - start) / perf_ticks_a_ns() / 1e3 / threads,
		.cpu_us = (perf_cpu_ns(true) - cpu) / 1e3 / threads,
	};
}

/* Of turns, each of threads with and of threads without leases: what bare ones cost moves. */
struct churns {
	double us[TURNS], cpu_us[TURNS], bare_us[TURNS], bare_cpu_us[TURNS], more[TURNS];
};

static void take_turns(struct churns *churns, const struct perf_backend *backend, int threads)
{
	struct churn with, bare;

	for (int i = 0; i < TURNS; i++) {
		with = churn(backend, threads / TURNS);
		bare = churn(NULL, threads / TURNS);
		churns->us[i] = with.us;
		churns->cpu_us[i] = with.cpu_us;
		churns->bare_us[i] = bare.us;
		churns->bare_cpu_us[i] = bare.cpu_us;
		churns->more[i] = with.cpu_us - bare.cpu_us;
	}
}

static void run_churn(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));
	int threads = (int)perf_argument(run, 1);
	struct churns churns;
	double before;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	churn(backend, threads / 10);
	before = perf_memory_held();
	while (perf_next(run)) {
		take_turns(&churns, backend, threads);
		perf_counter(run, "us", perf_quantile(churns.us, TURNS, 0.5));
		perf_counter(run, "us_bare", perf_quantile(churns.bare_us, TURNS, 0.5));
		perf_counter(run, "cpu_us", perf_quantile(churns.cpu_us, TURNS, 0.5));
		perf_counter(run, "cpu_us_bare", perf_quantile(churns.bare_cpu_us, TURNS, 0.5));
		perf_counter(run, "cpu_us_more", perf_quantile(churns.more, TURNS, 0.5));
		perf_seconds(run, perf_quantile(churns.us, TURNS, 0.5) * threads / 1e6);
	}
	perf_counter(run, "growth_mib", (perf_memory_held() - before) / PERF_MIB);
	backend->tear_down();
}

static void run_rest(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));
	uint64_t fresh = 0, used = 0;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	while (perf_next(run)) {
		backend->at_rest(&fresh, &used);
		perf_seconds(run, 1e-9);
		perf_counter(run, "fresh_kib", (double)fresh / 1024);
		perf_counter(run, "used_kib", (double)used / 1024);
	}
	backend->tear_down();
}

void perf_add_churn(const struct perf_backend *backend)
{
	const int64_t churn[] = { perf_smoke() ? 20 : 1000, 0 };
	static const int64_t one[] = { 1, 0 };

	if (backend->can & PERF_CAN_FILL)
		perf_add("churn", backend, run_churn, "threads", 4032, churn);
	if (backend->at_rest)
		perf_add("rest", backend, run_rest, "pools", 4032, one);
}
