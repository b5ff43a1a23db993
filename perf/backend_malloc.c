/* SPDX-License-Identifier: MIT */
/*
 * malloc and free (layer 6): glibc's, or whichever library the runner preloads. Compiled with
 * -fno-builtin, so that the pair is not thrown away, and called through the GOT.
 */
#include <stdint.h>
#include <stdlib.h>

static size_t size;

static const char *backend_set_up(size_t block_size)
{
	size = block_size;
	return NULL;
}

static void backend_tear_down(void) {}
static void backend_enter(void) {}
static void backend_leave(void) {}

static inline void take_many(void **blocks, uint32_t n, size_t bytes)
{
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = malloc(bytes);
}

static inline void give_many(void *const *blocks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(blocks[i]);
}

#define BACKEND_NAME "malloc"
#define BACKEND_TABLE perf_malloc
#define BACKEND_CAN (PERF_CAN_ALL | PERF_CAN_FILL | PERF_CAN_GROW)
#define BACKEND_ENTER const size_t bytes_ = size; (void)bytes_;
#define LEASE() malloc(bytes_)
#define RETURN(block) free(block)
#define LEASE_MANY(blocks, n) take_many(blocks, n, bytes_)
#define RETURN_MANY(blocks, n) give_many(blocks, n)
#include "workload_body.h"
