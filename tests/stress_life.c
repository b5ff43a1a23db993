/* SPDX-License-Identifier: MIT */
/* Stress: threads, processes and pools that begin and end in the midst of it. */
#include "stress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/maps.h"

/* A short life: some steps, what it still holds goes into the mail or back. */
static void *short_life(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	for (int i = 0; i < 30; i++)
		hand_step(arena, &hand, &worker->rng);
	hand_empty(arena, &hand);
	return NULL;
}

static void *bear(void *argument)
{
	struct worker *worker = argument;

	while (arena_running(worker->shared))
		threads_run(4, rng_next(&worker->rng), worker->shared, short_life);
	return NULL;
}

static void run_births(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 3), stress->seed, &arena, bear);
	arena_close(&arena);
}

/* One worker drains, with deadlines that are mostly too short; the others go on. */
static void *drain_or_work(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	if (worker->index > 1)
		return hand_worker(worker);
	while (arena_running(arena)) {
		struct timespec soon = threads_deadline(rng_below(&worker->rng, 5) * 1e-4);
		int error = mews_pool_drain(arena->pool, &soon);

		CHECK(error == 0 || error == -ETIMEDOUT || error == -EBUSY, "drain: %d", error);
	}
	return NULL;
}

static void run_drain(const struct stress *stress)
{
	struct timespec later;
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 8), stress->seed, &arena, drain_or_work);
	arena_audit(&arena);
	arena.end = threads_now() + 0.1;
	threads_run(4, stress->seed + 1, &arena, hand_worker);
	arena_audit(&arena);
	arena_empty_mail(&arena);
	later = threads_deadline(10);
	CHECK(mews_pool_drain(arena.pool, &later) == 0, "a drain with nothing out");
	arena_close(&arena);
}

/* A drain without deadline ends when the last worker has returned its blocks. */
static void *drain_for_ever(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	if (worker->index > 0)
		return short_life(worker);
	CHECK(mews_pool_drain(arena->pool, NULL) == 0, "drain");
	return NULL;
}

static void run_drain_ends(const struct stress *stress)
{
	struct stress quiet = *stress;
	struct arena arena;

	arena_open(&arena, &quiet, 0);
	while (arena_running(&arena)) {
		struct worker workers[5];

		threads_start(workers, 5, stress->seed, &arena, drain_for_ever);
		for (unsigned i = 1; i < 5; i++)
			threads_join(&workers[i], 1);
		arena_empty_mail(&arena);
		threads_join(&workers[0], 1);
	}
	arena_close(&arena);
}

/* The pool is disposed of while many threads return the last blocks, each its own. */
struct ending {
	struct mews_pool *pool;
	pthread_barrier_t start;
	void *block[8][16];
};

static void *end_or_return(void *argument)
{
	struct worker *worker = argument;
	struct ending *ending = worker->shared;
	void **mine = ending->block[worker->index];

	pthread_barrier_wait(&ending->start);
	if (worker->index == 0)
		CHECK(mews_pool_dispose(ending->pool) == 0, "dispose");
	for (int i = 0; i < 16; i++)
		memset(mine[i], 0x77, ARENA_BLOCK_SIZE);
	for (int i = 0; i < 8; i++)
		kind_calls.give(ending->pool, mine[i]);
	mews_return_many(ending->pool, mine + 8, 8);
	return NULL;
}

static void end_once(uint64_t seed)
{
	struct ending ending = { .pool = kind_pool(ARENA_BLOCK_SIZE, 1000) };

	pthread_barrier_init(&ending.start, NULL, 8);
	CHECK(mews_lease_many(ending.pool, &ending.block[0][0], 128) == 128, "128 blocks");
	threads_run(8, seed, &ending, end_or_return);
	CHECK(!maps_readable(ending.block[3][5]), "the last block is back, the windows are there");
	CHECK(!maps_readable(ending.pool), "the last block is back, the tables are there");
	pthread_barrier_destroy(&ending.start);
}

