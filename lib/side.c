/* SPDX-License-Identifier: MIT */
/*
 * The side table (layer 4): see side.h. Blocks go on the tagged stacks by their numbers; the links
 * stand in a table of their own, since a block's memory is the user's until the last moment.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include "../numa/kernel.h"
#include "side.h"

#define YIELDS 100

/* Sleeps, after a while, in case the caller's priority keeps the one it waits for away. */
void mews_pause(unsigned turn)
{
	const struct timespec step = { .tv_nsec = 50000 };
	uint32_t word = 0;
	int saved = errno;

	if (turn < YIELDS)
		sched_yield();
	else
		mews_kernel->futex_wait(&word, 0, &step);
	errno = saved;
}

void mews_gate_wait(struct mews_sides *sides)
{
	uint32_t half, cpu;
	unsigned turn = 0;
	int flip;

	while (atomic_exchange(&sides->waiting, 1))
		mews_pause(turn++);
	for (flip = 0; flip < 2; flip++) {
		half = atomic_fetch_add(&sides->epoch, 1) & 1;
		for (cpu = 0; cpu < sides->count; cpu++)
			/* G3: acquires from G2; sequentially consistent with G1. */
			while (mews_gate_inside(atomic_load(&sides->side[cpu].gate[half])))
				mews_pause(turn++);
	}
	atomic_store(&sides->waiting, 0);
}

uint64_t mews_gate_traffic(const struct mews_sides *sides)
{
	uint64_t sum = 0;
	uint32_t cpu;

	for (cpu = 0; cpu < sides->count; cpu++)
		sum += atomic_load(&sides->side[cpu].gate[0]) +
		       atomic_load(&sides->side[cpu].gate[1]);
	return sum;
}

void mews_gate_reset(struct mews_sides *sides)
{
	uint32_t cpu;

	atomic_store(&sides->waiting, 0);
	for (cpu = 0; cpu < sides->count; cpu++) {
		atomic_store(&sides->side[cpu].gate[0], 0);
		atomic_store(&sides->side[cpu].gate[1], 0);
	}
}

#define CLAIMED ((uint64_t)1 << 32) /* no next: who walks to it from an old head stops there */

/* True where the number was on no side stack: it is the caller's to push now. */
static bool claim(struct mews_sides *sides, uint32_t number)
{
	uint64_t none = 0;

	/* Relaxed: the link is published, with the block, by the head that leads to it. */
	return atomic_compare_exchange_strong_explicit(&sides->link[number], &none, CLAIMED,
			memory_order_relaxed, memory_order_relaxed);
}

uint32_t mews_side_push(struct mews_sides *sides, struct mews_tagstack *stack, void *const *blocks,
			size_t count, mews_bad_block *bad, void *context)
{
	uint32_t number[MEWS_MAGAZINE_MAX];
	enum mews_verdict verdict;
	size_t i, n = 0;

	for (i = 0; i < count; i++) {
		verdict = mews_slabs_find(sides->slabs, blocks[i], &number[n]);
		if (verdict == MEWS_BLOCK_START && claim(sides, number[n]))
			n++;
		else
			bad(context, blocks[i], verdict);
	}
	return n ? mews_tagstack_push_many(stack, sides->link, number, n) : 0;
}

size_t mews_side_pop(struct mews_sides *sides, struct mews_tagstack *stack, void **blocks,
		     size_t count)
{
	uint32_t number[MEWS_MAGAZINE_MAX];
	size_t i, n;

	n = mews_tagstack_pop_many(stack, sides->link, number,
				   count < MEWS_MAGAZINE_MAX ? count : MEWS_MAGAZINE_MAX);
	for (i = 0; i < n; i++) {
		blocks[i] = mews_slabs_block(sides->slabs, number[i]);
		/* Relaxed: who walks over it meanwhile is refused by the tag. */
		atomic_store_explicit(&sides->link[number[i]], 0, memory_order_relaxed);
	}
	return n;
}
