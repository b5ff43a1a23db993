/* SPDX-License-Identifier: MIT */
/*
 * What most people write first (layer 6): a list of free blocks under a mutex.
 */
#include <pthread.h>
#include <stdint.h>

#include "arena.h"
#include "workloads.h"

/* In all blocks together. */
#define BYTES ((size_t)(perf_smoke() ? 32 : 256) << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *list;

static const char *backend_set_up(size_t block_size)
{
	size_t blocks = BYTES / block_size;
	char *arena = perf_arena_open(block_size, blocks);

	if (!arena)
		return "no memory";
	list = NULL;
	for (size_t i = blocks; i-- > 0;) {
		void **block = (void **)(arena + i * perf_arena_stride());

		*block = list;
		list = block;
	}
	return NULL;
}

static void backend_tear_down(void)
{
	perf_arena_close();
}

static void backend_enter(void) {}
static void backend_leave(void) {}

static void *mutex_lease(void)
{
	void **block;

	pthread_mutex_lock(&lock);
	block = list;
	if (block)
		list = *block;
	pthread_mutex_unlock(&lock);
	return block;
}

static void mutex_return(void *block)
{
	pthread_mutex_lock(&lock);
	*(void **)block = list;
	list = block;
	pthread_mutex_unlock(&lock);
}

static inline void take_many(void **blocks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = mutex_lease();
}

static inline void give_many(void *const *blocks, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		mutex_return(blocks[i]);
}

#define BACKEND_NAME "mutex"
#define BACKEND_TABLE perf_mutex
#define BACKEND_CAN PERF_CAN_ALL
#define BACKEND_ENTER
#define LEASE() mutex_lease()
#define RETURN(block) mutex_return(block)
#define LEASE_MANY(blocks, n) take_many(blocks, n)
#define RETURN_MANY(blocks, n) give_many(blocks, n)
#include "workload_body.h"
