/* SPDX-License-Identifier: MIT */
/* Sampled leases: which are recorded, until when, and what is told of them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/mews.h>
#include "../../lib/control.h"
#include "../../lib/ledger.h"
#include "../support/audit.h"
#include "../support/suite.h"
#include "../support/threads.h"

#define BLOCKS 5000
#define SITES 8

/* What was told. */
struct told {
	unsigned sites, reports;
	struct mews_lease_site site[SITES], of_report;
	struct mews_report report;
	char message[700];
};

static struct mews_pool *pool;
static struct told told;

static void on_report(void *context, const struct mews_report *report)
{
	struct told *to = context;

	pthread_testcancel(); /* as what prints does */
	if (report->kind == MEWS_REPORT_DEGRADED)
		return;
	to->reports++;
	to->report = *report;
	snprintf(to->message, sizeof(to->message), "%s", report->message);
	if (report->site)
		to->of_report = *report->site;
}

static void on_site(void *context, const struct mews_lease_site *site)
{
	struct told *to = context;

	assert_int_equal(site->size, sizeof(*site));
	assert_ptr_equal(site->pool, pool);
	assert_true(to->sites < SITES);
	to->site[to->sites++] = *site;
}

static struct mews_pool *open_pool(enum mews_checks checks)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 64, .max_blocks = BLOCKS, .checks = checks,
		.on_report = on_report, .context = &told, .decay_ms = MEWS_DECAY_NEVER,
	};
	struct mews_pool *made;

	assert_int_equal(mews_pool_create(&config, &made), 0);
	return made;
}

/* One CPU, so that one counter counts. */
static int set_up(void **state)
{
	(void)state;
	threads_pin(0);
	told = (struct told) { 0 };
	pool = open_pool(MEWS_CHECKS_CHEAP);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return mews_pool_dispose(pool);
}

/* Two sites. The barriers keep the calls from being the last thing that the functions do. */
static __attribute__((noinline)) void *lease_here(void)
{
	void *block = mews_lease(pool);

	__asm__ volatile ("" ::: "memory");
	return block;
}

/* One call, so one stack, however often: the count is nothing that a compiler could unroll by. */
static __attribute__((noinline)) void lease_often(void **blocks, unsigned count)
{
	volatile unsigned left = count;

	while (left) {
		*blocks++ = lease_here();
		left--;
	}
}

static __attribute__((noinline)) void *lease_there(size_t bytes)
{
	void *block = mews_lease_sized(pool, bytes);

	__asm__ volatile ("" ::: "memory");
	return block;
}

static __attribute__((noinline)) void lease_bulk(void **blocks, size_t count)
{
	assert_int_equal(mews_lease_many(pool, blocks, count), count);
}

static bool made_in(const struct mews_lease_site *site, const void *function)
{
	return site->depth && (uintptr_t)site->stack[0] - (uintptr_t)function < 400;
}

static void report(void)
{
	told.sites = 0;
	assert_int_equal(mews_pool_report_leases(pool, on_site, &told), 0);
}

static uint64_t sampled(void)
{
	uint64_t sum = 0;

	report();
	for (unsigned i = 0; i < told.sites; i++)
		if (told.site[i].depth)
			sum += told.site[i].leases;
	return sum;
}

static void assert_rest(uint64_t leases)
{
	const struct mews_lease_site *last = &told.site[told.sites - 1];

	assert_true(told.sites > 0);
	assert_int_equal(last->depth, 0);
	assert_int_equal(last->leases, leases);
	assert_int_equal(last->bytes, leases * 64);
}

static void test_off(void **state)
{
	void *block = lease_here();

	(void)state;
	report();
	assert_int_equal(told.sites, 1);
	assert_rest(1);
	assert_null(mews_control_of(pool)->samples.record);
	mews_return(pool, block);
	report();
	assert_int_equal(told.sites, 0);
}

static void test_each_lease(void **state)
{
	void *before = lease_here(), *block[7];

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	lease_often(block, 3);
	block[3] = lease_there(64);
	block[4] = lease_there(1);
	lease_bulk(block + 5, 1);
	block[6] = lease_there(100000);
	threads_sleep(0.01);
	report();
	assert_true(told.sites >= 5);
	assert_rest(1);
	assert_true(made_in(&told.site[0], lease_here));
	assert_int_equal(told.site[0].leases, 3);
	assert_int_equal(told.site[0].estimate, 3);
	assert_int_equal(told.site[0].bytes, 3 * 64);
	assert_int_equal(told.site[0].thread, threads_tid());
	assert_true(told.site[0].youngest_ns >= 9000000);
	assert_true(told.site[0].oldest_ns >= told.site[0].youngest_ns);
	assert_ptr_equal(told.site[0].block, block[0]);
	for (unsigned i = 1; i < told.sites - 1; i++)
		if (told.site[i].block == block[6])
			assert_int_equal(told.site[i].bytes, (100000 + 4095) / 4096 * 4096);
		else
			assert_true(made_in(&told.site[i], lease_there) ||
				    made_in(&told.site[i], lease_bulk));
	assert_int_equal(sampled(), 7);

	mews_return_many(pool, block, 2);
	mews_return(pool, before);
	assert_int_equal(sampled(), 5);
	mews_return_many(pool, block + 2, 5);
	assert_int_equal(sampled(), 0);
	assert_int_equal(told.sites, 0);
}

