/* SPDX-License-Identifier: MIT */
/*
 * Benches of mews alone (layer 6): what a miss costs, by who serves it, see tiers.c; what giving memory
 * back costs, see swing.c. Registered by backends_shared.c.
 */
#ifndef PERF_TIERS_H
#define PERF_TIERS_H

void perf_add_tiers(void);
void perf_add_swing(void);

#endif
