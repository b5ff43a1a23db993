/* SPDX-License-Identifier: MIT */
/* Conformance: what leases and returns give and take, one by one, in bulk, and by size. */
#include "conformance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "support/threads.h"

#define COUNT 1000

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorted, each block begins at or behind the end of the one before. Leaves blocks sorted. */
static void check_disjoint(void **blocks, size_t count, size_t size)
{
	qsort(blocks, count, sizeof(*blocks), by_address);
	for (size_t i = 1; i < count; i++)
		assert_true((char *)blocks[i - 1] + size <= (char *)blocks[i]);
}

static void check_aligned(void **blocks, size_t count, size_t alignment)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal((uintptr_t)blocks[i] % alignment, 0);
}

static void fill(void **blocks, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++)
		memset(blocks[i], (int)(i & 0xff), size);
}

/* Each block still holds what fill() wrote: none lies in another. */
static void check_filled(void **blocks, size_t count, size_t size)
{
	for (size_t i = 0; i < count; i++) {
		const unsigned char *bytes = blocks[i];

		for (size_t k = 0; k < size; k += k < 128 || k + 128 >= size ? 1 : 61)
			assert_int_equal(bytes[k], i & 0xff);
	}
}

static void test_lease_and_return(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *block = kind_calls.lease(pool);

	(void)state;
	assert_non_null(block);
	memset(block, 0x5a, MEWS_MAX_POOLED_BLOCK_LENGTH);
	assert_int_equal(stats_of(pool).leased, 1);
	kind_calls.give(pool, block);
	end_pool(pool);
}

static void test_blocks_are_whole(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	lease_all(pool, blocks, COUNT);
	check_aligned(blocks, COUNT, 64);
	check_disjoint(blocks, COUNT, MEWS_MAX_POOLED_BLOCK_LENGTH);
	fill(blocks, COUNT, MEWS_MAX_POOLED_BLOCK_LENGTH);
	check_filled(blocks, COUNT, MEWS_MAX_POOLED_BLOCK_LENGTH);
	return_all(pool, blocks, COUNT);
	end_pool(pool);
}

static void check_geometry(size_t size, size_t alignment, size_t count)
{
	struct mews_pool_config config = kind_config();
	void **blocks = calloc(count, sizeof(*blocks));
	struct mews_pool *pool;

	config.block_size = size;
	config.alignment = alignment;
	config.max_blocks = count;
	pool = kind_pool_from(&config);
	assert_in_range(stats_of(pool).block_size, size, SIZE_MAX);
	lease_all(pool, blocks, count);
	check_aligned(blocks, count, alignment ? alignment : 64);
	check_disjoint(blocks, count, size);
	fill(blocks, count, size);
	check_filled(blocks, count, size);
	return_all(pool, blocks, count);
	end_pool(pool);
	free(blocks);
}

static void test_block_sizes(void **state)
{
	static const size_t sizes[] = { 1, 7, 8, 16, 63, 64, 65, 100, 256, 1000, 1024, 2048, 4032,
					4095, 4096, 4097, 8192, 12288, 16384, 65536, 100000, 1 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		check_geometry(sizes[i], 0, sizes[i] > 65536 ? 9 : 300);
}

static void test_alignments(void **state)
{
	(void)state;
	for (size_t alignment = 8; alignment <= (size_t)2 << 20; alignment *= 2)
		check_geometry(alignment > 65536 ? 5000 : 24, alignment, alignment > 65536 ? 5 : 100);
}

static void test_maximum_is_exact(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	for (int round = 0; round < 3; round++) {
		lease_all(pool, blocks, COUNT);
		errno = 0;
		assert_null(kind_calls.lease(pool));
		assert_int_equal(errno, ENOBUFS);
		assert_int_equal(stats_of(pool).leased, COUNT);
		return_all(pool, blocks, COUNT);
	}
	assert_true(stats_of(pool).failures >= 3);
	end_pool(pool);
}

/* Blocks that lie in another CPU's cache are free all the same. */
static void test_maximum_from_each_cpu(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	for (unsigned cpu = 0; cpu < 2 * threads_cpus(); cpu++) {
		threads_pin(cpu);
		lease_all(pool, blocks, COUNT);
		assert_null(kind_calls.lease(pool));
		assert_int_equal(errno, ENOBUFS);
		threads_pin(cpu + 1);
		return_all(pool, blocks, COUNT);
	}
	threads_unpin();
	end_pool(pool);
}

/* With few blocks, each of them may be in a cache: every single one must still be had. */
static void test_few_blocks(void **state)
{
	(void)state;
	for (size_t max = 1; max <= 9; max++) {
		struct mews_pool *pool = kind_pool(0, max);
		void *blocks[9];

		for (unsigned cpu = 0; cpu < 6; cpu++) {
			threads_pin(cpu);
			lease_all(pool, blocks, max);
			assert_null(kind_calls.lease(pool));
			assert_int_equal(errno, ENOBUFS);
			return_all(pool, blocks, max);
		}
		threads_unpin();
		end_pool(pool);
	}
}

static void test_bulk(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 200, 999, COUNT };
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		size_t count = counts[i];

		assert_int_equal(mews_lease_many(pool, blocks, count), count);
		assert_int_equal(stats_of(pool).leased, count);
		fill(blocks, count, MEWS_MAX_POOLED_BLOCK_LENGTH);
		check_filled(blocks, count, MEWS_MAX_POOLED_BLOCK_LENGTH);
		check_disjoint(blocks, count, MEWS_MAX_POOLED_BLOCK_LENGTH);
		mews_return_many(pool, blocks, count);
	}
	end_pool(pool);
}

