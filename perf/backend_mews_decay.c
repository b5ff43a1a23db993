/* SPDX-License-Identifier: MIT */
/*
 * mews told to give unused memory back after one second and not after ten (layer 6): for footprints
 * only.
 */
#define MEWS_DECAY_MS 1000
#define BACKEND_CAN PERF_CAN_FILL
#include "backend_mews.h"

#define BACKEND_NAME "mews_decay"
#define BACKEND_TABLE perf_mews_decay
#define LEASE() mews_lease(pool_)
#define RETURN(block) mews_return(pool_, block)
#include "workload_body.h"
