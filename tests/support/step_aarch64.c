/* SPDX-License-Identifier: MIT */
/*
 * Registers of aarch64, see step_cpu.h. The return address is in the link register. A pair of
 * exclusive load and store never succeeds under stepping, since each stop loses the reservation: what
 * is stepped through on the way must use the single instructions of ARMv8.1, as glibc and gcc's
 * helpers do where the CPU has them.
 */
#include "step.h"
#include "step_cpu.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

bool step_past_atomics(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMICS;
}

bool step_cpu_read(pid_t child, struct step_cpu *cpu)
{
	struct user_regs_struct regs;
	struct iovec into = { &regs, sizeof(regs) };

	if (ptrace(PTRACE_GETREGSET, child, NT_PRSTATUS, &into))
		return false;
	*cpu = (struct step_cpu) { .pc = regs.pc, .sp = regs.sp, .link = regs.regs[30] };
	return true;
}

struct step_cpu step_cpu_caller(pid_t child, const struct step_cpu *cpu)
{
	(void)child;
	return (struct step_cpu) { .pc = cpu->link, .sp = cpu->sp };
}
