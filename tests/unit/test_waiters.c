/* SPDX-License-Identifier: MIT */
/* The queue of waiters: first come, first served; who leaves, is handed a block, or laps the ring. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/control.h"
#include "numa/kernel.h"
#include "tests/support/threads.h"

static struct mews_waiting waiting;
static struct mews_waiters *queue;

static int set_up(void **state)
{
	*state = calloc(1, mews_waiters_bytes(2));
	if (!*state)
		return -1;
	memset(&waiting, 0, sizeof(waiting));
	mews_waiters_init(&waiting, 2, *state);
	queue = mews_waiters_of(&waiting, 1);
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

static uint64_t enter(void)
{
	uint64_t ticket;

	assert_true(mews_waiters_enter(queue, &ticket));
	assert_int_equal(mews_waiters_value(queue, ticket), MEWS_TURN_LOOK);
	return ticket;
}

/* Has looked, and found nothing. */
static uint64_t sleeping(void)
{
	uint64_t ticket = enter();

	assert_true(mews_waiters_change(queue, ticket, MEWS_TURN_LOOK, MEWS_TURN_WAITING));
	return ticket;
}

static void test_nobody(void **state)
{
	(void)state;
	assert_false(mews_waiters_any(queue));
	assert_false(mews_waiters_hand(queue, 7));
	assert_false(mews_waiters_poke(queue));
}

static void test_in_order(void **state)
{
	uint64_t ticket[100];

	(void)state;
	for (uint32_t i = 0; i < 100; i++)
		ticket[i] = sleeping();
	for (uint32_t i = 0; i < 100; i++) {
		assert_true(mews_waiters_is_first(queue, ticket[i]));
		assert_false(i < 99 && mews_waiters_is_first(queue, ticket[99]));
		assert_true(mews_waiters_hand(queue, i));
	}
	assert_false(mews_waiters_hand(queue, 100));
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(mews_waiters_leave(queue, ticket[i]), MEWS_TURN_HANDED + i);
	assert_false(mews_waiters_any(queue));
}

static void test_who_leaves_is_passed_over(void **state)
{
	uint64_t a = sleeping(), b = sleeping(), c = sleeping();

	(void)state;
	assert_int_equal(mews_waiters_leave(queue, b), MEWS_TURN_WAITING);
	assert_true(mews_waiters_hand(queue, 1));
	assert_true(mews_waiters_is_first(queue, c));
	assert_true(mews_waiters_hand(queue, 2));
	assert_int_equal(mews_waiters_leave(queue, c), MEWS_TURN_HANDED + 2);
	assert_int_equal(mews_waiters_leave(queue, a), MEWS_TURN_HANDED + 1);
	assert_false(mews_waiters_any(queue));
}

static void test_poke_tells_the_first_only(void **state)
{
	uint64_t a = sleeping(), b = sleeping();

	(void)state;
	assert_true(mews_waiters_poke(queue));
	assert_true(mews_waiters_poke(queue));
	assert_int_equal(mews_waiters_value(queue, a), MEWS_TURN_LOOK);
	assert_int_equal(mews_waiters_value(queue, b), MEWS_TURN_WAITING);
	mews_waiters_leave(queue, a);
	mews_waiters_leave(queue, b);
}

/* Handed a block before it looked: the next must look in its place. */
static void test_a_look_is_passed_on(void **state)
{
	uint64_t a = enter(), b = sleeping();

	(void)state;
	assert_true(mews_waiters_hand(queue, 5));
	assert_int_equal(mews_waiters_value(queue, a), MEWS_TURN_HANDED + 5);
	assert_int_equal(mews_waiters_value(queue, b), MEWS_TURN_LOOK);
	mews_waiters_leave(queue, a);
	mews_waiters_leave(queue, b);
}

/* One waits on while the others lap the ring: its slot is not given again before it leaves. */
static void test_the_ring_is_full(void **state)
{
	uint64_t first = sleeping(), ticket;

	(void)state;
	for (int lap = 0; lap < MEWS_WAITERS_SLOTS - 1; lap++)
		mews_waiters_leave(queue, enter());
	assert_false(mews_waiters_enter(queue, &ticket));
	assert_false(mews_waiters_enter(queue, &ticket));
	assert_true(mews_waiters_is_first(queue, first));
	assert_true(mews_waiters_hand(queue, 3));
	assert_false(mews_waiters_any(queue)); /* its slot is of the lap before still */
	assert_false(mews_waiters_enter(queue, &ticket));
	assert_false(mews_waiters_hand(queue, 4));
	assert_int_equal(mews_waiters_leave(queue, first), MEWS_TURN_HANDED + 3);
	ticket = sleeping();
	assert_int_equal(ticket, MEWS_WAITERS_SLOTS);
	assert_true(mews_waiters_hand(queue, 4));
	assert_int_equal(mews_waiters_leave(queue, ticket), MEWS_TURN_HANDED + 4);
}

static void test_reset(void **state)
{
	(void)state;
	sleeping();
	sleeping();
	assert_true(mews_waiters_hand(queue, 3));
	mews_waiters_reset(&waiting);
	assert_false(mews_waiters_any(queue));
	assert_int_equal(enter(), 0);
}

/* Each number that is handed arrives once; half of the workers give, half take or give up. */
struct traffic {
	_Atomic uint32_t handed, arrived, sum_handed, sum_arrived;
	_Atomic int takers;
};

