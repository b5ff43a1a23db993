/* SPDX-License-Identifier: MIT */
/*
 * The plan (layer 0): a pure function from topology, limits and what the caller asked to every size
 * that the pool uses, each with the sentence that says why. Called by lib/pool.c and tools.
 * Invariant: makes no system call, reads no global; equal input gives an equal plan.
 */
#ifndef MEWS_NUMA_PLAN_H
#define MEWS_NUMA_PLAN_H

#include <mews/policy.h>
#include "limits.h"
#include "topology.h"

#define MEWS_CACHE_STRIDE 8192          /* bytes from one CPU's cache to the next */
#define MEWS_CACHE_SLOTS_MAX 1016       /* (MEWS_CACHE_STRIDE - 64) / 8 */
#define MEWS_MAGAZINE_MAX 126           /* an eighth of it, nearly */
#define MEWS_BLOCK_SIZE_MAX ((size_t)64 << 20)
#define MEWS_ALIGNMENT_MAX ((size_t)2 << 20)
#define MEWS_PLAN_REASONS 24
#define MEWS_PLAN_REASON_LENGTH 192

struct mews_plan_request {              /* zero = default, as in struct mews_pool_config */
	size_t block_size, alignment, initial_blocks, max_blocks, growth_blocks, oversize_limit;
	enum mews_mode mode;
	enum mews_node_policy node_policy;
	enum mews_page_policy page_policy;
	const char *mode_source;        /* who asks for the mode; NULL: the caller */
	uint64_t hard_limit;            /* bytes, instead of a share of the memory: MEWS_HARD_LIMIT */
};

/*
 * Geometry of a slab: a run of cells; a cell is cell_blocks blocks at distance stride, and, where the
 * stride would put too many first lines into one L1 set, one cache line more (cell_bytes =
 * cell_blocks * stride + 64). No block crosses the end of its slab. It is backed extent by extent; a
 * block that crosses the end of one belongs to the next.
 */
struct mews_plan {
	enum mews_mode mode;                    /* never AUTO */
	enum mews_node_policy node_policy;
	enum mews_page_policy page_top;         /* never AUTO: first rung tried */
	size_t block_size, alignment;
	size_t stride;                          /* multiple of alignment, >= block_size */
	uint32_t cell_blocks;
	size_t cell_bytes;
	size_t slab_bytes;                      /* power of two */
	uint32_t slab_blocks;                   /* <= 65,536 */
	size_t extent_bytes;                    /* power of two <= slab_bytes; 2 MiB for most */
	uint64_t max_blocks, initial_blocks;
	uint32_t growth_extents;                /* >= 1 */
	uint32_t nodes;                         /* windows: one a node that gives memory */
	uint64_t window_bytes;                  /* power of two, multiple of slab_bytes; of each node */
	uint32_t window_shift;
	uint64_t home_windows;                  /* bit: a CPU that may be used is at home there */
	uint32_t cpus;                          /* that the process may run on */
	uint32_t cache_capacity;                /* 4 * magazine */
	uint32_t cache_most;                    /* in bursts: capacity to MEWS_CACHE_SLOTS_MAX */
	uint32_t magazine;                      /* blocks one exchange moves, >= 1 */
	uint32_t depots;                        /* cache domains, all nodes */
	uint32_t depot_magazines;               /* cap of full magazines of each depot */
	uint64_t hard_limit;                    /* bytes, blocks and oversize together */
	size_t oversize_limit;
	uint64_t idle_bytes;                    /* what caches and depots may hold when all is free */
	uint32_t cpu_ids;
	uint32_t *cpu_window;                   /* [cpu_ids] home window of the CPU */
	uint32_t *cpu_depot;                    /* [cpu_ids] its depot */
	uint32_t *depot_window;                 /* [depots] the window whose blocks it keeps */
	uint32_t *window_node;                  /* [nodes] the kernel's number of the node */
	uint32_t *window_order;                 /* [nodes * nodes] row w: windows by distance from w */
	uint32_t reasons;
	char reason[MEWS_PLAN_REASONS][MEWS_PLAN_REASON_LENGTH];
};

/*
 * Makes a plan. 0; -EINVAL: the request is out of range (error says which member and its range);
 * -ENOMEM. The plan owns its arrays: mews_plan_free. error may be NULL; else 160 bytes.
 */
int mews_plan_make(const struct mews_topology *topology, const struct mews_limits *limits,
		   const struct mews_plan_request *request, struct mews_plan *plan, char *error);
void mews_plan_free(struct mews_plan *plan);

#endif
