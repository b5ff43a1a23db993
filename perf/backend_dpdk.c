/* SPDX-License-Identifier: MIT */
/*
 * DPDK's rte_mempool with its largest cache (layer 6). Built once for each way to use it:
 *   DPDK_REGISTERED    each thread is registered, which gives it a cache of the pool's
 *   DPDK_UNREGISTERED  it is not, which is what a thread gets that forgot: no cache
 *   DPDK_OWN_CACHE     it is not, and brings a cache of its own to each call
 *   DPDK_LCORE         the measured thread is one of the EAL's
 *   DPDK_STORING       registered, and each call writes a word of the thread's own before it, as a
 *                      restartable sequence does: nobody's way to use it, but what that store costs
 * and DPDK_OPS names what stands behind the caches: a ring or a stack. Invariant: the pool has as
 * many blocks as PERF_DPDK_BLOCKS says, which the runner sets to what a workload needs, as its
 * users do.
 */
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>

#define DPDK_REGISTERED 1
#define DPDK_UNREGISTERED 2
#define DPDK_OWN_CACHE 3
#define DPDK_LCORE 4
#define DPDK_STORING 5

#define MOST_BYTES ((size_t)1 << 30)

static struct rte_mempool *the_pool;
static __thread struct rte_mempool_cache *own_cache;
static __thread _Alignas(64) volatile uint64_t stored;

static const char *backend_set_up(size_t block_size)
{
	/* 2^n - 1 is the ring's best size; room for the footprint's 200,000 blocks is 2^18 - 1. */
	size_t blocks = getenv("PERF_DPDK_BLOCKS") ? atoi(getenv("PERF_DPDK_BLOCKS")) : 32767;
	unsigned cache = DPDK_KIND == DPDK_OWN_CACHE ? 0 : RTE_MEMPOOL_CACHE_MAX_SIZE;

	if (blocks * block_size > MOST_BYTES)
		blocks = MOST_BYTES / block_size - 1;
	the_pool = rte_mempool_create_empty("perf", blocks, block_size, cache, 0, SOCKET_ID_ANY, 0);
	if (the_pool && !rte_mempool_set_ops_byname(the_pool, DPDK_OPS, NULL) &&
	    rte_mempool_populate_default(the_pool) > 0)
		return NULL;
	rte_mempool_free(the_pool);
	return rte_strerror(rte_errno);
}

/* All of a pool's memory is reserved and written when it is created. */
static inline const char *backend_set_up_reserved(size_t block_size, size_t blocks)
{
	(void)blocks;
	return backend_set_up(block_size);
}

static void backend_tear_down(void)
{
	rte_mempool_free(the_pool);
}

static void backend_enter(void)
{
	if ((DPDK_KIND == DPDK_REGISTERED || DPDK_KIND == DPDK_STORING) && rte_thread_register())
		fprintf(stderr, "rte_thread_register: %s\n", rte_strerror(rte_errno));
	if (DPDK_KIND == DPDK_OWN_CACHE)
		own_cache = rte_mempool_cache_create(RTE_MEMPOOL_CACHE_MAX_SIZE, SOCKET_ID_ANY);
}

static void backend_leave(void)
{
	if (DPDK_KIND == DPDK_REGISTERED || DPDK_KIND == DPDK_STORING)
		rte_thread_unregister();
	if (DPDK_KIND == DPDK_OWN_CACHE) {
		rte_mempool_cache_flush(own_cache, the_pool);
		rte_mempool_cache_free(own_cache);
	}
}

#if DPDK_KIND == DPDK_LCORE
static void *(*lcore_body)(void *);

static int on_lcore(void *arg)
{
	lcore_body(arg);
	return 0;
}

/* The second lcore: the first is the thread that set up the EAL. */
static void launch(void *(*body)(void *), void *arg)
{
	unsigned lcore = rte_get_next_lcore(-1, 1, 0);

	lcore_body = body;
	if (rte_eal_remote_launch(on_lcore, arg, lcore))
		abort();
	rte_eal_wait_lcore(lcore);
}

#define BACKEND_LAUNCH launch
#endif

/* The cache that the calls use: theirs by the thread's number, or ours. */
static inline struct rte_mempool_cache *cache_of(struct rte_mempool *pool)
{
	return DPDK_KIND == DPDK_OWN_CACHE ? own_cache :
	       rte_mempool_default_cache(pool, rte_lcore_id());
}

static inline void *dpdk_lease(struct rte_mempool *pool, struct rte_mempool_cache *cache)
{
	void *block;

	if (DPDK_KIND == DPDK_STORING)
		stored = 1;
	return rte_mempool_generic_get(pool, &block, 1, cache) ? NULL : block;
}

static inline void dpdk_return(struct rte_mempool *pool, struct rte_mempool_cache *cache,
			       void *block)
{
	if (DPDK_KIND == DPDK_STORING)
		stored = 1;
	rte_mempool_generic_put(pool, &block, 1, cache);
}

#define BACKEND_NAME DPDK_NAME
#define BACKEND_TABLE DPDK_TABLE
#define BACKEND_CAN DPDK_CAN
#define BACKEND_SET_UP_RESERVED (DPDK_CAN & PERF_CAN_FILL ? backend_set_up_reserved : NULL)
#define BACKEND_ENTER struct rte_mempool *const pool_ = the_pool;
#define LEASE() dpdk_lease(pool_, cache_of(pool_))
#define RETURN(block) dpdk_return(pool_, cache_of(pool_), block)
#define LEASE_MANY(blocks, n) \
	(void)(rte_mempool_generic_get(pool_, blocks, n, cache_of(pool_)) ? abort() : (void)0)
#define RETURN_MANY(blocks, n) \
	rte_mempool_generic_put(pool_, (void *const *)(blocks), n, cache_of(pool_))
#include "workload_body.h"
