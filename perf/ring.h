/* SPDX-License-Identifier: MIT */
/*
 * A ring of pointers from one thread to one other (layer 6), the plainest there is, so that what a
 * hand-over bench shows is the blocks and not the ring. Called by workload_body.h and threaded.c.
 * Invariant: pushed by one thread, popped by one thread; each keeps its copy of the other's index
 * and reads the real one only when the copy says full or empty.
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

struct perf_ring {
	_Alignas(128) _Atomic uint32_t tail;    /* written by the pusher */
	uint32_t head_seen;
	_Alignas(128) _Atomic uint32_t head;    /* written by the popper */
	uint32_t tail_seen;
	_Alignas(128) void *slot[PERF_RING_SLOTS];
};

static inline bool perf_ring_push(struct perf_ring *ring, void *block)
{
	/* relaxed: our own index */
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

	if (tail - ring->head_seen == PERF_RING_SLOTS) {
		/* A1: the slots below head are read. Pairs with R2. */
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (tail - ring->head_seen == PERF_RING_SLOTS)
			return false;
	}
	ring->slot[tail % PERF_RING_SLOTS] = block;
	/* R1: publishes the slot and the block's contents. Pairs with A2. */
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	return true;
}

static inline void *perf_ring_pop(struct perf_ring *ring)
{
	/* relaxed: our own index */
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	void *block;

	if (head == ring->tail_seen) {
		/* A2: the slot below tail is written. Pairs with R1. */
		ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
		if (head == ring->tail_seen)
			return NULL;
	}
	block = ring->slot[head % PERF_RING_SLOTS];
	/* R2: the slot may be written again. Pairs with A1. */
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
	return block;
}

/*
 * Waits a moment for the other side: spins first, then lets others run. Long enough that the other
 * side gets far: who looks too often takes the line from the one that writes it, each time, and
 * then a ring with nothing else to do is slower than one with an allocator behind it.
 */
static inline void perf_ring_wait(uint32_t *spins)
{
	if (++*spins < 64)
		for (int i = 0; i < 64; i++)
			perf_pause();
	else
		sched_yield();
}

#endif
