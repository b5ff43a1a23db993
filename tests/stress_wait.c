/* SPDX-License-Identifier: MIT */
/* Stress: leases that wait, beside all that may happen to a pool meanwhile. */
#include "stress.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define FEW 40

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

const struct scenario stress_wait[] = {
	{ "waiters", "leases that wait, beside drains, trims, bulk and an eventfd", run_waiters },
	{ "waiters-cancel", "waiters are cancelled in the queue", run_waiters_cancel },
	{ NULL, NULL, NULL },
};
