/* SPDX-License-Identifier: MIT */
/*
 * A breakpoint in the text, for breakpoint.c where the machine has none in hardware: breakpoint_x86_64.c and
 * breakpoint_aarch64.c have it. All threads come to it; one at a time is planted.
 */
#ifndef TESTS_SUPPORT_BREAKPOINT_CPU_H
#define TESTS_SUPPORT_BREAKPOINT_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* Puts an instruction that traps in the place of the one at the address. False and errno if refused. */
bool breakpoint_plant(uintptr_t address);

/* Puts the old one back, if one was planted. Safe in a signal handler. */
void breakpoint_lift(void);

/*
 * In the handler of the trap, behind breakpoint_lift: lets the thread go on with the instruction that was
 * there; one whose restartable sequence was aborted by the signal goes on where that leads.
 */
void breakpoint_resume(void *ucontext);

#endif
