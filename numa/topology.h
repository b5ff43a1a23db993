/* SPDX-License-Identifier: MIT */
/*
 * Topology (layer 0): what the machine is, as hwloc tells it, in the few words the plan needs.
 * Called by plan.c, lib/pool.c and tools. Invariant: immutable once loaded; each index is checked
 * against cpu_ids / node_count, so a reader needs no hwloc and no further check.
 */
#ifndef MEWS_NUMA_TOPOLOGY_H
#define MEWS_NUMA_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEWS_NO_INDEX UINT32_MAX

struct mews_topology_cpu {
	bool possible;          /* the id is in use on this machine */
	bool online;
	bool allowed;           /* by affinity and cpuset of this process, as hwloc sees it */
	uint32_t node;          /* index into node[]: where it is, MEWS_NO_INDEX if on none */
	uint32_t package, core; /* logical numbers, from 0; MEWS_NO_INDEX if it is offline */
	uint32_t l2, l3;        /* cache domains, counted from 0; MEWS_NO_INDEX if none is known */
};

struct mews_topology_node {
	uint32_t os_index;      /* the kernel's number; may be sparse */
	uint32_t cpus;          /* possible CPUs on it; 0: memory only */
	bool allowed;           /* memory may be taken from it */
	uint64_t memory;        /* bytes of local memory; 0: a node of CPUs only */
};

struct mews_topology {
	char source[96];        /* "this machine", "synthetic: ...", "xml: ..." */
	bool this_machine;
	uint32_t cpu_ids;       /* highest possible CPU id + 1: the size of cpu[] */
	uint32_t cpus;          /* possible CPUs */
	uint32_t cpus_allowed;
	uint32_t packages, cores, l2_domains, l3_domains;
	uint32_t node_count;
	size_t l1_bytes, l2_bytes, l3_bytes; /* data or unified cache of one domain; 0: unknown */
	size_t page_size;       /* base page */
	uint64_t memory;        /* bytes, all nodes */
	bool huge_2m, huge_1g;  /* the kernel knows such hugetlb pages; says nothing of free ones */
	struct mews_topology_cpu *cpu;      /* [cpu_ids] */
	struct mews_topology_node *node;    /* [node_count], by rising os_index */
	uint32_t *distance;     /* [from * node_count + to], 10 = local; 10 and 20 if unknown */
};

enum mews_topology_source {
	MEWS_TOPOLOGY_MACHINE,
	MEWS_TOPOLOGY_XML,       /* arg: path of hwloc's XML */
	MEWS_TOPOLOGY_SYNTHETIC, /* arg: hwloc's synthetic description */
};

/*
 * Loads a topology. 0; -EINVAL: hwloc refuses arg or it names no CPU; -ENOMEM; -ENOENT: no such file.
 * On failure *topology is NULL. A machine that tells no node has one, that tells no cache has none.
 */
int mews_topology_load(enum mews_topology_source source, const char *arg,
		       struct mews_topology **topology);

/* Frees it; NULL is ignored. */
void mews_topology_free(struct mews_topology *topology);

/*
 * The nearest node with memory that is allowed, seen from node (index): itself where it qualifies,
 * else by distance, then by index. MEWS_NO_INDEX where no node qualifies.
 */
uint32_t mews_topology_memory_node(const struct mews_topology *topology, uint32_t node);

#endif
