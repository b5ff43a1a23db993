/* SPDX-License-Identifier: MIT */
/*
 * What a miss costs, by who serves it (layer 6), see tiers.c. Registered by backends_shared.c.
 */
#ifndef PERF_TIERS_H
#define PERF_TIERS_H

void perf_add_tiers(void);

#endif
