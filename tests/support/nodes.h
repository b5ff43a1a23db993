/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own word on nodes: which there are, on which a CPU is, where pages lie, what is free.
 * Read from /sys, /proc and move_pages, with no use of hwloc or of the library, which are to be
 * compared with it. Errors end the process by a CHECK.
 */
#ifndef TESTS_SUPPORT_NODES_H
#define TESTS_SUPPORT_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODES_MOST 64

struct node {
	unsigned id;                    /* the kernel's number */
	uint64_t memory;                /* bytes; 0: CPUs only */
	unsigned distance[NODES_MOST];  /* to the node at that index */
};

struct nodes {
	unsigned count;
	struct node node[NODES_MOST];   /* by rising id */
};

void nodes_read(struct nodes *nodes);

/* The index of the node of this number. */
unsigned nodes_index(const struct nodes *nodes, unsigned id);

/* The index of a CPU's node, which the kernel tells of an online CPU. */
unsigned nodes_of_cpu(const struct nodes *nodes, unsigned cpu);

/*
 * The index of the rank-th nearest node with memory, seen from a node: 0 is the node itself, if it
 * has any. Of two at one distance the lower number comes first. NODES_MOST where there are no more.
 */
unsigned nodes_nearest(const struct nodes *nodes, unsigned from, unsigned rank);

/* A line `Node 0 <key>: <number> kB` of a node's meminfo, in bytes; -1 where it is missing. */
int64_t nodes_meminfo(const struct nodes *nodes, unsigned index, const char *key);

/* A node's hugetlb pages of a size in KiB: which is "nr_hugepages" or "free_hugepages"; 0: none. */
uint64_t nodes_hugepages(const struct nodes *nodes, unsigned index, unsigned kib, const char *which);

/*
 * On which node each page of [addr, addr + length) lies: adds to pages[index] its number of pages, and
 * to *absent those that are not there.
 */
void nodes_of_range(const struct nodes *nodes, const void *addr, size_t length, size_t *pages,
		    size_t *absent);

/*
 * What /proc/self/numa_maps says of the mappings that begin in [addr, addr + length): adds to
 * bytes[index], by the size of their pages.
 */
void nodes_of_maps(const struct nodes *nodes, const void *addr, size_t length, uint64_t *bytes);

#endif
