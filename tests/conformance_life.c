/* SPDX-License-Identifier: MIT */
/* Conformance: a pool's life: growth, drain, dispose, fork, and pools beside each other. */
#include "conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/inline.h>
#include "support/maps.h"
#include "support/threads.h"

#define COUNT 2000

static void test_nothing_before_the_first_lease(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *block;

	(void)state;
	assert_int_equal(stats_of(pool).carved, 0);
	block = kind_calls.lease(pool);
	assert_non_null(block);
	assert_true(stats_of(pool).carved >= 1);
	kind_calls.give(pool, block);
	end_pool(pool);
}

static void test_initial_blocks(void **state)
{
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool;
	struct mews_stats stats;

	(void)state;
	config.initial_blocks = COUNT;
	config.max_blocks = COUNT;
	pool = kind_pool_from(&config);
	stats = stats_of(pool);
	assert_int_equal(stats.carved, COUNT);
	assert_int_equal(stats.leased, 0);
	assert_true(stats.backed_bytes >= COUNT * stats.block_size);
	end_pool(pool);
}

static void test_growth(void **state)
{
	struct mews_pool_config config = kind_config();
	static void *blocks[4 * COUNT];
	struct mews_pool *pool;
	struct mews_stats stats;

	(void)state;
	config.max_blocks = 4 * COUNT;
	pool = kind_pool_from(&config);
	for (size_t i = 0; i < 4 * COUNT; i += COUNT) {
		lease_all(pool, blocks + i, COUNT);
		stats = stats_of(pool);
		assert_int_equal(stats.leased, i + COUNT);
		assert_in_range(stats.carved, i + COUNT, 4 * COUNT);
	}
	assert_true(stats.growths >= 1);
	return_all(pool, blocks, 4 * COUNT);
	assert_int_equal(stats_of(pool).carved, 4 * COUNT);
	end_pool(pool);
}

static void test_growth_step(void **state)
{
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool;
	void *block;

	(void)state;
	config.max_blocks = 8 * COUNT;
	config.growth_blocks = 3 * COUNT;
	pool = kind_pool_from(&config);
	block = kind_calls.lease(pool);
	assert_in_range(stats_of(pool).carved, 3 * COUNT, 8 * COUNT);
	kind_calls.give(pool, block);
	end_pool(pool);
}

static void test_counters(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];
	struct mews_stats stats;

	(void)state;
	lease_all(pool, blocks, COUNT);
	return_all(pool, blocks, COUNT);
	stats = stats_of(pool);
	assert_true(stats.lease_misses >= 1);
	assert_true(stats.lease_misses <= COUNT);
	assert_true(stats.return_misses <= COUNT);
	assert_string_equal(stats.name, kind->name);
	assert_int_equal(stats.max_blocks, COUNT);
	assert_true(stats.stride >= stats.block_size);
	end_pool(pool);
}

static void test_path_is_told(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	struct mews_stats stats = stats_of(pool);

	(void)state;
	if (kind_path())
		assert_int_equal(stats.path, kind_path());
	assert_in_range(stats.path, MEWS_PATH_RSEQ, MEWS_PATH_CHECKED);
	assert_true(strlen(stats.path_reason) > 10);
	assert_true(stats.mode == MEWS_MODE_SERVER || stats.mode == MEWS_MODE_WORKSTATION);
	if (kind->mode != MEWS_MODE_AUTO)
		assert_int_equal(stats.mode, kind->mode);
	end_pool(pool);
}

static void test_describe(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	char text[16384], cut[20];
	int length = mews_pool_describe(pool, text, sizeof(text));

	(void)state;
	assert_in_range(length, 100, (int)sizeof(text) - 1);
	assert_int_equal(strlen(text), length);
	assert_non_null(strchr(text, '\n'));
	assert_int_equal(mews_pool_describe(pool, cut, sizeof(cut)), length);
	assert_int_equal(strlen(cut), sizeof(cut) - 1);
	assert_memory_equal(cut, text, sizeof(cut) - 1);
	assert_int_equal(mews_pool_describe(pool, NULL, 0), length);
	assert_int_equal(mews_pool_describe(NULL, text, sizeof(text)), -EINVAL);
	end_pool(pool);
}

static void test_drain(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	struct timespec soon = threads_deadline(5);
	static void *blocks[COUNT];

	(void)state;
	assert_int_equal(mews_pool_drain(pool, &soon), 0);
	for (int round = 0; round < 3; round++) {
		struct mews_stats stats;

		lease_all(pool, blocks, COUNT);
		return_all(pool, blocks, COUNT);
		soon = threads_deadline(5);
		assert_int_equal(mews_pool_drain(pool, round ? &soon : NULL), 0);
		stats = stats_of(pool);
		assert_int_equal(stats.slab, stats.carved);
	}
	end_pool(pool);
}

