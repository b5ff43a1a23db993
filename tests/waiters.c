/* SPDX-License-Identifier: MIT */
/*
 * Many who wait for few blocks: nobody starves, and no wake-up is lost. Each worker leases with
 * mews_lease_wait, holds the block for a moment and returns it. Prints how even the turns were (Jain's
 * index of the workers' leases: 1 is perfectly even, 1/n is one worker that got all) and how long the
 * waits. A wake-up was lost where a wait lasts and nobody's does not, or so many had a block meanwhile
 * that its turn must have come: seconds alone only tell of a slow machine.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <mews/mews.h>
#include "support/audit.h"
#include "support/check.h"
#include "support/kinds.h"
#include "support/options.h"
#include "support/threads.h"

#define LONGEST_S 25            /* of one wait, before it is looked into */
#define ROUNDS 10               /* each worker so many turns: it was passed over */

struct turns {
	struct mews_pool *pool;
	unsigned workers, blocks;
	uint64_t wanted;                /* leases, all workers together */
	double longest_s;
	pthread_barrier_t start;
	_Atomic uint64_t all;           /* leases */
	_Atomic uint64_t done;
	atomic_uint started;            /* workers that had a lease: once all had, leases count */
	uint64_t *mine, *counted;       /* [workers] all leases, and those */
	float *waited;                  /* [wanted] seconds */
};

static void *lease(struct turns *turns)
{
	struct timespec deadline;
	uint64_t before, others;
	void *block;

	for (;;) {
		before = atomic_load(&turns->all);
		deadline = threads_deadline(turns->longest_s);
		block = mews_lease_wait(turns->pool, &deadline);
		others = atomic_load(&turns->all) - before;
		if (block)
			break;
		CHECK(errno == ETIMEDOUT, "a wait: %s", strerror(errno));
		CHECK(others > 0 && others < ROUNDS * turns->workers,
		      "a wake-up was lost: no block in %g s, in which %llu others had one",
		      turns->longest_s, (unsigned long long)others);
	}
	atomic_fetch_add(&turns->all, 1);
	return block;
}

static void take_turn(struct turns *turns, struct worker *worker)
{
	double start = threads_now();
	uint64_t *block = lease(turns), at;

	CHECK(__atomic_exchange_n(block, 1, __ATOMIC_RELAXED) == 0, "block %p is out twice",
	      (void *)block);
	if (!turns->mine[worker->index]++)
		atomic_fetch_add(&turns->started, 1);
	if (atomic_load(&turns->started) == turns->workers) {
		at = atomic_fetch_add(&turns->done, 1);
		if (at < turns->wanted)
			turns->waited[at] = (float)(threads_now() - start);
		turns->counted[worker->index]++;
	}
	sched_yield(); /* or, on few CPUs, nobody would have to wait */
	__atomic_store_n(block, 0, __ATOMIC_RELAXED);
	kind_calls.give(turns->pool, block);
}

static void *take_turns(void *argument)
{
	struct worker *worker = argument;
	struct turns *turns = worker->shared;

	pthread_barrier_wait(&turns->start);
	while (atomic_load(&turns->done) < turns->wanted)
		take_turn(turns, worker);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double jain(const uint64_t *of, unsigned count)
{
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < count; i++) {
		sum += (double)of[i];
		squares += (double)of[i] * (double)of[i];
	}
	return sum * sum / (count * squares);
}

static void tell(struct turns *turns, double seconds, const struct mews_stats *stats)
{
	uint64_t last = turns->wanted - 1;
	float *waited = turns->waited;
	double fair = jain(turns->counted, turns->workers);

	qsort(waited, turns->wanted, sizeof(*waited), compare);
	printf("%u workers, %u blocks: %llu leases in %.1f s, %llu handed over, %llu waits; "
	       "Jain's index %.4f; waits: median %.3f ms, longest %.3f ms (%.1f medians)\n",
	       turns->workers, turns->blocks, (unsigned long long)turns->wanted, seconds,
	       (unsigned long long)stats->handovers, (unsigned long long)stats->waits, fair,
	       1e3 * waited[last / 2], 1e3 * waited[last], waited[last] / waited[last / 2]);
	fflush(stdout);
	CHECK(turns->workers < 100 || fair > 0.9, "somebody starved: %.3f", fair);
}

static void run(unsigned workers, unsigned blocks, uint64_t leases, double longest_s, uint64_t seed)
{
	struct turns turns = { .workers = workers, .blocks = blocks, .wanted = leases,
			       .longest_s = longest_s, .pool = kind_pool(64, blocks) };
	struct mews_stats stats = { .size = sizeof(stats) };
	double start = threads_now();
	struct audit audit;
	void **zero = calloc(blocks, sizeof(*zero));

	turns.mine = calloc(workers, sizeof(*turns.mine));
	turns.counted = calloc(workers, sizeof(*turns.counted));
	turns.waited = calloc(leases, sizeof(*turns.waited));
	CHECK(zero && turns.mine && turns.counted && turns.waited, "memory");
	CHECK(mews_lease_many(turns.pool, zero, blocks) == blocks, "all blocks");
	for (unsigned i = 0; i < blocks; i++)
		memset(zero[i], 0, 64);
	mews_return_many(turns.pool, zero, blocks);
	pthread_barrier_init(&turns.start, NULL, workers);
	threads_run(workers, seed, &turns, take_turns);
	pthread_barrier_destroy(&turns.start);
	CHECK(mews_pool_stats(turns.pool, &stats) == 0 && stats.leased == 0 && stats.waiting == 0,
	      "%llu blocks out, %llu wait", (unsigned long long)stats.leased,
	      (unsigned long long)stats.waiting);
	CHECK(audit_pool(turns.pool, NULL, 0, &audit), "audit: %s", audit.message);
	tell(&turns, threads_now() - start, &stats);
	CHECK(mews_pool_dispose(turns.pool) == 0, "dispose");
	free(turns.mine);
	free(turns.counted);
	free(turns.waited);
	free(zero);
}

/* The library has a planted bug. */
static void run_planted(void *argument)
{
	const struct options *options = argument;

	for (int round = 0; round < 50; round++) {
		run(3, 1, 2000, 2, options->seed);
		run(8, 6, 2000, 2, options->seed);
	}
}

int main(int argc, char **argv)
{
	struct options options;
	uint64_t leases;
	bool found;

	options_parse(&options, "Many who wait for few blocks. --operations: leases; --plant built: the "
		      "library was built with a bug, which must be found.", argc, argv);
	kind_choose(options.kind, argv);
	check_context("waiters", options.seed);
	if (options.plant) {
		found = check_finds(run_planted, &options);
		printf("the planted bug is %s\n", found ? "found" : "NOT found");
		return !found;
	}
	leases = options.operations ? options.operations : options.long_run ? 10000000 : 100000;
	leases /= options.short_run ? 10 : 1;
	run(1000, 64, leases, LONGEST_S, options.seed);
	run(3, 1, leases, LONGEST_S, options.seed);
	run(8, 6, leases, LONGEST_S, options.seed);
	return 0;
}
