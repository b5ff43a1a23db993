/* SPDX-License-Identifier: MIT */
/* The parts of the owners' suite, which every kind of pool passes; run by owners.c. */
#ifndef TESTS_OWNERS_H
#define TESTS_OWNERS_H

#include "support/suite.h"
#include <mews/owner_inline.h>
#include "support/kinds.h"

extern const struct CMUnitTest owners_life[], owners_thread[];
extern const size_t owners_life_count, owners_thread_count;

/* A pool with owners, of so many blocks, of the kind in use; what was reported is kept. */
struct mews_pool *owner_pool(size_t max_blocks);
struct mews_owner *new_owner(const char *name);

/* Leases and returns under an owner, as the kind calls. */
extern void *(*owner_lease)(struct mews_pool *pool, struct mews_owner *owner);
extern void (*owner_give)(struct mews_pool *pool, struct mews_owner *owner, void *block);

/* The last report, and how many there were since the pool was made. */
extern struct mews_report reported;
extern char report_text[256];
extern size_t reports;

/* The audit, with these blocks out. */
void audit_out(struct mews_pool *pool, void *const *blocks, size_t count);

/* Nothing is out, the audit holds, so many came back by their owners' ends, and the pool goes away. */
void end_owner_pool(struct mews_pool *pool, size_t owner_returns);

#endif
