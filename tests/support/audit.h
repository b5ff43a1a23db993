/* SPDX-License-Identifier: MIT */
/*
 * The audit: block by block, leased + in caches + in side stacks + in depots + free in slabs =
 * carved, each exactly once. Reads the library's tables by their layout only and does the
 * arithmetic itself, so that it also works on the shared library and trusts none of its functions.
 * The pool must be at rest: no operation under way in any thread.
 */
#ifndef TESTS_SUPPORT_AUDIT_H
#define TESTS_SUPPORT_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <mews/mews.h>

#define AUDIT_MESSAGE 256

/* What the audit counted. */
struct audit {
	size_t carved, leased, cached, side, depot, slab;
	char message[AUDIT_MESSAGE];    /* the first thing that is wrong, or "" */
};

/*
 * Audits pool, of which the count blocks leased[] are out, by the caller's own list. True if all is
 * well; else audit->message says which block is where, or which table contradicts itself.
 */
bool audit_pool(struct mews_pool *pool, void *const *leased, size_t count, struct audit *audit);

/* True if block lies where the pool's blocks are. */
bool audit_contains(struct mews_pool *pool, const void *block);

#endif
