/* SPDX-License-Identifier: MIT */
/*
 * Plans written by hand, for the unit tests of lib/: small slabs and small tables on base pages, so
 * that a test fills a window in no time. No topology is asked.
 */
#ifndef TESTS_SUPPORT_PLAN_H
#define TESTS_SUPPORT_PLAN_H

#include "../../numa/plan.h"

#define PLAN_SLAB_BYTES ((size_t)64 << 10)

/*
 * A plan of `windows` nodes, all numbered 0 for the kernel so that no binding is asked, of blocks
 * of stride bytes; cell_blocks 0: no cells. Its arrays are static: one plan at a time.
 */
struct mews_plan plan_by_hand(uint32_t windows, size_t stride, uint32_t cell_blocks);

#endif
