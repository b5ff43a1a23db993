/* SPDX-License-Identifier: MIT */
/*
 * A user of the installed library: leases, writes, returns, and closes the books. Built by
 * tests/install/check in each of the ways in which the library can be found.
 */
#include <mews/mews.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	struct mews_pool *pool;
	struct mews_stats stats = { .size = sizeof(stats) };
	void *block, *blocks[32];
	size_t got;

	if (mews_pool_create(NULL, &pool) != 0)
		return 1;
	block = mews_lease(pool);
	if (!block)
		return 2;
	memset(block, 1, MEWS_MAX_POOLED_BLOCK_LENGTH);
	mews_return(pool, block);
	got = mews_lease_many(pool, blocks, 32);
	mews_return_many(pool, blocks, got);
	if (got != 32 || mews_pool_stats(pool, &stats) != 0 || stats.leased != 0)
		return 3;
	printf("mews %s, path %d: %s\n", mews_version(), stats.path, stats.path_reason);
	return mews_pool_dispose(pool) == 0 ? 0 : 4;
}
