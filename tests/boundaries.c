/* SPDX-License-Identifier: MIT */
/*
 * Every instruction boundary of the hit path is interrupted. The instructions of each operation are
 * listed by stepping through it once; then, for each, a hardware breakpoint fires as the
 * instruction is about to run, and its handler does one of the things that the path must bear: it
 * leases and returns itself, the thread migrates, another thread of the same CPU leases, or drains
 * the pool. After each experiment every block is accounted for by the audit. Then pairs at random:
 * a second breakpoint is set in the first one's handler, so that the restarted sequence is
 * interrupted too. A lease in a row is interrupted both ways: where it arms its descriptor, and where
 * that is armed from the one before. Then the handler does not come back, but leaves by siglongjmp: the
 * blocks of the operation are out then or in the cache, each, and all others where they were. At last
 * another CPU shuts the cache or wakes it, which aborts nothing: so a bulk sequence runs on an rseq area
 * that the kernel does not know.
 *
 * Built a second time with headers into which a bug was planted (mutants.cmake), it must fail.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <mews/inline.h>
#include "support/audit.h"
#include "support/breakpoint.h"
#include "support/check.h"
#include "support/ledger.h"
#include "support/options.h"
#include "support/step.h"
#include "support/threads.h"

#define BLOCKS 600
#define BULK 13                 /* whole groups of eight and of four, and a rest */
#define LEVEL 15                /* of 32, the least capacity a server's cache has */
#define WARM 30
#define ADDRESSES 4096

struct operation {
	const char *name;
	bool leases;
	size_t count;
	size_t (*run)(struct mews_pool *pool, void **blocks);   /* how many it moved */
	const void *entry;      /* the first instruction that counts */
	bool again;             /* the thread's last sequence was this one */
	bool anywhere;          /* runs on the area that lab.rseq tells */
};

struct injection {
	const char *name;
	void (*run)(void);      /* in the handler */
};

static struct {
	struct mews_pool *pool;
	struct ledger *ledger;
	void *held[BLOCKS];     /* by the experiment, blocks beside those of the operation */
	size_t held_count;
	sem_t go;
	size_t armed;           /* experiments that began with the descriptor of the one before */
	atomic_int task;        /* what the helper thread shall do; 0: done */
	ptrdiff_t rseq;         /* the thread's area, from its thread pointer */
	bool begins_shut, shut; /* the cache of an operation on an area of its own; now */
} lab;

static __thread struct rseq unknown; /* to the kernel */

static uint64_t seed, pairs;

static size_t lease_inline(struct mews_pool *pool, void **blocks)
	__attribute__((noinline));
static size_t lease_row_inline(struct mews_pool *pool, void **blocks)
	__attribute__((noinline));
static size_t return_inline(struct mews_pool *pool, void **blocks)
	__attribute__((noinline));
static size_t lease_many_inline(struct mews_pool *pool, void **blocks)
	__attribute__((noinline));
static size_t return_many_inline(struct mews_pool *pool, void **blocks)
	__attribute__((noinline));

static size_t lease_inline(struct mews_pool *pool, void **blocks)
{
	blocks[0] = mews_lease_inline(pool);
	return blocks[0] != NULL;
}

static size_t lease_row_inline(struct mews_pool *pool, void **blocks)
{
	blocks[0] = mews_lease_row_inline(pool);
	return blocks[0] != NULL;
}

static size_t return_inline(struct mews_pool *pool, void **blocks)
{
	mews_return_inline(pool, blocks[0]);
	return 1;
}

static size_t lease_many_inline(struct mews_pool *pool, void **blocks)
{
	return mews_seq_lease_many(pool, lab.rseq, blocks, BULK);
}

static size_t return_many_inline(struct mews_pool *pool, void **blocks)
{
	return mews_seq_return_many(pool, lab.rseq, blocks, BULK);
}

static size_t lease_call(struct mews_pool *pool, void **blocks)
{
	blocks[0] = mews_lease(pool);
	return blocks[0] != NULL;
}

static size_t return_call(struct mews_pool *pool, void **blocks)
{
	mews_return(pool, blocks[0]);
	return 1;
}

