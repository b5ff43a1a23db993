/* SPDX-License-Identifier: MIT */
/*
 * DPDK's rte_mempool with its largest cache (layer 6). Built twice: DPDK_REGISTERED 1 registers
 * each thread, which gives it a cache; 0 does not, which is what a thread gets that forgot.
 */
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>

static struct rte_mempool *the_pool;

static const char *backend_set_up(size_t block_size)
{
	/* 2^n - 1 is the ring's best size; room for the footprint's 200,000 blocks is 2^18 - 1. */
	unsigned blocks = getenv("PERF_DPDK_BLOCKS") ? atoi(getenv("PERF_DPDK_BLOCKS")) : 32767;

	the_pool = rte_mempool_create("perf", blocks, block_size, RTE_MEMPOOL_CACHE_MAX_SIZE, 0,
				      NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	return the_pool ? NULL : rte_strerror(rte_errno);
}

static void backend_tear_down(void)
{
	rte_mempool_free(the_pool);
}

static void backend_enter(void)
{
	if (DPDK_REGISTERED && rte_thread_register())
		fprintf(stderr, "rte_thread_register: %s\n", rte_strerror(rte_errno));
}

static void backend_leave(void)
{
	if (DPDK_REGISTERED)
		rte_thread_unregister();
}

static inline void *dpdk_lease(struct rte_mempool *pool)
{
	void *block;

	return rte_mempool_get(pool, &block) ? NULL : block;
}

#define BACKEND_NAME DPDK_NAME
#define BACKEND_TABLE DPDK_TABLE
#define BACKEND_CAN (PERF_CAN_ALL | PERF_CAN_GROW)
#define BACKEND_ENTER struct rte_mempool *const pool_ = the_pool;
#define LEASE() dpdk_lease(pool_)
#define RETURN(block) rte_mempool_put(pool_, block)
#define LEASE_MANY(blocks, n) \
	(void)(rte_mempool_get_bulk(pool_, blocks, n) ? abort() : (void)0)
#define RETURN_MANY(blocks, n) rte_mempool_put_bulk(pool_, (void *const *)(blocks), n)
#include "workload_body.h"
