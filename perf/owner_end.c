/* SPDX-License-Identifier: MIT */
/*
 * What the end of an owner costs (layer 6): `owner_end/leases:N/pool:M`, an owner with N leases in a pool
 * of M blocks, all of which were leased once; `owner_returns/...`, the same leases returned one by one.
 * It costs as much as there are leases, whatever the pool. Registered by backends_shared.c. Invariant:
 * each end is checked to bring back N.
 */
#include "owner_end.h"

#include <mews/owner.h>
#include <stdlib.h>

#include "clock.h"
#include "measure.h"
#include "workloads.h"

#define BATCHES 31
#define MOST 4096               /* leases, and more blocks are held in no measured part */

struct request {
	struct perf_run *run;
	struct mews_pool *pool;
	struct mews_owner *owner;
	uint64_t leases;
	bool one_by_one;
	void *block[MOST];
};

extern const struct perf_backend perf_mews;

/* How many came back. */
static uint64_t finish(struct request *r)
{
	if (!r->one_by_one)
		return mews_owner_end(r->owner);
	for (uint64_t i = 0; i < r->leases; i++)
		mews_owner_return(r->pool, r->owner, r->block[i]);
	return r->leases;
}

/* Cycles of one end; negative: not all came back. */
static double time_end(struct request *r)
{
	struct perf_sample sample;
	struct perf_clock clock;
	uint64_t back;

	for (uint64_t i = 0; i < r->leases; i++)
		r->block[i] = mews_owner_lease(r->pool, r->owner);
	perf_clock_open(&clock);
	perf_clock_start(&clock);
	back = finish(r);
	perf_clock_stop(&clock, &sample);
	perf_clock_close(&clock);
	return back == r->leases ? sample.event[PERF_CYCLES] : -1;
}

static void *time_ends(void *argument)
{
	struct request *r = argument;
	double cycles[BATCHES], median;

	while (perf_next(r->run)) {
		for (int i = 0; i < BATCHES; i++) {
			cycles[i] = time_end(r);
			if (cycles[i] < 0) {
				perf_skip(r->run, "not all leases came back");
				return NULL;
			}
		}
		median = perf_quantile(cycles, BATCHES, 0.5);
		perf_seconds(r->run, median * 1e-9);
		perf_counter(r->run, "cycles", median);
		perf_counter(r->run, "cycles_a_lease", median / (double)(r->leases ? r->leases : 1));
	}
	return NULL;
}

/* All blocks that the pool shall have are leased once, and come back. False where memory is short. */
static bool fill(struct mews_pool *pool, uint64_t blocks)
{
	void **block = perf_lines(blocks * sizeof(*block));
	size_t got = mews_lease_many(pool, block, blocks);

	mews_return_many(pool, block, got);
	free(block);
	return got == blocks;
}

static void run_owner_end(struct perf_run *run, const void *closure)
{
	uint64_t blocks = (uint64_t)perf_argument(run, 1);
	struct mews_pool_config config = {
		.size = sizeof(config), .block_size = 256, .max_blocks = blocks,
		.mode = MEWS_MODE_SERVER, .owners = 1, .decay_ms = MEWS_DECAY_NEVER,
	};
	struct request *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->run = run;
	r->leases = (uint64_t)perf_argument(run, 0);
	r->one_by_one = *(const bool *)closure;
	if (mews_pool_create(&config, &r->pool) || !fill(r->pool, blocks) ||
	    mews_owner_create("bench", &r->owner)) {
		perf_skip(run, "no pool, no owner, or no memory");
	} else {
		perf_on_thread(&perf_mews, time_ends, r);
		mews_owner_destroy(r->owner);
		mews_pool_dispose(r->pool);
	}
	free(r);
}

void perf_add_owner_end(void)
{
	static const bool one_by_one[] = { false, true };

	for (int i = 0; i < 2; i++) {
		struct perf_bench bench = {
			.name = i ? "owner_returns" : "owner_end", .body = run_owner_end,
			.closure = &one_by_one[i], .iterations = perf_smoke() ? 1 : 5,
			.arg = {
				{ .name = "leases", .value = { 1, 8, 64, 512, 4096 } },
				{ .name = "pool", .value = { 10000, perf_smoke() ? 0 : 1000000 } },
			},
		};

		perf_register(&bench);
	}
}
