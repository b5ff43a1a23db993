/* SPDX-License-Identifier: MIT */
/* The shortest use of a pool: create, lease, return, dispose. */
#include <mews/mews.h>
#include <stdio.h>

int main(void)
{
	struct mews_pool *pool;
	char *block;

	if (mews_pool_create(NULL, &pool))              /* NULL: blocks of 4,032 bytes */
		return 1;
	block = mews_lease(pool);                       /* from any thread, on any CPU */
	if (!block)
		return 1;
	snprintf(block, MEWS_MAX_POOLED_BLOCK_LENGTH, "Hello from mews %s", mews_version());
	puts(block);
	mews_return(pool, block);                       /* from any other thread as well */
	return mews_pool_dispose(pool) ? 1 : 0;
}
