/* SPDX-License-Identifier: MIT */
/*
 * The limit of a function pair (layer 6): an empty call for the lease and one for the return, to a
 * shared library in perf-bench and to a static one in perf-bench-static, as mews is linked there.
 */
#include "arena.h"
#include "backend_empty.h"

static void *the_block;

static const char *backend_set_up(size_t block_size)
{
	the_block = perf_arena_open(block_size, 1);
	return the_block ? NULL : "no memory";
}

static void backend_tear_down(void)
{
	perf_arena_close();
}

static void backend_enter(void) {}
static void backend_leave(void) {}

#define BACKEND_NAME EMPTY_NAME
#define BACKEND_TABLE perf_empty
#define BACKEND_CAN PERF_CAN_PAIR
#define BACKEND_ENTER void *const block_ = the_block;
#define LEASE() perf_empty_lease(block_)
#define RETURN(block) perf_empty_return(block_, block)
#define LEASE_MANY(blocks, n) ((blocks)[(n) - 1] = perf_empty_lease(block_))
#define RETURN_MANY(blocks, n) perf_empty_return(block_, (blocks)[(n) - 1])
#include "workload_body.h"
