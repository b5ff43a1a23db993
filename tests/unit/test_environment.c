/* SPDX-License-Identifier: MIT */
/* MEWS_MODE, MEWS_HARD_LIMIT, MEWS_DECAY: what they say holds where the configuration is silent. */
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "../../lib/environment.h"
#include "../support/suite.h"

static int degraded;

static void on_report(void *context, const struct mews_report *report)
{
	(void)context;
	degraded += report->kind == MEWS_REPORT_DEGRADED && strncmp(report->message, "MEWS_", 5) == 0;
}

static int clear(void **state)
{
	(void)state;
	unsetenv("MEWS_MODE");
	unsetenv("MEWS_HARD_LIMIT");
	unsetenv("MEWS_DECAY");
	degraded = 0;
	return 0;
}

static struct mews_stats create(enum mews_mode mode, unsigned decay_ms)
{
	struct mews_pool_config config = { .size = sizeof(config), .mode = mode, .block_size = 4096,
					   .decay_ms = decay_ms, .on_report = on_report };
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
	return stats;
}

static void test_mode(void **state)
{
	(void)state;
	setenv("MEWS_MODE", "workstation", 1);
	assert_int_equal(create(MEWS_MODE_AUTO, 0).mode, MEWS_MODE_WORKSTATION);
	assert_int_equal(create(MEWS_MODE_AUTO, 0).decay_ms, 250);
	assert_int_equal(create(MEWS_MODE_SERVER, 0).mode, MEWS_MODE_SERVER);
	setenv("MEWS_MODE", "server", 1);
	assert_int_equal(create(MEWS_MODE_AUTO, 0).mode, MEWS_MODE_SERVER);
	assert_int_equal(create(MEWS_MODE_AUTO, 0).decay_ms, 1500);
	assert_int_equal(create(MEWS_MODE_WORKSTATION, 0).mode, MEWS_MODE_WORKSTATION);
	assert_int_equal(degraded, 0);
}

static void test_decay(void **state)
{
	(void)state;
	setenv("MEWS_DECAY", "2500", 1);
	assert_int_equal(create(MEWS_MODE_SERVER, 0).decay_ms, 2500);
	assert_int_equal(create(MEWS_MODE_SERVER, 40).decay_ms, 40);
	setenv("MEWS_DECAY", "never", 1);
	assert_int_equal(create(MEWS_MODE_SERVER, 0).decay_ms, MEWS_DECAY_NEVER);
	assert_int_equal(degraded, 0);
}

static void check_limit(const char *text, uint64_t bytes)
{
	struct mews_environment e;

	setenv("MEWS_HARD_LIMIT", text, 1);
	mews_environment_read(&e);
	assert_int_equal(e.hard_limit, bytes);
	assert_int_equal(e.bad[1] == NULL, bytes > 0);
}

static void test_limit(void **state)
{
	(void)state;
	check_limit("1073741824", 1 << 30);
	check_limit("512M", 512 << 20);
	check_limit("3G", UINT64_C(3) << 30);
	check_limit("0", 0);
	check_limit("12x", 0);
	check_limit("12MM", 0);
	check_limit("-1", 0);
	check_limit("99999999T", 0);
	check_limit("99999999999999999999999", 0);
	setenv("MEWS_HARD_LIMIT", "300M", 1);
	assert_in_range(create(MEWS_MODE_SERVER, 0).max_blocks, 60000, 300 * 256);
	assert_int_equal(create(MEWS_MODE_SERVER, 0).hard_limit, 300 << 20);
}

static void test_bad(void **state)
{
	(void)state;
	setenv("MEWS_MODE", "fast", 1);
	setenv("MEWS_DECAY", "10s", 1);
	setenv("MEWS_HARD_LIMIT", "much", 1);
	assert_int_equal(create(MEWS_MODE_SERVER, 0).decay_ms, 1500);
	assert_int_equal(degraded, 3);
	setenv("MEWS_MODE", "", 1);
	setenv("MEWS_DECAY", "0", 1);
	unsetenv("MEWS_HARD_LIMIT");
	degraded = 0;
	assert_int_equal(create(MEWS_MODE_SERVER, 0).decay_ms, 1500);
	assert_int_equal(degraded, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mode), TEST(test_decay), TEST(test_limit), TEST(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
