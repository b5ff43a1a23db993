/* SPDX-License-Identifier: MIT */
/*
 * The limit of all limits (layer 6): the loop with nothing in it but the write to one block that is
 * always the same. What a row costs beside this is the allocator's.
 */
#include "arena.h"

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

/* The address passes through an empty asm, so that the compiler cannot take it out of the loop. */
static inline void *hidden(void *block)
{
	__asm__ volatile("" : "+r"(block));
	return block;
}

#define BACKEND_NAME "nothing"
#define BACKEND_TABLE perf_nothing
#define BACKEND_CAN PERF_CAN_PAIR
#define BACKEND_ENTER void *const block_ = the_block;
#define LEASE() hidden(block_)
#define RETURN(block) ((void)block_, (void)hidden(block))
#define LEASE_MANY(blocks, n) ((blocks)[(n) - 1] = hidden(block_))
#define RETURN_MANY(blocks, n) ((void)block_, (void)hidden((blocks)[(n) - 1]))
#include "workload_body.h"