/* The pool ends while another thread waits for its drain: that one is told, and memory goes too. */
static void *drain_to_the_end(void *argument)
{
	struct worker *worker = argument;
	struct ending *ending = worker->shared;
	int error;

	pthread_barrier_wait(&ending->start);
	error = mews_pool_drain(ending->pool, NULL);
	CHECK(error == 0 || error == -ESHUTDOWN, "drain: %d", error);
	return NULL;
}

/* Blocks go into the caches of both CPUs, so that drain and dispose have something to collect. */
static void warm_caches(struct mews_pool *pool)
{
	void *blocks[100];

	for (unsigned cpu = 0; cpu < 2; cpu++) {
		threads_pin(cpu);
		for (int i = 0; i < 100; i++)
			blocks[i] = kind_calls.lease(pool);
		for (int i = 0; i < 100; i++)
			kind_calls.give(pool, blocks[i]);
	}
	threads_unpin();
}

static void drain_and_end_once(uint64_t seed)
{
	struct ending ending = { .pool = kind_pool(ARENA_BLOCK_SIZE, 1000) };
	struct worker drainer;
	void *block;

	warm_caches(ending.pool);
	block = kind_calls.lease(ending.pool);
	pthread_barrier_init(&ending.start, NULL, 2);
	threads_start(&drainer, 1, seed, &ending, drain_to_the_end);
	pthread_barrier_wait(&ending.start);
	for (unsigned spin = (unsigned)(seed % 4096); spin > 0; spin--)
		__asm__ volatile ("" ::: "memory");
	CHECK(mews_pool_dispose(ending.pool) == 0, "dispose");
	threads_join(&drainer, 1);
	CHECK(maps_readable(block), "the pool is gone and a block was out");
	kind_calls.give(ending.pool, block);
	CHECK(!maps_readable(block), "the last block is back and the pool is still there");
	pthread_barrier_destroy(&ending.start);
}

static void run_dispose_drain(const struct stress *stress)
{
	double end = threads_now() + stress->seconds;
	struct rng rng = { stress->seed };

	while (threads_now() < end)
		drain_and_end_once(rng_next(&rng));
}

static void run_dispose(const struct stress *stress)
{
	double end = threads_now() + stress->seconds;
	uint64_t seed = stress->seed;

	while (threads_now() < end)
		end_once(seed++);
}

static void *churn_pools(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	while (arena_running(arena)) {
		struct mews_pool *pool = kind_pool(64 + rng_below(&worker->rng, 5000), 300);
		void *blocks[300];
		size_t got = mews_lease_many(pool, blocks, 1 + rng_below(&worker->rng, 300));

		CHECK(got > 0, "a new pool gave nothing");
		if (rng_below(&worker->rng, 2)) { /* else it ends with nothing out */
			CHECK(mews_pool_dispose(pool) == 0, "dispose");
			if (rng_below(&worker->rng, 2))
				CHECK(mews_pool_dispose(pool) == 0, "dispose again");
			mews_return_many(pool, blocks, got);
			continue;
		}
		mews_return_many(pool, blocks, got);
		CHECK(mews_pool_dispose(pool) == 0, "dispose");
	}
	return NULL;
}

static void run_pools(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, churn_pools);
	arena_close(&arena);
}

/* The worker is cancelled somewhere; its cleanup brings its blocks back. */
struct cancelled {
	struct arena *arena;
	struct hand hand;
};

static void clean_up(void *argument)
{
	struct cancelled *cancelled = argument;

	hand_empty(cancelled->arena, &cancelled->hand);
}

static void *work_until_cancelled(void *argument)
{
	struct worker *worker = argument;
	struct cancelled cancelled = { .arena = worker->shared };

	pthread_cleanup_push(clean_up, &cancelled);
	for (;;) {
		for (int i = 0; i < 10; i++)
			hand_step(cancelled.arena, &cancelled.hand, &worker->rng);
		pthread_testcancel();
	}
	pthread_cleanup_pop(1);
	return NULL;
}