/* Exactly one in n, by one and in bulk, and both of two sites that take turns. */
static void test_one_in_n(void **state)
{
	static const unsigned one_in[] = { 2, 7, 100, 1000 };
	static void *block[BLOCKS];

	(void)state;
	for (int turn = 0; turn < 4; turn++) {
		/* A new pool, so that the counter starts at 0. */
		assert_int_equal(mews_pool_dispose(pool), 0);
		pool = open_pool(MEWS_CHECKS_CHEAP);
		assert_int_equal(mews_pool_sample_leases(pool, one_in[turn]), 0);
		for (unsigned i = 0; i < 2000; i += 2) {
			block[i] = lease_here();
			block[i + 1] = lease_there(64);
		}
		lease_bulk(block + 2000, 37);
		lease_bulk(block + 2037, 1963);
		assert_in_range(sampled(), 4000 / one_in[turn],
				(4000 + one_in[turn] - 1) / one_in[turn]);
		assert_rest(4000 - sampled());
		assert_int_equal(told.site[0].estimate, told.site[0].leases * one_in[turn]);
		if (one_in[turn] == 2)
			for (unsigned i = 0; i < 3; i++)
				assert_true(told.site[i].leases > 400);
		mews_return_many(pool, block, 4000);
		assert_int_equal(sampled(), 0);
	}
}

/* An unsampled lease of a block must not show where it was leased before. */
static void test_record_of_an_earlier_lease(void **state)
{
	struct mews_control *control = mews_control_of(pool);
	uint32_t number;
	void *block;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	block = lease_here();
	mews_return(pool, block);
	assert_int_equal(mews_slabs_find(&control->slabs, block, &number), MEWS_BLOCK_START);
	assert_true(atomic_load(&control->samples.record[number].lease) != 0);
	assert_int_equal(mews_pool_sample_leases(pool, UINT32_MAX), 0);
	assert_ptr_equal(lease_here(), block);
	assert_int_equal(atomic_load(&control->samples.record[number].lease), 0);
	mews_return(pool, block);
}

/* What is leased and returned while nobody looks leaves no trace. */
static void test_switch(void **state)
{
	void *kept, *block[100];

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	kept = lease_here();
	lease_bulk(block, 100);
	assert_int_equal(sampled(), 101);
	assert_int_equal(mews_pool_sample_leases(pool, 3), 0);
	assert_int_equal(sampled(), 101);
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	assert_int_equal(sampled(), 0);
	assert_rest(101);
	mews_return_many(pool, block, 100);
	lease_bulk(block, 50);
	mews_return_many(pool, block, 50);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	assert_int_equal(sampled(), 0);
	assert_rest(1);
	mews_return(pool, kept);
	report();
	assert_int_equal(told.sites, 0);
}

/* Who finds the pool slow, and its tables large, is told why. */
static void test_it_is_told(void **state)
{
	struct mews_stats before = { .size = sizeof(before) }, now = before, after = before;
	char text[4096];
	int length;

	(void)state;
	assert_int_equal(mews_pool_stats(pool, &before), 0);
	assert_true(mews_pool_describe(pool, text, sizeof(text)) > 0);
	assert_null(strstr(text, "sampled"));
	assert_int_equal(mews_pool_sample_leases(pool, 7), 0);
	length = mews_pool_describe(pool, text, sizeof(text));
	assert_int_equal(length, strlen(text));
	assert_non_null(strstr(text, "\nleases: one in 7 sampled"));
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	mews_return(pool, lease_here());
	assert_int_equal(mews_pool_stats(pool, &now), 0);
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	assert_int_equal(mews_pool_stats(pool, &after), 0);
	if (before.metadata_bytes) /* the kernel tells */
		assert_true(now.metadata_bytes >= after.metadata_bytes + 8192);
	length = mews_pool_describe(pool, NULL, 0);
	assert_int_equal(mews_pool_describe(pool, text, sizeof(text)), length);
	assert_null(strstr(text, "sampled"));
}

