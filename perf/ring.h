/* SPDX-License-Identifier: MIT */
/*
 * A ring of pointers from one thread to one other (layer 6), as thin as one can be, so that what a
 * hand-over bench shows is the blocks and not the ring: each side tells the other once in so many blocks,
 * and keeps its copy of what the other told. Called by workload_body.h, backend_home.c and threaded.c.
 * Invariant: pushed by one thread, popped by one thread; what is not told yet is in the ring and nobody's.
 * docs/performance.md, *Producer to consumer*, has what other figures than these two make of it.
 */
#ifndef PERF_RING_H
#define PERF_RING_H

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tick.h"

#define PERF_RING_SLOTS 256
#ifndef PERF_RING_TOLD
#define PERF_RING_TOLD 64       /* blocks that are told of together; a power of two */
#endif
#ifndef PERF_RING_PAUSES
#define PERF_RING_PAUSES 16
#endif
_Static_assert(PERF_RING_SLOTS % PERF_RING_TOLD == 0, "a full ring is told of, else both sides wait");

struct perf_ring {
	_Alignas(128) _Atomic uint32_t tail;    /* what the pusher told */
	_Alignas(128) _Atomic uint32_t head;    /* what the popper told */
	_Alignas(128) uint32_t pushed;          /* the pusher's own */
	uint32_t head_seen;
	_Alignas(128) uint32_t popped;          /* the popper's own */
	uint32_t tail_seen;
	_Alignas(128) void *slot[PERF_RING_SLOTS];
};

/* The pusher's: tells of all it has pushed. */
static inline void perf_ring_tell(struct perf_ring *ring)
{
	/* R1: publishes the slots and the blocks' contents. Pairs with A2. */
	atomic_store_explicit(&ring->tail, ring->pushed, memory_order_release);
}

static inline bool perf_ring_push(struct perf_ring *ring, void *block)
{
	uint32_t pushed = ring->pushed;

	if (pushed - ring->head_seen == PERF_RING_SLOTS) {
		/* A1: the slots below head are read. Pairs with R2. */
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (pushed - ring->head_seen == PERF_RING_SLOTS)
			return false;
	}
	ring->slot[pushed % PERF_RING_SLOTS] = block;
	ring->pushed = pushed + 1;
	if ((pushed + 1) % PERF_RING_TOLD == 0)
		perf_ring_tell(ring);
	return true;
}

static inline void *perf_ring_pop(struct perf_ring *ring)
{
	uint32_t popped = ring->popped;
	void *block;

	if (popped == ring->tail_seen) {
		/* A2: the slots below tail are written. Pairs with R1. */
		ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
		if (popped == ring->tail_seen)
			return NULL;
	}
	block = ring->slot[popped % PERF_RING_SLOTS];
	ring->popped = popped + 1;
	if ((popped + 1) % PERF_RING_TOLD == 0)
		/* R2: the slots may be written again. Pairs with A1. */
		atomic_store_explicit(&ring->head, popped + 1, memory_order_release);
	return block;
}

/*
 * Waits a moment for the other side: spins first, then lets others run. Long enough that the other
 * side gets far, for who looks too often takes the line from the one that writes it, each time; and
 * no longer, or the ring is empty or full before anybody looks.
 */
static inline void perf_ring_wait(uint32_t *spins)
{
	if (++*spins < 64)
		for (int i = 0; i < PERF_RING_PAUSES; i++)
			perf_pause();
	else
		sched_yield();
}

#endif
