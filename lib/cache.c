/* SPDX-License-Identifier: MIT */
/*
 * The caches (layer 4): see cache.h. The protocol, with what goes wrong without each fence:
 *
 *   close:  base = ~0, limit = 0           empty to a lease, full to a return
 *           fence(cpu)                     F1
 *           take [slots, cur); cur = slots
 *   open:   fence(cpu)                     F2
 *           base = slots, limit = slots + capacity
 *   rest:   as close, but nothing is taken; wake: as open, with no fence, since cur stays
 *   resize: limit = slots + capacity       with no fence, since cur stays, and the slots are there
 *
 *   Without F1:  a sequence on the CPU has read the old base and cur; the closer takes the block at
 *                cur - 8; the sequence commits, and leases the same block.
 *   Without F2:  a return starts while the cache is closed, having read the old cur (a thread that
 *                read it before `cur = slots` was visible); the cache reopens; it reads the new
 *                limit, passes, stores its block at the old cur and commits cur = old + 8: all that
 *                was taken is back in the cache, and leased twice.
 *
 * A fence aborts the sequence that runs on that CPU; preempted ones are aborted when they resume.
 * Stores to the header are relaxed atomics: the fence orders them for the CPU that matters.
 */
#include <string.h>
#include "../numa/fence.h"
#include "cache.h"
#include "owned.h"

/* Of the two pairs the one that this pool's leases go by; the other is shut since the cache is. */
static void store_bounds(const struct mews_control *control, struct mews_cpu_cache *cache,
			 void **base, void **limit)
{
	__atomic_store_n(mews_owned(control) ? &cache->owned_base : &cache->base, base,
			 __ATOMIC_RELAXED);
	__atomic_store_n(mews_owned(control) ? &cache->owned_limit : &cache->limit, limit,
			 __ATOMIC_RELAXED);
}

static void shut(const struct mews_control *control, struct mews_cpu_cache *cache)
{
	store_bounds(control, cache, (void **)~(uintptr_t)0, NULL);
}

static void unshut(const struct mews_control *control, uint32_t cpu)
{
	struct mews_cpu_cache *cache = mews_cache_of(control->pool, cpu);
	/* Relaxed: who claimed the cache reads and writes it, and others for a hint. */
	uint32_t capacity = atomic_load_explicit(&control->sides.side[cpu].capacity,
						 memory_order_relaxed);

	store_bounds(control, cache, cache->slots, cache->slots + capacity);
}

static void set_capacity(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	/* Relaxed: as above. */
	atomic_store_explicit(&control->sides.side[cpu].capacity, capacity, memory_order_relaxed);
}

/* C1: acquires what the last opener or closer did (C2). */
static bool claim(struct mews_control *control, uint32_t cpu, uint32_t from)
{
	return atomic_compare_exchange_strong_explicit(&control->sides.side[cpu].cache_state, &from,
			MEWS_CACHE_BUSY, memory_order_acquire, memory_order_relaxed);
}

/* C2: releases to C1. */
static void settle(struct mews_control *control, uint32_t cpu, uint32_t state)
{
	atomic_store_explicit(&control->sides.side[cpu].cache_state, state, memory_order_release);
}

/* The first opening: from zeros, which are closed too, to a header that is shut. */
static void prepare(struct mews_control *control, uint32_t cpu, struct mews_cpu_cache *cache)
{
	const struct mews_plan *plan = &control->plan;

	__atomic_store_n(&cache->base, (void **)~(uintptr_t)0, __ATOMIC_RELAXED);
	__atomic_store_n(&cache->owned_base, (void **)~(uintptr_t)0, __ATOMIC_RELAXED);
	mews_fence_cpu(cpu);
	cache->lo = (uintptr_t)control->slabs.start +
		((uintptr_t)plan->cpu_window[cpu] << plan->window_shift);
	cache->span = plan->window_bytes;
	__atomic_store_n(&cache->cur, cache->slots, __ATOMIC_RELAXED);
}