static void test_drain_with_blocks_out(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	struct timespec bad = { .tv_nsec = 1000000000 }, soon = threads_deadline(0.05), past = { 0 };
	void *block = kind_calls.lease(pool), *large;

	(void)state;
	assert_int_equal(mews_pool_drain(pool, &soon), -ETIMEDOUT);
	assert_true(threads_now() >= (double)soon.tv_sec + (double)soon.tv_nsec * 1e-9);
	assert_int_equal(mews_pool_drain(pool, &past), -ETIMEDOUT);
	assert_int_equal(mews_pool_drain(pool, &bad), -EINVAL);
	bad.tv_nsec = -1;
	assert_int_equal(mews_pool_drain(pool, &bad), -EINVAL);
	assert_int_equal(mews_pool_drain(NULL, &soon), -EINVAL);
	kind_calls.give(pool, block);
	large = mews_lease_sized(pool, 100000);
	assert_int_equal(mews_pool_drain(pool, &past), -ETIMEDOUT);
	kind_calls.give(pool, large);
	soon = threads_deadline(5);
	assert_int_equal(mews_pool_drain(pool, &soon), 0);
	end_pool(pool);
}

static void *return_later(void *argument)
{
	struct worker *worker = argument;
	void **block = worker->shared;

	threads_sleep(0.03);
	kind_calls.give(block[0], block[1]);
	return NULL;
}

static void test_drain_waits_for_a_return(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *shared[2] = { pool, kind_calls.lease(pool) };
	struct worker worker;

	(void)state;
	threads_start(&worker, 1, 1, shared, return_later);
	assert_int_equal(mews_pool_drain(pool, NULL), 0);
	threads_join(&worker, 1);
	end_pool(pool);
}

/* The pool's memory goes at the latest soon after its last block has come back. */
static bool goes_away(const void *block)
{
	double end = threads_now() + 5;

	while (maps_readable(block)) {
		if (threads_now() > end)
			return false;
		threads_sleep(0.01);
	}
	return true;
}

/*
 * The same of a large block whose first byte is MARK. ThreadSanitizer may map memory of its own where it was, before
 * anybody looks: there another byte will do.
 */
#define MARK 0x5a

static bool large_goes_away(const void *block)
{
	unsigned char byte = MARK;
	int fd = mews_tsan_active() ? open("/proc/self/mem", O_RDONLY) : -1;
	bool other = fd >= 0 && (pread(fd, &byte, 1, (off_t)(uintptr_t)block) != 1 || byte != MARK);

	if (fd >= 0)
		close(fd);
	return other || goes_away(block);
}

static void test_dispose_with_blocks_out(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[100];
	void *large = mews_lease_sized(pool, 100000), *none;

	(void)state;
	lease_all(pool, blocks, 100);
	assert_int_equal(mews_pool_dispose(pool), 0);
	errno = 0;
	assert_null(kind_calls.lease(pool));
	assert_int_equal(errno, ESHUTDOWN);
	assert_null(mews_lease_sized(pool, 100000));
	assert_int_equal(errno, ESHUTDOWN);
	assert_int_equal(mews_lease_many(pool, &none, 1), 0);
	assert_int_equal(mews_pool_drain(pool, NULL), -ESHUTDOWN);
	for (int i = 0; i < 100; i++) {
		memset(blocks[i], i, MEWS_MAX_POOLED_BLOCK_LENGTH);
		assert_int_equal(mews_pool_dispose(pool), 0);
		kind_calls.give(pool, blocks[i]);
	}
	memset(large, 1, 100000);
	kind_calls.give(pool, large);
	assert_true(goes_away(large));
	assert_true(goes_away(blocks[0]));
}

static void test_dispose_at_once(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *block = kind_calls.lease(pool);

	(void)state;
	kind_calls.give(pool, block);
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_true(goes_away(block));
	assert_int_equal(mews_pool_dispose(NULL), -EINVAL);
}

/* The last blocks come back in bulk, together with an oversize lease. */
static void test_dispose_then_return_in_bulk(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *blocks[65];

	(void)state;
	assert_int_equal(mews_lease_many(pool, blocks, 64), 64);
	blocks[64] = mews_lease_sized(pool, 50000);
	*(unsigned char *)blocks[64] = MARK;
	assert_int_equal(mews_pool_dispose(pool), 0);
	mews_return_many(pool, blocks, 65);
	assert_true(goes_away(blocks[0]));
	assert_true(large_goes_away(blocks[64]));
}

static void test_many_pools(void **state)
{
	enum { POOLS = 100, EACH = 10 };
	static struct mews_pool *pools[POOLS];
	static void *blocks[POOLS][EACH];
	int count = getenv("MEWS_TEST_SHORT") ? POOLS / 5 : POOLS;

	(void)state;
	for (int i = 0; i < count; i++) {
		pools[i] = kind_pool((size_t)64 << (i % 8), EACH);
		lease_all(pools[i], blocks[i], EACH);
		for (int k = 0; k < EACH; k++)
			memset(blocks[i][k], i, (size_t)64 << (i % 8));
	}
	for (int i = 0; i < count; i++) {
		assert_int_equal(*(unsigned char *)blocks[i][EACH - 1], i);
		return_all(pools[i], blocks[i], EACH);
		end_pool(pools[i]);
	}
}

