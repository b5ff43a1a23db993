/* SPDX-License-Identifier: MIT */
/* Stress: leases that wait, beside all that may happen to a pool meanwhile. */
#include "stress.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define FEW 40
#define MANY 3000

static void *wait_a_while(struct arena *arena, struct rng *rng)
{
	struct timespec deadline = threads_deadline(rng_below(rng, 20) * 1e-4);
	void *block = mews_lease_wait(arena->pool, rng_below(rng, 8) ? &deadline : NULL);

	if (block)
		ledger_take(arena->ledger, block);
	else
		CHECK(errno == ETIMEDOUT, "a waiting lease failed: %s", strerror(errno));
	return block;
}

/* Holds up to three, so that waiters without a deadline can't all wait for each other. */
static void *wait_and_hold(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	void *block[3] = { NULL };

	while (arena_running(arena)) {
		unsigned at = rng_below(&worker->rng, 3);

		if (block[at])
			arena_give(arena, block[at]);
		block[at] = NULL;
		if (!block[0] && !block[1] && !block[2])
			block[at] = wait_a_while(arena, &worker->rng);
		else if (rng_below(&worker->rng, 2))
			block[at] = arena_lease(arena);
	}
	for (int i = 0; i < 3; i++)
		if (block[i])
			arena_give(arena, block[i]);
	return NULL;
}

/* Many short leases, so that there is something to hand over. */
static void *lease_briefly(struct worker *worker)
{
	struct arena *arena = worker->shared;
	void *blocks[FEW];

	while (arena_running(arena)) {
		size_t got = arena_lease_many(arena, blocks, 1 + rng_below(&worker->rng, FEW));

		arena_give_many(arena, blocks, got);
	}
	return NULL;
}

static void *listen_to_event(struct worker *worker)
{
	struct arena *arena = worker->shared;
	int fd = mews_pool_pressure_fd(arena->pool);
	struct pollfd at = { .fd = fd, .events = POLLIN };
	uint64_t value;

	CHECK(fd >= 0, "eventfd: %d", fd);
	while (arena_running(arena)) {
		void *block = arena_lease(arena);

		if (block)
			arena_give(arena, block);
		else if (poll(&at, 1, 20) == 1)
			CHECK(read(fd, &value, sizeof(value)) == sizeof(value), "eventfd");
	}
	return NULL;
}

static void *drain_now_and_then(struct worker *worker)
{
	struct arena *arena = worker->shared;

	while (arena_running(arena)) {
		struct timespec soon = threads_deadline(rng_below(&worker->rng, 5) * 1e-4);

		CHECK(mews_pool_drain(arena->pool, &soon) != -EINVAL, "drain");
		CHECK(mews_pool_trim(arena->pool, 0, 0) == 0, "trim");
		threads_sleep(1e-3);
	}
	return NULL;
}

static void *wait_beside(void *argument)
{
	struct worker *worker = argument;

	switch (worker->index) {
	case 0:
		return drain_now_and_then(worker);
	case 1:
		return listen_to_event(worker);
	case 2:
	case 3:
		return lease_briefly(worker);
	default:
		return wait_and_hold(worker);
	}
}

static void run_waiters(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, FEW);
	threads_run(stress_threads(stress, 30), stress->seed, &arena, wait_beside);
	arena_close(&arena);
}

/* Waiters are cancelled in the queue; a block that comes for one at that moment is not lost. */
static void *wait_until_cancelled(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	for (;;) {
		void *block = mews_lease_wait(arena->pool, NULL);

		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		CHECK(block, "a lease without a deadline: %s", strerror(errno));
		ledger_take(arena->ledger, block);
		arena_give(arena, block);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	}
}

static void run_waiters_cancel(const struct stress *stress)
{
	struct rng rng = { stress->seed };
	struct arena arena;

	arena_open(&arena, stress, 2);
	while (arena_running(&arena)) {
		struct worker workers[8];

		threads_start(workers, 8, rng_next(&rng), &arena, wait_until_cancelled);
		threads_sleep(rng_below(&rng, 20) * 1e-4);
		for (int i = 0; i < 8; i++)
			CHECK(pthread_cancel(workers[i].thread) == 0, "cancel");
		threads_join(workers, 8);
	}
	arena_close(&arena);
}

/* All limits go up and down under load; what is in force at the end is kept, and nothing is lost. */
static void *resize(struct worker *worker)
{
	struct arena *arena = worker->shared;
	struct rng *rng = &worker->rng;
	struct mews_stats stats = { .size = sizeof(stats) };

	while (arena_running(arena)) {
		CHECK(mews_pool_stats(arena->pool, &stats) == 0, "statistics");
		switch (rng_below(rng, 3)) {
		case 0:
			CHECK(mews_pool_set_limit(arena->pool, 1 + rng_below(rng, MANY)) == 0, "limit");
			break;
		case 1:
			CHECK(mews_pool_set_node_limit(arena->pool, stats.node[0].node,
						       rng_below(rng, 2 * MANY) * 256) == 0, "node");
			break;
		default:
			mews_set_hard_limit(stats.hard_used / 2 + rng_below(rng, MANY) * 512);
		}
		threads_sleep(5e-4);
	}
	CHECK(mews_pool_set_node_limit(arena->pool, stats.node[0].node, 0) == 0, "node");
	mews_set_hard_limit(0);
	CHECK(mews_pool_set_limit(arena->pool, MANY) == 0, "limit");
	return NULL;
}

static void *be_resized(void *argument)
{
	struct worker *worker = argument;

	return worker->index == 0 ? resize(worker) : worker->index < 4 ? wait_and_hold(worker) :
		hand_worker(worker);
}

/* All but what the keeper has in hand at that moment: then again. */
static void all_goes_back(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	double late = threads_now() + 30;

	for (;;) {
		CHECK(mews_pool_trim(pool, 0, 0) == 0, "trim");
		CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
		if (stats.backed_bytes == 0 && stats.hard_used == 0)
			return;
		CHECK(threads_now() < late, "%llu bytes behind no blocks, %llu used",
		      (unsigned long long)stats.backed_bytes, (unsigned long long)stats.hard_used);
		threads_sleep(0.01);
	}
}

static void run_resize(const struct stress *stress)
{
	struct arena arena;

	arena_open(&arena, stress, MANY);
	threads_run(stress_threads(stress, 12), stress->seed, &arena, be_resized);
	arena_audit(&arena);
	CHECK(mews_pool_set_limit(arena.pool, 1) == 0, "limit");
	CHECK(mews_pool_trim(arena.pool, 0, 0) == 0, "trim");
	CHECK(mews_pool_set_limit(arena.pool, MANY) == 0, "limit");
	for (unsigned i = 0; i < ARENA_MAILBOXES; i++)
		if (arena.mailbox[i])
			arena_give(&arena, atomic_exchange(&arena.mailbox[i], NULL));
	all_goes_back(arena.pool);
	arena_close(&arena);
}

const struct scenario stress_wait[] = {
	{ "resize", "limits go up and down under load", run_resize },
	{ "waiters", "leases that wait, beside drains, trims, bulk and an eventfd", run_waiters },
	{ "waiters-cancel", "waiters are cancelled in the queue", run_waiters_cancel },
	{ NULL, NULL, NULL },
};
