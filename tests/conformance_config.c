/* SPDX-License-Identifier: MIT */
/* Conformance: what mews_pool_create accepts and refuses, and the sizes of structs. */
#include "conformance.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void check_refused(struct mews_pool_config config)
{
	struct mews_pool *pool = (struct mews_pool *)-1;

	assert_int_equal(mews_pool_create(&config, &pool), -EINVAL);
	assert_null(pool);
}

#define REFUSED(member, value)                                  \
	do {                                                    \
		struct mews_pool_config bad_ = kind_config();   \
		bad_.member = (value);                          \
		check_refused(bad_);                            \
	} while (0)

static void test_absurd_sizes(void **state)
{
	(void)state;
	REFUSED(block_size, ((size_t)64 << 20) + 1);
	REFUSED(block_size, SIZE_MAX);
	REFUSED(alignment, 3);
	REFUSED(alignment, 4);
	REFUSED(alignment, 48);
	REFUSED(alignment, (size_t)4 << 20);
	REFUSED(alignment, SIZE_MAX);
}

/* More than there is at once: no memory, rather than wrong. */
static void test_initial_blocks_beyond_memory(void **state)
{
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool = (struct mews_pool *)-1;

	(void)state;
	config.initial_blocks = SIZE_MAX;
	assert_int_equal(mews_pool_create(&config, &pool), -ENOMEM);
	assert_null(pool);
}

/* Wishes without bound: the other limits hold. */
static void test_unbounded_wishes(void **state)
{
	static const size_t huge[] = { SIZE_MAX, SIZE_MAX - 4095, SIZE_MAX / 2, (size_t)1 << 47 };
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool;
	void *blocks[50];

	(void)state;
	config.max_blocks = 50;
	config.growth_blocks = SIZE_MAX;
	config.oversize_limit = SIZE_MAX;
	pool = kind_pool_from(&config);
	lease_all(pool, blocks, 50);
	assert_null(kind_calls.lease(pool));
	for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++)
		assert_null(mews_lease_sized(pool, huge[i]));
	return_all(pool, blocks, 50);
	end_pool(pool);
}

static void test_absurd_choices(void **state)
{
	(void)state;
	REFUSED(mode, (enum mews_mode)3);
	REFUSED(mode, (enum mews_mode)-1);
	REFUSED(node_policy, (enum mews_node_policy)2);
	REFUSED(page_policy, (enum mews_page_policy)5);
	REFUSED(page_policy, (enum mews_page_policy)-1);
	REFUSED(checks, (enum mews_checks)3);
	REFUSED(checks, (enum mews_checks)-1);
}

static void test_initial_above_maximum(void **state)
{
	struct mews_pool_config config = kind_config();

	(void)state;
	config.max_blocks = 100;
	config.initial_blocks = 101;
	check_refused(config);
}

static void test_size_of_the_struct(void **state)
{
	(void)state;
	REFUSED(size, 0);
	REFUSED(size, 1);
	REFUSED(size, sizeof(size_t));
	REFUSED(size, SIZE_MAX);
}

/* A newer caller: its struct is longer, and what this library does not know is zero. */
static void test_longer_struct(void **state)
{
	struct { struct mews_pool_config config; char more[64]; } longer = { .config = kind_config() };
	struct mews_pool *pool = (struct mews_pool *)-1;

	(void)state;
	longer.config.size = sizeof(longer);
	longer.more[40] = 1;
	assert_int_equal(mews_pool_create(&longer.config, &pool), -EINVAL);
	assert_null(pool);
}

static void test_null_arguments(void **state)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_pool *pool;

	(void)state;
	assert_int_equal(mews_pool_create(NULL, NULL), -EINVAL);
	assert_int_equal(mews_pool_stats(NULL, &stats), -EINVAL);
	assert_int_equal(mews_pool_create(NULL, &pool), 0);
	assert_int_equal(mews_pool_stats(pool, NULL), -EINVAL);
	stats.size = 0;
	assert_int_equal(mews_pool_stats(pool, &stats), -EINVAL);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* No configuration at all: Kestrel's blocks. */
static void test_null_config(void **state)
{
	struct mews_pool *pool;
	void *block;

	(void)state;
	assert_int_equal(mews_pool_create(NULL, &pool), 0);
	block = kind_calls.lease(pool);
	assert_non_null(block);
	assert_int_equal(stats_of(pool).block_size, MEWS_MAX_POOLED_BLOCK_LENGTH);
	assert_int_equal(stats_of(pool).stride, 4096);
	memset(block, 1, MEWS_MAX_POOLED_BLOCK_LENGTH);
	kind_calls.give(pool, block);
	end_pool(pool);
}

static void test_long_name(void **state)
{
	struct mews_pool_config config = kind_config();
	struct mews_pool *pool;
	char name[200];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	config.name = name;
	pool = kind_pool_from(&config);
	memset(name, 'x', sizeof(name) - 1);
	assert_int_equal(strlen(stats_of(pool).name), 31);
	assert_int_equal(stats_of(pool).name[0], 'n');
	end_pool(pool);
}

/* Strict, on several nodes, where the kernel refuses to bind memory: nothing is leased. */
static bool is_refused(struct mews_pool *pool, enum mews_node_policy policy)
{
	const struct mews_stats stats = stats_of(pool);

	if (policy != MEWS_NODE_STRICT || stats.nodes == 1 ||
	    syscall(SYS_mbind, NULL, 0, 0, NULL, 0, 0) == 0)
		return false;
	assert_null(mews_lease(pool));
	assert_int_equal(errno, ENOMEM);
	return true;
}

static void test_policies(void **state)
{
	(void)state;
	for (int pages = MEWS_PAGES_AUTO; pages <= MEWS_PAGES_BASE; pages++) {
		struct mews_pool_config config = kind_config();
		struct mews_pool *pool;
		void *blocks[600];

		config.page_policy = (enum mews_page_policy)pages;
		config.node_policy = (enum mews_node_policy)(pages % 2);
		config.max_blocks = 600;
		pool = kind_pool_from(&config);
		if (is_refused(pool, config.node_policy)) {
			end_pool(pool);
			continue;
		}
		lease_all(pool, blocks, 600);
		if (pages == MEWS_PAGES_BASE)
			assert_int_equal(stats_of(pool).node[0].backed_thp, 0);
		return_all(pool, blocks, 600);
		end_pool(pool);
	}
}

static void test_version(void **state)
{
	char expected[32];

	(void)state;
	snprintf(expected, sizeof(expected), "%d.%d.%d", MEWS_VERSION_MAJOR, MEWS_VERSION_MINOR,
		 MEWS_VERSION_PATCH);
	assert_string_equal(mews_version(), expected);
}

const struct CMUnitTest conformance_config[] = {
	cmocka_unit_test(test_absurd_sizes),
	cmocka_unit_test(test_initial_blocks_beyond_memory),
	cmocka_unit_test(test_unbounded_wishes),
	cmocka_unit_test(test_absurd_choices),
	cmocka_unit_test(test_initial_above_maximum),
	cmocka_unit_test(test_size_of_the_struct),
	cmocka_unit_test(test_longer_struct),
	cmocka_unit_test(test_null_arguments),
	cmocka_unit_test(test_null_config),
	cmocka_unit_test(test_long_name),
	cmocka_unit_test(test_policies),
	cmocka_unit_test(test_version),
};
const size_t conformance_config_count = sizeof(conformance_config) / sizeof(conformance_config[0]);
