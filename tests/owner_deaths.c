/* SPDX-License-Identifier: MIT */
/*
 * A thread is killed at every instruction boundary of an owned lease and return: by pthread_exit in a
 * signal handler, by asynchronous cancellation, or it leaves by siglongjmp and goes on; or the handler
 * comes back, having leased, migrated or drained. The instructions
 * are listed by stepping through the operation once; then, for each, a hardware breakpoint fires as the
 * instruction is about to run. Its owner ends, and the audit finds every block free, and once.
 *
 * Built a second time with a bug in a header or in the library (mutants.cmake), it must fail.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <mews/owner_inline.h>
#include "support/audit.h"
#include "support/breakpoint.h"
#include "support/check.h"
#include "support/options.h"
#include "support/step.h"
#include "support/threads.h"

#define BLOCKS_A_CPU 300        /* a quarter of them in its cache: more than forget_and_lease() leases */
#define ADDRESSES 4096

static struct mews_pool *pool;

/* The operation, on a block that was leased before, or for one: compiled here, or in the library. */
static void lease_inline(struct mews_owner *owner, void *block) __attribute__((noinline));
static void return_inline(struct mews_owner *owner, void *block) __attribute__((noinline));

static void lease_inline(struct mews_owner *owner, void *block)
{
	(void)block;
	mews_owner_lease_inline(mews_bind_inline(pool, owner));
}

static void return_inline(struct mews_owner *owner, void *block)
{
	mews_owner_return_inline(mews_bind_inline(pool, owner), block);
}

static void lease_call(struct mews_owner *owner, void *block)
{
	(void)block;
	mews_owner_lease(pool, owner);
}

static void return_call(struct mews_owner *owner, void *block)
{
	mews_owner_return(pool, owner, block);
}

