/* SPDX-License-Identifier: MIT */
/*
 * The remote fence (layer 1): aborts whatever restartable sequence runs on another CPU, by
 * membarrier. Called by lib/cache.c when it closes a CPU's cache.
 */
#ifndef MEWS_NUMA_FENCE_H
#define MEWS_NUMA_FENCE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Registers this process and says whether restartable sequences may be used: glibc has registered
 * them and membarrier can abort them. reason (length bytes) gets one sentence either way.
 * May be called again; also after a fork (registration is inherited).
 */
bool mews_fence_available(char *reason, size_t length);

/*
 * Any sequence of this process that was running on cpu has been aborted or has committed, and every
 * store of the caller before the call is seen by those that start on it after. 0 or -errno.
 */
int mews_fence_cpu(unsigned cpu);

/* The CPU the caller runs on, as sched_getcpu; 0 where the kernel refuses to tell. */
unsigned mews_fence_current_cpu(void);

#endif
