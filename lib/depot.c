/* SPDX-License-Identifier: MIT */
/*
 * Depots (layer 3): see depot.h. A magazine's slots are written by whoever popped it from the empty
 * stack and read by whoever popped it from the full one; the stacks' heads order the two (T1, T2 in
 * tagstack.h). Nobody waits: a thread that is preempted with magazines in hand keeps those few from
 * the others, and nothing else.
 */
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
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

/* Whether the CPU knows cldemote, as Intel's do from Sapphire Rapids on. */
static bool can_send(void)
{
#if defined(__x86_64__)
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && c >> 25 & 1;
#else
	return false;
#endif
}

void mews_depots_init(struct mews_depots *depots, const struct mews_plan *plan, void *tables)
{
	char *at = (char *)tables + plan->depots * sizeof(struct mews_depot);
	uint32_t i;

	*depots = (struct mews_depots) {
		.count = plan->depots,
		.capacity = plan->depot_magazines,
		.magazine = plan->magazine,
		.sends = can_send(),
		.depot = tables,
	};
	for (i = 0; i < plan->depots; i++) {
		depots->depot[i].window = plan->depot_window[i];
		depots->depot[i].link = (mews_word *)at;
		depots->depot[i].slots = (void **)(at + link_bytes(plan));
		at += link_bytes(plan) + slot_bytes(plan);
	}
}

/* Magazines that were never used. */
static size_t fresh_magazines(struct mews_depots *depots, struct mews_depot *d, uint32_t *number,
			      size_t count)
{
	/* Relaxed: numbers only, each given once; the slots behind them are still zero. */
	uint32_t fresh = atomic_load_explicit(&d->fresh, memory_order_relaxed), left, i;

	do {
		left = depots->capacity - fresh;
		left = left < count ? left : (uint32_t)count;
	} while (left && !atomic_compare_exchange_weak_explicit(&d->fresh, &fresh, fresh + left,
			memory_order_relaxed, memory_order_relaxed));
	for (i = 0; i < left; i++)
		number[i] = fresh + i;
	return left;
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

static void hand_out(const struct mews_depots *depots, const struct mews_depot *d,
		     const uint32_t *number, size_t count, struct mews_magazine *out)
{
	size_t i;

	for (i = 0; i < count; i++) {
		out[i].slots = d->slots + (size_t)number[i] * depots->magazine;
		out[i].number = number[i];
	}
}

/* Those used before, while their slots are warm, else fresh ones. */
size_t mews_depot_pop_empty(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out,
			    size_t count)
{
	struct mews_depot *d = &depots->depot[depot];
	uint32_t number[MEWS_AT_ONCE];
	size_t got = mews_tagstack_pop_many(&d->empty, d->link, number, count);

	if (got < count)
		got += fresh_magazines(depots, d, number + got, count - got);
	hand_out(depots, d, number, got, out);
	return got;
}

size_t mews_depot_pop_full(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out,
			   size_t count)
{
	struct mews_depot *d = &depots->depot[depot];
	uint32_t number[MEWS_AT_ONCE];
	size_t got = mews_tagstack_pop_many(&d->full, d->link, number, count);

	/* Ours until they are pushed: the last one's link still says how many it stood on. */
	if (got)
		note_low(d, (uint32_t)(mews_tagstack_link(d->link, number[got - 1]) >> 32) - 1);
	hand_out(depots, d, number, got, out);
	return got;
}

static uint32_t push(struct mews_depot *d, struct mews_tagstack *stack,
		     const struct mews_magazine *magazines, size_t count)
{
	uint32_t number[MEWS_AT_ONCE];
	size_t i;

	for (i = 0; i < count; i++)
		number[i] = magazines[i].number;
	return mews_tagstack_push_many(stack, d->link, number, count);
}

uint32_t mews_depot_push_full(struct mews_depots *depots, uint32_t depot,
			      const struct mews_magazine *magazines, size_t count)
{
	struct mews_depot *d = &depots->depot[depot];

	return push(d, &d->full, magazines, count);
}

void mews_depot_push_empty(struct mews_depots *depots, uint32_t depot,
			   const struct mews_magazine *magazines, size_t count)
{
	struct mews_depot *d = &depots->depot[depot];

	push(d, &d->empty, magazines, count);
}

bool mews_depot_put(struct mews_depots *depots, uint32_t depot, void *const *blocks)
{
	struct mews_magazine magazine;

	if (!mews_depot_pop_empty(depots, depot, &magazine, 1))
		return false;
	memcpy(magazine.slots, blocks, depots->magazine * sizeof(*blocks));
	mews_depot_push_full(depots, depot, &magazine, 1);
	return true;
}

bool mews_depot_take(struct mews_depots *depots, uint32_t depot, void **blocks)
{
	struct mews_magazine magazine;

	if (!mews_depot_pop_full(depots, depot, &magazine, 1))
		return false;
	memcpy(blocks, magazine.slots, depots->magazine * sizeof(*blocks));
	mews_depot_push_empty(depots, depot, &magazine, 1);
	return true;
}

uint64_t mews_depot_blocks(const struct mews_depots *depots, uint32_t depot)
{
	const struct mews_depot *d = &depots->depot[depot];

	return (uint64_t)mews_tagstack_depth(&d->full, d->link) * depots->magazine;
}