static const struct operation {
	const char *name;
	void (*run)(struct mews_owner *owner, void *block);
	const void *entry;
} operations[] = {
	{ "inline lease", lease_inline, lease_inline },
	{ "inline return", return_inline, return_inline },
	{ "mews_owner_lease", lease_call, mews_owner_lease },
	{ "mews_owner_return", return_call, mews_owner_return },
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* What happens in the handler, and afterwards, where the thread goes on, before its owner ends. */
static sigjmp_buf back;

static void die_by_exit(void)
{
	pthread_exit(NULL);
}

static void die_by_cancel(void)
{
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void jump(void)
{
	siglongjmp(back, 1);
}

static void use_own(struct mews_owner *owner)
{
	struct mews_bound bound = mews_bind_inline(pool, owner);
	void *block[5];

	for (int i = 0; i < 5; i++)
		block[i] = mews_owner_lease_inline(bound);
	for (int i = 0; i < 3; i++)
		mews_owner_return_inline(bound, block[i]);
}

static void *lease_and_return(void *unused)
{
	struct mews_bound bound = mews_bind_inline(pool, mews_owner_thread());
	void *block[8];

	threads_pin(0);
	for (int i = 0; i < 8; i++)
		block[i] = mews_owner_lease_inline(bound);
	for (int i = 7; i >= 0; i--)
		mews_owner_return_inline(bound, block[i]);
	return unused;
}

static void let_other_use(struct mews_owner *owner)
{
	pthread_t thread;

	(void)owner;
	CHECK(pthread_create(&thread, NULL, lease_and_return, NULL) == 0, "thread");
	pthread_join(thread, NULL);
}

static void drain(struct mews_owner *owner)
{
	static const struct timespec past;

	(void)owner;
	CHECK(mews_pool_drain(pool, &past) == -ETIMEDOUT, "a drain with blocks out");
}

static void drain_and_use(struct mews_owner *owner)
{
	drain(owner);
	let_other_use(owner);
	use_own(owner);
}

/* The handler comes back, and the operation goes on. */
static void use_another_owner(void)
{
	static struct mews_owner *other;

	CHECK(other || mews_owner_create("handler's", &other) == 0, "owner");
	use_own(other);
	CHECK(mews_owner_end(other) == 2, "the handler's leases");
}

static void migrate(void)
{
	threads_pin_other(0, 1);
}

static void let_other_use_now(void)
{
	let_other_use(NULL);
}

static void drain_now(void)
{
	drain(NULL);
}

static void migrate_and_drain(void)
{
	migrate();
	drain(NULL);
	let_other_use(NULL);
}

static const struct death {
	const char *name;
	void (*in_handler)(void);
	void (*afterwards)(struct mews_owner *owner);
} deaths[] = {
	{ "pthread_exit", die_by_exit, NULL },
	{ "cancelled", die_by_cancel, NULL },
	{ "jumps", jump, NULL },
	{ "jumps, leases", jump, use_own },
	{ "jumps, another leases", jump, let_other_use },
	{ "jumps, drained", jump, drain },
	{ "jumps, drained, all lease", jump, drain_and_use },
	{ "a signal leases", use_another_owner, NULL },
	{ "migrates", migrate, NULL },
	{ "another leases", let_other_use_now, NULL },
	{ "drained", drain_now, use_own },
	{ "migrates, drained", migrate_and_drain, use_own },
};

#define DEATHS (sizeof(deaths) / sizeof(deaths[0]))

static struct {
	const struct operation *operation;
	const struct death *death;
	uintptr_t address;
} now;

static void on_breakpoint(void)
{
	now.death->in_handler();
}

/* Such that the operation is a hit: the top of this CPU's cache was the owner's. */
static void *warm_up(struct mews_owner *owner)
{
	struct mews_bound bound = mews_bind_inline(pool, owner);
	void *block[20];

	threads_pin(0);
	for (int i = 0; i < 20; i++) {
		block[i] = mews_owner_lease_inline(bound);
		CHECK(block[i], "lease %d: %s", i, strerror(errno));
	}
	for (int i = 1; i < 15; i++)
		mews_owner_return_inline(bound, block[i]);
	return block[0];
}

static void *experiment(void *unused)
{
	struct mews_owner *own = mews_owner_thread();
	void *block = warm_up(own);

	if (!sigsetjmp(back, 1)) {
		CHECK(breakpoint_set(now.address), "breakpoint: %s", strerror(errno));
		now.operation->run(own, block);
	}
	if (now.death->afterwards)
		now.death->afterwards(own);
	mews_owner_end(own);
	return unused;
}

static void check_everything(void)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct audit audit;

	CHECK(audit_pool(pool, NULL, 0, &audit), "audit: %s", audit.message);
	CHECK(mews_pool_stats(pool, &stats) == 0 && stats.leased == 0, "%llu blocks are out",
	      (unsigned long long)stats.leased);
}

static void run_once(void *argument)
{
	const struct operation *operation = argument;
	struct mews_owner *own = mews_owner_thread();

	operation->run(own, warm_up(own));
}

static int by_value(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static size_t list_boundaries(const struct operation *operation, uintptr_t *address)
{
	size_t count, kept = 0;

	warm_up(mews_owner_thread()); /* so that the child's first is a hit */
	count = step_through(run_once, (void *)operation, operation->entry, address, ADDRESSES);
	CHECK(count <= ADDRESSES, "%zu instructions", count);
	mews_owner_end(mews_owner_thread());
	qsort(address, count, sizeof(*address), by_value);
	for (size_t i = 0; i < count; i++)
		if (i == 0 || address[i] != address[i - 1])
			address[kept++] = address[i];
	return kept;
}

static bool run_experiment(uintptr_t address)
{
	pthread_t thread;
	bool fired;

	now.address = address;
	CHECK(pthread_create(&thread, NULL, experiment, NULL) == 0, "thread");
	pthread_join(thread, NULL);
	fired = breakpoint_clear();
	check_everything();
	return fired;
}

static void run_operation(const struct operation *operation)
{
	static uintptr_t address[ADDRESSES];
	size_t boundaries = list_boundaries(operation, address), fired = 0;
	char name[64];

	if (boundaries == 0)
		check_skip("this machine does not let a process trace its child");
	now.operation = operation;
	for (size_t d = 0; d < DEATHS; d++) {
		now.death = &deaths[d];
		snprintf(name, sizeof(name), "%.24s, %.30s", operation->name, deaths[d].name);
		check_context(name, 0);
		for (size_t i = 0; i < boundaries; i++)
			fired += run_experiment(address[i]);
	}
	printf("%-20s %3zu boundaries x %zu deaths and injections, %zu hit\n", operation->name, boundaries, DEATHS,
	       fired);
	CHECK(fired == boundaries * DEATHS, "%zu breakpoints did not fire",
	      boundaries * DEATHS - fired);
}

/* An owner that forgot groups of which it held none any more: its next leases come back as well. */
static void forget_and_lease(void)
{
	struct mews_owner *own = mews_owner_thread();
	struct mews_bound bound = mews_bind_inline(pool, own);
	void *block[60];

	check_context("forgotten groups", 0);
	CHECK(mews_pool_drain(pool, NULL) == 0, "drain"); /* so that no return finds a full cache */
	threads_pin(0);
	for (int i = 0; i < 60; i++)
		block[i] = mews_owner_lease_inline(bound);
	for (int i = 0; i < 60; i++)
		mews_owner_return_inline(bound, block[i]);
	CHECK(mews_owner_end(own) == 0, "all were returned");
	for (int i = 0; i < 60; i++)
		mews_owner_lease_inline(bound);
	CHECK(mews_owner_end(own) == 60, "an end that does not bring back all");
	check_everything();
}

static void run_all(void *argument)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .name = "deaths", .block_size = 64,
		.max_blocks = (size_t)BLOCKS_A_CPU * threads_cpus(), .mode = MEWS_MODE_SERVER,
		.checks = MEWS_CHECKS_CHEAP, .owners = 1, .decay_ms = MEWS_DECAY_NEVER,
	};
	size_t i, count = *(const size_t *)argument;

	CHECK(mews_pool_create(&config, &pool) == 0, "pool");
	forget_and_lease();
	for (i = 0; i < count; i++)
		run_operation(&operations[i]);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

int main(int argc, char **argv)
{
	struct options options;
	size_t count = OPERATIONS;

	options_parse(&options, "Kills a thread at each instruction of an owned lease and return. "
		      "--plant header, or built: this program was built with a bug.", argc, argv);
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
	if (strcmp(options.plant, "header") == 0)
		count = 2; /* those that are compiled from it */
	if (!check_finds(run_all, &count)) {
		printf("the planted bug was NOT found\n");
		return 1;
	}
	printf("the planted bug was found\n");
	return 0;
}