static void take(struct traffic *traffic, struct rng *rng)
{
	uint64_t ticket;
	uint32_t value;

	if (!mews_waiters_enter(queue, &ticket))
		return;
	mews_waiters_change(queue, ticket, MEWS_TURN_LOOK, MEWS_TURN_WAITING);
	for (uint32_t spins = rng_below(rng, 300); spins > 0; spins--)
		if (mews_waiters_value(queue, ticket) >= MEWS_TURN_HANDED)
			break;
	value = mews_waiters_leave(queue, ticket);
	if (value >= MEWS_TURN_HANDED) {
		atomic_fetch_add(&traffic->arrived, 1);
		atomic_fetch_add(&traffic->sum_arrived, value - MEWS_TURN_HANDED);
	}
}

static void give(struct traffic *traffic, uint32_t number)
{
	if (mews_waiters_hand(queue, number)) {
		atomic_fetch_add(&traffic->handed, 1);
		atomic_fetch_add(&traffic->sum_handed, number);
	}
}

static void *take_or_give(void *argument)
{
	struct worker *worker = argument;
	struct traffic *traffic = worker->shared;

	if (worker->index % 2) {
		for (int i = 0; i < 50000; i++)
			take(traffic, &worker->rng);
		atomic_fetch_sub(&traffic->takers, 1);
	} else {
		for (uint32_t i = 0; atomic_load(&traffic->takers); i++)
			give(traffic, i % 1000);
	}
	return NULL;
}

static void test_traffic(void **state)
{
	struct traffic traffic = { .takers = 2 };

	(void)state;
	threads_run(4, 1, &traffic, take_or_give);
	assert_true(atomic_load(&traffic.handed) > 0);
	assert_int_equal(atomic_load(&traffic.handed), atomic_load(&traffic.arrived));
	assert_int_equal(atomic_load(&traffic.sum_handed), atomic_load(&traffic.sum_arrived));
	assert_false(mews_waiters_any(queue));
}

/* Who waits on one node is no reason to keep from the eventfd what came back on another. */
static void test_event_beside_waiters(void **state)
{
	static struct mews_control control;
	uint64_t ticket, signals;
	int event = eventfd(0, EFD_NONBLOCK);

	control.waiting = waiting;
	atomic_store(&control.waiting.event, (uint32_t)event + 1);
	atomic_store(&control.waiting.armed, 1);
	ticket = sleeping();
	mews_waiters_notice(&control);
	assert_int_equal(mews_waiters_value(queue, ticket), MEWS_TURN_LOOK);
	assert_int_equal(read(event, &signals, sizeof(signals)), sizeof(signals));
	mews_waiters_leave(queue, ticket);
	close(event);
	(void)state;
}

static struct mews_pool *pool;
static volatile pid_t child = -1;
static _Atomic int sleeps;

static int told_of_sleep(uint32_t *word, uint32_t expected, const struct timespec *relative)
{
	sleeps += !relative || relative->tv_sec || relative->tv_nsec > 1000000;
	return mews_kernel_real.futex_wait(word, expected, relative);
}

static void fork_here(int number)
{
	child = fork();
	alarm(child ? 0 : 100);
	(void)number;
}

static void *interrupt(void *thread)
{
	while (!sleeps)
		usleep(1000);
	usleep(10000);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

/* The child of a fork in a handler goes on where its parent slept: in a queue of its own. */
static void test_fork_in_handler(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = 1,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_kernel table = mews_kernel_real;
	pthread_t self = pthread_self(), thread;
	struct timespec deadline;
	void *block, *waited;
	int status;

	(void)state;
	if (mews_tsan_active()) {
		puts("skip: ThreadSanitizer does not know forks in handlers");
		skip();
	}
	table.futex_wait = told_of_sleep;
	mews_kernel = &table;
	signal(SIGUSR1, fork_here);
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	block = mews_lease(pool);
	assert_int_equal(pthread_create(&thread, NULL, interrupt, &self), 0);
	do {
		deadline = threads_deadline(1);
		waited = mews_lease_wait(pool, &deadline);
	} while (!waited && child == -1); /* the other thread was slower than the deadline */
	if (!child) {
		status = waited || errno != ETIMEDOUT;
		mews_return(pool, block);
		_exit(status || mews_pool_dispose(pool));
	}
	assert_null(waited);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	mews_return(pool, block);
	assert_int_equal(mews_pool_dispose(pool), 0);
	mews_kernel = &mews_kernel_real;
}

/* Where nobody waits, a lease that may wait is as fast as one that may not, with owners too. */
static void test_hits(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .owners = 1,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_stats before = { .size = sizeof(before) }, after = before;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	mews_return(pool, mews_lease(pool));
	assert_int_equal(mews_pool_stats(pool, &before), 0);
	for (int i = 0; i < 100; i++)
		mews_return(pool, mews_lease_wait(pool, NULL));
	assert_int_equal(mews_pool_stats(pool, &after), 0);
	if (after.path == MEWS_PATH_RSEQ) /* this thread may be moved */
		assert_in_range(after.lease_misses - before.lease_misses, 0, 50);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nobody), TEST(test_in_order), TEST(test_who_leaves_is_passed_over),
		TEST(test_poke_tells_the_first_only), TEST(test_a_look_is_passed_on),
		TEST(test_the_ring_is_full), TEST(test_reset), TEST(test_traffic),
		TEST(test_event_beside_waiters), TEST(test_fork_in_handler), TEST(test_hits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
