/* SPDX-License-Identifier: MIT */
/*
 * See breakpoint_cpu.h. int3 has one byte, as the shortest instruction. The trap leaves rip behind it, and so
 * within the same instruction's place, be that in a restartable sequence or not.
 */
#include "breakpoint_cpu.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define INT3 0xcc

static volatile uint8_t *volatile planted;
static uint8_t before;

bool breakpoint_plant(uintptr_t address)
{
	uintptr_t page = address & -(uintptr_t)sysconf(_SC_PAGESIZE);

	if (mprotect((void *)page, 1, PROT_READ | PROT_WRITE | PROT_EXEC))
		return false;
	before = *(uint8_t *)address;
	planted = (volatile uint8_t *)address;
	*planted = INT3;
	return true;
}

void breakpoint_lift(void)
{
	if (planted)
		*planted = before;
}

void breakpoint_resume(void *ucontext)
{
	greg_t *rip = &((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];

	if (*rip == (greg_t)(uintptr_t)planted + 1)
		(*rip)--;
}