static void test_bulk_partial(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[2 * COUNT];

	(void)state;
	for (size_t first = 0; first <= COUNT; first += 250) {
		assert_int_equal(mews_lease_many(pool, blocks, first), first);
		errno = 0;
		assert_int_equal(mews_lease_many(pool, blocks + first, COUNT + 1 - first),
				 COUNT - first);
		assert_int_equal(errno, ENOBUFS);
		assert_int_equal(mews_lease_many(pool, blocks + COUNT, 1), 0);
		check_disjoint(blocks, COUNT, MEWS_MAX_POOLED_BLOCK_LENGTH);
		mews_return_many(pool, blocks, COUNT);
	}
	end_pool(pool);
}

/* Bulk and single calls draw on the same blocks, in any mixture. */
static void test_bulk_and_single(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	for (size_t part = 1; part < COUNT; part = part * 3 + 1) {
		assert_int_equal(mews_lease_many(pool, blocks, part), part);
		lease_all(pool, blocks + part, COUNT - part);
		check_disjoint(blocks, COUNT, MEWS_MAX_POOLED_BLOCK_LENGTH);
		return_all(pool, blocks, part);
		mews_return_many(pool, blocks + part, COUNT - part);
	}
	end_pool(pool);
}

static void test_null_is_ignored(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *blocks[5] = { NULL };

	(void)state;
	kind_calls.give(pool, NULL);
	mews_return_many(pool, blocks, 5);
	blocks[1] = kind_calls.lease(pool);
	blocks[4] = kind_calls.lease(pool);
	mews_return_many(pool, blocks, 5);
	assert_int_equal(stats_of(pool).foreign_pointers, 0);
	assert_int_equal(stats_of(pool).double_returns, 0);
	end_pool(pool);
}

static void test_return_keeps_errno(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	static void *blocks[COUNT];

	(void)state;
	lease_all(pool, blocks, COUNT);
	errno = 4711;
	return_all(pool, blocks, COUNT);
	assert_int_equal(errno, 4711);
	end_pool(pool);
}

static void check_zeroed(const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (bytes[i])
			fail_msg("byte %zu of an oversize lease is %d", i, bytes[i]);
}

static void test_oversize(void **state)
{
	static const size_t sizes[] = { 4033, 8192, 85000, 1 << 20, (5 << 20) + 1 };
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *blocks[5];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		blocks[i] = mews_lease_sized(pool, sizes[i]);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 4096, 0);
		check_zeroed(blocks[i], sizes[i]);
		memset(blocks[i], 0x33, sizes[i]);
	}
	assert_int_equal(stats_of(pool).oversize_leased, 5);
	assert_true(stats_of(pool).oversize_bytes >= sizes[4] + sizes[3]);
	assert_int_equal(stats_of(pool).leased, 0);
	return_all(pool, blocks, 5);
	end_pool(pool);
}

static void test_sized_within_a_block(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *blocks[3] = { mews_lease_sized(pool, 0), mews_lease_sized(pool, 1),
			    mews_lease_sized(pool, MEWS_MAX_POOLED_BLOCK_LENGTH) };
	struct mews_stats stats = stats_of(pool);

	(void)state;
	assert_int_equal(stats.leased, 3);
	assert_int_equal(stats.oversize_leased, 0);
	return_all(pool, blocks, 3);
	end_pool(pool);
}

static void test_oversize_limit(void **state)
{
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool;
	void *block;

	(void)state;
	config.oversize_limit = 100000;
	config.max_blocks = 64;
	pool = kind_pool_from(&config);
	errno = 0;
	assert_null(mews_lease_sized(pool, 100001));
	assert_int_equal(errno, EMSGSIZE);
	assert_null(mews_lease_sized(pool, SIZE_MAX));
	assert_int_equal(errno, EMSGSIZE);
	block = mews_lease_sized(pool, 100000);
	assert_non_null(block);
	kind_calls.give(pool, block);
	end_pool(pool);
}

/* Many oversize leases, some returned out of order, in bulk together with blocks of the pool. */
static void test_oversize_in_bulk(void **state)
{
	struct mews_pool *pool = kind_pool(0, COUNT);
	void *blocks[100];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 100; i++) {
			blocks[i] = i % 2 ? mews_lease_sized(pool, 20000) : kind_calls.lease(pool);
			assert_non_null(blocks[i]);
		}
		assert_int_equal(stats_of(pool).oversize_leased, 50);
		mews_return_many(pool, blocks, 100);
	}
	end_pool(pool);
}

const struct CMUnitTest conformance_lease[] = {
	cmocka_unit_test(test_lease_and_return),
	cmocka_unit_test(test_blocks_are_whole),
	cmocka_unit_test(test_block_sizes),
	cmocka_unit_test(test_alignments),
	cmocka_unit_test(test_maximum_is_exact),
	cmocka_unit_test(test_maximum_from_each_cpu),
	cmocka_unit_test(test_few_blocks),
	cmocka_unit_test(test_bulk),
	cmocka_unit_test(test_bulk_partial),
	cmocka_unit_test(test_bulk_and_single),
	cmocka_unit_test(test_null_is_ignored),
	cmocka_unit_test(test_return_keeps_errno),
	cmocka_unit_test(test_oversize),
	cmocka_unit_test(test_sized_within_a_block),
	cmocka_unit_test(test_oversize_limit),
	cmocka_unit_test(test_oversize_in_bulk),
};
const size_t conformance_lease_count = sizeof(conformance_lease) / sizeof(conformance_lease[0]);
