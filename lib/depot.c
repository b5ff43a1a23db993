/* SPDX-License-Identifier: MIT */
/*
 * Depots (layer 3): see depot.h. A magazine's slots are written by whoever popped it from the empty
 * stack and read by whoever popped it from the full one; the stacks' heads order the two (T1, T2 in
 * tagstack.h). Nobody waits: a thread that is preempted with a magazine in hand keeps that one
 * magazine from the others, and nothing else.
 */
#include <string.h>
#include "depot.h"

static size_t round_pair(size_t bytes)
{
	return (bytes + 127) & ~(size_t)127;
}

static size_t link_bytes(const struct mews_plan *plan)
{
	return round_pair(plan->depot_magazines * sizeof(mews_word));
}

static size_t slot_bytes(const struct mews_plan *plan)
{
	return round_pair((size_t)plan->depot_magazines * plan->magazine * sizeof(void *));
}

size_t mews_depots_table_bytes(const struct mews_plan *plan)
{
	return plan->depots * (sizeof(struct mews_depot) + link_bytes(plan) + slot_bytes(plan));
}

void mews_depots_init(struct mews_depots *depots, const struct mews_plan *plan, void *tables)
{
	char *at = (char *)tables + plan->depots * sizeof(struct mews_depot);
	uint32_t i;

	*depots = (struct mews_depots) {
		.count = plan->depots,
		.capacity = plan->depot_magazines,
		.magazine = plan->magazine,
		.depot = tables,
	};
	for (i = 0; i < plan->depots; i++) {
		depots->depot[i].window = plan->depot_window[i];
		depots->depot[i].link = (mews_word *)at;
		depots->depot[i].slots = (void **)(at + link_bytes(plan));
		at += link_bytes(plan) + slot_bytes(plan);
	}
}

/* An empty magazine: one used before, while its slots are warm, else a fresh one. */
static uint32_t empty_magazine(struct mews_depots *depots, struct mews_depot *d)
{
	uint32_t number = mews_tagstack_pop(&d->empty, d->link);
	uint32_t fresh;

	if (number != MEWS_NONE)
		return number;
	/* Relaxed: numbers only, each given once; the slots behind them are still zero. */
	fresh = atomic_load_explicit(&d->fresh, memory_order_relaxed);
	do {
		if (fresh == depots->capacity)
			return MEWS_NONE;
	} while (!atomic_compare_exchange_weak_explicit(&d->fresh, &fresh, fresh + 1,
			memory_order_relaxed, memory_order_relaxed));
	return fresh;
}

/* Relaxed: a low-water mark that is lost to a race costs a trim that could have waited. */
static void note_low(struct mews_depot *d, uint32_t left)
{
	if (left < atomic_load_explicit(&d->low, memory_order_relaxed))
		atomic_store_explicit(&d->low, left, memory_order_relaxed);
}

uint32_t mews_depot_low(struct mews_depots *depots, uint32_t depot)
{
	struct mews_depot *d = &depots->depot[depot];
	uint32_t now = mews_tagstack_depth(&d->full, d->link);
	uint32_t low = atomic_exchange_explicit(&d->low, now, memory_order_relaxed);

	return low < now ? low : now;
}

static bool hand_out(const struct mews_depots *depots, const struct mews_depot *d, uint32_t number,
		     struct mews_magazine *out)
{
	if (number == MEWS_NONE)
		return false;
	out->slots = d->slots + (size_t)number * depots->magazine;
	out->number = number;
	return true;
}

bool mews_depot_pop_empty(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out)
{
	struct mews_depot *d = &depots->depot[depot];

	return hand_out(depots, d, empty_magazine(depots, d), out);
}

bool mews_depot_pop_full(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out)
{
	struct mews_depot *d = &depots->depot[depot];
	uint32_t number = mews_tagstack_pop(&d->full, d->link);

	/* Ours until it is pushed: its link still says how many it stood on. */
	if (number != MEWS_NONE)
		note_low(d, (uint32_t)(mews_tagstack_link(d->link, number) >> 32) - 1);
	return hand_out(depots, d, number, out);
}

void mews_depot_push_full(struct mews_depots *depots, uint32_t depot, struct mews_magazine magazine)
{
	struct mews_depot *d = &depots->depot[depot];

	mews_tagstack_push(&d->full, d->link, magazine.number);
}

void mews_depot_push_empty(struct mews_depots *depots, uint32_t depot, struct mews_magazine magazine)
{
	struct mews_depot *d = &depots->depot[depot];

	mews_tagstack_push(&d->empty, d->link, magazine.number);
}

bool mews_depot_put(struct mews_depots *depots, uint32_t depot, void *const *blocks)
{
	struct mews_magazine magazine;

	if (!mews_depot_pop_empty(depots, depot, &magazine))
		return false;
	memcpy(magazine.slots, blocks, depots->magazine * sizeof(*blocks));
	mews_depot_push_full(depots, depot, magazine);
	return true;
}

bool mews_depot_take(struct mews_depots *depots, uint32_t depot, void **blocks)
{
	struct mews_magazine magazine;

	if (!mews_depot_pop_full(depots, depot, &magazine))
		return false;
	memcpy(blocks, magazine.slots, depots->magazine * sizeof(*blocks));
	mews_depot_push_empty(depots, depot, magazine);
	return true;
}

uint64_t mews_depot_blocks(const struct mews_depots *depots, uint32_t depot)
{
	const struct mews_depot *d = &depots->depot[depot];

	return (uint64_t)mews_tagstack_depth(&d->full, d->link) * depots->magazine;
}
