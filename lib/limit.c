/* SPDX-License-Identifier: MIT */
/*
 * Limits that may change while pools live (layer 5): see limit.h. Invariant: a limit holds for each
 * growth that begins after the call; who waits learns of one that was raised.
 */
#include <errno.h>
#include "../numa/fence.h"
#include "detour.h"
#include "exchange.h"
#include "limit.h"
#include "process.h"

static mews_word asked;         /* 0: the default */
static mews_word by_default = UINT64_MAX;

static void set_process_limit(void)
{
	uint64_t bytes = atomic_load(&asked);

	mews_budget_set_limit(&mews_process_budget, bytes ? bytes : atomic_load(&by_default));
}

void mews_limit_default(uint64_t bytes)
{
	mews_process_lock();
	atomic_store(&by_default, bytes);
	set_process_limit();
	mews_process_unlock();
}

static uint64_t excess_of(const struct mews_slabs *s)
{
	uint64_t claimed = atomic_load(&s->claimed), max = atomic_load(&s->max_blocks), excess, most;
	const struct mews_window *w;

	most = claimed > max ? (claimed - max) * s->stride : 0;
	for (w = s->window; w < s->window + s->windows; w++) {
		excess = mews_budget_excess(&w->budget);
		most = excess > most ? excess : most;
	}
	excess = mews_budget_excess(&mews_process_budget);
	return excess > most ? excess : most;
}

/* Gives memory back while there is an excess: parts of slabs too where bytes are what is too many. */
static void shrink(struct mews_control *control)
{
	struct mews_slabs *s = &control->slabs;
	struct mews_trim trim = { .splits = 0 };
	uint32_t window;

	mews_collect(control);
	for (window = 0; window < s->windows && excess_of(s); window++) {
		trim.bytes = trim.slab_bytes + trim.part_bytes + excess_of(s);
		trim.parts = mews_budget_excess(&s->window[window].budget) ||
			     mews_budget_excess(&mews_process_budget);
		mews_slabs_trim(s, window, &trim);
	}
	mews_trim_note(control, &trim);
}

/* Brings a pool to its limits as far as its memory is free; or tells who waits that there is room. */
static void apply(struct mews_control *control)
{
	struct mews_pass pass = mews_pass_gate(control, mews_fence_current_cpu());

	if (atomic_load(&control->state) == MEWS_LIVE && excess_of(&control->slabs))
		shrink(control);
	mews_notice(control);
	mews_pass_end(&pass);
}

MEWS_API int mews_set_hard_limit(size_t bytes)
{
	struct mews_control *control;

	mews_process_lock();
	atomic_store(&asked, bytes);
	set_process_limit();
	cds_list_for_each_entry(control, &mews_process_pools, link)
		apply(control);
	mews_process_unlock();
	return 0;
}

MEWS_API int mews_pool_set_limit(struct mews_pool *pool, size_t max_blocks)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;

	if (!pool || !max_blocks)
		return -EINVAL;
	if (max_blocks > mews_slabs_room(&control->slabs))
		return -ERANGE;
	if (atomic_load(&control->state) == MEWS_DISPOSED)
		return -ESHUTDOWN;
	atomic_store(&control->slabs.max_blocks, max_blocks);
	apply(control);
	return 0;
}

MEWS_API int mews_pool_set_node_limit(struct mews_pool *pool, unsigned node, size_t bytes)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	uint32_t window;

	if (!pool)
		return -EINVAL;
	for (window = 0; window < control->plan.nodes; window++)
		if (control->plan.window_node[window] == node)
			break;
	if (window == control->plan.nodes)
		return -ENOENT;
	if (atomic_load(&control->state) == MEWS_DISPOSED)
		return -ESHUTDOWN;
	mews_budget_set_limit(&control->slabs.window[window].budget, bytes ? bytes : UINT64_MAX);
	apply(control);
	return 0;
}