/* What a pool takes it gives back: after a warming round the address space does not grow. */
static void test_no_leak(void **state)
{
	struct maps before = { 0 }, after;
	static void *blocks[COUNT];

	(void)state;
	for (int round = 0; round < 6; round++) {
		struct mews_pool *pool = kind_pool(0, COUNT);
		void *large = mews_lease_sized(pool, 1 << 20);

		lease_all(pool, blocks, COUNT);
		return_all(pool, blocks, COUNT);
		kind_calls.give(pool, large);
		end_pool(pool);
		assert_true(goes_away(blocks[0]));
		if (round == 1)
			before = maps_read();
	}
	after = maps_read();
	if (!maps_tell())
		skip();
	assert_true(after.count <= before.count + 1);
	assert_true(after.bytes <= before.bytes + (1 << 20));
}

static void child_of_fork(struct mews_pool *pool, void **blocks)
{
	int wrong = 0;

	for (int i = 0; i < 300; i++) {
		const unsigned char *bytes = blocks[i];

		wrong |= bytes[0] != (i & 0xff) || bytes[4000] != (i & 0xff);
	}
	return_all(pool, blocks, 300);
	for (int i = 0; i < 500; i++) {
		blocks[i] = kind_calls.lease(pool);
		wrong |= !blocks[i];
		if (blocks[i])
			memset(blocks[i], 0xee, 4032);
	}
	for (int i = 0; i < 500; i++)
		kind_calls.give(pool, blocks[i]);
	wrong |= mews_pool_dispose(pool) != 0;
	_exit(wrong);
}

static void test_fork(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];
	int status;
	pid_t pid;

	(void)state;
	lease_all(pool, blocks, 300);
	for (int i = 0; i < 300; i++)
		memset(blocks[i], i & 0xff, 4032);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_of_fork(pool, blocks);
	for (int i = 300; i < 600; i++)
		assert_non_null(blocks[i] = kind_calls.lease(pool));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (int i = 0; i < 300; i++)
		assert_int_equal(((unsigned char *)blocks[i])[4000], i & 0xff);
	return_all(pool, blocks, 600);
	end_pool(pool);
}

struct told_leases {
	uint64_t known, leases;
};

static void add_site(void *context, const struct mews_lease_site *site)
{
	struct told_leases *told = context;

	told->leases += site->leases;
	if (site->depth)
		told->known += site->leases;
}

static struct told_leases leases_of(struct mews_pool *pool)
{
	struct told_leases told = { 0, 0 };

	assert_int_equal(mews_pool_report_leases(pool, add_site, &told), 0);
	return told;
}

/* Switched on and off around leases by each of the calls, and the pool as fast as before. */
static void test_sampled_leases(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];
	void *large;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	lease_all(pool, blocks, 100);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	lease_all(pool, blocks + 100, 50);
	assert_int_equal(mews_lease_many(pool, blocks + 150, 50), 50);
	large = mews_lease_sized(pool, 100000);
	assert_non_null(large);
	assert_int_equal(leases_of(pool).known, 101);
	assert_int_equal(leases_of(pool).leases, 201);
	mews_return(pool, large);
	return_all(pool, blocks, 175);
	assert_int_equal(leases_of(pool).known, 25);
	assert_int_equal(leases_of(pool).leases, 25);
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	assert_int_equal(leases_of(pool).known, 0);
	assert_int_equal(leases_of(pool).leases, 25);
	mews_return_many(pool, blocks + 175, 25);
	lease_all(pool, blocks, 100);
	return_all(pool, blocks, 100);
	if (stats_of(pool).path == MEWS_PATH_RSEQ)
		assert_true(stats_of(pool).cached > 0);
	end_pool(pool);
}

const struct CMUnitTest conformance_life[] = {
	cmocka_unit_test(test_nothing_before_the_first_lease),
	cmocka_unit_test(test_initial_blocks),
	cmocka_unit_test(test_growth),
	cmocka_unit_test(test_growth_step),
	cmocka_unit_test(test_counters),
	cmocka_unit_test(test_path_is_told),
	cmocka_unit_test(test_describe),
	cmocka_unit_test(test_drain),
	cmocka_unit_test(test_drain_with_blocks_out),
	cmocka_unit_test(test_drain_waits_for_a_return),
	cmocka_unit_test(test_dispose_with_blocks_out),
	cmocka_unit_test(test_dispose_at_once),
	cmocka_unit_test(test_dispose_then_return_in_bulk),
	cmocka_unit_test(test_many_pools),
	cmocka_unit_test(test_no_leak),
	cmocka_unit_test(test_fork),
	cmocka_unit_test(test_sampled_leases),
};
const size_t conformance_life_count = sizeof(conformance_life) / sizeof(conformance_life[0]);
