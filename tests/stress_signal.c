/* SPDX-License-Identifier: MIT */
/*
 * Stress: signals that lease and return inside lease and return. Each worker has a timer of its own,
 * whose handler runs on that thread every 10 to 50 us, or five times that; it keeps a few blocks over to
 * its next run, so that what it leased inside one operation is returned inside another.
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
};

static _Thread_local struct inside *inside;

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
	errno = saved;
}

static uint32_t least;  /* nanoseconds between signals; up to five times that */

static timer_t start_timer(struct rng *rng)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN };
	struct itimerspec when = { .it_interval.tv_nsec = least + rng_below(rng, 4 * least) };
	timer_t timer;

	event._sigev_un._tid = threads_tid();
	when.it_value = when.it_interval;
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer: %s", strerror(errno));
	CHECK(timer_settime(timer, 0, &when, NULL) == 0, "timer: %s", strerror(errno));
	return timer;
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
	timer_t timer;

	inside = &mine;
	timer = start_timer(&worker->rng);
	while (arena_running(arena))
		for (int i = 0; i < 50; i++)
			hand_step(arena, &hand, &worker->rng);
	timer_delete(timer);
	block_signal(SIG_BLOCK);
	inside = NULL;
	for (unsigned i = 0; i < KEEP; i++)
		if (mine.kept[i])
			arena_give(arena, mine.kept[i]);
	hand_empty(arena, &hand);
	atomic_fetch_add(&arena->operations, mine.signals);
	return NULL;
}

/*
 * Where each lease has its stack unwound, or ThreadSanitizer looks on, a handler takes so long that
 * another would be due.
 */
static void install(bool unwound)
{
	struct sigaction action = { .sa_handler = on_timer, .sa_flags = SA_RESTART };

	least = unwound || kind->checks == MEWS_CHECKS_FULL ? 50000 : 10000;
	least *= mews_tsan_active() ? 20 : 1;
	sigemptyset(&action.sa_mask);
	CHECK(sigaction(SIGRTMIN, &action, NULL) == 0, "sigaction");
	block_signal(SIG_UNBLOCK);
}

/* Handlers leave the keeper little of the CPU: it looks less often. */
static void open_interrupted(struct arena *arena, const struct stress *stress, size_t max_blocks,
			     bool unwound)
{
	struct stress slow = *stress;

	install(unwound);
	slow.decay_ms = 10 * ARENA_DECAY_MS;
	arena_open(arena, &slow, max_blocks);
}

static void run_signals(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 0, false);
	threads_run(stress_threads(stress, 4), stress->seed, &arena, be_interrupted);
	CHECK(atomic_load(&arena.operations) > 0, "no signal came"); /* few in an emulated machine */
	printf("  %llu signals\n", (unsigned long long)atomic_load(&arena.operations));
	arena_close(&arena);
}

/* The same with few blocks, so that handlers interrupt the slow path most of the time. */
static void run_signals_slow(const struct stress *stress)
{
	struct arena arena;

	open_interrupted(&arena, stress, 100, false);
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

	open_interrupted(&arena, stress, 0, false);
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

	open_interrupted(&arena, stress, 0, true);
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