static void test_wrong_arguments(void **state)
{
	_Atomic uint32_t *switching = &mews_control_of(pool)->samples.switching;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(NULL, 1), -EINVAL);
	assert_int_equal(mews_pool_report_leases(NULL, on_site, NULL), -EINVAL);
	assert_int_equal(mews_pool_report_leases(pool, NULL, NULL), -EINVAL);
	atomic_store(switching, 1);
	assert_int_equal(mews_pool_sample_leases(pool, 1), -EBUSY);
	atomic_store(switching, 0);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
}

/* No room for one stack more. */
static void test_table_is_full(void **state)
{
	struct mews_samples *samples = &mews_control_of(pool)->samples;
	void *block;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	for (uint32_t i = 0; i < MEWS_SITES; i++)
		atomic_store(&samples->site[i].hash, 2); /* no stack's: those are odd */
	block = lease_here();
	report();
	assert_int_equal(told.sites, 1);
	assert_int_equal(told.site[0].depth, 0);
	assert_int_equal(told.site[0].leases, 1);
	assert_ptr_equal(told.site[0].block, block);
	mews_return(pool, block);
}

/* A record that was not ended, planted: the audit finds it, and without it is content. */
static void test_audit_finds_a_record(void **state)
{
	struct mews_control *control = mews_control_of(pool);
	struct audit audit;
	uint64_t ended;
	uint32_t number;
	void *block;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	block = lease_here();
	assert_true(audit_pool(pool, &block, 1, &audit));
	mews_return(pool, block);
	assert_true(audit_pool(pool, NULL, 0, &audit));
	mews_slabs_find(&control->slabs, block, &number);
	ended = atomic_load(&control->samples.record[number].lease);
	atomic_store(&control->samples.record[number].lease, ended | UINT64_C(1) << 63);
	assert_false(audit_pool(pool, NULL, 0, &audit));
	assert_non_null(strstr(audit.message, "recorded as a lease"));
	atomic_store(&control->samples.record[number].lease, ended);
}

static void drain_in_vain(void)
{
	struct timespec past = { 0 };

	told.reports = 0;
	assert_int_equal(mews_pool_drain(pool, &past), -ETIMEDOUT);
	assert_int_equal(told.reports, 1);
	assert_int_equal(told.report.kind, MEWS_REPORT_OUTSTANDING);
}

static void test_drain_tells(void **state)
{
	struct timespec past = { 0 };
	char expected[64];
	void *block[7];

	(void)state;
	assert_int_equal(mews_pool_drain(pool, &past), 0);
	assert_int_equal(told.reports, 0);
	lease_bulk(block, 2);
	drain_in_vain();
	assert_non_null(strstr(told.message, "sampling is off"));
	assert_null(told.report.site);

	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	drain_in_vain();
	assert_non_null(strstr(told.message, "none of them was sampled"));
	lease_often(block + 2, 5);
	drain_in_vain();
	snprintf(expected, sizeof(expected), "7 of %zu out; 5 leased at ",
		 (size_t)mews_slabs_carved(&mews_control_of(pool)->slabs));
	assert_memory_equal(told.message, expected, strlen(expected));
	assert_non_null(strstr(told.message, "test_sites+0x"));
	assert_non_null(strstr(told.message, ", oldest "));
	assert_non_null(told.report.site);
	assert_true(made_in(&told.of_report, lease_here));
	assert_ptr_equal(told.report.block, block[2]);
	mews_return_many(pool, block, 7);
	told.reports = 0;
	assert_int_equal(mews_pool_drain(pool, &past), 0);
	assert_int_equal(told.reports, 0);
}

static void test_dispose_tells(void **state)
{
	struct mews_pool *other = pool;
	void *block;

	(void)state;
	pool = open_pool(MEWS_CHECKS_CHEAP);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	block = lease_here();
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_int_equal(told.reports, 1);
	assert_int_equal(told.report.kind, MEWS_REPORT_OUTSTANDING);
	assert_true(made_in(&told.of_report, lease_here));
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_int_equal(told.reports, 1);
	assert_int_equal(mews_pool_sample_leases(pool, 2), -ESHUTDOWN);
	mews_return(pool, block);
	pool = other;
}

/*
 * Full checks know each lease from the start, by its call, and say whose block was returned twice; the
 * whole stack is there for the asking.
 */