static size_t lease_many_call(struct mews_pool *pool, void **blocks)
{
	return mews_lease_many(pool, blocks, BULK);
}

static size_t return_many_call(struct mews_pool *pool, void **blocks)
{
	mews_return_many(pool, blocks, BULK);
	return BULK;
}

/* The first six are compiled here, from the header; the others lie in the library. */
static const struct operation operations[] = {
	{ "inline lease", true, 1, lease_inline, lease_inline, false, false },
	{ "inline row", true, 1, lease_row_inline, lease_row_inline, false, false },
	{ "inline row, armed", true, 1, lease_row_inline, lease_row_inline, true, false },
	{ "inline return", false, 1, return_inline, return_inline, false, false },
	{ "inline bulk lease", true, BULK, lease_many_inline, lease_many_inline, false, true },
	{ "inline bulk return", false, BULK, return_many_inline, return_many_inline, false, true },
	{ "mews_lease", true, 1, lease_call, mews_lease, false, false },
	{ "mews_return", false, 1, return_call, mews_return, false, false },
	{ "mews_lease_many", true, BULK, lease_many_call, mews_lease_many, false, false },
	{ "mews_return_many", false, BULK, return_many_call, mews_return_many, false, false },
};

static void hold(void)
{
	void *block = mews_lease(lab.pool);

	CHECK(block, "a lease in the handler: %s", strerror(errno));
	ledger_take(lab.ledger, block);
	lab.held[lab.held_count++] = block;
}

static void release(void)
{
	void *block = lab.held[--lab.held_count];

	ledger_give(lab.ledger, block);
	mews_return(lab.pool, block);
}

static void inject_lease(void)
{
	hold();
}

static void inject_return(void)
{
	release();
}

static void inject_both(void)
{
	hold();
	hold();
	release();
	release();
	release();
	hold();
}

static void inject_migration(void)
{
	threads_pin_other(0, 1);
}

/* The helper's tasks, done on the CPU where the experiment began while the handler waits. */
enum { TASK_LEASE = 1, TASK_RETURN, TASK_DRAIN, TASK_END };

static void ask_helper(int task)
{
	atomic_store(&lab.task, task);
	sem_post(&lab.go);
	while (atomic_load(&lab.task))
		sched_yield();
}

static void inject_other_lease(void)
{
	ask_helper(TASK_LEASE);
}

static void inject_other_return(void)
{
	ask_helper(TASK_RETURN);
}

static void inject_drain(void)
{
	ask_helper(TASK_DRAIN);
}

/* The cache is emptied and filled again: cur stands where it stood, over other blocks. */
static void inject_drain_and_fill(void)
{
	ask_helper(TASK_DRAIN);
	for (int i = 0; i < WARM; i++)
		hold();
	for (int i = 0; i < WARM; i++)
		release();
}

static void inject_migration_and_drain(void)
{
	threads_pin_other(0, 1);
	ask_helper(TASK_DRAIN);
	hold();
}

static const struct injection injections[] = {
	{ "a signal leases", inject_lease },
	{ "a signal returns", inject_return },
	{ "a signal leases and returns", inject_both },
	{ "the thread migrates", inject_migration },
	{ "another thread leases", inject_other_lease },
	{ "another thread returns", inject_other_return },
	{ "the pool is drained", inject_drain },
	{ "drained and filled", inject_drain_and_fill },
	{ "migrates, drained, leases", inject_migration_and_drain },
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))
#define INJECTIONS (sizeof(injections) / sizeof(injections[0]))

static void do_task(int task)
{
	static const struct timespec past;

	if (task == TASK_LEASE)
		hold();
	else if (task == TASK_RETURN)
		release();
	else if (task == TASK_DRAIN)
		CHECK(mews_pool_drain(lab.pool, &past) == -ETIMEDOUT, "a drain with blocks out");
}

static void *help(void *worker)
{
	int task;

	threads_pin(0);
	do {
		while (sem_wait(&lab.go))
			;
		task = atomic_load(&lab.task);
		do_task(task);
		atomic_store(&lab.task, 0);
	} while (task != TASK_END);
	return worker;
}

