/* SPDX-License-Identifier: MIT */
/*
 * The caches (layer 4): see cache.h. The protocol, with what goes wrong without each fence:
 *
 *   close:  base = ~0, span = 0            empty to a lease, nothing of its own to a return
 *           fence(cpu)                     F1
 *           take [bottom, cur); cur = bottom
 *   open:   cur = bottom                   of the capacity that it is to have
 *           fence(cpu)                     F2
 *           base = bottom, span = the window's
 *   rest:   as close, but nothing is taken; wake: as open, with no fence, since cur stays
 *
 *   Without F1:  a sequence on the CPU has read the old base and cur; the closer takes the block at
 *                cur - 8; the sequence commits, and leases the same block.
 *   Without F2:  a return starts while the cache is closed, having read the old cur (a thread that
 *                read it before `cur = bottom` was visible); the cache reopens; it reads the new
 *                span, passes, stores its block at the old cur and commits cur = old + 8: all that
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
			 void **base, uintptr_t span)
{
	__atomic_store_n(mews_owned(control) ? &cache->owned_base : &cache->base, base,
			 __ATOMIC_RELAXED);
	__atomic_store_n(mews_owned(control) ? &cache->owned_span : &cache->span, span,
			 __ATOMIC_RELAXED);
}

static void shut(const struct mews_control *control, struct mews_cpu_cache *cache)
{
	store_bounds(control, cache, (void **)~(uintptr_t)0, 0);
}

static void **bottom_of(const struct mews_control *control, uint32_t cpu)
{
	/* Relaxed: who claimed the cache reads and writes it, and others for a hint. */
	return mews_cache_bottom(mews_cache_of(control->pool, cpu),
				 atomic_load_explicit(&control->sides.side[cpu].capacity,
						      memory_order_relaxed));
}

static void unshut(const struct mews_control *control, uint32_t cpu)
{
	store_bounds(control, mews_cache_of(control->pool, cpu), bottom_of(control, cpu),
		     control->plan.window_bytes);
}

/*
 * Of an empty cache that is shut. More room: cur moves first, less: last, so that who counts what it holds sees
 * one of the two change, or finds 0. Slots that are below the bottom from now on hold nothing: a word may tell
 * one (W2).
 */
static void set_capacity(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	struct mews_cpu_cache *cache = mews_cache_of(control->pool, cpu);
	void **bottom = mews_cache_bottom(cache, capacity);
	void **slot = bottom_of(control, cpu);
	bool more = bottom < slot;

	if (more)
		__atomic_store_n(&cache->cur, bottom, __ATOMIC_RELEASE);
	for (; slot < bottom; slot++)
		__atomic_store_n(slot, NULL, __ATOMIC_RELEASE); /* whoever reads that sees the words, too */
	atomic_store_explicit(&control->sides.side[cpu].capacity, capacity, memory_order_release);
	if (!more)
		__atomic_store_n(&cache->cur, bottom, __ATOMIC_RELEASE);
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
static bool prepare(struct mews_control *control, uint32_t cpu, struct mews_cpu_cache *cache)
{
	const struct mews_plan *plan = &control->plan;

	__atomic_store_n(&cache->base, (void **)~(uintptr_t)0, __ATOMIC_RELAXED);
	__atomic_store_n(&cache->owned_base, (void **)~(uintptr_t)0, __ATOMIC_RELAXED);
	if (mews_fence_cpu(cpu))
		return false;
	cache->lo = (uintptr_t)control->slabs.start +
		((uintptr_t)plan->cpu_window[cpu] << plan->window_shift);
	return true;
}

void mews_cache_open(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	if (claim(control, cpu, MEWS_CACHE_NEW)) {
		if (!prepare(control, cpu, mews_cache_of(control->pool, cpu))) {
			settle(control, cpu, MEWS_CACHE_NEW);
			return;
		}
	} else if (!claim(control, cpu, MEWS_CACHE_CLOSED)) {
		return;
	}
	set_capacity(control, cpu, capacity);
	if (mews_fence_cpu(cpu)) { /* F2 */
		settle(control, cpu, MEWS_CACHE_CLOSED);
		return;
	}
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
	void **bottom;

	/* One that rests has been fenced when it was shut. */
	if (!*left && !close_open(control, cpu) && !claim(control, cpu, MEWS_CACHE_RESTING))
		return 0;
	bottom = bottom_of(control, cpu);
	count = (size_t)(__atomic_load_n(&cache->cur, __ATOMIC_RELAXED) - bottom);
	below = count > MEWS_CACHE_TAKE ? count - MEWS_CACHE_TAKE : 0;
	count -= below;
	memcpy(blocks, bottom + below, count * sizeof(*blocks));
	if (mews_owned(control))
		mews_owned_settle(control, blocks, count);
	/* W1: releases the words to who looks into a slot: see owned.c. */
	__atomic_store_n(&cache->cur, bottom + below, __ATOMIC_RELEASE);
	*left = below > 0;
	if (!*left)
		settle(control, cpu, MEWS_CACHE_CLOSED);
	return count;
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
	const struct mews_side *side = &control->sides.side[cpu];
	struct mews_cpu_cache *cache = mews_cache_of(control->pool, cpu);
	void **bottom, **cur;
	uint32_t capacity;

	if (atomic_load_explicit(&side->cache_state, memory_order_relaxed) <= MEWS_CACHE_CLOSED)
		return 0;
	capacity = atomic_load_explicit(&side->capacity, memory_order_acquire);
	bottom = mews_cache_bottom(cache, capacity);
	cur = __atomic_load_n(&cache->cur, __ATOMIC_ACQUIRE);
	/* One that gets other room is empty: see set_capacity. And NULL is no cur yet. */
	if (atomic_load_explicit(&side->capacity, memory_order_relaxed) != capacity || cur < bottom)
		return 0;
	return (size_t)(cur - bottom);
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
