/* SPDX-License-Identifier: MIT */
/* What tests under cmocka ask a pool: its statistics, and whether every block is where it belongs. */
#ifndef TESTS_SUPPORT_POOL_H
#define TESTS_SUPPORT_POOL_H

#include <mews/mews.h>
#include "audit.h"
#include "suite.h"

static inline struct mews_stats stats_of(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	return stats;
}

/* The pool is at rest, and the count blocks leased[] are out. */
static inline void check_audit(struct mews_pool *pool, void *const *leased, size_t count)
{
	struct audit audit;

	if (!audit_pool(pool, leased, count, &audit))
		fail_msg("%s", audit.message);
}

#endif
