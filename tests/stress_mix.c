/* SPDX-License-Identifier: MIT */
/* Stress: threads on one pool: many on few CPUs, handing over, migrating, at the limit, in bursts, watched. */
#include "../lib/control.h"
#include "stress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void run_threads(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 64), stress->seed, &arena, hand_worker);
	arena_close(&arena);
}

/* Half of the threads only lease and send, the other half only receive and return. */
static void *hand_over(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	void *blocks[32];

	while (arena_running(arena)) {
		unsigned count = 1 + rng_below(&worker->rng, 32), n = 0;

		if (worker->index % 2 == 0) {
			count = (unsigned)arena_lease_many(arena, blocks, count);
			for (unsigned i = 0; i < count; i++)
				blocks[n] = arena_mail(arena, &worker->rng, blocks[i]),
					n += blocks[n] != NULL;
			arena_give_many(arena, blocks, n);
			continue;
		}
		while (count-- > 0)
			if ((blocks[0] = arena_mail(arena, &worker->rng, NULL)))
				arena_give(arena, blocks[0]);
	}
	return NULL;
}

static void run_handover(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 8), stress->seed, &arena, hand_over);
	arena_close(&arena);
}

static void *migrate_self(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	while (arena_running(arena)) {
		threads_pin(rng_below(&worker->rng, 64));
		for (int i = 0; i < 20; i++)
			hand_step(arena, &hand, &worker->rng);
	}
	hand_empty(arena, &hand);
	return NULL;
}

/* Workers that announce themselves, and a last one that throws them from CPU to CPU. */
struct thrown {
	struct arena *arena;
	_Atomic(pid_t) tid[64];
	unsigned count;
};

static void *be_thrown(void *argument)
{
	struct worker *worker = argument, inner = *worker;
	struct thrown *thrown = worker->shared;

	atomic_store(&thrown->tid[worker->index], threads_tid());
	inner.shared = thrown->arena;
	hand_worker(&inner);
	atomic_store(&thrown->tid[worker->index], 0);
	return NULL;
}

static void throw_them(struct thrown *thrown, uint64_t seed)
{
	struct rng rng = { seed };

	while (arena_running(thrown->arena)) {
		pid_t tid = atomic_load(&thrown->tid[rng_below(&rng, thrown->count)]);

		if (tid)
			threads_pin_other(tid, rng_below(&rng, threads_cpus()));
	}
}

static void run_migrate(const struct stress *stress)
{
	struct stress half = *stress;
	struct thrown thrown = { .count = 6 };
	struct worker workers[6];
	struct arena arena;

	half.seconds /= 2;
	arena_open(&arena, &half, 0);
	threads_run(stress_threads(stress, 6), stress->seed, &arena, migrate_self);
	arena_close(&arena);
	arena_open(&arena, &half, 0);
	thrown.arena = &arena;
	threads_start(workers, 6, stress->seed, &thrown, be_thrown);
	throw_them(&thrown, stress->seed);
	threads_join(workers, 6);
	arena_close(&arena);
}

/* Fewer blocks than the threads want: most leases go all the way down, and many fail. */
static void run_limit(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 150);
	do {
		threads_run(stress_threads(stress, 8), stress->seed, &arena, hand_worker);
	} while (arena_again(&arena, &arena.failures));
	CHECK(atomic_load(&arena.failures) > 0, "150 blocks were enough: no test of the limit");
	arena_close(&arena);
}

/* Far more blocks than are wanted: no lease may fail, wherever the blocks lie. */
static void run_spare(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 3000);
	threads_run(stress_threads(stress, 8), stress->seed, &arena, hand_worker);
	CHECK(atomic_load(&arena.failures) == 0, "%llu leases were refused, at most 800 of 3000 "
	      "blocks were out", (unsigned long long)atomic_load(&arena.failures));
	arena_close(&arena);
}

/*
 * One CPU runs little but the sequences, the other closes its cache all the time, by drains, and
 * leases what it took away. The mark in each block is all the bookkeeping, so that most of the time
 * is spent where a missing fence shows.
 */
static void mark(void *block, uint64_t from, uint64_t to)
{
	uint64_t found = __atomic_exchange_n((uint64_t *)block, to, __ATOMIC_RELAXED);

	CHECK(found == from, "block %p is out twice: mark %llu", block,
	      (unsigned long long)found);
}

static void *lease_tightly(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	threads_pin(0);
	while (arena_running(arena))
		for (int i = 0; i < 2000; i++) {
			void *block = kind_calls.lease(arena->pool);

			if (!block)
				continue;
			mark(block, 0, 1);
			mark(block, 1, 0);
			kind_calls.give(arena->pool, block);
		}
	return NULL;
}

