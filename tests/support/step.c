/* SPDX-License-Identifier: MIT */
/* Stepping by ptrace, see step.h. The child is a fork, so that addresses are the caller's. */
#include "step.h"
#include "step_cpu.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/rseq.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS_MAX 2000000

struct trace {
	pid_t child;
	uintptr_t rseq_cs;      /* the address of the field in the child, as in the caller */
	struct step_cpu cpu;
};

static bool stopped_by(const struct trace *trace, int signal)
{
	int status;

	while (waitpid(trace->child, &status, 0) != trace->child)
		if (errno != EINTR)
			return false;
	return WIFSTOPPED(status) && WSTOPSIG(status) == signal;
}

static bool step(struct trace *trace)
{
	if (ptrace(PTRACE_POKEDATA, trace->child, trace->rseq_cs, 0) ||
	    ptrace(PTRACE_SINGLESTEP, trace->child, 0, 0))
		return false;
	return stopped_by(trace, SIGTRAP) && step_cpu_read(trace->child, &trace->cpu);
}

static bool step_to(struct trace *trace, uintptr_t address)
{
	for (size_t i = 0; i < STEPS_MAX; i++) {
		if (!step(trace))
			return false;
		if (trace->cpu.pc == address)
			return true;
	}
	return false;
}

static size_t list(struct trace *trace, uintptr_t *address, size_t room)
{
	struct step_cpu end = step_cpu_caller(trace->child, &trace->cpu);
	size_t count = 0;

	do {
		if (count < room)
			address[count] = trace->cpu.pc;
		count++;
		if (!step(trace) || count == STEPS_MAX)
			return 0;
	} while (trace->cpu.pc != end.pc || trace->cpu.sp != end.sp);
	return count;
}

static void be_traced(void (*prepare)(void), void (*body)(void *argument), void *argument)
{
	if (prepare)
		prepare();
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(1);
	raise(SIGSTOP);
	body(argument);
	_exit(0);
}

size_t step_through_prepared(void (*prepare)(void), void (*body)(void *argument), void *argument,
			     const void *function, uintptr_t *address, size_t room)
{
	struct trace trace = { .child = fork() };
	size_t count = 0;

	if (trace.child < 0)
		return 0;
	if (trace.child == 0)
		be_traced(prepare, body, argument);
	trace.rseq_cs = (uintptr_t)__builtin_thread_pointer() + (uintptr_t)__rseq_offset + 8;
	if (stopped_by(&trace, SIGSTOP) && step_to(&trace, (uintptr_t)function))
		count = list(&trace, address, room);
	kill(trace.child, SIGKILL);
	waitpid(trace.child, NULL, 0);
	return count;
}

size_t step_through(void (*body)(void *argument), void *argument, const void *function,
		    uintptr_t *address, size_t room)
{
	return step_through_prepared(NULL, body, argument, function, address, room);
}
