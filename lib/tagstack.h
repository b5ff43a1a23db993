/* SPDX-License-Identifier: MIT */
/*
 * Tagged stack (layer 2): a lock-free stack of small numbers with one 64-bit word as its head.
 * Used by depot.c for magazines and by side.c for blocks. Invariant: a number is on at most one
 * stack that shares a link table, and who pops it owns it alone.
 *
 *   head = { tag : 32, number + 1 : 32 }     0 in the low half: empty
 *   link[number] = { depth : 32, next + 1 : 32 }   depth: how many stand below it, itself included
 *
 * The tag grows with each change, so that a head read before a change never compares equal after it
 * (ABA) while fewer than 2^32 changes pass during one operation. A pop may read the link of a number
 * that somebody else has popped meanwhile: what it read is then refused by the compare-and-swap.
 * After Treiber (IBM RJ 5118, 1986), with the tag of the System/370 principles of operation.
 *
 *              push     pop      pop_many  depth
 *   push       safe     safe     safe      safe (a moment's value)
 *   pop        safe     safe     safe      safe
 */
#ifndef MEWS_LIB_TAGSTACK_H
#define MEWS_LIB_TAGSTACK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MEWS_NONE UINT32_MAX

typedef _Atomic uint64_t mews_word;

struct mews_tagstack {
	mews_word head;
};

static inline uint32_t mews_tagstack_top(uint64_t head)
{
	return (uint32_t)head - 1;
}

static inline uint64_t mews_tagstack_next_head(uint64_t head, uint32_t number)
{
	return ((head >> 32) + 1) << 32 | (uint32_t)(number + 1);
}

/* Relaxed: a link is published by the head that leads to it. */
static inline uint64_t mews_tagstack_link(const mews_word *link, uint32_t number)
{
	return atomic_load_explicit(&link[number], memory_order_relaxed);
}

static inline uint32_t mews_tagstack_depth_of(const mews_word *link, uint64_t head)
{
	uint32_t top = mews_tagstack_top(head);

	return top == MEWS_NONE ? 0 : (uint32_t)(mews_tagstack_link(link, top) >> 32);
}

/* How many numbers the stack holds; a moment's value. */
static inline uint32_t mews_tagstack_depth(const struct mews_tagstack *stack, const mews_word *link)
{
	/* T0: acquires the top's link from T1. */
	return mews_tagstack_depth_of(link, atomic_load_explicit(&stack->head, memory_order_acquire));
}

/* Pushes count numbers, number[0] deepest. Returns how many the stack holds then. */
static inline uint32_t mews_tagstack_push_many(struct mews_tagstack *stack, mews_word *link,
					   const uint32_t *number, size_t count)
{
	/* T3: acquires the top's link from T1, for its depth. */
	uint64_t head = atomic_load_explicit(&stack->head, memory_order_acquire);
	uint32_t below, depth;
	size_t i;

	do {
		below = (uint32_t)head;
		depth = mews_tagstack_depth_of(link, head);
		for (i = 0; i < count; i++) {
			atomic_store_explicit(&link[number[i]], (uint64_t)++depth << 32 | below,
					      memory_order_relaxed);
			below = number[i] + 1;
		}
		/*
		 * T1: releases the links, and what the numbers stand for, to T0, T2 and T3.
		 * Sequentially consistent for mews_notice, which may follow.
		 */
	} while (!atomic_compare_exchange_weak_explicit(&stack->head, &head,
			mews_tagstack_next_head(head, number[count - 1]),
			memory_order_seq_cst, memory_order_acquire));
	return depth;
}

static inline void mews_tagstack_push(struct mews_tagstack *stack, mews_word *link, uint32_t number)
{
	mews_tagstack_push_many(stack, link, &number, 1);
}

/*
 * Pops up to count numbers, number[0] the top. Returns how many. A walk over links that others
 * change ends after count steps at the latest, and is then refused.
 */
static inline size_t mews_tagstack_pop_many(struct mews_tagstack *stack, const mews_word *link,
					    uint32_t *number, size_t count)
{
	/*
	 * T4: sequentially consistent, as T1: who says that it waits, and then finds nothing here, is
	 * seen by who pushes after that (mews_notice).
	 */
	uint64_t head = atomic_load_explicit(&stack->head, memory_order_seq_cst);
	uint32_t next;
	size_t n;

	do {
		next = mews_tagstack_top(head);
		for (n = 0; n < count && next != MEWS_NONE; n++) {
			number[n] = next;
			next = (uint32_t)mews_tagstack_link(link, next) - 1;
		}
		if (n == 0)
			return 0;
		/* T2: acquires what T1 released: whoever pops a number sees what was pushed with it. */
	} while (!atomic_compare_exchange_weak_explicit(&stack->head, &head,
			mews_tagstack_next_head(head, next),
			memory_order_acquire, memory_order_acquire));
	return n;
}

static inline uint32_t mews_tagstack_pop(struct mews_tagstack *stack, const mews_word *link)
{
	uint32_t number;

	return mews_tagstack_pop_many(stack, link, &number, 1) ? number : MEWS_NONE;
}

#endif
