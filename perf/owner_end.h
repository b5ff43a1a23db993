/* SPDX-License-Identifier: MIT */
/*
 * What the end of an owner costs (layer 6), see owner_end.c. Registered by backends_shared.c.
 */
#ifndef PERF_OWNER_END_H
#define PERF_OWNER_END_H

void perf_add_owner_end(void);

#endif
