/* SPDX-License-Identifier: MIT */
/*
 * Exchange at the limit: a lease waits for blocks that others are bringing, or have in hand while they
 * trim, and not for ever; one that waits in the queue is told when these have ended.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "lib/control.h"
#include "numa/kernel.h"
#include "tests/support/threads.h"

#define BLOCKS 100
#define SLOW_US 300000

static _Atomic int populating;
static _Atomic int refused;
static _Atomic int held;        /* slow calls do not return while it is set */
static _Atomic int asleep;      /* a waiter is */

static void be_slow(void)
{
	usleep(SLOW_US);
	while (held)
		usleep(1000);
}

/* Memory that takes its time: as where the machine below has stopped the CPU of the thread. */
static int slow_madvise(void *addr, size_t length, int advice)
{
	bool refuse;

	if (advice == MADV_POPULATE_WRITE) {
		populating = 1;
		refuse = refused == 1;
		be_slow();
		if (refuse) {
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

/* The shortest of some leases that fail: nobody brings any, so there is nothing to wait for. */
static void check_fails_at_once(struct mews_pool *pool)
{
	double best = 10, start;
	int i;

	for (i = 0; i < 10; i++) {
		start = threads_now();
		errno = 0;
		assert_null(mews_lease(pool));
		assert_int_equal(errno, ENOBUFS);
		best = threads_now() - start < best ? threads_now() - start : best;
	}
	assert_true(best < 0.1);
}

static void test_all_out(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;
	void *block[BLOCKS + 1];

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS + 1), BLOCKS);
	assert_int_equal(errno, ENOBUFS);
	check_fails_at_once(pool);
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* The same at a limit in bytes, for blocks that were never there, and for blocks without memory. */
static void test_bytes_out(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = 400,
					   .page_policy = MEWS_PAGES_BASE,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_pool *pool;
	void *block[400], *kept;
	size_t count;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 1 << 20), 0);
	count = mews_lease_many(pool, block, 400);
	assert_in_range(count, 1, 399);
	check_fails_at_once(pool);
	kept = block[0];
	mews_return_many(pool, block + 1, count - 1);
	assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 1 << 19), 0);
	count = mews_lease_many(pool, block, 400);
	assert_in_range(count, 1, 399);
	check_fails_at_once(pool);
	mews_return_many(pool, block, count);
	mews_return(pool, kept);
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

static _Atomic int discarding;

static void *slow_discard(void *addr, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (protection == PROT_NONE && flags & MAP_FIXED) {
		discarding = 1;
		be_slow();
	}
	return mews_kernel_real.mmap(addr, length, protection, flags, fd, offset);
}

static void *trim_all(void *pool)
{
	return mews_pool_trim(pool, 0, 0) ? pool : NULL;
}

/*
 * A thread that is giving back the pool's only slab, no block of which is out. bounded: its bytes are all
 * that a limit allows, so that there is no other slab meanwhile.
 */
static pthread_t start_trim(struct mews_kernel *slow, struct mews_pool **pool, bool bounded)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .decay_ms = MEWS_DECAY_NEVER };
	pthread_t thread;

	*slow = mews_kernel_real;
	slow->mmap = slow_discard;
	mews_kernel = slow;
	assert_int_equal(mews_pool_create(&config, pool), 0);
	mews_return(*pool, mews_lease(*pool));
	assert_int_equal(mews_pool_stats(*pool, &stats), 0);
	if (bounded)
		assert_int_equal(mews_pool_set_node_limit(*pool, 0, stats.backed_bytes), 0);
	discarding = 0;
	assert_int_equal(pthread_create(&thread, NULL, trim_all, *pool), 0);
	while (!discarding)
		usleep(100);
	return thread;
}