void mews_cache_open(struct mews_control *control, uint32_t cpu)
{
	if (claim(control, cpu, MEWS_CACHE_NEW))
		prepare(control, cpu, mews_cache_of(control->pool, cpu));
	else if (!claim(control, cpu, MEWS_CACHE_CLOSED))
		return;
	if (mews_fence_cpu(cpu)) { /* F2 */
		settle(control, cpu, MEWS_CACHE_CLOSED);
		return;
	}
	set_capacity(control, cpu, control->plan.cache_capacity);
	unshut(control, cpu);
	settle(control, cpu, MEWS_CACHE_OPEN);
}

/* Claims an open cache and shuts it; what it holds is the caller's from then on. */
static bool close_open(struct mews_control *control, uint32_t cpu)
{
	if (!claim(control, cpu, MEWS_CACHE_OPEN))
		return false;
	shut(control, mews_cache_of(control->pool, cpu));
	if (!mews_fence_cpu(cpu)) /* F1 */
		return true;
	unshut(control, cpu);
	settle(control, cpu, MEWS_CACHE_OPEN);
	return false;
}

size_t mews_cache_close(struct mews_control *control, uint32_t cpu, void **blocks, bool *left)
{
	struct mews_cpu_cache *cache = mews_cache_of(control->pool, cpu);
	size_t count, below;

	/* One that rests has been fenced when it was shut. */
	if (!*left && !close_open(control, cpu) && !claim(control, cpu, MEWS_CACHE_RESTING))
		return 0;
	count = (size_t)(__atomic_load_n(&cache->cur, __ATOMIC_RELAXED) - cache->slots);
	below = count > MEWS_CACHE_TAKE ? count - MEWS_CACHE_TAKE : 0;
	count -= below;
	memcpy(blocks, cache->slots + below, count * sizeof(*blocks));
	if (mews_owned(control))
		mews_owned_settle(control, blocks, count);
	/* W1: releases the words to who looks into a slot: see owned.c. */
	__atomic_store_n(&cache->cur, cache->slots + below, __ATOMIC_RELEASE);
	*left = below > 0;
	if (!*left)
		settle(control, cpu, MEWS_CACHE_CLOSED);
	return count;
}

bool mews_cache_resize(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	if (!claim(control, cpu, MEWS_CACHE_OPEN))
		return false;
	set_capacity(control, cpu, capacity);
	unshut(control, cpu);
	settle(control, cpu, MEWS_CACHE_OPEN);
	return true;
}

bool mews_cache_rest(struct mews_control *control, uint32_t cpu)
{
	if (!close_open(control, cpu))
		return false;
	settle(control, cpu, MEWS_CACHE_RESTING);
	return true;
}

bool mews_cache_wake(struct mews_control *control, uint32_t cpu)
{
	if (!claim(control, cpu, MEWS_CACHE_RESTING))
		return false;
	/* cur is as it was: a sequence that read it before is still right. */
	unshut(control, cpu);
	settle(control, cpu, MEWS_CACHE_OPEN);
	return true;
}

size_t mews_cache_count(const struct mews_control *control, uint32_t cpu)
{
	struct mews_cpu_cache *cache = mews_cache_of(control->pool, cpu);
	void **cur;

	if (atomic_load_explicit(&control->sides.side[cpu].cache_state, memory_order_relaxed) <=
	    MEWS_CACHE_CLOSED)
		return 0;
	cur = __atomic_load_n(&cache->cur, __ATOMIC_RELAXED);
	return cur > cache->slots ? (size_t)(cur - cache->slots) : 0; /* NULL while it first opens */
}

void mews_cache_freeze(struct mews_control *control, uint32_t cpu)
{
	if (!claim(control, cpu, MEWS_CACHE_OPEN))
		return;
	shut(control, mews_cache_of(control->pool, cpu));
	mews_fence_cpu(cpu);
	settle(control, cpu, MEWS_CACHE_FROZEN);
}

void mews_cache_thaw(struct mews_control *control, uint32_t cpu)
{
	if (!claim(control, cpu, MEWS_CACHE_FROZEN))
		return;
	unshut(control, cpu);
	settle(control, cpu, MEWS_CACHE_OPEN);
}
