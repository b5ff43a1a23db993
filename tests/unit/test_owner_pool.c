/* SPDX-License-Identifier: MIT */
/* Pools that owners know of: a pin keeps a pool from its end, and dies with its thread in a fork's child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/mews.h>
#include "lib/owner.h"

static struct mews_pool *new_pool(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .owners = 1,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

static bool is_mapped(struct mews_pool *pool)
{
	unsigned char resident;

	return mincore((void *)((uintptr_t)pool & ~(uintptr_t)4095), 4096, &resident) == 0 || errno != ENOMEM;
}

static void test_pin(void **state)
{
	struct mews_pool *pool = new_pool();
	uint64_t registered = mews_control_of(pool)->registered;

	(void)state;
	assert_ptr_equal(mews_owner_pool_pin(registered), mews_control_of(pool));
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_true(is_mapped(pool));
	assert_null(mews_owner_pool_pin(registered));
	mews_owner_pool_unpin(registered);
	assert_false(is_mapped(pool));
}

static pthread_barrier_t barrier;

static void *pin(void *pool)
{
	uint64_t registered = mews_control_of(pool)->registered;

	mews_owner_pool_pin(registered);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	mews_owner_pool_unpin(registered);
	return NULL;
}

/* Forks while another thread has it pinned; `ending`: when it is disposed of already. */
static void check_child(bool ending)
{
	struct mews_pool *pool = new_pool();
	pthread_t thread;
	int status;
	pid_t child;

	pthread_barrier_init(&barrier, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, pin, pool), 0);
	pthread_barrier_wait(&barrier);
	if (ending)
		assert_int_equal(mews_pool_dispose(pool), 0);
	child = fork();
	if (child == 0)
		_exit((!ending && mews_pool_dispose(pool)) || is_mapped(pool));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	pthread_barrier_wait(&barrier);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ending != is_mapped(pool));
	if (!ending)
		assert_int_equal(mews_pool_dispose(pool), 0);
	pthread_barrier_destroy(&barrier);
}

static void test_fork_beside_a_pin(void **state)
{
	(void)state;
	check_child(false);
	check_child(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pin),
		cmocka_unit_test(test_fork_beside_a_pin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
