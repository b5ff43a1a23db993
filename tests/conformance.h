/* SPDX-License-Identifier: MIT */
/* The parts of the conformance suite, which every kind of pool passes; run by conformance.c. */
#ifndef TESTS_CONFORMANCE_H
#define TESTS_CONFORMANCE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <mews/mews.h>
#include "support/kinds.h"

extern const struct CMUnitTest conformance_lease[];
extern const struct CMUnitTest conformance_life[];
extern const struct CMUnitTest conformance_config[];
extern const struct CMUnitTest conformance_wait[];
extern const size_t conformance_lease_count, conformance_life_count, conformance_config_count;
extern const size_t conformance_wait_count;

/* Leases count blocks one by one into blocks; fails the test if one does not come. */
void lease_all(struct mews_pool *pool, void **blocks, size_t count);
void return_all(struct mews_pool *pool, void **blocks, size_t count);

/* Nothing is out, the sums hold, and the pool goes away: how each test ends. */
void end_pool(struct mews_pool *pool);

/* The statistics, after checking that they add up, in sum and for each node. */
struct mews_stats stats_of(struct mews_pool *pool);

#endif
