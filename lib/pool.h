/* SPDX-License-Identifier: MIT */
/*
 * Lease and return (layer 5): what owner_lease.c and owner_end.c call of pool.c: the ways that are no
 * hit, of all pools.
 */
#ifndef MEWS_LIB_POOL_H
#define MEWS_LIB_POOL_H

#include "control.h"

/* Where the caller goes on: the site of its lease, if that is sampled. In functions of the API only. */
#define CALLER __builtin_extract_return_addr(__builtin_return_address(0))

/* Leases up to count blocks beyond what the cache has, as leases of nobody's; how many; errno. */
size_t mews_slow_lease(struct mews_control *control, void **blocks, size_t count, void *caller);

/*
 * Returns blocks, whose owner words are settled by now. Changes errno. The pool may be gone with the
 * last block of a disposed one.
 */
void mews_slow_return(struct mews_control *control, void *const *blocks, size_t count);

#endif
