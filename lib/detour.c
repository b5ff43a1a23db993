/* SPDX-License-Identifier: MIT */
/* Detours (layer 5): see detour.h. */
#include "../numa/fence.h"
#include "detour.h"
#include "exchange.h"
#include "process.h"

bool mews_detour_set(struct mews_control *control, enum mews_detour reason)
{
	if (atomic_load(&control->detours) & reason ||
	    atomic_fetch_or(&control->detours, reason) & reason)
		return false;
	mews_collect(control);
	return true;
}

void mews_detour_begin(struct mews_control *control, enum mews_detour reason)
{
	struct mews_pass pass = mews_pass_gate(control, mews_fence_current_cpu());
	bool new = atomic_load(&control->state) != MEWS_DISPOSED &&
		   mews_detour_set(control, reason);

	mews_pass_end(&pass);
	if (new)
		mews_gate_wait(&control->sides);
}

/* Empty caches too: what would be returned to one by a hit would not be seen. */
void mews_detour_settle(struct mews_control *control)
{
	struct mews_pass pass;

	mews_gate_wait(&control->sides);
	pass = mews_pass_gate(control, mews_fence_current_cpu());
	if (atomic_load(&control->state) != MEWS_DISPOSED)
		mews_collect(control);
	mews_pass_end(&pass);
}

void mews_detour_end(struct mews_control *control, enum mews_detour reason)
{
	if (atomic_fetch_and(&control->detours, ~(uint32_t)reason) == (uint32_t)reason)
		mews_detour_settle(control);
}
