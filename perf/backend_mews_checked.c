/* SPDX-License-Identifier: MIT */
/*
 * mews with every lease and return checked against its ledger (layer 6): MEWS_CHECKS_FULL.
 */
#define MEWS_CHECKS MEWS_CHECKS_FULL
#include "backend_mews.h"

#define BACKEND_NAME "mews_checked"
#define BACKEND_TABLE perf_mews_checked
#define LEASE() mews_lease(pool_)
#define RETURN(block) mews_return(pool_, block)
#include "workload_body.h"
