/* SPDX-License-Identifier: MIT */
/* Stress: the keeper, trims by hand, and CPUs that come and go, against everything. */
#include "stress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <mews/inline.h>
#include "../lib/keeper.h"

/* Few operations with pauses as long as several looks: caches rest, wake, and are taken. */
static void *work_and_pause(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	while (arena_running(arena)) {
		threads_pin(rng_below(&worker->rng, 2));
		for (int i = (int)rng_below(&worker->rng, 20); i > 0; i--)
			hand_step(arena, &hand, &worker->rng);
		threads_sleep(rng_below(&worker->rng, 50) * 1e-4);
	}
	hand_empty(arena, &hand);
	return NULL;
}

static void run_rests(const struct stress *stress)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 3), stress->seed, &arena, work_and_pause);
	for (int i = 0; i < 10000 && stats.keeper_steps == 0; i++) {
		CHECK(mews_pool_stats(arena.pool, &stats) == 0, "statistics");
		threads_sleep(0.001);
	}
	CHECK(stats.keeper_steps > 0, "the keeper took no step");
	printf("%llu steps of the keeper, the longest %llu us, of a budget of 1,000 and what others took\n",
	       (unsigned long long)stats.keeper_steps,
	       (unsigned long long)stats.keeper_longest_ns / 1000);
	arena_close(&arena);
}

/* One trims by hand, with budgets that are mostly too short, and hastens the keeper. */
static void *trim_or_work(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	int error;

	if (worker->index > 0)
		return hand_worker(worker);
	while (arena_running(arena)) {
		error = rng_below(&worker->rng, 2) ? mews_pool_collect(arena->pool) :
			mews_pool_trim(arena->pool, 0, 1 + rng_below(&worker->rng, 200));
		CHECK(error == 0 || error == -EAGAIN, "trim: %d", error);
		if (rng_below(&worker->rng, 4) == 0)
			mews_keeper_hasten();
		mews_keeper_step(100);
	}
	return NULL;
}

static void run_parts(const struct stress *stress)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct arena arena;

	void *blocks[1000];
	size_t got;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, trim_or_work);
	arena_empty_mail(&arena);
	for (int i = 0; i < 3000 && stats.trimmed_parts == 0; i++) {
		got = arena_lease_many(&arena, blocks, 1000);
		arena_give_many(&arena, blocks + 1, got - 1);
		CHECK(mews_pool_collect(arena.pool) == 0, "collect"); /* the keeper may have them in hand */
		arena_give(&arena, blocks[0]);
		CHECK(mews_pool_stats(arena.pool, &stats) == 0, "statistics");
		threads_sleep(0.001);
	}
	CHECK(stats.trimmed_parts > 0, "no part of a slab was given back");
	arena_close(&arena);
}

/* All threads leave a CPU and come back, round by round, while they work. */
struct moves {
	struct arena arena;
	unsigned rounds;
	pthread_barrier_t round;
};

static void *move_and_work(void *argument)
{
	struct worker *worker = argument;
	struct moves *moves = worker->shared;
	struct hand hand = { .count = 0 };

	for (unsigned round = 0; round < moves->rounds; round++) {
		pthread_barrier_wait(&moves->round);
		threads_pin(round);
		for (int i = 0; i < 50; i++)
			hand_step(&moves->arena, &hand, &worker->rng);
	}
	hand_empty(&moves->arena, &hand);
	return NULL;
}

/* What they left there comes back without a thread of that CPU. */
static void run_moves(const struct stress *stress)
{
	/* ThreadSanitizer makes a minute of what takes a second. */
	struct moves moves = { .rounds = stress->long_run || !mews_tsan_active() ? 1000 : 50 };
	struct mews_stats stats = { .size = sizeof(stats) };

	arena_open(&moves.arena, stress, 0);
	pthread_barrier_init(&moves.round, NULL, 3);
	threads_run(3, stress->seed, &moves, move_and_work);
	pthread_barrier_destroy(&moves.round);
	arena_empty_mail(&moves.arena);
	for (int i = 0; i < 10000; i++) {
		CHECK(mews_pool_stats(moves.arena.pool, &stats) == 0, "statistics");
		if (stats.cached + stats.side + stats.depot == 0)
			break;
		threads_sleep(0.001);
	}
	CHECK(stats.cached + stats.side + stats.depot == 0,
	      "%llu blocks lie in caches that nobody uses",
	      (unsigned long long)(stats.cached + stats.side + stats.depot));
	arena_close(&moves.arena);
}

const struct scenario stress_keeper[] = {
	{ "rests", "caches rest and wake", run_rests },
	{ "parts", "parts of slabs go back and come again", run_parts },
	{ "moves", "all threads leave a CPU and come back", run_moves },
	{ NULL, NULL, NULL },
};
