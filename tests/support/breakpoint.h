/* SPDX-License-Identifier: MIT */
/*
 * A breakpoint of the calling thread on itself: the next time it is about to execute the instruction, a
 * handler runs, once. The signal aborts a restartable sequence that is under way, as any signal does.
 * x86-64 and aarch64, in hardware where perf_event_open gives breakpoints with sigtrap; else, on x86-64, in
 * the text: there another thread that comes first takes it away, and nobody is stopped.
 */
#ifndef TESTS_SUPPORT_BREAKPOINT_H
#define TESTS_SUPPORT_BREAKPOINT_H

#include <stdbool.h>
#include <stdint.h>

/* Installs the handler; false where the machine gives no breakpoints (why: errno). */
bool breakpoint_prepare(void (*handler)(void));

/* Sets it. False and errno if refused. */
bool breakpoint_set(uintptr_t address);

/* The same, for the nth time that the instruction is about to be executed; the first, where it is in the text. */
bool breakpoint_set_nth(uintptr_t address, uint64_t nth);

/* In the handler: moves the breakpoint to another address, where it fires once more. */
bool breakpoint_move(uintptr_t address);

/* Takes it away; true if it fired since it was set first. */
bool breakpoint_clear(void);

#endif