static void run_cancel(const struct stress *stress)
{
	struct rng rng = { stress->seed };
	struct arena arena;

	arena_open(&arena, stress, 0);
	while (arena_running(&arena)) {
		struct worker workers[6];

		threads_start(workers, 6, rng_next(&rng), &arena, work_until_cancelled);
		threads_sleep(rng_below(&rng, 20) * 1e-4);
		for (int i = 0; i < 6; i++)
			CHECK(pthread_cancel(workers[i].thread) == 0, "cancel");
		threads_join(workers, 6);
	}
	arena_close(&arena);
}

/* In the child: the forking thread's blocks are whole, and the pool works. */
static void live_as_child(struct arena *arena, struct hand *hand, struct rng *rng)
{
	for (unsigned i = 0; i < hand->count; i++)
		ledger_look(arena->ledger, hand->block[i]);
	for (int i = 0; i < 100; i++)
		hand_step(arena, hand, rng);
	hand_empty(arena, hand);
	_exit(0);
}

static void *fork_or_work(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	if (worker->index > 1)
		return hand_worker(worker);
	while (arena_running(arena)) {
		int status;
		pid_t pid;

		for (int i = 0; i < 20; i++)
			hand_step(arena, &hand, &worker->rng);
		pid = fork();
		CHECK(pid >= 0, "fork: %s", strerror(errno));
		if (pid == 0)
			live_as_child(arena, &hand, &worker->rng);
		CHECK(waitpid(pid, &status, 0) == pid, "wait: %s", strerror(errno));
		CHECK(status == 0, "the child ended with status %x", (unsigned)status);
		atomic_fetch_add(&arena->operations, 1);
	}
	hand_empty(arena, &hand);
	return NULL;
}

static void run_fork(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	if (stress->long_run)
		arena.end = threads_now() + 30;
	threads_run(stress_threads(stress, 5), stress->seed, &arena, fork_or_work);
	if (stress->plant == PLANT_NONE)
		printf("  %llu forks\n", (unsigned long long)atomic_load(&arena.operations));
	arena_close(&arena);
}

/* A drainer, one that forks, and workers, while the first samples. */
static void *be_sampled(void *argument)
{
	struct worker *worker = argument, as = *worker;

	if (worker->index == 0)
		return sample_worker(worker);
	as.index = 0;
	if (worker->index < 3)
		return worker->index == 1 ? drain_or_work(&as) : fork_or_work(&as);
	return hand_worker(worker);
}

static void add_up(void *context, const struct mews_lease_site *site)
{
	*(uint64_t *)context += site->leases;
}

/* Nothing is out; what the keeper has in hand, where it is slow to put it down, counts as out so long. */
static void none_is_out(struct mews_pool *pool)
{
	double late = threads_now() + 30;
	uint64_t out;

	for (;;) {
		out = 0;
		CHECK(mews_pool_report_leases(pool, add_up, &out) == 0, "a report");
		if (out == 0)
			return;
		CHECK(threads_now() < late, "%llu leases are reported, and nothing is out",
		      (unsigned long long)out);
		threads_sleep(0.01);
	}
}

static void run_sampled(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 7), stress->seed, &arena, be_sampled);
	arena_audit(&arena);
	CHECK(mews_pool_sample_leases(arena.pool, 1) == 0, "sampling");
	arena.end = threads_now() + 0.1;
	threads_run(4, stress->seed + 1, &arena, hand_worker);
	arena_audit(&arena);
	arena_empty_mail(&arena);
	if (stress->plant == PLANT_NONE)
		none_is_out(arena.pool);
	arena_close(&arena);
}

const struct scenario stress_life[] = {
	{ "births", "threads are born and die all the time", run_births },
	{ "drain", "drains with short deadlines against everything", run_drain },
	{ "drain-ends", "a drain without deadline ends with the last return", run_drain_ends },
	{ "dispose", "dispose against the last returns", run_dispose },
	{ "dispose-drain", "dispose against a drain that waits", run_dispose_drain },
	{ "pools", "pools are created and disposed of", run_pools },
	{ "cancel", "threads are cancelled", run_cancel },
	{ "fork", "forks in the midst of operations", run_fork },
	{ "sampled", "sampling of leases goes on and off, beside drains and forks", run_sampled },
	{ NULL, NULL, NULL },
};
