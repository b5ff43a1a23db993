/* SPDX-License-Identifier: MIT */
/* Exchange at the limit: a lease waits for blocks that others are bringing, and not for ever. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "numa/kernel.h"
#include "tests/support/threads.h"

#define BLOCKS 100
#define SLOW_US 300000

static _Atomic int populating;
static _Atomic int refused;

/* Memory that takes its time: as where the machine below has stopped the CPU of the thread. */
static int slow_madvise(void *addr, size_t length, int advice)
{
	if (advice == MADV_POPULATE_WRITE) {
		populating = 1;
		usleep(SLOW_US);
		if (refused) {
			errno = ENOMEM;
			return -1;
		}
	}
	return mews_kernel_real.madvise(addr, length, advice);
}

static void *lease_slowly(void *pool)
{
	return mews_lease(pool);
}

/* A thread that is in the middle of the pool's only growth; this one meets the limit beside it. */
static pthread_t start_growth(struct mews_pool **pool)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	pthread_t thread;

	populating = 0;
	assert_int_equal(mews_pool_create(&config, pool), 0);
	assert_int_equal(pthread_create(&thread, NULL, lease_slowly, *pool), 0);
	while (!populating)
		usleep(100);
	return thread;
}

static void test_waits_for_growth(void **state)
{
	struct mews_pool *pool;
	pthread_t thread = start_growth(&pool);
	void *mine = mews_lease(pool), *other;

	(void)state;
	assert_non_null(mine);
	assert_int_equal(pthread_join(thread, &other), 0);
	assert_non_null(other);
	mews_return(pool, mine);
	mews_return(pool, other);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_all_out(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;
	void *block[BLOCKS + 1];
	double best = 10, start;
	int i;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS + 1), BLOCKS);
	assert_int_equal(errno, ENOBUFS);
	for (i = 0; i < 10; i++) {
		start = threads_now();
		errno = 0;
		assert_null(mews_lease(pool));
		assert_int_equal(errno, ENOBUFS);
		best = threads_now() - start < best ? threads_now() - start : best;
	}
	assert_true(best < 0.1); /* nobody brings any: nothing to wait for */
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static int set_up(void **state)
{
	static struct mews_kernel slow;

	(void)state;
	refused = 0;
	slow = mews_kernel_real;
	slow.madvise = slow_madvise;
	mews_kernel = &slow;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mews_kernel = &mews_kernel_real;
	return 0;
}

static void test_growth_fails(void **state)
{
	struct mews_pool *pool;
	pthread_t thread;
	void *mine, *other;

	(void)state;
	refused = 1;
	thread = start_growth(&pool);
	mine = mews_lease(pool);
	assert_null(mine);
	assert_int_equal(errno, ENOMEM); /* its own growth, after the other's came to nothing */
	assert_int_equal(pthread_join(thread, &other), 0);
	assert_null(other);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_waits_for_growth, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_growth_fails, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
