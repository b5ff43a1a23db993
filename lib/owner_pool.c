/* SPDX-License-Identifier: MIT */
/*
 * Pools that owners know of (layer 5): see owner.h. An owner keeps groups of words of pools that may
 * end before it does, so it knows a pool by {generation, place} in a table here. A pin keeps the
 * pool from its end; where its last holder finds it pinned, the last who unpins destroys it.
 *
 *   state = { generation : 32, ending : 1, pins : 31 }
 */
#include <errno.h>
#include "owner.h"

#define PLACES 1024
#define ENDING (UINT64_C(1) << 31)
#define PINS (ENDING - 1)

static struct place {
	mews_word state;
	_Atomic(struct mews_control *) control; /* NULL: free */
} place[PLACES];

int mews_owner_pool_enter(struct mews_control *control)
{
	struct mews_control *none;
	uint64_t generation;
	uint32_t i;

	for (i = 0; i < PLACES; i++) {
		none = NULL;
		if (!atomic_compare_exchange_strong(&place[i].control, &none, control))
			continue;
		generation = (atomic_load(&place[i].state) >> 32) + 1;
		generation += !(uint32_t)generation;
		control->registered = generation << 32 | i;
		/* P1: releases control to P2. */
		atomic_store(&place[i].state, generation << 32);
		return 0;
	}
	return -ENOMEM;
}

bool mews_owner_pool_leave(struct mews_control *control)
{
	struct place *p = &place[(uint32_t)control->registered % PLACES];

	if (!control->registered)
		return true;
	if (atomic_fetch_or(&p->state, ENDING) & PINS)
		return false;
	atomic_store(&p->control, NULL);
	return true;
}

struct mews_control *mews_owner_pool_pin(uint64_t registered)
{
	struct place *p = &place[(uint32_t)registered % PLACES];
	uint64_t state = atomic_load(&p->state);

	do {
		if (state >> 32 != registered >> 32 || state & ENDING)
			return NULL;
		/* P2: acquires from P1. */
	} while (!atomic_compare_exchange_weak(&p->state, &state, state + 1));
	return atomic_load(&p->control);
}

void mews_owner_pool_unpin(uint64_t registered)
{
	struct place *p = &place[(uint32_t)registered % PLACES];
	struct mews_control *control = atomic_load(&p->control);
	uint64_t state = atomic_fetch_sub(&p->state, 1) - 1;

	if (!(state & ENDING) || state & PINS)
		return;
	atomic_store(&p->control, NULL);
	mews_control_destroy(control);
}

void mews_owner_pools_child(void)
{
	struct mews_control *control;
	uint64_t state;
	uint32_t i;

	for (i = 0; i < PLACES; i++) {
		state = atomic_fetch_and(&place[i].state, ~PINS);
		if (!(state & PINS) || !(state & ENDING))
			continue;
		control = atomic_exchange(&place[i].control, NULL);
		mews_control_destroy(control);
	}
}
