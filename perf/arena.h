/* SPDX-License-Identifier: MIT */
/*
 * The memory of the limits (layer 6): equal blocks at a distance that spreads them over the sets of
 * L1, in huge pages where the kernel gives them. Called by the backends that are not allocators.
 * Invariant: one arena at a time.
 */
#ifndef PERF_ARENA_H
#define PERF_ARENA_H

#include <stddef.h>

/* Makes room for count blocks; returns the first, or NULL. */
void *perf_arena_open(size_t block_size, size_t count);
void perf_arena_close(void);

/* Bytes from one block to the next: in the arena; in one of blocks of this size. */
size_t perf_arena_stride(void);
size_t perf_arena_stride_of(size_t block_size);

#endif
