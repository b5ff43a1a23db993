/* SPDX-License-Identifier: MIT */
/*
 * Depots (layer 3): full magazines of blocks, one depot a cache domain (L3) within a node, shared by
 * the CPUs of the domain. Called by exchange.c. Invariant: each magazine is on its depot's full
 * stack or its empty stack, or in the hands of one operation; a full one holds exactly
 * plan->magazine blocks, all of the depot's window.
 * After Bonwick and Adams, Magazines and Vmem (USENIX 2001).
 *
 *             put       take      blocks
 *   put       safe      safe      a moment's value
 *   take      safe      safe      a moment's value
 */
#ifndef MEWS_LIB_DEPOT_H
#define MEWS_LIB_DEPOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../numa/plan.h"
#include "lines.h"
#include "tagstack.h"

struct mews_depot {
	_Alignas(128) struct mews_tagstack full;
	_Alignas(64) struct mews_tagstack empty;
	_Atomic uint32_t fresh;         /* magazines from here on were never used */
	_Atomic uint32_t low;           /* fewest full ones since the keeper's last look */
	uint32_t low_before;            /* and in the period before: the keeper's */
	uint32_t window;
	mews_word *link;                /* [capacity], for both stacks */
	void **slots;                   /* [capacity * magazine] */
};

struct mews_depots {
	uint32_t count;
	uint32_t capacity;              /* magazines of each depot */
	uint32_t magazine;              /* blocks of each magazine */
	bool sends;                     /* mews_far does something here */
	struct mews_depot *depot;
};

size_t mews_depots_table_bytes(const struct mews_plan *plan);

/* tables: zeroed memory of mews_depots_table_bytes, aligned to 128. */
void mews_depots_init(struct mews_depots *depots, const struct mews_plan *plan, void *tables);

/* A magazine in the hands of one operation. */
struct mews_magazine {
	void **slots;                   /* depots->magazine of them */
	uint32_t number;
};

/* Magazines that move at a time, at most: one compare-and-swap and one look at the head for all. */
#define MEWS_AT_ONCE 4

/*
 * For who may exchange soon: asks for the lines of both heads, to write them. They are with the CPU that
 * changed them last; a load would bring each to be read, and the compare-and-swap once more.
 */
static inline void mews_depot_near(const struct mews_depots *depots, uint32_t depot)
{
	mews_near(&depots->depot[depot].full);
	mews_near(&depots->depot[depot].empty);
}

/*
 * Asks for the slots of empty magazines, all at once: they are with the CPU that emptied them, and the
 * stores that fill them would bring a few at a time.
 */
static inline void mews_depot_near_slots(const struct mews_depots *depots,
					 const struct mews_magazine *magazines, size_t count)
{
	size_t i, slot;

	for (i = 0; i < count; i++)
		for (slot = 0; slot < depots->magazine; slot += 64 / sizeof(void *))
			mews_near(magazines[i].slots + slot);
}

/*
 * Asks for the slots of full magazines, to read them: copied one after another, as many lines come at a
 * time as the CPU looks ahead, which is half of what it can ask for.
 */
static inline void mews_depot_near_full(const struct mews_depots *depots,
					const struct mews_magazine *magazines, size_t count)
{
	size_t i, slot;

	for (i = 0; i < count; i++)
		for (slot = 0; slot < depots->magazine; slot += 64 / sizeof(void *))
			__builtin_prefetch(magazines[i].slots + slot);
}

/* Magazines that an operation filled and another CPU will read. */
struct mews_sent {
	struct mews_magazine magazines[MEWS_AT_ONCE];
	uint32_t count;
	uint32_t magazine;              /* blocks of each */
};

/*
 * For who has sent magazines, after it left the gate: a locked instruction waits until the lines have gone.
 * Who takes them gets the slots from L3 then, which is sooner than out of this CPU's caches.
 */
static inline void mews_depot_far_slots(const struct mews_sent *sent)
{
	uint32_t i, slot;

	for (i = 0; i < sent->count; i++)
		for (slot = 0; slot < sent->magazine; slot += 64 / sizeof(void *))
			mews_far(sent->magazines[i].slots + slot);
}

/*
 * Takes up to count (<= MEWS_AT_ONCE) empty magazines, to be filled and put on the full stack, or full
 * ones, to be read and put on the empty stack. Returns how many; no empty ones: the depot is at its
 * capacity.
 */
size_t mews_depot_pop_empty(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out,
			    size_t count);
size_t mews_depot_pop_full(struct mews_depots *depots, uint32_t depot, struct mews_magazine *out,
			   size_t count);

/*
 * Ends the holding of magazines. Full: of depots->magazine blocks of the depot's window each; returns how
 * many the depot has then.
 */
uint32_t mews_depot_push_full(struct mews_depots *depots, uint32_t depot,
			      const struct mews_magazine *magazines, size_t count);
void mews_depot_push_empty(struct mews_depots *depots, uint32_t depot,
			   const struct mews_magazine *magazines, size_t count);

/* Stores one magazine of blocks. False where the depot is at its capacity: nothing was stored. */
bool mews_depot_put(struct mews_depots *depots, uint32_t depot, void *const *blocks);

/* Fetches one magazine of blocks. False where there is none. */
bool mews_depot_take(struct mews_depots *depots, uint32_t depot, void **blocks);

/* Fewest full magazines that the depot had since the last call. One caller at a time. */
uint32_t mews_depot_low(struct mews_depots *depots, uint32_t depot);

/* Blocks in one depot. */
uint64_t mews_depot_blocks(const struct mews_depots *depots, uint32_t depot);

#endif
