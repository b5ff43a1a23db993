/* SPDX-License-Identifier: MIT */
/*
 * Stress: signals that lease and return inside lease and return. Each worker has a timer of its own,
 * whose handler runs on that thread; it keeps a few blocks over to its next run, so that what it leased
 * inside one operation is returned inside another. It asks for the next signal when it ends, 10 to 50 us
 * later: at a fixed interval a handler that takes longer, for whatever reason, would be followed by the
 * next at once, and the thread would not get on.
 */
#include <mews/inline.h>
#include "stress.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEP 4

struct inside {
	struct arena *arena;
	struct rng rng;
	void *kept[KEEP];
	unsigned long signals;
	timer_t timer;
};

static _Thread_local struct inside *inside;

static void ask_for_signal(struct inside *me)
{
	struct itimerspec when = { .it_value.tv_nsec = 10000 + rng_below(&me->rng, 40000) };

	CHECK(timer_settime(me->timer, 0, &when, NULL) == 0, "timer: %s", strerror(errno));
}

static void on_timer(int number)
{
	struct inside *me = inside;
	int saved = errno;
	unsigned at;

	(void)number;
	if (!me)
		return;
	at = rng_below(&me->rng, KEEP);
	if (me->kept[at])
		arena_give(me->arena, me->kept[at]);
	me->kept[at] = rng_below(&me->rng, 3) ? arena_lease(me->arena) : NULL;
	if (rng_below(&me->rng, 4) == 0) {
		void *blocks[8];
		size_t got = arena_lease_many(me->arena, blocks, 8);

		arena_give_many(me->arena, blocks, got);
	}
	me->signals++;
	ask_for_signal(me);
	errno = saved;
}

static void start_timer(struct inside *me)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };

	event._sigev_un._tid = threads_tid();
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &me->timer) == 0, "timer: %s", strerror(errno));
	ask_for_signal(me);
}

static void block_signal(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(how, &set, NULL);
}

static void *be_interrupted(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct inside mine = { .arena = arena, .rng = { worker->rng.state ^ 1 } };
	struct hand hand = { .count = 0 };

	inside = &mine;
	start_timer(&mine);
	while (arena_running(arena))
		for (int i = 0; i < 50; i++)
			hand_step(arena, &hand, &worker->rng);
	block_signal(SIG_BLOCK);
	timer_delete(mine.timer);
	inside = NULL;
	for (unsigned i = 0; i < KEEP; i++)
		if (mine.kept[i])
			arena_give(arena, mine.kept[i]);
	hand_empty(arena, &hand);
	atomic_fetch_add(&arena->operations, mine.signals);
	return NULL;
}

static void install(void)
{
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0, "sigaction");
	block_signal(SIG_UNBLOCK);
}

/* Handlers leave the keeper little of the CPU: it looks less often. */
static void open_interrupted(struct arena *arena, const struct stress *stress, size_t max_blocks)
{
	struct stress slow = *stress;

	install();
	slow.decay_ms = 10 * ARENA_DECAY_MS;
	arena_open(arena, &slow, max_blocks);
}

static void run_signals(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 0);
	do {
		threads_run(stress_threads(stress, 4), stress->seed, &arena, be_interrupted);
	} while (arena_again(&arena, &arena.operations)); /* few in an emulated machine */
	CHECK(atomic_load(&arena.operations) > 0, "no signal came");
	printf("  %llu signals\n", (unsigned long long)atomic_load(&arena.operations));
	arena_close(&arena);
}

/* The same with few blocks, so that handlers interrupt the slow path most of the time. */
static void run_signals_slow(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 100);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, be_interrupted);
	arena_close(&arena);
}

static void *interrupted_or_drain(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;

	if (worker->index > 0)
		return be_interrupted(worker);
	while (arena_running(arena)) {
		struct timespec soon = threads_deadline(1e-4);
		int error = mews_pool_drain(arena->pool, &soon);

		CHECK(error == 0 || error == -ETIMEDOUT, "drain: %d", error);
	}
	return NULL;
}

static void run_signals_drain(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 0);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, interrupted_or_drain);
	arena_close(&arena);
}

static void *interrupted_or_sample(void *argument)
{
	struct worker *worker = argument;

	return worker->index ? be_interrupted(worker) : sample_worker(worker);
}

static void run_signals_sampled(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 0);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, interrupted_or_sample);
	CHECK(mews_pool_sample_leases(arena.pool, 1) == 0, "sampling");
	arena.end = threads_now() + 0.1;
	threads_run(3, stress->seed, &arena, be_interrupted);
	arena_close(&arena);
}

const struct scenario stress_signal[] = {
	{ "signals", "timers whose handlers lease and return", run_signals },
	{ "signals-slow", "the same in the slow path", run_signals_slow },
	{ "signals-drain", "the same against drains", run_signals_drain },
	{ "signals-sampled", "the same while leases are sampled", run_signals_sampled },
	{ NULL, NULL, NULL },
};
