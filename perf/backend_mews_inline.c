/* SPDX-License-Identifier: MIT */
/*
 * mews by mews/inline.h (layer 6): the hit path is compiled into the loop, misses call the library. Who
 * produces, and a burst, lease in a row.
 */
#include "backend_mews.h"

#include <mews/inline.h>

#define BACKEND_NAME "mews_inline"
#define BACKEND_TABLE perf_mews_inline
#define LEASE() mews_lease_inline(pool_)
#define RETURN(block) mews_return_inline(pool_, block)
#define LEASE_ROW() mews_lease_row_inline(pool_)
#include "workload_body.h"
