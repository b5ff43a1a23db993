/* SPDX-License-Identifier: MIT */
/* Budgets (layer 2): see budget.h. */
#include "budget.h"

struct mews_budget mews_process_budget;

/* Relaxed: counts, they publish nothing. */
bool mews_budget_claim(struct mews_budget *budget, uint64_t bytes)
{
	uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
	uint64_t limit = mews_budget_limit(budget);

	do {
		if (bytes > limit || used > limit - bytes)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes,
			memory_order_relaxed, memory_order_relaxed));
	return true;
}

void mews_budget_release(struct mews_budget *budget, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}