/* next: NULL, or the second of a pair */
static const struct injection *injection_now, *injection_next;
static uintptr_t address_next;
static sigjmp_buf back;
static bool leaves;             /* the handler, by siglongjmp */

static void on_breakpoint(void)
{
	const struct injection *now = injection_now;

	if (leaves)
		siglongjmp(back, 1);
	injection_now = injection_next;
	now->run();
	if (injection_next) {
		injection_next = NULL;
		CHECK(breakpoint_move(address_next), "second breakpoint: %s", strerror(errno));
	}
}

static struct mews_cpu_cache *cache_of(unsigned cpu)
{
	return (struct mews_cpu_cache *)((char *)lab.pool + ((size_t)cpu << MEWS_CACHE_SHIFT));
}

/* Blocks in the cache of the CPU that threads_pin(0) names, where it is open. */
static size_t level(unsigned cpu)
{
	struct mews_cpu_cache *cache = cache_of(cpu);

	return cache->cur > cache->base ? (size_t)(cache->cur - cache->base) : 0;
}

/*
 * The CPU's cache so full that the operation is a hit both ways, and some blocks held. Beyond the
 * hit path nothing may be interrupted by a drain here: it would wait for us, and we for it.
 */
static void warm_up(void)
{
	unsigned cpu = threads_pin(0);

	while (lab.held_count < WARM + 10)
		hold();
	while (level(cpu) < LEVEL && lab.held_count > 10)
		release();
	while (level(cpu) > LEVEL)
		hold();
	CHECK(level(cpu) == LEVEL, "the cache holds %zu blocks", level(cpu));
}

static void check_everything(void)
{
	struct audit audit;

	CHECK(ledger_count(lab.ledger) == lab.held_count, "the experiment's own lists differ");
	CHECK(audit_pool(lab.pool, lab.held, lab.held_count, &audit), "audit: %s", audit.message);
}

static void prepare_blocks(const struct operation *operation, void **blocks)
{
	for (size_t i = 0; !operation->leases && i < operation->count; i++) {
		hold();
		blocks[i] = lab.held[--lab.held_count];
	}
}

/* Enters what the operation did into the lists. Bulk calls may have moved only some. */
static void settle(const struct operation *operation, void **blocks, size_t moved)
{
	CHECK(moved <= operation->count, "%zu blocks moved", moved);
	for (size_t i = 0; i < operation->count; i++) {
		bool ours = operation->leases ? i < moved : i >= moved;

		CHECK(!ours || audit_contains(lab.pool, blocks[i]), "%p is no block", blocks[i]);
		if (ours && operation->leases)
			ledger_take(lab.ledger, blocks[i]);
		if (ours)
			lab.held[lab.held_count++] = blocks[i];
	}
}

static bool is_armed(void)
{
	return *(volatile uint64_t *)((char *)__builtin_thread_pointer() + __rseq_offset +
				      offsetof(struct rseq, rseq_cs));
}

/* Leaves its descriptor armed. */
static void run_before(const struct operation *operation)
{
	void *blocks[BULK];

	settle(operation, blocks, operation->run(lab.pool, blocks));
}

/* What another CPU stores that shuts this one's cache, or wakes it; see lib/cache.c. */
static void flip_bounds(void)
{
	struct mews_cpu_cache *cache = cache_of((unsigned)unknown.cpu_id);
	static void **base;
	static uintptr_t span;

	lab.shut = !lab.shut;
	if (lab.shut) {
		base = cache->base;
		span = cache->span;
	}
	__atomic_store_n(&cache->base, lab.shut ? (void **)~(uintptr_t)0 : base, __ATOMIC_RELAXED);
	__atomic_store_n(&cache->span, lab.shut ? 0 : span, __ATOMIC_RELAXED);
}

static const struct injection bounds = { "the bounds move", flip_bounds };

