/* SPDX-License-Identifier: MIT */
/*
 * Waiting: a waiter whose thread goes to another node, one whose handler is cut short by a cancellation,
 * and where blocks lie after it. The machine is told to have two nodes, and its kernel to bind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <mews/mews.h>
#include "lib/control.h"
#include "numa/kernel.h"
#include "support/pool.h"
#include "support/threads.h"

#define BLOCKS 64
#define NODE_BYTES (64 << 10)

static struct mews_kernel table;

static long bind_anywhere(void *addr, unsigned long length, int mode, const unsigned long *mask,
			  unsigned long bits, unsigned flags)
{
	(void)addr, (void)length, (void)mode, (void)mask, (void)bits, (void)flags;
	return 0;
}

static struct mews_pool *pool_of(enum mews_node_policy policy)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER, .node_policy = policy };
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

static void until_waiting(struct mews_pool *pool, uint64_t waiters)
{
	while (stats_of(pool).waiting != waiters)
		usleep(100);
	usleep(20000);
}

struct waiter {
	struct mews_pool *pool;
	pthread_t thread;
	unsigned cpu;
	void *block;
	_Atomic int over;
};

static void *wait_on_node(void *argument)
{
	struct waiter *waiter = argument;
	struct timespec deadline = threads_deadline(30);

	threads_pin(waiter->cpu);
	waiter->block = mews_lease_wait(waiter->pool, &deadline);
	waiter->over = 1;
	return NULL;
}

/*
 * Two wait for blocks of node 0, and the first goes to a CPU of node 1. Then node 0 has room for both:
 * the first, who is told, must look there, and tell the second.
 */
static void test_waiter_that_moved(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_NODE_STRICT);
	struct waiter waiter[2];
	void *block[BLOCKS];
	size_t got = 0;
	cpu_set_t other;
	int i;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || stats_of(pool).nodes != 2) {
		puts("skip: needs two CPUs, on two nodes as hwloc is told");
		mews_pool_dispose(pool);
		return;
	}
	CPU_ZERO(&other);
	CPU_SET(1, &other);
	for (i = 0; i < 2; i++)
		assert_int_equal(mews_pool_set_node_limit(pool, (unsigned)i, i ? 1 : NODE_BYTES), 0);
	threads_pin(0);
	while ((block[got] = mews_lease(pool)))
		got++;
	for (i = 0; i < 2; i++) {
		waiter[i] = (struct waiter) { .pool = pool };
		assert_int_equal(pthread_create(&waiter[i].thread, NULL, wait_on_node, &waiter[i]), 0);
		until_waiting(pool, (uint64_t)i + 1);
	}
	assert_int_equal(pthread_setaffinity_np(waiter[0].thread, sizeof(other), &other), 0);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 2 * NODE_BYTES), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(waiter[i].thread, NULL), 0);
		assert_non_null(waiter[i].block);
		mews_return(pool, waiter[i].block);
	}
	threads_unpin();
	mews_return_many(pool, block, got);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static struct mews_pool *beside; /* whose blocks the handler takes and brings back */
static _Atomic int handled;

static void lease_and_return(int signal)
{
	void *block[8];
	size_t got;
	int i;

	(void)signal;
	for (i = 0; i < 50; i++) {
		got = mews_lease_many(beside, block, 8);
		mews_return_many(beside, block, got);
	}
	handled++;
}

/*
 * A thread is cancelled while it waits, and at that moment its handler is inside an operation: this ends
 * first, or the gate of its pool would count it for ever. A block that the handler itself had is lost.
 */
static void test_handler_is_not_cut_short(void **state)
{
	struct sigaction action = { .sa_handler = lease_and_return };
	struct mews_pool *pool = pool_of(MEWS_NODE_PREFERRED);
	struct timespec deadline;
	struct waiter waiter;
	void *block[BLOCKS];
	int i;

	(void)state;
	beside = pool_of(MEWS_NODE_PREFERRED);
	mews_pool_sample_leases(beside, 1 << 30); /* no hit */
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	for (i = 0; i < 300; i++) {
		waiter = (struct waiter) { .pool = pool };
		assert_int_equal(pthread_create(&waiter.thread, NULL, wait_on_node, &waiter), 0);
		while (stats_of(pool).waiting != 1)
			sched_yield();
		usleep(50);
		pthread_kill(waiter.thread, SIGUSR1);
		threads_sleep((i % 30) * 2e-6);
		pthread_cancel(waiter.thread);
		assert_int_equal(pthread_join(waiter.thread, NULL), 0);
		assert_int_equal((int)mews_gate_inside(mews_gate_traffic(&mews_control_of(beside)->sides)),
				 0);
	}
	assert_true(handled > 0);
	mews_return_many(pool, block, BLOCKS);
	deadline = threads_deadline(10);
	assert_int_equal(mews_pool_drain(pool, &deadline), 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_int_equal(mews_pool_dispose(beside), 0);
}

/* What went to the side stacks while somebody waited is leased again before the pool grows. */
static void test_side_stacks_empty_again(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_NODE_PREFERRED);
	struct timespec past = { 0 };
	struct mews_stats before;
	void *block[BLOCKS];
	size_t i;

	(void)state;
	threads_pin(0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	assert_null(mews_lease_wait(pool, &past));
	assert_int_equal(errno, ETIMEDOUT);
	mews_return_many(pool, block, 4);
	before = stats_of(pool);
	assert_int_equal(before.side, 4);
	usleep(100000);
	for (i = 4; i < BLOCKS; i++) /* by which the detour ends */
		mews_return(pool, block[i]);
	while (stats_of(pool).cached == 0 && before.path == MEWS_PATH_RSEQ) {
		block[0] = mews_lease(pool);
		mews_return(pool, block[0]);
	}
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	assert_int_equal(stats_of(pool).reclaims, before.reclaims);
	mews_return_many(pool, block, BLOCKS);
	threads_unpin();
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waiter_that_moved),
		cmocka_unit_test(test_handler_is_not_cut_short),
		cmocka_unit_test(test_side_stacks_empty_again),
	};

	setenv("HWLOC_SYNTHETIC", "node:2 pu:1", 1);
	table = mews_kernel_real;
	table.mbind = bind_anywhere;
	mews_kernel = &table;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
