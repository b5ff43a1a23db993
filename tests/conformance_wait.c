/* SPDX-License-Identifier: MIT */
/* Conformance: leases that wait: woken by a return, by their deadline, by the pool's end; the eventfd. */
#include "conformance.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/threads.h"

#define COUNT 8

static void *blocks[COUNT];

static struct mews_pool *full_pool(void)
{
	struct mews_pool *pool = kind_pool(0, COUNT);

	lease_all(pool, blocks, COUNT);
	return pool;
}

static struct mews_pool *done_with(struct mews_pool *pool)
{
	return_all(pool, blocks, COUNT);
	end_pool(pool);
	return pool;
}

static void test_no_need_to_wait(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	struct timespec past = { 0 };

	(void)state;
	errno = 77;
	for (int i = 0; i < COUNT; i++) {
		blocks[i] = mews_lease_wait(pool, i % 2 ? &past : NULL);
		assert_non_null(blocks[i]);
	}
	assert_int_equal(errno, 77);
	assert_int_equal(stats_of(pool).waits, 0);
	assert_int_equal(stats_of(pool).failures, 0);
	done_with(pool);
}

static void test_deadline(void **state)
{
	struct mews_pool *pool = full_pool();
	struct timespec soon = threads_deadline(0.02), past = { 0 };
	struct timespec bad[] = { { -1, 0 }, { 0, -1 }, { 0, 1000000000 } };

	(void)state;
	assert_null(mews_lease_wait(pool, &soon));
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(threads_now() >= (double)soon.tv_sec + (double)soon.tv_nsec * 1e-9);
	assert_null(mews_lease_wait(pool, &past));
	assert_int_equal(errno, ETIMEDOUT);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(mews_lease_wait(pool, &bad[i]));
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(stats_of(pool).wait_timeouts, 2);
	assert_int_equal(stats_of(pool).waits, 2);
	assert_int_equal(stats_of(pool).waiting, 0);
	done_with(pool);
}

/* Waits with a far deadline; what it got and errno. */
struct wait {
	struct mews_pool *pool;
	pthread_t thread;
	void *block;
	int error;
	atomic_bool over;
};

static void *wait_for_block(void *argument)
{
	struct wait *wait = argument;
	struct timespec far = threads_deadline(50);

	wait->block = mews_lease_wait(wait->pool, &far);
	wait->error = errno;
	atomic_store(&wait->over, true);
	return NULL;
}

static void start(struct wait *wait, struct mews_pool *pool)
{
	uint64_t before = stats_of(pool).waiting;

	*wait = (struct wait){ .pool = pool };
	assert_int_equal(pthread_create(&wait->thread, NULL, wait_for_block, wait), 0);
	while (stats_of(pool).waiting == before)
		threads_sleep(1e-4);
	threads_sleep(1e-3);
}

static void finish(struct wait *wait)
{
	assert_int_equal(pthread_join(wait->thread, NULL), 0);
}

/* Whichever way blocks come back, each goes to the one who came first. */
static void test_first_come_first_served(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++)
		start(&wait[i], pool);
	for (int i = 0; i < COUNT / 2; i++) {
		kind_calls.give(pool, blocks[i]);
		finish(&wait[i]);
		assert_ptr_equal(wait[i].block, blocks[i]);
		assert_false(atomic_load(&wait[COUNT - 1].over));
	}
	mews_return_many(pool, blocks + COUNT / 2, COUNT / 2);
	for (int i = COUNT / 2; i < COUNT; i++) {
		finish(&wait[i]);
		assert_ptr_equal(wait[i].block, blocks[i]);
	}
	assert_int_equal(stats_of(pool).handovers, COUNT);
	assert_true(stats_of(pool).wait_longest_ns > 0);
	assert_true(stats_of(pool).wait_ns >= stats_of(pool).wait_longest_ns);
	done_with(pool);
}

static void test_woken_from_any_cpu(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait;

	(void)state;
	for (unsigned cpu = 0; cpu < 4; cpu++) {
		threads_unpin();
		start(&wait, pool);
		threads_pin(cpu);
		kind_calls.give(pool, blocks[cpu]);
		finish(&wait);
		assert_ptr_equal(wait.block, blocks[cpu]);
	}
	threads_unpin();
	done_with(pool);
}

static void test_dispose_wakes(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		start(&wait[i], pool);
	assert_int_equal(mews_pool_dispose(pool), 0);
	for (int i = 0; i < 3; i++) {
		finish(&wait[i]);
		assert_null(wait[i].block);
		assert_int_equal(wait[i].error, ESHUTDOWN);
	}
	assert_null(mews_lease_wait(pool, NULL));
	assert_int_equal(errno, ESHUTDOWN);
	return_all(pool, blocks, COUNT);
}

/* Cancelled in the queue: the others move up, and no block goes with it. */
static void test_cancel(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait[3];
	void *result;

	(void)state;
	for (int i = 0; i < 3; i++)
		start(&wait[i], pool);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_cancel(wait[i].thread), 0);
		assert_int_equal(pthread_join(wait[i].thread, &result), 0);
		assert_ptr_equal(result, PTHREAD_CANCELED);
	}
	kind_calls.give(pool, blocks[0]);
	finish(&wait[2]);
	assert_ptr_equal(wait[2].block, blocks[0]);
	assert_int_equal(stats_of(pool).waiting, 0);
	done_with(pool);
}