static bool experiment(const struct operation *operation, uintptr_t address)
{
	void *blocks[4 * BULK]; /* where a bug is planted, more move than were asked for */
	size_t moved;
	bool fired;

	warm_up();
	prepare_blocks(operation, blocks);
	/* Out of the ledger while the operation has them: a return must not be watched half done. */
	for (size_t i = 0; !operation->leases && i < operation->count; i++)
		ledger_give(lab.ledger, blocks[i]);
	if (operation->again)
		run_before(operation);
	if (lab.begins_shut)
		flip_bounds();
	CHECK(breakpoint_set(address), "breakpoint: %s", strerror(errno));
	lab.armed += operation->again && is_armed();
	moved = operation->run(lab.pool, blocks);
	fired = breakpoint_clear();
	if (lab.shut)
		flip_bounds();
	for (size_t i = moved; !operation->leases && i < operation->count; i++)
		ledger_take(lab.ledger, blocks[i]);
	settle(operation, blocks, moved);
	check_everything();
	while (lab.held_count > 0)
		release();
	return fired;
}

static bool is_cached(const void *block)
{
	struct mews_cpu_cache *cache = cache_of(threads_pin(0));
	void **slot;

	for (slot = cache->base; slot < cache->cur; slot++)
		if (*slot == block)
			return true;
	return false;
}

/* An operation that its thread leaves in the midst: what it may have moved is out, or in the cache. */
static bool experiment_left(const struct operation *operation, uintptr_t address)
{
	static void *blocks[BULK], *moving[BULK];
	bool fired;

	warm_up();
	prepare_blocks(operation, blocks);
	memcpy(moving, operation->leases ? cache_of(threads_pin(0))->cur - operation->count : blocks,
	       operation->count * sizeof(*moving));
	for (size_t i = 0; !operation->leases && i < operation->count; i++)
		ledger_give(lab.ledger, blocks[i]);
	leaves = true;
	if (!sigsetjmp(back, 1)) {
		CHECK(breakpoint_set(address), "breakpoint: %s", strerror(errno));
		operation->run(lab.pool, blocks);
	}
	leaves = false;
	fired = breakpoint_clear();
	for (size_t i = 0; i < operation->count; i++)
		if (!is_cached(moving[i])) {
			ledger_take(lab.ledger, moving[i]);
			lab.held[lab.held_count++] = moving[i];
		}
	check_everything();
	while (lab.held_count > 0)
		release();
	return fired;
}

static void run_once(void *argument)
{
	const struct operation *operation = argument;
	void *blocks[BULK];

	prepare_blocks(operation, blocks);
	if (lab.begins_shut)
		flip_bounds();
	operation->run(lab.pool, blocks);
}

static int by_value(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

/* The different instructions of the operation; 0 where the machine refuses to trace. */
static size_t list_boundaries(const struct operation *operation, uintptr_t *address)
{
	size_t count, kept = 0;

	warm_up();
	count = step_through(run_once, (void *)operation, operation->entry, address, ADDRESSES);
	CHECK(count <= ADDRESSES, "%zu instructions", count);
	qsort(address, count, sizeof(*address), by_value);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || address[i] != address[i - 1])
			address[kept++] = address[i];
	return kept;
}

static void run_bounds(const struct operation *operation, uintptr_t *address)
{
	size_t boundaries[2], fired = 0;
	char name[64];

	unknown.cpu_id = threads_pin(0);
	lab.rseq = (char *)&unknown - (char *)__builtin_thread_pointer();
	for (int shut = 0; shut < 2; shut++) {
		snprintf(name, sizeof(name), "%.24s, %s", operation->name, shut ? "woken" : "shut");
		check_context(name, 0);
		lab.begins_shut = shut;
		boundaries[shut] = list_boundaries(operation, address);
		for (size_t i = 0; i < boundaries[shut]; i++) {
			injection_now = &bounds;
			injection_next = NULL;
			fired += experiment(operation, address[i]);
		}
	}
	lab.begins_shut = false;
	lab.rseq = __rseq_offset;
	printf("%-20s %3zu boundaries where its cache is shut, %zu where it is woken\n", operation->name,
	       boundaries[0], boundaries[1]);
	CHECK(fired == boundaries[0] + boundaries[1], "%zu breakpoints fired", fired);
}

