/* SPDX-License-Identifier: MIT */
/*
 * The limit of a hand-over whose blocks come home (layer 6): the consumer puts what it has done with into
 * an array, which the producer takes it from, and tells of as many at a time as the ring. The two know each other, no third
 * thread ever comes, no CPU is looked up, nothing is checked and nothing misses: a pool that lets any
 * thread return any block has to do more. Hand-overs only.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "arena.h"
#include "ring.h"

#define PAIRS 16
#define BLOCKS 768      /* a pair's */
#define SLOTS 1024      /* more than blocks: it is never full */

static struct home {
	_Alignas(128) _Atomic uint32_t tail;    /* what was told */
	_Alignas(128) uint32_t put;             /* the consumer's */
	_Alignas(128) uint32_t taken, tail_seen; /* the producer's */
	_Alignas(128) void *slot[SLOTS];
} homes[PAIRS];

static const char *backend_set_up(size_t block_size)
{
	char *arena = perf_arena_open(block_size, (size_t)PAIRS * BLOCKS);

	for (size_t i = 0; arena && i < PAIRS; i++) {
		for (size_t j = 0; j < BLOCKS; j++) {
			homes[i].slot[j] = arena + (i * BLOCKS + j) * perf_arena_stride();
			*(volatile char *)homes[i].slot[j] = 1; /* no page fault later */
		}
		homes[i].taken = 0;
		homes[i].put = homes[i].tail_seen = BLOCKS;
		atomic_store(&homes[i].tail, BLOCKS);
	}
	return arena ? NULL : "no memory";
}

static void backend_tear_down(void)
{
	perf_arena_close();
}

static void backend_enter(void) {}
static void backend_leave(void) {}

static inline void *take(struct home *home, const atomic_bool *stop)
{
	uint32_t spins = 0;

	while (home->taken == home->tail_seen) {
		/* H1: the slots below tail are written. Pairs with H2. */
		home->tail_seen = atomic_load_explicit(&home->tail, memory_order_acquire);
		/* relaxed: only the loop's end depends on it; what is taken then has been taken before */
		if (home->taken != home->tail_seen || atomic_load_explicit(stop, memory_order_relaxed))
			break;
		perf_ring_wait(&spins);
	}
	return home->slot[home->taken++ % SLOTS];
}

static inline void give(struct home *home, void *block)
{
	home->slot[home->put++ % SLOTS] = block;
	if (home->put % PERF_RING_TOLD == 0)
		/* H2: publishes the slots. Pairs with H1. */
		atomic_store_explicit(&home->tail, home->put, memory_order_release);
}

#define BACKEND_NAME "home"
#define BACKEND_TABLE perf_home
#define BACKEND_CAN PERF_CAN_PASS
#define BACKEND_ENTER
#define PASS_ENTER struct home *const home = &homes[local->pair % PAIRS];
#define LEASE() homes[0].slot[0]
#define RETURN(block) ((void)(block))
#define LEASE_MANY(blocks, n) ((void)(blocks), (void)(n))
#define RETURN_MANY(blocks, n) ((void)(blocks), (void)(n))
#define PRODUCE() take(home, local->stop)
#define CONSUME(block) give(home, block)
#define GIVE(block) RETURN(block)
#include "workload_body.h"
