/* SPDX-License-Identifier: MIT */
/*
 * Forks: while one stands, no operation runs in a frozen pool, not even that of a signal handler within an
 * operation that waits for the fork.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../numa/kernel.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define FORKS 20

static struct mews_pool *pool;
static struct mews_control *control;
static struct mews_kernel table;
static pthread_t worker;
static atomic_uint forks, sent, handled, wrong;
static atomic_bool stop, pinned;

static bool stands(void)
{
	return atomic_load(&control->frozen) == MEWS_FROZEN;
}

/* A whole lease within one standing fork: then the child may have its block twice, or not at all. */
static void lease_in_handler(int number)
{
	unsigned fork_before = atomic_load(&forks);
	bool before = stands();
	void *block = mews_lease(pool);

	(void)number;
	if (before && stands() && atomic_load(&forks) == fork_before)
		atomic_fetch_add(&wrong, 1);
	if (block)
		mews_return(pool, block);
	atomic_fetch_add(&handled, 1);
}

/* On one CPU, whose cache a fork finds open, and shuts first of all. */
static void *work(void *unused)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	mews_return(pool, mews_lease(pool));
	atomic_store(&pinned, true);
	while (!atomic_load(&stop))
		mews_return(pool, mews_lease(pool));
	return unused;
}

/* Aborting a CPU's sequences is what a fork does while it stands: it takes long, and the worker is called. */
static int slow_membarrier(int command, unsigned flags, int cpu)
{
	for (int i = 0; control && stands() && i < 3; i++) {
		threads_sleep(0.001);
		pthread_kill(worker, SIGUSR1);
		atomic_fetch_add(&sent, 1);
	}
	return mews_kernel_real.membarrier(command, flags, cpu);
}

static void test_handlers_wait(void **state)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .max_blocks = 1000, .keeper = MEWS_KEEPER_CALLER,
		.checks = MEWS_CHECKS_CHEAP,
	};
	struct sigaction action = { .sa_handler = lease_in_handler };
	pid_t child;

	(void)state;
	table = mews_kernel_real;
	table.membarrier = slow_membarrier;
	mews_kernel = &table;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	control = mews_control_of(pool);
	if (control->path != MEWS_PATH_RSEQ) {
		printf("skip: a fork aborts no sequences here\n");
		assert_int_equal(mews_pool_dispose(pool), 0);
		return;
	}
	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(pthread_create(&worker, NULL, work, NULL), 0);
	while (!atomic_load(&pinned))
		threads_sleep(0.001);
	while (atomic_fetch_add(&forks, 1) < FORKS) {
		child = fork();
		if (child == 0)
			_exit(0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		threads_sleep(0.001); /* it opens its cache again */
	}
	atomic_store(&stop, true);
	pthread_join(worker, NULL);
	printf("%u signals while a fork stood, %u handlers, %u leases meanwhile\n", sent, handled, wrong);
	assert_true(sent > 0 && handled > 0);
	assert_int_equal(wrong, 0);
	mews_kernel = &mews_kernel_real;
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handlers_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
