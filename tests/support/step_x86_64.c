/* SPDX-License-Identifier: MIT */
/* Registers of x86-64, see step_cpu.h. The return address is what lies on the stack. */
#include "step.h"
#include "step_cpu.h"

#include <sys/ptrace.h>
#include <sys/user.h>

bool step_past_atomics(void)
{
	return true;
}

bool step_cpu_read(pid_t child, struct step_cpu *cpu)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, child, 0, &regs))
		return false;
	*cpu = (struct step_cpu) { .pc = regs.rip, .sp = regs.rsp };
	return true;
}

struct step_cpu step_cpu_caller(pid_t child, const struct step_cpu *cpu)
{
	return (struct step_cpu) {
		.pc = (uintptr_t)ptrace(PTRACE_PEEKDATA, child, cpu->sp, 0),
		.sp = cpu->sp + sizeof(void *),
	};
}
