/* SPDX-License-Identifier: MIT */
/* See breakpoint_cpu.h. The machines of this kind that the tests meet have breakpoints in hardware. */
#include "breakpoint_cpu.h"

#include <errno.h>

bool breakpoint_plant(uintptr_t address)
{
	(void)address;
	errno = EOPNOTSUPP;
	return false;
}

void breakpoint_lift(void)
{
}

void breakpoint_resume(void *ucontext)
{
	(void)ucontext;
}
