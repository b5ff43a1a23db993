/* SPDX-License-Identifier: MIT */
/*
 * Draining and the end of a pool (layer 5). Drain and dispose store a state, wait until
 * every operation that saw the old one has left the gate, and then collect all free blocks into their
 * slabs. From there the free bits tell the truth: nothing but a lease clears them.
 *
 * Dispose counts what is out from them, once. What comes back later does not touch the slabs:
 *
 *   dispose                                    return, having seen DISPOSED
 *   state = DISPOSED; wait for the gate        set the block's dropped bit; leave the gate
 *   collect; out = carved - free               holders -= 1; 0? free the pool
 *   holders += out - bias; 0? free the pool
 *
 * A return that set a bit in the slabs instead could do so before the count and subtract after it:
 * its block would be accounted for twice, and the pool freed with a block still out.
 */
#include <errno.h>
#include "../numa/fence.h"
#include "../numa/kernel.h"
#include "cache.h"
#include "drain.h"
#include "exchange.h"
#include "keeper.h"
#include "ledger.h"
#include "owner.h"
#include "process.h"
#include "sites.h"

/*
 * What is out. Exact while nobody leases; a drain, during which they may, takes it for an answer only
 * if moved_since() its beginning says that none did, and no slab came or went.
 */
static uint64_t out_of(const struct mews_control *control)
{
	uint64_t carved = mews_slabs_carved(&control->slabs), free = 0;
	uint32_t i;

	for (i = 0; i < control->slabs.windows; i++)
		free += mews_slabs_free(&control->slabs, i);
	/* A drain's answer: the mappings that were counted are gone. Acquires from O3. */
	return carved - free + atomic_load_explicit(&control->oversize.count, memory_order_acquire);
}

static uint64_t total_of(const struct mews_control *control)
{
	return mews_slabs_carved(&control->slabs) + atomic_load(&control->oversize.count);
}

/* Changes with each lease during a drain, each growth, each trim, when it has ended. */
static uint64_t moves_of(const struct mews_control *control)
{
	return atomic_load(&control->drain_leases) + atomic_load(&control->slabs.grown) +
	       ((uint64_t)atomic_load(&control->slabs.trimmed) << 32);
}

/*
 * True where what was read of the slabs since may not be of one moment. A lease counts (D4) after it
 * has its blocks and before its caller knows of them: had it counted before, a look that came between
 * could find its block free still, and, later on, free already the one that was returned for it. A
 * growth makes blocks free before it counts, so it is asked for while it lasts.
 */
static bool moved_since(const struct mews_control *control, uint64_t moves)
{
	/* D3: acquires from who changed what was read: its D4, or its growing, is seen. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load(&control->slabs.growing) || moves_of(control) != moves;
}

void mews_drain_notice(struct mews_control *control)
{
	/* D1: releases the block that came back to D2. */
	atomic_fetch_add_explicit(&control->drain_returns, 1, memory_order_release);
	mews_kernel->futex_wake((uint32_t *)&control->drain_returns, 1);
}

/* The time to wait for, at most 10 ms: a hit path that was under way tells nobody. False: it is up. */
static bool time_left(const struct timespec *deadline, struct timespec *step)
{
	int64_t left = 10000000;
	struct timespec now;

	if (deadline) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		left = (deadline->tv_sec - now.tv_sec) * INT64_C(1000000000) +
			(deadline->tv_nsec - now.tv_nsec);
		left = left < 10000000 ? left : 10000000;
	}
	*step = (struct timespec) { .tv_nsec = left };
	return left > 0;
}

static bool valid(const struct timespec *deadline)
{
	return !deadline || (deadline->tv_sec >= 0 && deadline->tv_sec < INT64_MAX / 4000000000 &&
			     deadline->tv_nsec >= 0 && deadline->tv_nsec < 1000000000);
}

/*
 * One look: 0, -EAGAIN, or -ESHUTDOWN. Inside the gate, since it has blocks in hand: a dispose that
 * counted what is out meanwhile would take them for leases, and wait for their return for ever.
 */
static int look(struct mews_control *control)
{
	struct mews_pass pass = mews_pass_gate(control, mews_fence_current_cpu());
	int result = -ESHUTDOWN;
	uint64_t moves;

	if (atomic_load(&control->state) == MEWS_DRAINING) {
		moves = moves_of(control);
		mews_collect(control);
		result = out_of(control) || moved_since(control, moves) ? -EAGAIN : 0;
	}
	mews_pass_end(&pass);
	return result;
}

static int wait_for_all(struct mews_control *control, const struct timespec *deadline)
{
	struct timespec step;
	uint32_t seen;
	int result;

	for (;;) {
		/* D2: before the look, so that a return after it changes the word. */
		seen = atomic_load_explicit(&control->drain_returns, memory_order_acquire);
		result = look(control);
		if (result != -EAGAIN)
			return result;
		if (!time_left(deadline, &step))
			return -ETIMEDOUT;
		mews_kernel->futex_wait((uint32_t *)&control->drain_returns, seen, &step);
	}
}

