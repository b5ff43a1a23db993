/* SPDX-License-Identifier: MIT */
/*
 * Stress: who gives memory back is stopped for ever, in each of its kernel calls, and at any of its
 * instructions: leases go on, for all blocks of the pool but the few that it may have in hand. What it
 * executes is listed once, by stepping through the call in a child; a hardware breakpoint then stops it
 * there, in a handler that waits, while others lease. Let go, it ends its work, and every block is back.
 */
#include "stress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <mews/inline.h>
#include "../lib/keeper.h"
#include "../lib/ledger.h"
#include "../lib/pressure.h"
#include "../numa/kernel.h"
#include "support/breakpoint.h"
#include "support/step.h"

#define PATIENCE_S 250                  /* longer than that, and the leases hang */

static _Atomic bool stopped, go_on;

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* What a thread that gives back may have in hand: see docs/architecture.md. caches: they hold blocks. */
static size_t held_most(struct arena *arena, bool caches)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	size_t share = arena->max_blocks / 64;

	CHECK(mews_pool_stats(arena->pool, &stats) == 0, "statistics");
	share = share < 1 ? 1 : least(share, 64);
	return caches && stats.cache_most > share ? stats.cache_most : share;
}

static void out_of_patience(int number)
{
	CHECK(number == 0, "leases hang while another thread is stopped");
}

/* A lease on each CPU, then all blocks of the pool but those in hand. */
static void check_leases(struct arena *arena, size_t want)
{
	static void *blocks[ARENA_BLOCKS];
	size_t got;

	alarm(PATIENCE_S);
	for (unsigned cpu = 0; want && cpu < threads_cpus(); cpu++) {
		threads_pin(cpu);
		blocks[0] = arena_lease(arena);
		CHECK(blocks[0], "no lease on the %uth CPU", cpu);
		arena_give(arena, blocks[0]);
	}
	threads_pin(0);
	got = arena_lease_many(arena, blocks, want);
	CHECK(got == want, "%zu of %zu blocks, while another thread is stopped", got, want);
	arena_give_many(arena, blocks, got);
	threads_unpin();
	alarm(0);
}

/* In its kernel calls: at each nth of them, or of those that give a slab back. */
#define STOPPED_BLOCKS 2000u

static _Atomic unsigned long calls, stop_at;
static _Atomic bool only_discards;
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

/* A pool of its own, of one slab, so that what is stopped with the keeper is all that there is. */
static void open_alone(struct arena *arena, struct mews_pool_config *config)
{
	config->block_size = config->block_size ? config->block_size : ARENA_BLOCK_SIZE;
	config->max_blocks = arena->max_blocks;
	config->keeper = MEWS_KEEPER_CALLER;
	arena->pool = kind_pool_from(config);
	/* Others are carved for those in hand. */
	arena->ledger = ledger_new(2 * arena->max_blocks, config->block_size);
}

