/* SPDX-License-Identifier: MIT */
/*
 * The remote fence (layer 1): membarrier PRIVATE_EXPEDITED_RSEQ, and the question whether this
 * process may rely on restartable sequences at all. Called by lib/cache.c and lib/pool.c.
 * Invariant: available is answered yes only after one fence has really worked.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include "fence.h"
#include "kernel.h"

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

/* The first rseq area had 20 used bytes; kernels before 6.3 do not say how many. */
#define RSEQ_ORIGINAL_FEATURES 20

/* The calling thread's CPU as its rseq area has it: -1 or -2 where nobody registered the area. */
static int rseq_cpu_id(void)
{
	const char *area = (const char *)__builtin_thread_pointer() + __rseq_offset;

	return (int)__atomic_load_n(&((const struct rseq *)area)->cpu_id, __ATOMIC_RELAXED);
}

static bool registered(char *reason, size_t length)
{
	if (__rseq_size == 0) {
		snprintf(reason, length, "no restartable sequences: glibc did not register them "
			 "(glibc.pthread.rseq=0, an old kernel, or valgrind)");
		return false;
	}
	if (rseq_cpu_id() < 0) {
		snprintf(reason, length, "no restartable sequences: this thread's cpu_id is %d",
			 rseq_cpu_id());
		return false;
	}
	return true;
}

static bool refused(const char *what, char *reason, size_t length)
{
	snprintf(reason, length, "membarrier %s: %s", what, strerrordesc_np(errno));
	return false;
}

/* Registers, and tries one fence on the CPU we are on: a filter may allow one and not the other. */
static bool fence_works(char *reason, size_t length)
{
	int commands = mews_kernel->membarrier(MEMBARRIER_CMD_QUERY, 0, 0);
	int error;

	if (commands < 0)
		return refused("refused", reason, length);
	if (!(commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ)) {
		snprintf(reason, length, "membarrier cannot abort restartable sequences: "
			 "a kernel before 5.10");
		return false;
	}
	if (mews_kernel->membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0) != 0)
		return refused("refused to register", reason, length);
	error = mews_fence_cpu(mews_fence_current_cpu());
	if (error != 0) {
		errno = -error;
		return refused("refused a fence", reason, length);
	}
	return true;
}

bool mews_fence_available(char *reason, size_t length)
{
	int saved = errno;
	unsigned long features = getauxval(AT_RSEQ_FEATURE_SIZE); /* ENOENT before Linux 6.3 */
	bool works = registered(reason, length) && fence_works(reason, length);

	errno = saved;
	if (!works)
		return false;
	snprintf(reason, length, "restartable sequences: registered by glibc, feature size %lu; "
		 "membarrier aborts them", features ? features : RSEQ_ORIGINAL_FEATURES);
	return true;
}

int mews_fence_cpu(unsigned cpu)
{
	int saved = errno, error = 0;

	if (mews_kernel->membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ,
				    MEMBARRIER_CMD_FLAG_CPU, (int)cpu) != 0)
		error = -errno;
	errno = saved;
	return error;
}

unsigned mews_fence_current_cpu(void)
{
	int saved = errno;
	unsigned cpu = 0;

	if (mews_kernel->getcpu(&cpu, NULL) != 0)
		cpu = 0;
	errno = saved;
	return cpu;
}