static void test_misuse_names_the_site(void **state)
{
	struct mews_pool *other = pool;
	void *block;

	(void)state;
	pool = open_pool(MEWS_CHECKS_FULL);
	block = lease_here();
	assert_int_equal(sampled(), 1);
	mews_return(pool, block);
	assert_int_equal(sampled(), 0);
	mews_return(pool, block);
	assert_int_equal(told.reports, 1);
	assert_int_equal(told.report.kind, MEWS_REPORT_DOUBLE_RETURN);
	assert_non_null(told.report.site);
	assert_true(made_in(&told.of_report, lease_here));
	assert_int_equal(told.of_report.depth, 1);
	assert_ptr_equal(told.of_report.block, block);
	mews_return(pool, &block);
	assert_int_equal(told.reports, 2);
	assert_null(told.report.site);
	block = lease_there(64);
	mews_return(pool, (char *)block + 8);
	assert_int_equal(told.report.kind, MEWS_REPORT_INTERIOR_POINTER);
	assert_ptr_equal(told.report.block, (char *)block + 8);
	assert_true(told.report.site && made_in(&told.of_report, lease_there));
	assert_ptr_equal(told.of_report.block, block);
	mews_return(pool, block);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	block = lease_here();
	report();
	assert_true(made_in(&told.site[0], lease_here) && told.site[0].depth > 1);
	mews_return(pool, block);
	assert_int_equal(mews_pool_dispose(pool), 0);
	pool = other;
}

/* The child knows what was out, and ends it; and a switch that another thread was in is forgotten. */
static void test_fork(void **state)
{
	struct mews_control *control = mews_control_of(pool);
	void *block;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	block = lease_here();
	atomic_store(&control->samples.switching, 1);
	child = fork();
	if (child == 0) {
		bool well = sampled() == 1;

		mews_return(pool, block);
		well = well && sampled() == 0;
		block = lease_here();
		well = well && sampled() == 1 && told.site[0].thread == getpid();
		mews_return(pool, block);
		well = well && !mews_pool_sample_leases(pool, 0);
		mews_return(pool, lease_here());
		_exit(!well || atomic_load(&control->detours));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	atomic_store(&control->samples.switching, 0);
	assert_int_equal(sampled(), 1);
	mews_return(pool, block);
}

static void test_address_name(void **state)
{
	const char *in = (const char *)(void *)a64l + 1; /* one that no sanitizer replaces */
	char name[200], start[8];
	int length = mews_address_name(in, name, sizeof(name));

	(void)state;
	assert_int_equal(length, strlen(name));
	assert_memory_equal(name, "a64l+0x0 (", 10);
	assert_non_null(strstr(name, "libc.so.6+0x"));
	assert_int_equal(mews_address_name(in, start, sizeof(start)), length);
	assert_string_equal(start, "a64l+0x");
	assert_true(mews_address_name((void *)0x1234, name, sizeof(name)) > 0);
	assert_string_equal(name, "0x1234");
	assert_int_equal(mews_address_name(NULL, NULL, 0), 5);
}

static void *report_while_cancelled(void *came_back)
{
	int none;

	pthread_cancel(pthread_self());
	mews_return(pool, &none);
	*(bool *)came_back = true;
	pthread_testcancel();
	return NULL;
}

/* A report comes from inside an operation, which a cancellation must not cut short. */
static void test_report_is_not_cancelled(void **state)
{
	struct timespec soon = threads_deadline(10);
	bool came_back = false;
	pthread_t thread;
	void *result;

	(void)state;
	pool = open_pool(MEWS_CHECKS_CHEAP);
	memset(&told, 0, sizeof(told));
	assert_int_equal(pthread_create(&thread, NULL, report_while_cancelled, &came_back), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_true(came_back);
	assert_int_equal(told.reports, 1);
	assert_int_equal(mews_gate_inside(mews_gate_traffic(&mews_control_of(pool)->sides)), 0);
	assert_int_equal(mews_pool_drain(pool, &soon), 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* With a name of the program that fills what the message has room for. */
static int drain_with_a_long_name(void)
{
	void *block;

	set_up(NULL);
	mews_pool_sample_leases(pool, 1);
	block = lease_here();
	drain_in_vain();
	mews_return(pool, block);
	return tear_down(NULL);
}

/* Of each length about that room. AddressSanitizer sees who writes behind it, and nobody else. */
static void test_long_names(void **state)
{
	char name[512], self[] = "/proc/self/exe";
	int status;
	pid_t child;

	(void)state;
	if (!mews_asan_active())
		skip();
	memset(name, 'x', sizeof(name));
	for (size_t length = 470; length < 506; length++) {
		name[length] = 0;
		child = fork();
		if (child == 0) {
			execv(self, (char *[]) { name, "long-name", NULL });
			_exit(1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		name[length] = 'x';
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_off, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_each_lease, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_in_n, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_record_of_an_earlier_lease, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_switch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_it_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_arguments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_table_is_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_audit_finds_a_record, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drain_tells, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dispose_tells, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_misuse_names_the_site, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fork, set_up, tear_down),
		cmocka_unit_test(test_address_name),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_report_is_not_cancelled),
	};

	if (argc == 2 && strcmp(argv[1], "long-name") == 0)
		return drain_with_a_long_name();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
