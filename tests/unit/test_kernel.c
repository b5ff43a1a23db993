/* SPDX-License-Identifier: MIT */
/*
 * The kernel table: the wrappers that glibc has no function for, the reader of small files, and the
 * table of refusals that other tests put in its place.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../numa/kernel.h"
#include "../support/faults.h"
#include "../support/suite.h"
#include "../support/temporary.h"

static void write_file(char *path, const char *text, size_t length)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	close(fd);
}

static void test_table_is_full(void **state)
{
	const void *const *entry = (const void *const *)&mews_kernel_real;

	(void)state;
	assert_ptr_equal(mews_kernel, &mews_kernel_real);
	assert_int_equal(sizeof(mews_kernel_real) / sizeof(*entry), faults_calls());
	for (int i = 0; i < faults_calls(); i++)
		assert_non_null(entry[i]);
}

static void test_read_text(void **state)
{
	char path[256], text[64];

	(void)state;
	write_file(temporary_name(path, sizeof(path), "kernel"), "two\nlines\n", 10);
	errno = 77;
	assert_int_equal(mews_kernel_read_text(path, text, sizeof(text)), 10);
	assert_string_equal(text, "two\nlines\n");
	assert_int_equal(mews_kernel_read_text(path, text, 5), 4);
	assert_string_equal(text, "two\n");
	assert_int_equal(mews_kernel_read_text(path, text, 1), 0);
	assert_string_equal(text, "");
	unlink(path);
	assert_int_equal(mews_kernel_read_text(path, text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
	assert_int_equal(errno, 77);
}

/* /proc tells a file in pieces; all of them are wanted. */
static void test_read_text_in_pieces(void **state)
{
	static char text[1 << 20];
	ssize_t length = mews_kernel_read_text("/proc/self/smaps", text, sizeof(text));

	(void)state;
	assert_true(length > 4096);
	assert_int_equal(strlen(text), length);
	assert_int_equal(text[length - 1], '\n');
}

static void test_read_text_refused(void **state)
{
	char text[64];

	(void)state;
	faults_install();
	faults_refuse(faults_call("open"), 1, EMFILE);
	assert_int_equal(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)), -EMFILE);
	faults_refuse(faults_call("read"), 1, EIO);
	assert_int_equal(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)), -EIO);
	assert_int_equal(faults_counted(faults_call("close")), 1);
	faults_remove();
}

static void test_futex(void **state)
{
	static const struct timespec soon = { .tv_nsec = 1000000 };
	uint32_t word = 5;

	(void)state;
	assert_int_equal(mews_kernel->futex_wait(&word, 4, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(mews_kernel->futex_wait(&word, 5, &soon), -1);
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(mews_kernel->futex_wake(&word, INT_MAX), 0);
}

static void test_getcpu(void **state)
{
	unsigned cpu = UINT_MAX, node = UINT_MAX;

	(void)state;
	assert_int_equal(mews_kernel->getcpu(&cpu, &node), 0);
	assert_true(cpu < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
	assert_true(node < 1024);
}

/* The nth of one kind, the nth of all, from the nth on; and nothing else. */
static void test_refusals(void **state)
{
	int open_call = faults_call("open"), close_call = faults_call("close");
	char text[64];

	(void)state;
	faults_install();
	faults_refuse(open_call, 2, ENFILE);
	assert_true(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)) > 0);
	assert_int_equal(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)), -ENFILE);
	assert_true(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)) > 0);
	assert_int_equal(faults_counted(open_call), 3);
	assert_int_equal(faults_counted(close_call), 2);
	assert_int_equal(faults_refused(), 1);
	faults_refuse_from(FAULTS_ANY, 1, ENFILE);
	assert_int_equal(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)), -ENFILE);
	assert_int_equal(mews_kernel_read_text("/proc/self/stat", text, sizeof(text)), -ENFILE);
	assert_int_equal(faults_counted(FAULTS_ANY), 2);
	faults_remove();
	assert_ptr_equal(mews_kernel, &mews_kernel_real);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_full),
		cmocka_unit_test(test_read_text),
		cmocka_unit_test(test_read_text_in_pieces),
		cmocka_unit_test(test_read_text_refused),
		cmocka_unit_test(test_futex),
		cmocka_unit_test(test_getcpu),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
