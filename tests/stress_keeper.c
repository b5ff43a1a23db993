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
#include "../numa/kernel.h"

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

/*
 * A keeper that is stopped for good at each nth of its kernel calls, or of those that give a slab back:
 * leases go on. The pool is one slab, so that what is stopped with it is all that there is.
 */
#define STOPPED_BLOCKS 2000u

static _Atomic unsigned long calls, stop_at;
static _Atomic bool stopped, go_on, only_discards;
static __thread bool is_keeper;
static pthread_t keeper;

static void stop_here(bool discards)
{
	if (!is_keeper || (atomic_load(&only_discards) && !discards) ||
	    atomic_fetch_add(&calls, 1) + 1 != atomic_load(&stop_at))
		return;
	atomic_store(&stopped, true);
	while (!atomic_load(&go_on))
		threads_sleep(0.001);
}

static int stopping_membarrier(int cmd, unsigned flags, int cpu)
{
	stop_here(false);
	return mews_kernel_real.membarrier(cmd, flags, cpu);
}

static int stopping_madvise(void *addr, size_t length, int advice)
{
	stop_here(false);
	return mews_kernel_real.madvise(addr, length, advice);
}

static void *stopping_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	stop_here(true);
	return mews_kernel_real.mmap(addr, length, prot, flags, fd, offset);
}

static int stopping_clock(clockid_t clock, struct timespec *now)
{
	stop_here(false);
	return mews_kernel_real.clock_gettime(clock, now);
}

static void *keep(void *argument)
{
	struct arena *arena = argument;

	is_keeper = true;
	while (!atomic_load(&go_on) && arena_running(arena)) {
		mews_keeper_hasten();
		mews_keeper_step(0);
	}
	return NULL;
}

/* All but what the keeper may have in hand: a cache of 504, or a chunk of 64 KiB. */
static void check_leases(struct arena *arena)
{
	static void *blocks[STOPPED_BLOCKS];
	size_t want = STOPPED_BLOCKS - 504 - (64 << 10) / ARENA_BLOCK_SIZE;
	size_t got = arena_lease_many(arena, blocks, want);

	CHECK(got == want, "%zu of %zu blocks while the keeper is stopped", got, want);
	arena_give_many(arena, blocks, got);
}

static void live_without_keeper(const struct stress *stress, unsigned long at)
{
	struct mews_pool_config config = kind_config();
	struct arena arena = { .end = threads_now() + 60, .max_blocks = STOPPED_BLOCKS };

	atomic_store(&calls, 0);
	atomic_store(&stop_at, at);
	atomic_store(&stopped, false);
	atomic_store(&go_on, false);
	config.block_size = ARENA_BLOCK_SIZE;
	config.max_blocks = arena.max_blocks;
	config.keeper = MEWS_KEEPER_CALLER;
	config.decay_ms = 8;
	arena.pool = kind_pool_from(&config);
	arena.ledger = ledger_new(arena.max_blocks, ARENA_BLOCK_SIZE);
	CHECK(pthread_create(&keeper, NULL, keep, &arena) == 0, "a thread");
	while (!atomic_load(&stopped) && arena_running(&arena)) {
		void *blocks[500];
		size_t got = arena_lease_many(&arena, blocks, 500);

		arena_give_many(&arena, blocks, got);
		if (atomic_load(&only_discards)) /* of a slab that is all free */
			threads_sleep(0.01);
	}
	CHECK(atomic_load(&stopped), "the keeper made no such call");
	check_leases(&arena);
	arena.end = threads_now() + 0.01;
	threads_run(3, stress->seed + at, &arena, hand_worker);
	arena_empty_mail(&arena);
	check_leases(&arena);
	atomic_store(&go_on, true);
	CHECK(pthread_join(keeper, NULL) == 0, "join");
	arena_close(&arena);
}

/*
 * The thread of pools that are gone may still be on its way out, and reads which table it uses: either
 * will do. ThreadSanitizer need not know.
 */
static __attribute__((noinline, no_sanitize("thread"))) void use(const struct mews_kernel *table)
{
	mews_kernel = table;
}

static struct mews_kernel stopping;

/* Before there is any thread: afterwards one on its way out may read the table that is put in. */
static __attribute__((constructor)) void fill_table(void)
{
	stopping = mews_kernel_real;
	stopping.membarrier = stopping_membarrier;
	stopping.madvise = stopping_madvise;
	stopping.mmap = stopping_mmap;
	stopping.clock_gettime = stopping_clock;
}

static void run_stopped(const struct stress *stress)
{
	use(&stopping);
	atomic_store(&only_discards, false);
	for (unsigned long at = 1; at <= (stress->long_run ? 300 : 20); at++)
		live_without_keeper(stress, at);
	atomic_store(&only_discards, true);
	for (unsigned long at = 1; at <= (stress->long_run ? 20 : 3); at++)
		live_without_keeper(stress, at);
	use(&mews_kernel_real);
}

const struct scenario stress_keeper[] = {
	{ "rests", "caches rest and wake", run_rests },
	{ "parts", "parts of slabs go back and come again", run_parts },
	{ "moves", "all threads leave a CPU and come back", run_moves },
	{ "stopped", "the keeper is stopped for ever at each of its kernel calls", run_stopped },
	{ NULL, NULL, NULL },
};