static void *close_tightly(void *argument)
{
	static const struct timespec past;
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	void *blocks[100];

	if (worker->index == 0)
		return lease_tightly(worker);
	threads_pin(1);
	while (arena_running(arena)) {
		size_t got;

		mews_pool_drain(arena->pool, &past);
		got = mews_lease_many(arena->pool, blocks, 100);
		for (size_t i = 0; i < got; i++)
			mark(blocks[i], 0, 2);
		for (size_t i = 0; i < got; i++)
			mark(blocks[i], 2, 0);
		mews_return_many(arena->pool, blocks, got);
	}
	return NULL;
}

static void run_close(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 100);
	threads_run(2, stress->seed, &arena, close_tightly);
	arena_close(&arena);
}

#define BURST_MOST 2000

static atomic_ullong grown;

static void collect(struct arena *arena, struct rng *rng)
{
	struct mews_control *control = mews_control_of(arena->pool);

	while (arena_running(arena)) {
		for (uint32_t cpu = 0; cpu < control->sides.count; cpu++)
			if (atomic_load(&control->sides.side[cpu].capacity) > control->plan.cache_capacity)
				atomic_fetch_add(&grown, 1);
		if (rng_below(rng, 4) == 0)
			mews_pool_collect(arena->pool);
		threads_sleep(rng_below(rng, 10) * 0.0001);
	}
}

static void *lease_in_bursts(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	void *blocks[BURST_MOST];

	if (worker->index == 0)
		collect(arena, &worker->rng);
	while (arena_running(arena)) {
		unsigned count = 1 + rng_below(&worker->rng, BURST_MOST), n = 0;

		while (n < count && (blocks[n] = arena_lease(arena)))
			n++;
		if (rng_below(&worker->rng, 4) == 0)
			arena_give_many(arena, blocks, n);
		else
			while (n)
				arena_give(arena, blocks[--n]);
	}
	return NULL;
}

/* Bursts that are longer than a cache, which grows for them, and is closed with more than one can take. */
static void run_bursts(const struct stress *stress)
{
	const struct mews_control *control;
	struct arena arena;
	bool grows;

	arena_open(&arena, stress, 0);
	control = mews_control_of(arena.pool);
	grows = control->path == MEWS_PATH_RSEQ && control->plan.cache_most > control->plan.cache_capacity;
	do {
		threads_run(stress_threads(stress, 5), stress->seed, &arena, lease_in_bursts);
	} while (grows && arena_again(&arena, &grown));
	CHECK(!grows || atomic_load(&grown) > 0, "no cache grew: no test of those that do");
	arena_close(&arena);
}

static void *watch(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	char text[4096];

	if (worker->index > 1)
		return hand_worker(worker);
	while (arena_running(arena)) {
		struct mews_stats s = { .size = sizeof(s) };

		CHECK(mews_pool_stats(arena->pool, &s) == 0, "statistics");
		CHECK(s.carved == s.leased + s.cached + s.side + s.depot + s.slab,
		      "a sum: %llu carved", (unsigned long long)s.carved);
		CHECK(s.leased <= s.carved, "%llu of %llu leased", (unsigned long long)s.leased,
		      (unsigned long long)s.carved);
		CHECK(mews_pool_describe(arena->pool, text, sizeof(text)) > 0, "description");
	}
	return NULL;
}

static void run_watched(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 8), stress->seed, &arena, watch);
	arena_close(&arena);
}

static void *lease_oversize(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	char *large[8] = { NULL };
	unsigned char mark = (unsigned char)(worker->index + 1);

	while (arena_running(arena)) {
		unsigned at = rng_below(&worker->rng, 8);
		size_t bytes = 1000 + rng_below(&worker->rng, 60000);

		if (large[at]) {
			CHECK((unsigned char)large[at][999] == mark, "an oversize lease was written");
			mews_return(arena->pool, large[at]);
		}
		large[at] = mews_lease_sized(arena->pool, bytes);
		CHECK(large[at], "%zu bytes: %s", bytes, strerror(errno));
		large[at][999] = (char)mark;
		large[at][0] = (char)mark;
	}
	for (unsigned at = 0; at < 8; at++)
		mews_return(arena->pool, large[at]);
	return NULL;
}

static void run_oversize(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, 0);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, lease_oversize);
	arena_close(&arena);
}

const struct scenario stress_mix[] = {
	{ "threads", "64 threads on whatever CPUs there are", run_threads },
	{ "handover", "blocks are returned by other threads than leased them", run_handover },
	{ "migrate", "threads move between CPUs, by themselves and by others", run_migrate },
	{ "limit", "fewer blocks than wanted", run_limit },
	{ "spare", "more blocks than wanted", run_spare },
	{ "close", "a cache is closed all the time while its CPU uses it", run_close },
	{ "bursts", "caches grow in bursts, and are closed", run_bursts },
	{ "watched", "statistics are read all the time", run_watched },
	{ "oversize", "mappings of their own come and go", run_oversize },
	{ NULL, NULL, NULL },
};
