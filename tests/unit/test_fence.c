/* SPDX-License-Identifier: MIT */
/*
 * The remote fence: the answer and its reason, on this machine, for a thread whose sequences are
 * not registered, without glibc's registration, and with each membarrier refused.
 */
#include <errno.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../numa/fence.h"
#include "../support/faults.h"
#include "../support/suite.h"

#define UNAVAILABLE_EXIT 5

static char reason[160];

/* Asks glibc and the kernel without the library: where both agree, the library has to as well. */
static void need_sequences(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (__rseq_size != 0 && commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ)
		return;
	print_message("skip: no restartable sequences to fence here\n");
	skip();
}

static void test_available(void **state)
{
	(void)state;
	need_sequences();
	errno = 77;
	assert_true(mews_fence_available(reason, sizeof(reason)));
	assert_int_equal(errno, 77);
	assert_non_null(strstr(reason, "registered by glibc, feature size "));
	assert_non_null(strstr(reason, "membarrier aborts them"));
	print_message("%s\n", reason);
}

static void test_every_membarrier_refused(void **state)
{
	static const char *const said[] = {
		"membarrier refused: ", "membarrier refused to register: ",
		"membarrier refused a fence: ",
	};
	int call = faults_call("membarrier");

	(void)state;
	need_sequences();
	faults_install();
	for (unsigned long nth = 1; nth <= 3; nth++) {
		faults_refuse(call, nth, EPERM);
		errno = 77;
		assert_false(mews_fence_available(reason, sizeof(reason)));
		assert_int_equal(errno, 77);
		assert_memory_equal(reason, said[nth - 1], strlen(said[nth - 1]));
		assert_non_null(strstr(reason, "Operation not permitted"));
	}
	faults_refuse(call, 4, EPERM);
	assert_true(mews_fence_available(reason, sizeof(reason)));
	faults_remove();
}

static void test_short_buffer(void **state)
{
	char little[8] = "xxxxxxx";

	(void)state;
	mews_fence_available(little, sizeof(little));
	assert_int_equal(strlen(little), sizeof(little) - 1);
}

static void test_fence(void **state)
{
	(void)state;
	need_sequences();
	for (unsigned cpu = 0; cpu < (unsigned)sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		assert_int_equal(mews_fence_cpu(cpu), 0);
	faults_install();
	faults_refuse(faults_call("membarrier"), 1, EPERM);
	errno = 77;
	assert_int_equal(mews_fence_cpu(0), -EPERM);
	assert_int_equal(errno, 77);
	faults_remove();
}

static void test_current_cpu(void **state)
{
	(void)state;
	assert_true(mews_fence_current_cpu() < (unsigned)sysconf(_SC_NPROCESSORS_CONF));
	faults_install();
	faults_refuse(faults_call("getcpu"), 1, ENOSYS);
	assert_int_equal(mews_fence_current_cpu(), 0);
	faults_remove();
}

/* A thread whose area was taken away, as by a library that registers its own. */
static void *unregistered(void *arg)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) != 0)
		return "the kernel did not unregister";
	return mews_fence_available(arg, sizeof(reason)) ? "available" : NULL;
}

static void test_unregistered_thread(void **state)
{
	pthread_t thread;
	void *wrong;

	(void)state;
	need_sequences();
	assert_int_equal(pthread_create(&thread, NULL, unregistered, reason), 0);
	pthread_join(thread, &wrong);
	if (wrong != NULL)
		fail_msg("%s", (char *)wrong);
	assert_non_null(strstr(reason, "this thread's cpu_id is -"));
}

/* This program again, without glibc's registration. */
static void test_switched_off(void **state)
{
	char program[PATH_MAX] = { 0 };
	pid_t child;
	int status;

	(void)state;
	/* By its name: under valgrind the link itself is valgrind. */
	assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	child = fork();
	if (child == 0) {
		setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0", 1);
		execl(program, program, "--ask", (char *)NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), UNAVAILABLE_EXIT);
}

static int ask(void)
{
	if (mews_fence_available(reason, sizeof(reason)))
		return 0;
	return strstr(reason, "glibc did not register") != NULL ? UNAVAILABLE_EXIT : 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_available),
		cmocka_unit_test(test_every_membarrier_refused),
		cmocka_unit_test(test_short_buffer),
		cmocka_unit_test(test_fence),
		cmocka_unit_test(test_current_cpu),
		cmocka_unit_test(test_unregistered_thread),
		cmocka_unit_test(test_switched_off),
	};

	if (argc > 1 && strcmp(argv[1], "--ask") == 0)
		return ask();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
