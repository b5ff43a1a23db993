/* SPDX-License-Identifier: MIT */
/*
 * The memory of the limits (layer 6): equal blocks at a distance that spreads them over the sets of
 * L1, in huge pages where the kernel gives them. Called by the backends that are not allocators.
 * Invariant: one arena at a time.
 */
#ifndef PERF_ARENA_H
#define PERF_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#define PERF_HUGE ((size_t)2 << 20)     /* bytes of a huge page */

/* Makes room for count blocks; returns the first, or NULL. */
void *perf_arena_open(size_t block_size, size_t count);
void perf_arena_close(void);

/* Bytes from one block to the next: in the arena; in one of blocks of this size. */
size_t perf_arena_stride(void);
size_t perf_arena_stride_of(size_t block_size);


/* Memory that begins at a huge page, which nothing backs yet. */
struct perf_mapping {
	char *all, *memory;
	size_t bytes;           /* of memory */
};

/* Advice as for madvise; that it is refused costs speed only. False where there is no memory. */
bool perf_map(struct perf_mapping *mapping, size_t bytes, int advice);
void perf_unmap(const struct perf_mapping *mapping);

#endif
