/* SPDX-License-Identifier: MIT */
/*
 * What memory this process holds (layer 6), from /proc/self/smaps_rollup. Called by footprint.c and
 * churn.c. Invariant: hugetlb pages, which the kernel leaves out of RSS and PSS, are counted apart.
 */
#ifndef PERF_MEMORY_H
#define PERF_MEMORY_H

#include <stdint.h>

/* Bytes. */
struct perf_memory {
	uint64_t rss;
	uint64_t pss;
	uint64_t thp;           /* of rss: in transparent huge pages */
	uint64_t hugetlb;       /* private and shared, on top of rss */
};

#define PERF_MIB (1024.0 * 1024.0)

/* Reads it. 0, or -errno where the kernel does not tell. */
int perf_memory_read(struct perf_memory *memory);

/* What this process has for itself: PSS and hugetlb pages together, bytes; -1 where unknown. */
double perf_memory_held(void);

#endif
