/* SPDX-License-Identifier: MIT */
/* Limits that change while the pool lives: exact, up and down, of the pool, a node and the process. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "tests/support/pool.h"
#include "tests/support/threads.h"

#define BLOCKS 3000
#define MIB ((size_t)1 << 20)

static void *block[BLOCKS], *other[BLOCKS];

static struct mews_pool *make_pool(void)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .max_blocks = BLOCKS, .decay_ms = MEWS_DECAY_NEVER,
	};
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

static void end_pool(struct mews_pool *pool, size_t out)
{
	struct audit audit;

	if (!audit_pool(pool, block, out, &audit))
		fail_msg("audit: %s", audit.message);
	mews_return_many(pool, block, out);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Up in small steps: exact at each, though no step is a whole slab, and no address space is wasted. */
static void test_up(void **state)
{
	struct mews_pool *pool = make_pool();
	size_t out = 0;

	(void)state;
	for (size_t limit = 7; limit < BLOCKS; limit += 7 + limit / 5) {
		assert_int_equal(mews_pool_set_limit(pool, limit), 0);
		out += mews_lease_many(pool, block + out, BLOCKS - out);
		assert_int_equal(errno, ENOBUFS);
		assert_int_equal(out, limit);
		assert_int_equal(stats_of(pool).carved, limit);
		assert_int_equal(stats_of(pool).max_blocks, limit);
		for (size_t i = 0; i < out; i++)
			memset(block[i], 1, 4032);
	}
	assert_int_equal(mews_pool_set_limit(pool, BLOCKS), 0);
	out += mews_lease_many(pool, block + out, BLOCKS - out);
	assert_int_equal(out, BLOCKS);
	assert_int_equal(mews_pool_set_limit(pool, (size_t)1 << 50), -ERANGE);
	end_pool(pool, out);
}

/* Down: what is free goes, what is out stays; growth fails until use is below the new limit. */
static void test_down(void **state)
{
	struct mews_pool *pool = make_pool();

	(void)state;
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	mews_return_many(pool, block + 100, BLOCKS - 100);
	assert_int_equal(mews_pool_set_limit(pool, 200), 0);
	assert_in_range(stats_of(pool).carved, 100, BLOCKS / 2);
	assert_int_equal(stats_of(pool).leased, 100);
	mews_return_many(pool, block, 100);
	assert_int_equal(mews_pool_set_limit(pool, 200), 0);
	assert_in_range(stats_of(pool).carved, 0, 200);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), 200);
	end_pool(pool, 200);
}

static void test_wrong(void **state)
{
	struct mews_pool *pool = make_pool();
	void *kept = mews_lease(pool);

	(void)state;
	assert_int_equal(mews_pool_set_limit(NULL, 1), -EINVAL);
	assert_int_equal(mews_pool_set_limit(pool, 0), -EINVAL);
	assert_int_equal(mews_pool_set_node_limit(NULL, 0, 1), -EINVAL);
	assert_int_equal(mews_pool_set_node_limit(pool, 4000, 1), -ENOENT);
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_int_equal(mews_pool_set_limit(pool, 1), -ESHUTDOWN);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 1), -ESHUTDOWN);
	mews_return(pool, kept);
}

static void test_node(void **state)
{
	struct mews_pool *pool = make_pool();
	size_t out;

	(void)state;
	if (stats_of(pool).nodes == 1) {
		assert_int_equal(mews_pool_set_node_limit(pool, stats_of(pool).node[0].node, MIB), 0);
		out = mews_lease_many(pool, block, BLOCKS);
		assert_int_equal(errno, ENOBUFS);
		assert_in_range(out, 200, MIB / 4096);
		assert_in_range(stats_of(pool).backed_bytes, out * 4096, MIB);
		assert_int_equal(mews_pool_set_node_limit(pool, stats_of(pool).node[0].node, 0), 0);
		assert_int_equal(mews_lease_many(pool, block + out, BLOCKS - out), BLOCKS - out);
		end_pool(pool, BLOCKS);
	}
}

/* Two pools and oversize leases share the process's limit; what one gives back the other may take. */
static void test_process(void **state)
{
	struct mews_pool *pool = make_pool(), *second = make_pool();
	uint64_t usual = stats_of(pool).hard_limit;
	size_t out, more;
	void *large;

	(void)state;
	assert_true(usual > 0 && usual < UINT64_MAX);
	assert_int_equal(mews_set_hard_limit(4 * MIB), 0);
	assert_int_equal(stats_of(pool).hard_limit, 4 * MIB);
	out = mews_lease_many(pool, block, 500);
	assert_int_equal(out, 500);
	more = mews_lease_many(second, other, BLOCKS);
	assert_int_equal(errno, ENOBUFS);
	assert_in_range(stats_of(pool).hard_used, (out + more) * 4096, 4 * MIB);
	assert_null(mews_lease_sized(pool, MIB));
	assert_int_equal(errno, ENOBUFS);
	mews_return_many(second, other, more);
	assert_int_equal(mews_pool_trim(second, 0, 0), 0);
	large = mews_lease_sized(pool, MIB);
	assert_non_null(large);
	assert_int_equal(mews_set_hard_limit(0), 0);
	assert_int_equal(stats_of(pool).hard_limit, usual);
	mews_return(pool, large);
	assert_int_equal(mews_pool_dispose(second), 0);
	end_pool(pool, out);
	pool = make_pool();
	assert_int_equal(stats_of(pool).hard_used, 0);
	end_pool(pool, 0);
}