/* The block is handed over and the cancellation comes at the same time: one of the two wins. */
static void test_cancel_races_with_a_return(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait;

	(void)state;
	for (int i = 0; i < 200; i++) {
		start(&wait, pool);
		kind_calls.give(pool, blocks[0]);
		pthread_cancel(wait.thread);
		finish(&wait);
		blocks[0] = atomic_load(&wait.over) ? wait.block : kind_calls.lease(pool);
		assert_non_null(blocks[0]);
	}
	done_with(pool);
}

static void test_drain_beside_waiters(void **state)
{
	struct mews_pool *pool = full_pool();
	struct timespec soon = threads_deadline(0.01);
	struct wait wait;

	(void)state;
	start(&wait, pool);
	assert_int_equal(mews_pool_drain(pool, &soon), -ETIMEDOUT);
	kind_calls.give(pool, blocks[0]);
	finish(&wait);
	assert_ptr_equal(wait.block, blocks[0]);
	return_all(pool, blocks, COUNT);
	soon = threads_deadline(10);
	assert_int_equal(mews_pool_drain(pool, &soon), 0);
	end_pool(pool);
}

/* In the child nobody waits, and its returns are its own. */
static void test_fork(void **state)
{
	struct mews_pool *pool = full_pool();
	struct wait wait;
	int status;
	pid_t child;

	(void)state;
	start(&wait, pool);
	child = fork();
	if (child == 0) {
		struct timespec past = { 0 };

		if (stats_of(pool).waiting != 0)
			_exit(1);
		kind_calls.give(pool, blocks[0]);
		if (mews_lease_wait(pool, NULL) != blocks[0])
			_exit(2);
		if (mews_lease_wait(pool, &past) || errno != ETIMEDOUT)
			_exit(3);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_false(atomic_load(&wait.over));
	kind_calls.give(pool, blocks[0]);
	finish(&wait);
	done_with(pool);
}

static bool readable(int fd)
{
	struct pollfd at = { .fd = fd, .events = POLLIN };

	return poll(&at, 1, 0) == 1;
}

static void test_eventfd(void **state)
{
	struct mews_pool *pool = full_pool();
	int fd = mews_pool_pressure_fd(pool);
	uint64_t value;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(mews_pool_pressure_fd(pool), fd);
	assert_int_equal(mews_pool_pressure_fd(NULL), -EINVAL);
	kind_calls.give(pool, blocks[0]);
	assert_false(readable(fd));             /* no lease failed yet */
	blocks[0] = kind_calls.lease(pool);
	for (unsigned cpu = 0; cpu < 4; cpu++) {
		assert_null(kind_calls.lease(pool));
		assert_int_equal(errno, ENOBUFS);
		assert_false(readable(fd));
		threads_pin(cpu);
		kind_calls.give(pool, blocks[cpu]);
		threads_unpin();
		assert_true(readable(fd));
		assert_int_equal(read(fd, &value, sizeof(value)), sizeof(value));
		blocks[cpu] = kind_calls.lease(pool);
		assert_non_null(blocks[cpu]);
		assert_false(readable(fd));
	}
	done_with(pool);
	assert_int_equal(read(fd, &value, sizeof(value)), -1);
	assert_int_equal(errno, EBADF);         /* closed with its pool */
}

/* The caches open again, after a while, by themselves. */
static void test_the_fast_path_comes_back(void **state)
{
	struct mews_pool *pool;
	struct timespec past = { 0 };
	double end = threads_now() + 20;

	(void)state;
	threads_pin(0); /* elsewhere the blocks might be another node's, which no cache takes */
	pool = full_pool();
	assert_null(mews_lease_wait(pool, &past));
	return_all(pool, blocks, COUNT);
	while (kind_path() == MEWS_PATH_RSEQ && stats_of(pool).cached == 0) {
		assert_true(threads_now() < end);
		lease_all(pool, blocks, COUNT);
		return_all(pool, blocks, COUNT);
	}
	threads_unpin();
	end_pool(pool);
}

const struct CMUnitTest conformance_wait[] = {
	cmocka_unit_test(test_no_need_to_wait),
	cmocka_unit_test(test_deadline),
	cmocka_unit_test(test_first_come_first_served),
	cmocka_unit_test(test_woken_from_any_cpu),
	cmocka_unit_test(test_dispose_wakes),
	cmocka_unit_test(test_cancel),
	cmocka_unit_test(test_cancel_races_with_a_return),
	cmocka_unit_test(test_drain_beside_waiters),
	cmocka_unit_test(test_fork),
	cmocka_unit_test(test_eventfd),
	cmocka_unit_test(test_the_fast_path_comes_back),
};

const size_t conformance_wait_count = sizeof(conformance_wait) / sizeof(conformance_wait[0]);