/* Where no limit in bytes is in the way, another slab stands in for it, for all blocks of the pool. */
static void test_goes_on_beside_trim(void **state)
{
	struct mews_kernel slow;
	struct mews_pool *pool;
	pthread_t trimmer;
	void *block[BLOCKS];

	(void)state;
	held = 1;
	trimmer = start_trim(&slow, &pool, false);
	assert_int_equal(mews_lease_many(pool, block, BLOCKS), BLOCKS);
	held = 0;
	assert_int_equal(pthread_join(trimmer, NULL), 0);
	assert_null(mews_lease(pool));
	assert_int_equal(errno, ENOBUFS);
	mews_return_many(pool, block, BLOCKS);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_waits_for_trim(void **state)
{
	struct mews_kernel slow;
	struct mews_pool *pool;
	pthread_t thread = start_trim(&slow, &pool, true);
	void *mine = mews_lease(pool), *failed;

	(void)state;
	assert_non_null(mine);
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	mews_return(pool, mine);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Pauses take no time, so that who waits by their number has soon given up. */
static int no_pause(uint32_t *word, uint32_t expected, const struct timespec *relative)
{
	if (relative && !relative->tv_sec && relative->tv_nsec < 1000000)
		return 0;
	asleep = 1;
	return mews_kernel_real.futex_wait(word, expected, relative);
}

static void *lease_waiting(void *pool)
{
	struct timespec deadline = threads_deadline(30);

	return mews_lease_wait(pool, &deadline);
}

/* Once it sleeps, those who are slow go on. */
static pthread_t start_waiter(struct mews_kernel *slow, struct mews_pool *pool)
{
	pthread_t thread;

	slow->futex_wait = no_pause;
	asleep = 0;
	assert_int_equal(pthread_create(&thread, NULL, lease_waiting, pool), 0);
	while (!asleep)
		usleep(100);
	refused = refused ? 2 : 0; /* the growth that is under way, and no other */
	held = 0;
	return thread;
}

static void end_waiter(struct mews_pool *pool, pthread_t thread, double since)
{
	void *block;

	assert_int_equal(pthread_join(thread, &block), 0);
	assert_non_null(block);
	assert_true(threads_now() - since < 20);
	mews_return(pool, block);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_waiter_beside_trim(void **state)
{
	double start = threads_now();
	struct mews_kernel slow;
	struct mews_pool *pool;
	pthread_t trimmer, waiter;

	(void)state;
	held = 1;
	trimmer = start_trim(&slow, &pool, true);
	waiter = start_waiter(&slow, pool);
	assert_int_equal(pthread_join(trimmer, NULL), 0);
	end_waiter(pool, waiter, start);
}

/* The growth that the waiter met comes to nothing: there is room for its own. */
static void test_waiter_beside_growth_that_fails(void **state)
{
	double start = threads_now();
	struct mews_pool *pool;
	struct mews_kernel slow = mews_kernel_real;
	pthread_t grower, waiter;
	void *block;

	(void)state;
	slow.madvise = slow_madvise;
	mews_kernel = &slow;
	refused = held = 1;
	grower = start_growth(&pool);
	waiter = start_waiter(&slow, pool);
	assert_int_equal(pthread_join(grower, &block), 0);
	assert_null(block);
	end_waiter(pool, waiter, start);
}

/* All of the pool's slabs are in others' hands: that is no lack of memory. */
static void test_waits_for_slab(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = 500,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_kernel slow = mews_kernel_real;
	struct mews_pool *pool;
	void *block[500], *mine, *other;
	pthread_t thread;
	size_t count;

	(void)state;
	mews_kernel = &slow;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 1 << 20), 0);
	count = mews_lease_many(pool, block, 500);
	assert_in_range(count, 1, 499);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 3 << 19), 0);
	populating = 0;
	slow.madvise = slow_madvise;
	assert_int_equal(pthread_create(&thread, NULL, lease_slowly, pool), 0);
	while (!populating)
		usleep(100);
	mine = mews_lease(pool);
	assert_non_null(mine);
	assert_int_equal(pthread_join(thread, &other), 0);
	assert_non_null(other);
	mews_return(pool, mine);
	mews_return(pool, other);
	mews_return_many(pool, block, count);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

#define CROWD 64
#define EACH 400
#define TOO_SLOW 0.02           /* seconds of a growth by itself; those wait twice as long who see none end */

/* As where each page is the first that the machine below has to find: longer than a crowd waits at once. */
static int slow_page(void *addr, size_t length, int advice)
{
	if (advice == MADV_POPULATE_WRITE)
		usleep(4000);
	return mews_kernel_real.madvise(addr, length, advice);
}

struct crowd {
	struct mews_pool *pool;
	pthread_barrier_t ready;
	void *block[CROWD][EACH];
};

