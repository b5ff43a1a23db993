/* SPDX-License-Identifier: MIT */
/*
 * Footprint (layer 6): what many live blocks hold, and what is left of it when they are back and
 * the process is idle. Called by main.c. The runner starts each of these in a process of its own,
 * since an allocator keeps what an earlier bench left it.
 */
#include "workloads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "measure.h"
#include "memory.h"

#define FOOTPRINT_THREADS 64
#define FOOTPRINT_BLOCKS (perf_smoke() ? 6400 : 200000)
#define IDLE_SECONDS (perf_smoke() ? 0 : 2)

static void sleep_seconds(int seconds)
{
	struct timespec pause = { seconds, 0 };

	while (nanosleep(&pause, &pause))
		;
}

/* The stages of a footprint: all threads pass each together with the one that reads the memory. */
struct footprint {
	const struct perf_backend *backend;
	size_t block_size;
	unsigned keep;                  /* one in so many stays out; 0: none */
	double after_pool;              /* bytes held when the backend was set up */
	pthread_barrier_t stage;
};

static void *footprint_thread(void *arg)
{
	struct footprint *footprint = arg;
	const uint64_t count = FOOTPRINT_BLOCKS / FOOTPRINT_THREADS;
	struct perf_local local = { .block_size = footprint->block_size };

	local.block = malloc(count * sizeof(*local.block));
	/* Touched now, so that it does not count as the pool's. */
	memset(local.block, 1, count * sizeof(*local.block));
	footprint->backend->enter();
	pthread_barrier_wait(&footprint->stage);        /* the reader takes the start */
	pthread_barrier_wait(&footprint->stage);
	footprint->backend->fill(&local, count);
	pthread_barrier_wait(&footprint->stage);        /* the peak */
	pthread_barrier_wait(&footprint->stage);
	for (uint64_t i = 0; i < count; i++)
		if (!footprint->keep || i % footprint->keep)
			footprint->backend->give(local.block[i]);
	pthread_barrier_wait(&footprint->stage);        /* idle */
	pthread_barrier_wait(&footprint->stage);
	for (uint64_t i = 0; footprint->keep && i < count; i += footprint->keep)
		footprint->backend->give(local.block[i]);
	footprint->backend->leave();
	free(local.block);
	return NULL;
}

/* What the threads themselves take is not the pool's: start is from before the pool, with it. */
static void footprint_read(struct perf_run *run, struct footprint *footprint, double before_pool)
{
	const double leased = (double)FOOTPRINT_BLOCKS * (double)footprint->block_size;
	double start, peak;

	pthread_barrier_wait(&footprint->stage);
	start = perf_memory_held() - (footprint->after_pool - before_pool);
	pthread_barrier_wait(&footprint->stage);
	pthread_barrier_wait(&footprint->stage);
	peak = perf_memory_held() - start;
	perf_counter(run, "peak_mib", peak / PERF_MIB);
	perf_counter(run, "peak_over_percent", (peak / leased - 1) * 100);
	pthread_barrier_wait(&footprint->stage);
	pthread_barrier_wait(&footprint->stage);
	sleep_seconds(IDLE_SECONDS);
	perf_counter(run, "idle_mib", (perf_memory_held() - start) / PERF_MIB);
	if (footprint->backend->trim) {
		footprint->backend->trim();
		perf_counter(run, "trimmed_mib", (perf_memory_held() - start) / PERF_MIB);
	}
	pthread_barrier_wait(&footprint->stage);
}

static void run_footprint(struct perf_run *run, const void *closure)
{
	pthread_t thread[FOOTPRINT_THREADS];
	struct footprint footprint = {
		.backend = closure, .block_size = (size_t)perf_argument(run, 0),
		.keep = perf_argument(run, 1) > 1 ? (unsigned)perf_argument(run, 1) : 0,
	};
	double before_pool = perf_memory_held();
	const char *problem = footprint.backend->set_up(footprint.block_size);

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	footprint.after_pool = perf_memory_held();
	while (perf_next(run)) {
		pthread_barrier_init(&footprint.stage, NULL, FOOTPRINT_THREADS + 1);
		for (int i = 0; i < FOOTPRINT_THREADS; i++)
			if (pthread_create(&thread[i], NULL, footprint_thread, &footprint))
				abort();
		footprint_read(run, &footprint, before_pool);
		for (int i = 0; i < FOOTPRINT_THREADS; i++)
			pthread_join(thread[i], NULL);
		pthread_barrier_destroy(&footprint.stage);
		perf_seconds(run, 1);
	}
	footprint.backend->tear_down();
}

void perf_add_footprint(const struct perf_backend *backend)
{
	static const int64_t keep[] = { 1, 64, 0 };

	if (backend->can & PERF_CAN_FILL)
		perf_add("footprint", backend, run_footprint, "keep", 4096, keep);
}
