/* SPDX-License-Identifier: MIT */
/*
 * Draining and the end of a pool (layer 5): what pool.c calls of drain.c.
 */
#ifndef MEWS_LIB_DRAIN_H
#define MEWS_LIB_DRAIN_H

#include "control.h"

/* A block or an oversize lease came back during a drain: wakes it. Inside the gate. */
void mews_drain_notice(struct mews_control *control);

/* A disposed pool's block came back. False, and reported, where it was not out. Inside the gate. */
bool mews_drop(struct mews_control *control, void *block, uint32_t number);

/* Ends the holding of count blocks or drains. The last frees the pool: outside the gate, and last. */
void mews_release_holders(struct mews_control *control, uint64_t count);

#endif
