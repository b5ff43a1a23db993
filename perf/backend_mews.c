/* SPDX-License-Identifier: MIT */
/*
 * mews by its functions (layer 6): from the shared library through the GOT in perf-bench, from the
 * static one in perf-bench-static, which calls it by another name; on the restartable sequences or,
 * as the runner says by GLIBC_TUNABLES, on the fallback.
 */
#include "backend_mews.h"

#define BACKEND_NAME MEWS_NAME
#define BACKEND_TABLE perf_mews
#define LEASE() mews_lease(pool_)
#define RETURN(block) mews_return(pool_, block)
#include "workload_body.h"
