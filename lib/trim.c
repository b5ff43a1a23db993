/* SPDX-License-Identifier: MIT */
/*
 * Trimming by hand (layer 5): collects what lies free in caches, side stacks and depots into the slabs,
 * and gives back slabs and parts of slabs. What the keeper does by itself when the time has come, here
 * at once. Called by users. Invariant: a trim that runs out of time goes on there at its next call.
 */
#include <errno.h>
#include "../numa/fence.h"
#include "../numa/kernel.h"
#include "exchange.h"
#include "keeper.h"
#include "process.h"

#define HAND_SPLITS 32          /* of 256: less than an eighth free, a huge page is worth more whole */

static bool time_up(int64_t end)
{
	return end && mews_kernel_now() >= end;
}

/* False where time was up; at least one CPU further than the call before. */
static bool collect(struct mews_control *control, int64_t end)
{
	struct mews_keeping *keeping = &control->keeping;
	uint32_t cpu = end ? atomic_load(&keeping->trim_cpu) : 0, d;
	uint64_t blocks = 0;

	while (cpu < control->sides.count) {
		blocks += mews_collect_cpu(control, cpu++);
		if (time_up(end))
			break;
	}
	for (d = 0; cpu == control->sides.count && d < control->depots.count; d++)
		blocks += mews_collect_depot(control, d, UINT32_MAX);
	atomic_fetch_add_explicit(&keeping->by_hand, blocks, memory_order_relaxed);
	atomic_store(&keeping->trim_cpu, end ? cpu : 0);
	return cpu == control->sides.count;
}

static int give_back(struct mews_control *control, uint64_t target, int64_t end, uint32_t splits, bool anew)
{
	struct mews_slabs *slabs = &control->slabs;
	struct mews_trim trim = { .end = end, .parts = true, .splits = splits, .anew = anew };
	uint64_t backed;
	uint32_t window;
	bool late = false;

	for (window = 0; window < slabs->windows && !late; window++) {
		backed = mews_slabs_backed(slabs);
		if (backed <= target)
			break;
		trim.bytes = trim.slab_bytes + trim.part_bytes + backed - target;
		late = mews_slabs_trim(slabs, window, &trim);
	}
	mews_trim_note(control, &trim);
	atomic_fetch_add_explicit(&control->keeping.by_hand_bytes, trim.slab_bytes + trim.part_bytes,
				  memory_order_relaxed);
	if (late && mews_slabs_backed(slabs) > target)
		return -EAGAIN;
	atomic_store(&control->keeping.trim_cpu, 0);
	return 0;
}

static int trim(struct mews_pool *pool, uint64_t target, unsigned budget_us, uint32_t splits)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	int64_t end = budget_us ? mews_kernel_now() + budget_us * INT64_C(1000) : 0;
	struct mews_pass pass;
	int result = 0;
	bool anew;

	if (!pool)
		return -EINVAL;
	mews_keeper_ensure();
	pass = mews_pass_gate(control, mews_fence_current_cpu());
	if (atomic_load(&control->state) == MEWS_DISPOSED)
		result = -ESHUTDOWN;
	else if (mews_slabs_backed(&control->slabs) > target) {
		anew = atomic_load(&control->keeping.trim_cpu) < control->sides.count;
		result = collect(control, end) ? give_back(control, target, end, splits, anew) : -EAGAIN;
	}
	mews_pass_end(&pass);
	return result;
}

MEWS_API int mews_pool_trim(struct mews_pool *pool, size_t target_bytes, unsigned budget_us)
{
	return trim(pool, target_bytes, budget_us, HAND_SPLITS);
}

MEWS_API int mews_pool_collect(struct mews_pool *pool)
{
	return trim(pool, 0, 0, 0);
}
