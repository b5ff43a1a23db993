/* SPDX-License-Identifier: MIT */
/*
 * Executes a function instruction by instruction, in a traced child, and lists the addresses. A
 * restartable sequence makes no progress under plain stepping, since each stop aborts it: so the
 * tracer zeroes the thread's rseq_cs before each step. x86-64 and aarch64.
 */
#ifndef TESTS_SUPPORT_STEP_H
#define TESTS_SUPPORT_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs body(argument) in a child and lists, in the order they are executed, the instructions from
 * the first entry of function until it returns. Returns how many there are, also beyond room; 0
 * where the machine refuses to trace, or function was not reached.
 */
size_t step_through(void (*body)(void *argument), void *argument, const void *function,
		    uintptr_t *address, size_t room);

/* The same; the child calls prepare() first, at full speed. */
size_t step_through_prepared(void (*prepare)(void), void (*body)(void *argument), void *argument,
			     const void *function, uintptr_t *address, size_t room);

/*
 * Whether what it executes may have atomic operations in it: not where they are exclusive pairs, which
 * never succeed under stepping.
 */
bool step_past_atomics(void);

#endif
