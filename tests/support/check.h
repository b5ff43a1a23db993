/* SPDX-License-Identifier: MIT */
/*
 * Checks for the programs that are no cmocka suites (stress, sweeps, experiments): a failed check
 * says where, what and with which seed, and ends the process with CHECK_EXIT. Safe from any thread,
 * from signal handlers and in children of a fork. Also: the run of a planted bug, which must fail.
 */
#ifndef TESTS_SUPPORT_CHECK_H
#define TESTS_SUPPORT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#define CHECK_EXIT 3            /* a check failed */
#define SKIP_EXIT 77            /* the machine refuses; CTest's SKIP_RETURN_CODE */

/* Names the run in each failure: the scenario, and the seed that repeats it. */
void check_context(const char *scenario, uint64_t seed);

/* Prints the failure and ends the process with CHECK_EXIT. */
void check_failed(const char *file, int line, const char *condition, const char *format, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

#define CHECK(condition, ...)                                                       \
	do {                                                                        \
		if (!(condition))                                                   \
			check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);  \
	} while (0)

/* Says loudly what is missing and ends the process with SKIP_EXIT. */
void check_skip(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/*
 * Runs run(arg) in a child. True if a CHECK of it failed, which is what a planted bug shall lead
 * to; a child that ends well or crashes found nothing. The child's message is passed on to stderr. One that
 * skips ends this process in the same way: what the machine refuses cannot be found there.
 */
bool check_finds(void (*run)(void *arg), void *arg);

#endif
