/* SPDX-License-Identifier: MIT */
/*
 * Oversize leases (layer 3): the mappings of their own that lease_sized hands out above the pooled
 * length, and the table that knows them. Called by pool.c and drain.c. Invariant: an address is in
 * the table exactly while its lease is out.
 *
 * The table is a hash of bounded probe length, of words that are compared and swapped: a lookup
 * follows no pointer, so there is nothing to wait for before an entry is used again, and lease and
 * return work in a signal handler and after a fork.
 *
 *             lease     return    count
 *   lease     safe      safe      a moment's value
 *   return    safe      safe      a moment's value
 */
#ifndef MEWS_LIB_OVERSIZE_H
#define MEWS_LIB_OVERSIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../numa/place.h"
#include "tagstack.h"

#define MEWS_OVERSIZE_ENTRIES 65536

struct mews_oversize_entry {
	mews_word address;              /* 0: free; 1: being written or removed */
	mews_word length;               /* written by who holds the entry at 1 */
};

struct mews_oversize {
	struct mews_oversize_entry *entry; /* [MEWS_OVERSIZE_ENTRIES] */
	mews_word count, bytes;
};

/* tables: zeroed memory of MEWS_OVERSIZE_ENTRIES entries. */
void mews_oversize_init(struct mews_oversize *oversize, void *tables);

/*
 * Maps and enters. NULL and errno: ENOMEM, ENOBUFS (the process's budget has no room for bytes, or the
 * table is full).
 */
void *mews_oversize_lease(struct mews_oversize *oversize, size_t bytes,
			  const struct mews_place_request *request);

/* The entry that address has while it is out; MEWS_OVERSIZE_ENTRIES where it has none. */
size_t mews_oversize_index(const struct mews_oversize *oversize, const void *address);

/*
 * Takes the entry out and unmaps. False where address is no oversize lease that is out. The count
 * stays: the caller takes it down, unless its pool was disposed, which has counted what was out.
 */
bool mews_oversize_return(struct mews_oversize *oversize, void *address);
void mews_oversize_uncount(struct mews_oversize *oversize);

#endif
