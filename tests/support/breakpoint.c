/* SPDX-License-Identifier: MIT */
/*
 * Hardware breakpoints by perf_event_open with sigtrap, or, where a virtual machine takes them and never
 * stops there, an instruction that traps, see breakpoint.h.
 */
#include "breakpoint.h"
#include "breakpoint_cpu.h"
#include "threads.h"

#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void (*on_hit)(void);
static volatile int event = -1;
static volatile bool fired;
static bool in_text;                    /* no breakpoints in hardware */
static volatile pid_t owner;            /* then: whose it is */

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	/* Or a sequence that starts again would hit it again, for ever. */
	if (in_text) {
		breakpoint_lift();
		breakpoint_resume(context);
		if (threads_tid() != owner)
			return;
	} else {
		ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
	}
	fired = true;
	on_hit();
}

static bool open_event(uintptr_t address, uint64_t nth)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.sample_period = nth,
		.exclude_kernel = 1,
		.exclude_hv = 1,
		.sigtrap = 1,
		.remove_on_exec = 1,
		.bp_type = HW_BREAKPOINT_X,
		.bp_addr = address,
		.bp_len = sizeof(long),
	};

	if (in_text) {
		owner = threads_tid();
		return breakpoint_plant(address);
	}
	event = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return event >= 0;
}

bool breakpoint_set_nth(uintptr_t address, uint64_t nth)
{
	fired = false;
	return open_event(address, nth);
}

bool breakpoint_set(uintptr_t address)
{
	return breakpoint_set_nth(address, 1);
}

static void drop(void)
{
	breakpoint_lift();
	close(event);
	event = -1;
}

bool breakpoint_move(uintptr_t address)
{
	drop();
	return open_event(address, 1);
}

bool breakpoint_clear(void)
{
	drop();
	return fired;
}

static void probe(void)
{
	__asm__ volatile ("" ::: "memory");
}

static void nothing(void)
{
}

/* Whether a breakpoint stops this thread. */
static bool works(void)
{
	void (*volatile call)(void) = probe;

	if (!breakpoint_set((uintptr_t)probe))
		return false;
	call();
	return breakpoint_clear();
}

bool breakpoint_prepare(void (*handler)(void))
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };

	on_hit = nothing;
	in_text = false;
	if (sigaction(SIGTRAP, &action, NULL))
		return false;
	if (!works()) {
		in_text = true;
		if (!works())
			return false;
	}
	on_hit = handler;
	return true;
}
