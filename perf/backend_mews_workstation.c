/* SPDX-License-Identifier: MIT */
/*
 * mews in workstation mode (layer 6): small caches, base pages.
 */
#define MEWS_MODE MEWS_MODE_WORKSTATION
#include "backend_mews.h"

#define BACKEND_NAME "mews_workstation"
#define BACKEND_TABLE perf_mews_workstation
#define LEASE() mews_lease(pool_)
#define RETURN(block) mews_return(pool_, block)
#include "workload_body.h"
