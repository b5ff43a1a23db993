/* SPDX-License-Identifier: MIT */
/*
 * mews by mews/owner_inline.h (layer 6): leases under an owner, inlined, by the one thread that uses it.
 */
#define MEWS_OWNERS 1
#include "backend_mews.h"

#include <mews/owner_inline.h>

static struct mews_owner *the_owner;

/* Once: it outlives the pools. */
static struct mews_bound bound_of(struct mews_pool *pool)
{
	if (!the_owner)
		the_owner = mews_owner_thread();
	return mews_bind_inline(pool, the_owner);
}

#undef BACKEND_ENTER
#undef BACKEND_CAN
#define BACKEND_ENTER struct mews_pool *const pool_ = the_pool; \
	const struct mews_bound bound_ = bound_of(pool_); \
	(void)bound_;
#define BACKEND_CAN (PERF_CAN_PAIR | PERF_CAN_HOLD)
#define BACKEND_NAME "mews_owned"
#define BACKEND_TABLE perf_mews_owned
#define LEASE() mews_owner_lease_inline(bound_)
#define RETURN(block) mews_owner_return_inline(bound_, block)
#include "workload_body.h"