static void live_without_keeper(const struct stress *stress, unsigned long at)
{
	struct arena arena = { .end = threads_now() + PATIENCE_S, .max_blocks = STOPPED_BLOCKS };
	struct mews_pool_config config = kind_config();
	size_t held;

	atomic_store(&calls, 0);
	atomic_store(&stop_at, at);
	atomic_store(&stopped, false);
	atomic_store(&go_on, false);
	config.decay_ms = 8;
	open_alone(&arena, &config);
	held = held_most(&arena, true);
	CHECK(pthread_create(&keeper, NULL, keep, &arena) == 0, "a thread");
	while (!atomic_load(&stopped) && arena_running(&arena)) {
		void *blocks[500];
		size_t got = arena_lease_many(&arena, blocks, 500);

		arena_give_many(&arena, blocks, got);
		if (atomic_load(&only_discards)) /* of a slab that is all free */
			threads_sleep(0.01);
	}
	CHECK(atomic_load(&stopped), "the keeper made no such call");
	check_leases(&arena, STOPPED_BLOCKS - held);
	arena.end = threads_now() + 0.01;
	threads_run(3, stress->seed + at, &arena, hand_worker);
	arena_empty_mail(&arena);
	check_leases(&arena, STOPPED_BLOCKS - held);
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

static void run_calls(const struct stress *stress)
{
	signal(SIGALRM, out_of_patience);
	use(&stopping);
	atomic_store(&only_discards, false);
	for (unsigned long at = 1; at <= (stress->long_run ? 300 : 20); at++)
		live_without_keeper(stress, at);
	atomic_store(&only_discards, true);
	for (unsigned long at = 1; at <= (stress->long_run ? 20 : 3); at++)
		live_without_keeper(stress, at);
	use(&mews_kernel_real);
}

/* At its instructions. */
#define STEPS 2000000u
#define TIMES_MOST 100
#define POINTS_LEAST 16

struct shape {
	const char *name;
	size_t block_size, blocks;
	unsigned kept;                  /* one block of so many is in use, 0: none is */
	enum mews_page_policy pages;
	bool cached;                    /* blocks lie in caches and depots too */
	void (*call)(struct mews_pool *pool);
};

static void call_collect(struct mews_pool *pool)
{
	CHECK(mews_pool_collect(pool) == 0, "collect");
}

static void call_trim(struct mews_pool *pool)
{
	CHECK(mews_pool_trim(pool, 0, 0) == 0, "trim");
}

/* Its second step takes what lies in caches since the first. */
static void call_keeper(struct mews_pool *pool)
{
	(void)pool;
	for (int i = 0; i < 2; i++) {
		mews_keeper_hasten();
		mews_keeper_step(0);
	}
}

static const struct shape shapes[] = {
	{ "a chunk, collect", 4032, 16, 0, MEWS_PAGES_BASE, false, call_collect },
	{ "a chunk, keeper", 4032, 16, 0, MEWS_PAGES_BASE, true, call_keeper },
	{ "part of a chunk, trim", 4032, 16, 5, MEWS_PAGES_BASE, false, call_trim },
	{ "a slab, collect", 1000, 70, 0, MEWS_PAGES_THP, false, call_collect },
	{ "a slab, trim", 1000, 70, 0, MEWS_PAGES_BASE, true, call_trim },
	{ "a slab, keeper", 1000, 70, 0, MEWS_PAGES_THP, true, call_keeper },
	{ "parts of a slab, collect", 1000, 130, 40, MEWS_PAGES_THP, false, call_collect },
	{ "parts of a slab, keeper", 1000, 70, 40, MEWS_PAGES_BASE, true, call_keeper },
	{ "several slabs, collect", 65536, 70, 60, MEWS_PAGES_THP, false, call_collect },
	{ "several slabs, keeper", 65536, 70, 60, MEWS_PAGES_BASE, true, call_keeper },
	{ "two blocks, collect", 4032, 2, 0, MEWS_PAGES_BASE, false, call_collect },
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* A pool, a call in it, and where the call stops. */
struct lab {
	const struct shape *shape;
	struct arena arena;
	size_t kept_count, held;
	uintptr_t address;
	uint64_t nth;
	bool fired;
	_Atomic bool done;
	_Atomic(pid_t) tid;
};

static void *kept[ARENA_BLOCKS];

/* Blocks in their slabs, with memory behind them; then in depots and caches. */
static void lab_open(struct lab *lab, const struct shape *shape)
{
	static void *blocks[ARENA_BLOCKS];
	struct mews_pool_config config = kind_config();
	struct arena *arena = &lab->arena;
	size_t got, give = 0;

	*lab = (struct lab) { .shape = shape, .arena.max_blocks = shape->blocks };
	config.block_size = shape->block_size;
	config.page_policy = shape->pages;
	config.decay_ms = 3600000;
	open_alone(arena, &config);
	lab->held = held_most(arena, shape->cached);
	mews_keeper_step(0); /* it has looked at the pool before */
	threads_pin(0);
	got = arena_lease_many(arena, blocks, shape->blocks);
	CHECK(got == shape->blocks, "%zu of %zu blocks", got, shape->blocks);
	for (size_t i = 0; i < got; i++)
		if (shape->kept && i % shape->kept == 1)
			kept[lab->kept_count++] = blocks[i];
		else
			blocks[give++] = blocks[i];
	arena_give_many(arena, blocks, give);
	if (!shape->cached)
		mews_pool_drain(arena->pool, &(struct timespec) { 0 });
	threads_unpin();
}

static void lab_close(struct lab *lab)
{
	arena_audit(&lab->arena);
	arena_give_many(&lab->arena, kept, lab->kept_count);
	arena_close(&lab->arena);
}

static void call_it(void *argument)
{
	struct lab *lab = argument;

	lab->shape->call(lab->arena.pool);
}

/* The child of a fork looks for signs of memory pressure anew: that is no part of the call. */
static void prepare_child(void)
{
	mews_pressure_look();
}

static void wait_in_handler(void)
{
	atomic_store(&stopped, true);
	while (!atomic_load(&go_on))
		threads_sleep(0.0001);
}

static void *be_stopped(void *argument)
{
	struct lab *lab = argument;
	bool set;

	atomic_store(&lab->tid, threads_tid());
	set = breakpoint_set_nth(lab->address, lab->nth);
	call_it(lab);
	lab->fired = set && breakpoint_clear();
	atomic_store(&lab->done, true);
	return NULL;
}

/*
 * An emulated CPU that was starved in the midst of it has been seen to keep a breakpoint that was removed:
 * the thread came to it for ever. It does not where it runs on another CPU.
 */
static void wait_moving(struct lab *lab)
{
	double patience = threads_now() + 1;

	for (unsigned turn = 0; !atomic_load(&stopped) && !atomic_load(&lab->done); ) {
		threads_sleep(0.00002);
		if (threads_now() < patience)
			continue;
		if (atomic_load(&lab->tid))
			threads_pin_other(atomic_load(&lab->tid), turn++);
		patience = threads_now() + 1;
	}
}

static void join_moving(struct lab *lab)
{
	struct timespec end;
	int error;

	for (unsigned turn = 0;; turn++) {
		end = threads_deadline(1);
		error = pthread_clockjoin_np(keeper, NULL, CLOCK_MONOTONIC, &end);
		if (!error)
			return;
		CHECK(error == ETIMEDOUT, "join: %s", strerror(error));
		threads_pin_other(atomic_load(&lab->tid), turn);
	}
}

/* The call stops before it executes the instruction for the nth time; false where it did not. */
static bool stop_there(const struct shape *shape, uintptr_t address, uint64_t nth)
{
	struct lab lab;

	lab_open(&lab, shape);
	lab.address = address;
	lab.nth = nth;
	atomic_store(&stopped, false);
	atomic_store(&go_on, false);
	CHECK(pthread_create(&keeper, NULL, be_stopped, &lab) == 0, "a thread");
	wait_moving(&lab);
	if (atomic_load(&stopped))
		check_leases(&lab.arena, shape->blocks - lab.kept_count - lab.held);
	atomic_store(&go_on, true);
	join_moving(&lab);
	lab_close(&lab);
	return lab.fired;
}

/* What the call executes, in order; 0 where this machine refuses to tell. */
static size_t list_instructions(const struct shape *shape, uintptr_t *address)
{
	struct lab lab;
	size_t count;

	lab_open(&lab, shape);
	count = step_through_prepared(prepare_child, call_it, &lab, shape->call, address, STEPS);
	lab_close(&lab);
	CHECK(count <= STEPS, "%zu instructions", count);
	return count;
}

/*
 * How many times the call has come to its kth instruction by then; each costs an exception, so that of a
 * long loop an earlier round stands for a late one.
 */
static uint64_t times(const uintptr_t *address, size_t k, struct rng *rng)
{
	uint64_t nth = 1;

	for (size_t i = 0; i < k; i++)
		nth += address[i] == address[k];
	return nth <= TIMES_MOST ? nth : 1 + rng_below(rng, TIMES_MOST);
}

static size_t gcd(size_t a, size_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* Each instruction once, in an order that is soon spread over all of the call, while there is time. */
static bool run_shape(const struct stress *stress, const struct shape *shape, double seconds)
{
	static uintptr_t address[STEPS];
	size_t count = list_instructions(shape, address), stride, points, fired = 0, k;
	double end = threads_now() + seconds;
	struct rng rng = { stress->seed };
	char context[80];

	if (!count)
		return false;
	for (stride = count * 5 / 8; gcd(stride, count) > 1;)
		stride++;
	k = rng_below(&rng, (uint32_t)count);
	for (points = 0; points < count && (points < POINTS_LEAST || threads_now() < end); points++) {
		snprintf(context, sizeof(context), "%.28s, at %zu", shape->name, k);
		check_context(context, stress->seed);
		fired += stop_there(shape, address[k], times(address, k, &rng));
		k = (k + stride) % count;
	}
	printf("%-28s %6zu instructions, stopped at %zu of %zu\n", shape->name, count, fired,
	       points);
	return true;
}

/* To list what a call executes takes most of the time: so in a short run it is the shortest of them. */
static void run_instructions(const struct stress *stress)
{
	size_t count = stress->seconds < 1 ? 1 : SHAPES;

	if (mews_asan_active() || mews_tsan_active()) {
		stress_refused(stress, "a sanitizer's own instructions are too many to stop at");
		return;
	}
	if (!step_past_atomics()) {
		stress_refused(stress, "this CPU has no atomic instructions, and a pair is not to be stepped");
		return;
	}
	signal(SIGALRM, out_of_patience);
	if (!breakpoint_prepare(wait_in_handler)) {
		stress_refused(stress, "this machine has no breakpoints");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (!run_shape(stress, &shapes[i], stress->seconds * (stress->long_run ? 2 : 0.25))) {
			stress_refused(stress, "this machine does not let a process trace its child");
			return;
		}
}

const struct scenario stress_stopped[] = {
	{ "stopped", "who gives back is stopped for ever at each of its kernel calls", run_calls },
	{ "stopped-within", "and at any of its instructions", run_instructions },
	{ NULL, NULL, NULL },
};
