/* SPDX-License-Identifier: MIT */
/*
 * Two functions that do nothing (layer 6), see backend_empty.h. They stand in a library of their
 * own, so that the compiler cannot see through them.
 */
#include "backend_empty.h"

void *perf_empty_lease(void *block)
{
	return block;
}

void perf_empty_return(void *pool, void *block)
{
	(void)pool;
	(void)block;
}