struct crowd {
	struct mews_pool *pool;
	double end;
	unsigned moves;         /* one in so many operations moves the limit; 0: none */
	atomic_uint refused, wrong;
};

/* Leases and returns, at the limit, and moves it. */
static void *crowd(void *argument)
{
	struct worker *worker = argument;
	struct crowd *shared = worker->shared;
	void *mine[16];
	size_t had = 0;

	while (threads_now() < shared->end) {
		bool lease = rng_below(&worker->rng, 100) < 55 && had < 16;

		if (shared->moves && rng_below(&worker->rng, shared->moves) == 0)
			mews_set_hard_limit(MIB + rng_below(&worker->rng, 8 * MIB));
		else if (lease && (mine[had] = mews_lease(shared->pool)))
			had++;
		else if (lease)
			atomic_fetch_add(errno == ENOBUFS ? &shared->refused : &shared->wrong, 1);
		else if (had)
			mews_return(shared->pool, mine[--had]);
	}
	mews_return_many(shared->pool, mine, had);
	return NULL;
}

/* A slab that others have in hand for a moment is no reason to say that the system has no memory. */
static void run_crowd(unsigned moves)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 64 << 10, .max_blocks = 100,
		.page_policy = MEWS_PAGES_BASE, .decay_ms = MEWS_DECAY_NEVER,
	};
	struct crowd shared = { .end = threads_now() + 1, .moves = moves };

	assert_int_equal(mews_pool_create(&config, &shared.pool), 0);
	assert_int_equal(mews_set_hard_limit(3 * MIB), 0);
	threads_run(6, 1, &shared, crowd);
	assert_int_equal(mews_set_hard_limit(0), 0);
	print_message("%u leases refused\n", shared.refused);
	assert_int_equal(shared.wrong, 0);
	end_pool(shared.pool, 0);
}

static void test_crowd_at_the_limit(void **state)
{
	(void)state;
	run_crowd(0);
	run_crowd(200);
}

struct wait {
	struct mews_pool *pool;
	void *block;
	int error;
};

static void *wait_for_block(void *argument)
{
	struct worker *worker = argument;
	struct wait *wait = worker->shared;
	struct timespec far = threads_deadline(50);

	wait->block = mews_lease_wait(wait->pool, &far);
	wait->error = errno;
	return NULL;
}

static void start_waiting(struct worker *waiter, struct wait *wait, struct mews_pool *pool)
{
	*wait = (struct wait){ .pool = pool };
	threads_start(waiter, 1, 1, wait, wait_for_block);
	while (stats_of(pool).waiting == 0)
		threads_sleep(1e-4);
	threads_sleep(1e-2);
}

/* Who waits gets a block when a limit is raised, or another pool makes room; and the eventfd tells. */
static void test_raised_while_one_waits(void **state)
{
	struct mews_pool *pool = make_pool(), *second = make_pool();
	struct pollfd event = { .fd = mews_pool_pressure_fd(pool), .events = POLLIN };
	struct worker waiter;
	struct wait wait;
	size_t out, more;

	(void)state;
	assert_int_equal(mews_pool_set_limit(pool, 10), 0);
	assert_int_equal(mews_lease_many(pool, block, 10), 10);
	start_waiting(&waiter, &wait, pool);
	assert_int_equal(mews_pool_set_limit(pool, 11), 0);
	threads_join(&waiter, 1);
	assert_non_null(wait.block);
	block[10] = wait.block;
	assert_null(mews_lease(pool));
	assert_int_equal(poll(&event, 1, 0), 0);
	assert_int_equal(mews_pool_set_limit(pool, BLOCKS), 0);
	assert_int_equal(poll(&event, 1, 0), 1);

	more = mews_lease_many(second, other, 1000);
	assert_int_equal(mews_set_hard_limit(stats_of(pool).hard_used), 0);
	out = 11 + mews_lease_many(pool, block + 11, BLOCKS - 11);
	start_waiting(&waiter, &wait, pool);
	mews_return_many(second, other, more);
	assert_int_equal(mews_pool_trim(second, 0, 0), 0);
	threads_join(&waiter, 1);
	assert_non_null(wait.block);
	block[out] = wait.block;
	mews_set_hard_limit(0);
	assert_int_equal(mews_pool_dispose(second), 0);
	end_pool(pool, out + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_crowd_at_the_limit),
		cmocka_unit_test(test_raised_while_one_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
