/* SPDX-License-Identifier: MIT */
/*
 * Budgets (layer 2): accounts of bytes that never pass their limit. The process has one, for all that
 * pools back and for oversize leases, and each window of a pool has one. Called by grow.c and
 * oversize.c before memory is backed and after it is given back; limit.c sets the limits. Invariant:
 * no claim brings `used` above the limit that it read, however many claim at once.
 *
 *             claim     release   set the limit
 *   claim     safe      safe      the old limit may still hold for it
 *   release   safe      safe      safe
 */
#ifndef MEWS_LIB_BUDGET_H
#define MEWS_LIB_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include "tagstack.h"

struct mews_budget {
	mews_word used;         /* bytes; above the limit only where that was lowered since */
	mews_word spare;        /* UINT64_MAX - limit, so that zeros are a budget without a limit */
};

/* The process's: its limit is set by limit.c. */
extern struct mews_budget mews_process_budget;

/* False where the limit has no room for bytes; nothing is claimed then. */
bool mews_budget_claim(struct mews_budget *budget, uint64_t bytes);

void mews_budget_release(struct mews_budget *budget, uint64_t bytes);

static inline uint64_t mews_budget_limit(const struct mews_budget *budget)
{
	return UINT64_MAX - atomic_load(&budget->spare);
}

static inline void mews_budget_set_limit(struct mews_budget *budget, uint64_t limit)
{
	atomic_store(&budget->spare, UINT64_MAX - limit);
}

/* Bytes by which more is used than a limit that was lowered since allows. */
static inline uint64_t mews_budget_excess(const struct mews_budget *budget)
{
	uint64_t used = atomic_load(&budget->used), limit = mews_budget_limit(budget);

	return used > limit ? used - limit : 0;
}

#endif