static void *lease_each(void *argument)
{
	struct worker *worker = argument;
	struct crowd *crowd = worker->shared;

	pthread_barrier_wait(&crowd->ready);
	assert_int_equal(mews_lease_many(crowd->pool, crowd->block[worker->index], EACH), EACH);
	return NULL;
}

/*
 * However long a growth takes, those that wait for it do not begin their own as long as others' end: what
 * a crowd backs is ahead of its need by what CPUs have in caches, and by a growth each.
 */
static void test_crowd_waits(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .mode = MEWS_MODE_SERVER,
					   .decay_ms = MEWS_DECAY_NEVER };
	struct mews_kernel table = mews_kernel_real;
	struct mews_stats stats = { .size = sizeof(stats) };
	static struct crowd crowd;
	uint64_t most;
	double alone;

	(void)state;
	table.madvise = slow_page;
	mews_kernel = &table;
	assert_int_equal(mews_pool_create(&config, &crowd.pool), 0);
	alone = threads_now();
	mews_return(crowd.pool, mews_lease(crowd.pool));
	alone = threads_now() - alone;
	pthread_barrier_init(&crowd.ready, NULL, CROWD);
	threads_run(CROWD, 1, &crowd, lease_each);
	pthread_barrier_destroy(&crowd.ready);
	mews_kernel = &mews_kernel_real;
	assert_int_equal(mews_pool_stats(crowd.pool, &stats), 0);
	assert_int_equal(stats.leased, CROWD * EACH);
	most = threads_cpus() * (512 + stats.cache_capacity) + 512;
	print_message("%llu growths; %llu blocks free, %llu at most\n", (unsigned long long)stats.growths,
		      (unsigned long long)(stats.carved - stats.leased), (unsigned long long)most);
	mews_return_many(crowd.pool, crowd.block[0], CROWD * EACH);
	assert_int_equal(mews_pool_dispose(crowd.pool), 0);
	if (alone > TOO_SLOW) {
		print_message("skip: a growth takes %.0f ms here, longer than anybody waits for it\n", alone * 1e3);
		skip();
	}
	assert_in_range(stats.carved - stats.leased, 0, most);
}

static unsigned naps;

/* They are over at once, and so are pauses, which are shorter. */
static int count_naps(uint32_t *word, uint32_t expected, const struct timespec *relative)
{
	(void)word;
	(void)expected;
	naps += relative && relative->tv_nsec == 900000;
	errno = ETIMEDOUT;
	return -1;
}

/* Where growers got stuck, an operation at a limit in bytes waits for them once, not before each of its looks. */
static void test_waits_once(void **state)
{
	struct mews_pool_config config = { .size = sizeof(config), .decay_ms = MEWS_DECAY_NEVER };
	struct mews_kernel short_naps = mews_kernel_real;
	struct mews_control *control;
	struct mews_pool *pool;
	void *block[500];
	size_t count;

	(void)state;
	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_pool_set_node_limit(pool, 0, 1 << 20), 0);
	count = mews_lease_many(pool, block, 500);
	assert_in_range(count, 1, 499);
	control = mews_control_of(pool);
	short_naps.futex_wait = count_naps;
	mews_kernel = &short_naps;
	atomic_store(&control->growers, control->plan.cpus);
	atomic_fetch_add(&control->slabs.growing, 1);
	naps = 0;
	assert_null(mews_lease(pool));
	assert_int_equal(errno, ENOBUFS);
	assert_in_range(naps, 1, 100);
	atomic_fetch_sub(&control->slabs.growing, 1);
	atomic_store(&control->growers, 0);
	mews_kernel = &mews_kernel_real;
	mews_return_many(pool, block, count);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* On a machine of several nodes too: else what these wait for would come from another. */
static void one_node(void)
{
	char machine[40];

	snprintf(machine, sizeof(machine), "node:1 pu:%ld", sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(setenv("HWLOC_SYNTHETIC", machine, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_waits_for_growth, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_out, set_up, tear_down),
		cmocka_unit_test(test_bytes_out),
		cmocka_unit_test_setup_teardown(test_growth_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_goes_on_beside_trim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waits_for_trim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiter_beside_trim, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_waiter_beside_growth_that_fails, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_waits_for_slab, set_up, tear_down),
		cmocka_unit_test(test_crowd_waits),
		cmocka_unit_test(test_waits_once),
	};

	one_node();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
