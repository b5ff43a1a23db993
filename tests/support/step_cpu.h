/* SPDX-License-Identifier: MIT */
/* What of stepping differs between CPUs, for step.c: step_x86_64.c and step_aarch64.c have it. */
#ifndef TESTS_SUPPORT_STEP_CPU_H
#define TESTS_SUPPORT_STEP_CPU_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct step_cpu {
	uintptr_t pc, sp, link;         /* link: where a function that begins shall return to */
};

/* The registers of a child that is stopped. */
bool step_cpu_read(pid_t child, struct step_cpu *cpu);

/* What pc and sp will be when the function returns at whose first instruction the child stands. */
struct step_cpu step_cpu_caller(pid_t child, const struct step_cpu *cpu);

#endif
