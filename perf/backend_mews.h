/* SPDX-License-Identifier: MIT */
/*
 * The pool behind the backends of mews (layer 6): one at a time, created by set_up. Included by the
 * backend_mews_*.c, which say MEWS_CHECKS first where it is not the default.
 */
#ifndef PERF_BACKEND_MEWS_H
#define PERF_BACKEND_MEWS_H

#include <mews/mews.h>
#include <string.h>

#ifndef MEWS_CHECKS
#define MEWS_CHECKS MEWS_CHECKS_CHEAP
#endif
#ifndef MEWS_MODE
#define MEWS_MODE MEWS_MODE_SERVER
#endif
#ifndef MEWS_OWNERS
#define MEWS_OWNERS 0
#endif

static struct mews_pool *the_pool;

static inline const char *backend_set_up_reserved(size_t block_size, size_t blocks)
{
	static char reason[64];
	struct mews_pool_config config;
	int error;

	memset(&config, 0, sizeof(config));
	config.size = sizeof(config);
	config.name = "perf";
	config.block_size = block_size;
	config.initial_blocks = blocks;
	config.checks = MEWS_CHECKS;
	config.mode = MEWS_MODE;
	config.owners = MEWS_OWNERS;
	error = mews_pool_create(&config, &the_pool);
	if (!error)
		return NULL;
	return strncat(strcpy(reason, "mews_pool_create: "), strerror(-error), 40);
}

static const char *backend_set_up(size_t block_size)
{
	return backend_set_up_reserved(block_size, 0);
}

static void backend_tear_down(void)
{
	mews_pool_dispose(the_pool);
}

static inline void backend_trim(void)
{
	mews_pool_trim(the_pool, 0, 0);
}

static uint64_t metadata(void)
{
	struct mews_stats stats;

	memset(&stats, 0, sizeof(stats));
	stats.size = sizeof(stats);
	return mews_pool_stats(the_pool, &stats) ? 0 : stats.metadata_bytes;
}

static inline void backend_at_rest(uint64_t *fresh, uint64_t *used)
{
	*fresh = metadata();
	mews_return(the_pool, mews_lease(the_pool));
	*used = metadata();
}

static void backend_enter(void) {}
static void backend_leave(void) {}

#define BACKEND_AT_REST backend_at_rest
#define BACKEND_SET_UP_RESERVED backend_set_up_reserved
#define BACKEND_TRIM backend_trim
#ifndef BACKEND_CAN
#define BACKEND_CAN (PERF_CAN_ALL | PERF_CAN_FILL | PERF_CAN_GROW)
#endif
#define BACKEND_ENTER struct mews_pool *const pool_ = the_pool;
#define LEASE_MANY(blocks, n) mews_lease_many(pool_, blocks, n)
#define RETURN_MANY(blocks, n) mews_return_many(pool_, blocks, n)

#endif
