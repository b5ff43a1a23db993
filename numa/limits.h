/* SPDX-License-Identifier: MIT */
/*
 * Limits (layer 0): what this process may use of the machine, and which file or call decided.
 * Called by lib/pool.c and tools. Invariant: reading never fails for lack of a file; what is not
 * there sets no limit.
 */
#ifndef MEWS_NUMA_LIMITS_H
#define MEWS_NUMA_LIMITS_H

#include <stdint.h>

#define MEWS_UNLIMITED UINT64_MAX

struct mews_limits {
	uint32_t affinity_cpus;     /* CPUs in the affinity mask (the cpuset is within it) */
	double quota_cpus;          /* CFS quota in CPUs, the least of all ancestors; 0: none */
	char quota_source[192];     /* the file that decided, or "none" */
	uint32_t usable_cpus;       /* min(affinity, ceil(quota)), at least 1 */
	char usable_source[192];    /* "sched_getaffinity" or the quota file */
	uint64_t memory;            /* bytes: the least limit of all ancestors; MEWS_UNLIMITED */
	char memory_source[192];
	uint64_t memory_high;       /* cgroup v2 memory.high, the least; MEWS_UNLIMITED */
	uint64_t address_space;     /* RLIMIT_AS */
	int cgroup_version;         /* 0: none found, 1, 2; where the memory limit is read */
	/* The process's own cgroups; "": none, or its name is too long. */
	char v2_directory[192], v1_memory_directory[192];
};

/*
 * Reads the limits of process pid (0: the caller) through the kernel table. root is put before each
 * path of /proc and /sys: "" for the machine, a directory for a canned one. Never fails.
 */
void mews_limits_read(const char *root, int pid, struct mews_limits *limits);

#endif