static void run_pairs(const struct operation *operation, const uintptr_t *address,
		      size_t boundaries, struct rng *rng)
{
	char name[64];

	for (uint64_t i = 0; i < pairs; i++) {
		injection_now = &injections[rng_below(rng, INJECTIONS)];
		injection_next = &injections[rng_below(rng, INJECTIONS)];
		address_next = address[rng_below(rng, (uint32_t)boundaries)];
		snprintf(name, sizeof(name), "%.17s, %.20s, %.20s", operation->name,
			 injection_now->name, injection_next->name);
		check_context(name, seed);
		experiment(operation, address[rng_below(rng, (uint32_t)boundaries)]);
	}
}

static void run_operation(const struct operation *operation)
{
	static uintptr_t address[ADDRESSES];
	struct rng rng = { seed };
	size_t boundaries = list_boundaries(operation, address), fired = 0;
	char name[64];

	if (boundaries == 0)
		check_skip("this machine does not let a process trace its child");
	for (size_t k = 0; k < INJECTIONS; k++) {
		snprintf(name, sizeof(name), "%.24s, %.30s", operation->name, injections[k].name);
		check_context(name, 0);
		for (size_t i = 0; i < boundaries; i++) {
			injection_now = &injections[k];
			injection_next = NULL;
			fired += experiment(operation, address[i]);
		}
	}
	run_pairs(operation, address, boundaries, &rng);
	snprintf(name, sizeof(name), "%.24s, left by siglongjmp", operation->name);
	check_context(name, 0);
	for (size_t i = 0; i < boundaries; i++)
		fired += experiment_left(operation, address[i]);
	printf("%-20s %3zu boundaries x %zu injections, %zu hit; %llu pairs\n", operation->name,
	       boundaries, INJECTIONS + 1, fired, (unsigned long long)pairs);
	/* Where it is armed, it may pass over the store that arms. */
	CHECK(fired >= (boundaries - operation->again) * (INJECTIONS + 1), "%zu breakpoints did not fire",
	      boundaries * (INJECTIONS + 1) - fired);
	CHECK(!operation->again || lab.armed > (boundaries * INJECTIONS + pairs) / 2,
	      "armed in %zu experiments only", lab.armed);
	if (operation->anywhere)
		run_bounds(operation, address);
}

static void run_all(void *argument)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .name = "boundaries", .block_size = 64, .max_blocks = BLOCKS,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP,
		.decay_ms = MEWS_DECAY_NEVER,
	};
	size_t count = *(const size_t *)argument;
	struct worker helper;

	CHECK(mews_pool_create(&config, &lab.pool) == 0, "pool");
	lab.ledger = ledger_new(BLOCKS, 64);
	sem_init(&lab.go, 0, 0);
	lab.rseq = __rseq_offset;
	threads_start(&helper, 1, 0, NULL, help);
	for (size_t i = 0; i < count; i++)
		run_operation(&operations[i]);
	ask_helper(TASK_END);
	threads_join(&helper, 1);
	CHECK(mews_pool_dispose(lab.pool) == 0, "dispose");
	ledger_free(lab.ledger);
}

int main(int argc, char **argv)
{
	struct options options;
	size_t count = OPERATIONS;

	options_parse(&options, "Interrupts the hit path at each of its instructions. "
		      "--plant header: this program was built with a bug in its header. "
		      "--operations: pairs of injections for each operation.", argc, argv);
	seed = options.seed;
	pairs = options.operations ? options.operations : options.long_run ? 20000 : 500;
	printf("seed %llu\n", (unsigned long long)seed);
	if (__rseq_size == 0)
		check_skip("glibc did not register restartable sequences");
	if (threads_cpus() < 2)
		check_skip("a second CPU to migrate to");
	if (!breakpoint_prepare(on_breakpoint))
		check_skip("breakpoints: %s", strerror(errno));
	if (!options.plant) {
		run_all(&count);
		return 0;
	}
	count = 6; /* those that are compiled from the header */
	if (!check_finds(run_all, &count)) {
		printf("the planted bug was NOT found\n");
		return 1;
	}
	printf("the planted bug was found\n");
	return 0;
}