static int drain(struct mews_control *control, const struct timespec *deadline)
{
	uint32_t live = MEWS_LIVE, draining = MEWS_DRAINING;
	int result;

	if (!atomic_compare_exchange_strong(&control->state, &live, MEWS_DRAINING))
		return -ESHUTDOWN;
	mews_gate_wait(&control->sides);
	result = wait_for_all(control, deadline);
	if (result == -ETIMEDOUT)
		mews_report_outstanding(control, out_of(control), total_of(control));
	atomic_compare_exchange_strong(&control->state, &draining, MEWS_LIVE);
	return result;
}

MEWS_API int mews_pool_drain(struct mews_pool *pool, const struct timespec *deadline)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	uint32_t idle = 0;
	int result;

	if (!pool || !valid(deadline))
		return -EINVAL;
	if (!atomic_compare_exchange_strong(&control->draining, &idle, 1))
		return -EBUSY;
	mews_keeper_ensure();
	atomic_fetch_add(&control->holders, 1);
	result = drain(control, deadline);
	atomic_store(&control->draining, 0);
	mews_release_holders(control, 1);
	return result;
}

bool mews_drop(struct mews_control *control, void *block, uint32_t number)
{
	if (!mews_slabs_is_free(&control->slabs, number) && !mews_ledger_set(control->dropped, number))
		return true;
	mews_report(control, MEWS_REPORT_DOUBLE_RETURN, block,
		    "double return: this block is back already, and its pool disposed");
	return false;
}

/* Blocks that were taken for returned while they lay in a cache that was not collected yet. */
static uint64_t wrongly_dropped(const struct mews_control *control)
{
	const struct mews_slabs *s = &control->slabs;
	uint64_t words = ((uint64_t)1 << s->window_bits_shift) / 64, word, used, wrong = 0;
	uint32_t i;

	for (i = 0; i < s->windows; i++) {
		used = (uint64_t)atomic_load(&s->window[i].frontier) * s->slab_words;
		for (word = 0; word < used; word++)
			wrong += (uint64_t)__builtin_popcountll(
				(atomic_load(&s->window[i].free[word]) |
				 atomic_load(&s->window[i].bare[word])) &
				atomic_load(&control->dropped[i * words + word]));
	}
	return wrong;
}

void mews_release_holders(struct mews_control *control, uint64_t count)
{
	/* H1: what each holder did to the pool happens before its end. */
	if (atomic_fetch_sub_explicit(&control->holders, count, memory_order_acq_rel) == count &&
	    mews_owner_pool_leave(control))
		mews_control_destroy(control);
}

/* Collects all that is free and counts the holders that remain. */
static uint64_t count_holders(struct mews_control *control)
{
	struct mews_pass pass = mews_pass_gate(control, mews_fence_current_cpu());
	struct mews_trim all = { .bytes = UINT64_MAX };
	uint64_t out;
	uint32_t i;

	mews_collect(control);
	mews_pass_end(&pass);
	/* A second time: returns that looked for their block in its slab before it was collected. */
	mews_gate_wait(&control->sides);
	pass = mews_pass_gate(control, mews_fence_current_cpu());
	out = out_of(control) + wrongly_dropped(control);
	for (i = 0; i < control->slabs.windows; i++)
		mews_slabs_trim(&control->slabs, i, &all);
	mews_pass_end(&pass);
	return out;
}

MEWS_API int mews_pool_dispose(struct mews_pool *pool)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	uint64_t total, out;

	if (!pool)
		return -EINVAL;
	if (atomic_exchange(&control->state, MEWS_DISPOSED) == MEWS_DISPOSED)
		return 0;
	mews_waiters_notice(control); /* each that leaves tells the next */
	mews_gate_wait(&control->sides);
	total = total_of(control);
	out = count_holders(control);
	mews_report_outstanding(control, out, total);
	mews_process_leave(control);
	mews_keeper_leave(control);
	mews_process_topology_release();
	mews_release_holders(control, MEWS_HOLDERS_BIAS - out);
	return 0;
}

void mews_control_destroy(struct mews_control *control)
{
	const struct mews_slabs *slabs = &control->slabs;
	uint32_t event = atomic_load(&control->waiting.event), i;

	mews_valgrind_destroy(control->pool);
	/* Somebody else's memory may lie there next. */
	for (i = 0; mews_asan_active() && i < slabs->windows; i++)
		mews_asan_show(slabs->start + ((size_t)i << slabs->window_shift),
			       (size_t)atomic_load(&slabs->window[i].frontier) << slabs->slab_shift);
	mews_slabs_fini(&control->slabs);
	mews_samples_unmap(&control->samples);
	if (event)
		mews_kernel->close((int)event - 1);
	mews_place_release(control->region, control->region_length);
}
