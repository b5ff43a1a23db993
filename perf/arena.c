/* SPDX-License-Identifier: MIT */
/*
 * The memory of the limits (layer 6), see arena.h. Invariant: the stride is an odd number of cache
 * lines.
 */
#include "arena.h"

#include <stdint.h>
#include <sys/mman.h>

static char *memory;
static size_t length, stride;

size_t perf_arena_stride_of(size_t block_size)
{
	return ((block_size + 63) / 64 | 1) * 64;
}

void *perf_arena_open(size_t block_size, size_t count)
{
	stride = perf_arena_stride_of(block_size);
	length = (stride * count + (2u << 20) - 1) & ~(size_t)((2u << 20) - 1);
	memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return memory = NULL;
	/* A refusal costs speed only. */
	(void)madvise(memory, length, MADV_HUGEPAGE);
	return memory;
}

void perf_arena_close(void)
{
	if (memory)
		munmap(memory, length);
	memory = NULL;
}

size_t perf_arena_stride(void)
{
	return stride;
}

bool perf_map(struct perf_mapping *mapping, size_t bytes, int advice)
{
	mapping->bytes = bytes;
	mapping->all = mmap(NULL, bytes + PERF_HUGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mapping->all == MAP_FAILED)
		return false;
	mapping->memory = mapping->all + (-(uintptr_t)mapping->all & (PERF_HUGE - 1));
	(void)madvise(mapping->memory, bytes, advice);
	return true;
}

void perf_unmap(const struct perf_mapping *mapping)
{
	munmap(mapping->all, mapping->bytes + PERF_HUGE);
}
