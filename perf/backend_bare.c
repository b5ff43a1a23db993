/* SPDX-License-Identifier: MIT */
/*
 * The limit of what holds blocks (layer 6): a bare array a thread, with no check, no sharing and no
 * safety at all. Nobody can be faster and give different blocks. Handed over a ring, or where some
 * come back on another thread, it goes through its blocks round and round, and the other side drops them:
 * the price of the hand-over itself.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "arena.h"

#define THREADS 128
#define BLOCKS 1024     /* each thread's; a power of two */

static char *arena;
static atomic_uint entered;
static __thread struct {
	_Alignas(64) void **top;
	uint32_t next;
	_Alignas(64) void *slot[BLOCKS];
} mine;

static const char *backend_set_up(size_t block_size)
{
	arena = perf_arena_open(block_size, (size_t)THREADS * BLOCKS);
	atomic_store(&entered, 0);
	return arena ? NULL : "no memory";
}

static void backend_tear_down(void)
{
	perf_arena_close();
}

static void backend_enter(void)
{
	size_t thread = atomic_fetch_add(&entered, 1) % THREADS;

	for (size_t i = 0; i < BLOCKS; i++) {
		mine.slot[i] = arena + (thread * BLOCKS + i) * perf_arena_stride();
		/* No page fault later. */
		*(volatile char *)mine.slot[i] = 1;
	}
	mine.top = mine.slot + BLOCKS;
}

static void backend_leave(void) {}

static inline void take_many(void **blocks, uint32_t n)
{
	__builtin_memcpy(blocks, mine.top - n, n * sizeof(*blocks));
	mine.top -= n;
}

static inline void give_many(void *const *blocks, uint32_t n)
{
	__builtin_memcpy(mine.top, blocks, n * sizeof(*blocks));
	mine.top += n;
}

#define BACKEND_NAME "bare"
#define BACKEND_TABLE perf_bare
#define BACKEND_CAN (PERF_CAN_PAIR | PERF_CAN_HOLD | PERF_CAN_PASS | PERF_CAN_SERVE)
#define BACKEND_ENTER
#define LEASE() (*--mine.top)
#define RETURN(block) (*mine.top++ = (block))
#define LEASE_MANY(blocks, n) take_many(blocks, n)
#define RETURN_MANY(blocks, n) give_many(blocks, n)
#define LEASE_ANY() (mine.slot[--mine.next % BLOCKS])
#define GIVE_ANY(block) (mine.slot[mine.next++ % BLOCKS] = (block))
#define TAKE_BACK(block) ((void)(block))
#define PRODUCE() (mine.slot[mine.next++ % BLOCKS])
#define CONSUME(block) ((void)(block))
#include "workload_body.h"
