/* SPDX-License-Identifier: MIT */
/*
 * Limits that may change while pools live (layer 5): who may use how much, at run time. The accounts are
 * budget.h's, the default comes from the plan. Called by create.c, and by users through mews.h.
 */
#ifndef MEWS_LIB_LIMIT_H
#define MEWS_LIB_LIMIT_H

#include <stdint.h>

/* What the process's limit is where nobody has set one: as the plan of the newest pool says. */
void mews_limit_default(uint64_t bytes);

#endif
