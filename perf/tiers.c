/* SPDX-License-Identifier: MIT */
/*
 * What a miss costs, by who serves it (layer 6): `miss/depot`, `miss/slab`, `miss/growth`.
 * Registered by backends_shared.c. A burst that is longer than a cache misses once a magazine;
 * what it costs beside the same number of hits, over the misses that the pool counted, is the
 * price of one. Invariant: each bench arranges that one tier serves, and skips where the pool's
 * counts say that it did not.
 */
#include "tiers.h"

#include <mews/mews.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "measure.h"

#define MISSES 8                /* in a timed batch */
#define BATCHES 21
#define SLABS 16                /* grown at a time */

struct tier {
	struct perf_run *run;
	struct mews_pool *pool;
	struct mews_stats stats;
	void **block;
};

extern const struct perf_backend perf_mews;

static void refresh(struct tier *tier)
{
	memset(&tier->stats, 0, sizeof(tier->stats));
	tier->stats.size = sizeof(tier->stats);
	mews_pool_stats(tier->pool, &tier->stats);
}

static void lease(struct tier *tier, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		tier->block[i] = mews_lease(tier->pool);
}

static void give_back(struct tier *tier, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		mews_return(tier->pool, tier->block[i]);
}

/* How a batch goes: count blocks leased, and returned too where `both`; so many times. */
struct batch {
	uint64_t count, times;
	bool both;
	bool drained;           /* before it, so that the slabs shall serve */
};

/* Cycles of it. */
static double timed_batch(struct tier *tier, const struct batch *batch)
{
	struct perf_clock clock;
	struct perf_sample sample;

	perf_clock_open(&clock);
	perf_clock_start(&clock);
	for (uint64_t i = 0; i < batch->times; i++) {
		lease(tier, batch->count);
		if (batch->both)
			give_back(tier, batch->count);
	}
	perf_clock_stop(&clock, &sample);
	perf_clock_close(&clock);
	if (!batch->both)
		give_back(tier, batch->count);
	return sample.event[PERF_CYCLES];
}

static double median_of(struct tier *tier, const struct batch *batch)
{
	double cycles[BATCHES];

	for (int i = 0; i < BATCHES; i++) {
		if (batch->drained)
			mews_pool_drain(tier->pool, NULL);
		cycles[i] = timed_batch(tier, batch);
	}
	return perf_quantile(cycles, BATCHES, 0.5);
}

/*
 * Cycles of a hit's lease and return, in batches that are as long as those that miss: what the clock and
 * the ends of loops cost is the same in both then.
 */
static double hit_cycles(struct tier *tier, uint64_t operations)
{
	struct batch batch = { .count = tier->stats.magazine, .both = true };

	batch.times = operations / batch.count;
	return median_of(tier, &batch) / (double)(batch.times * batch.count);
}

/* misses: a batch's, as the pool counted them; served: of them, by the tier in question. */
static void report(struct tier *tier, double cycles, uint64_t misses, uint64_t served)
{
	if (!misses || served < misses / 4) {
		perf_skip(tier->run, "another tier served");
		return;
	}
	perf_seconds(tier->run, cycles * 1e-9);
	perf_counter(tier->run, "cycles", cycles);
	perf_counter(tier->run, "blocks", tier->stats.magazine);
	perf_counter(tier->run, "cycles_a_block", cycles / tier->stats.magazine);
}

/* Bursts of more than the largest cache holds, by what every depot holds. */
static void *depot_thread(void *arg)
{
	struct tier *tier = arg;
	struct batch batch = {
		.count = tier->stats.cache_most + MISSES / 2 * tier->stats.magazine, .times = 1, .both = true,
	};
	uint64_t misses, depot;
	double hit, cycles;

	timed_batch(tier, &batch);
	while (perf_next(tier->run)) {
		hit = hit_cycles(tier, batch.count);
		refresh(tier);
		misses = tier->stats.lease_misses + tier->stats.return_misses;
		depot = tier->stats.depot_hits;
		cycles = median_of(tier, &batch) - hit * (double)batch.count;
		refresh(tier);
		misses = (tier->stats.lease_misses + tier->stats.return_misses - misses) / BATCHES;
		depot = (tier->stats.depot_hits - depot) / BATCHES;
		report(tier, cycles / (double)misses, misses, depot);
	}
	return NULL;
}

static void *slab_thread(void *arg)
{
	struct tier *tier = arg;
	struct batch batch = {
		.count = MISSES * tier->stats.magazine, .times = 1, .drained = true,
	};
	uint64_t misses, slab;
	double hit, cycles;

	timed_batch(tier, &batch);
	while (perf_next(tier->run)) {
		hit = hit_cycles(tier, batch.count);
		refresh(tier);
		misses = tier->stats.lease_misses;
		slab = tier->stats.slab_hits;
		cycles = median_of(tier, &batch) - hit / 2 * (double)batch.count;
		refresh(tier);
		misses = (tier->stats.lease_misses - misses) / BATCHES;
		slab = (tier->stats.slab_hits - slab) / BATCHES;
		report(tier, cycles / (double)misses, misses, slab);
	}
	return NULL;
}

/*
 * Memory that this process has had before and gave back: what a virtual machine's host takes for a
 * page that it never saw is not counted.
 */
static void *growth_thread(void *arg)
{
	struct tier *tier = arg;
	uint64_t count = SLABS * (uint64_t)((2u << 20) / tier->stats.stride), growths;
	double ns;

	while (perf_next(tier->run)) {
		lease(tier, count);
		give_back(tier, count);
		mews_pool_trim(tier->pool, 0, 0);
		refresh(tier);
		growths = tier->stats.growths;
		ns = perf_cpu_ns(false);
		lease(tier, count);
		ns = perf_cpu_ns(false) - ns;
		refresh(tier);
		growths = tier->stats.growths - growths;
		give_back(tier, count);
		if (!growths)
			perf_skip(tier->run, "another tier served");
		perf_seconds(tier->run, ns / 1e9);
		perf_counter(tier->run, "us", ns / 1e3 / (double)growths);
		perf_counter(tier->run, "blocks", (double)count / (double)growths);
		perf_counter(tier->run, "ns_a_block", ns / (double)count);
	}
	return NULL;
}

static void run_tier(struct perf_run *run, const void *closure)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .name = "tiers", .block_size = 4032,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP,
	};
	struct tier tier = { .run = run };

	if (mews_pool_create(&config, &tier.pool)) {
		perf_skip(run, "mews_pool_create failed");
		return;
	}
	tier.block = perf_lines(SLABS * ((2u << 20) / 4032) * sizeof(*tier.block));
	refresh(&tier);
	perf_on_thread(&perf_mews, *(void *(*const *)(void *))closure, &tier);
	free(tier.block);
	mews_pool_dispose(tier.pool);
}

void perf_add_tiers(void)
{
	static const struct {
		const char *name;
		void *(*body)(void *);
	} tiers[] = {
		{ "miss/depot", depot_thread }, { "miss/slab", slab_thread },
		{ "miss/growth", growth_thread },
	};

	for (unsigned i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
		struct perf_bench bench = {
			.name = tiers[i].name, .body = run_tier, .closure = &tiers[i].body,
		};

		perf_register(&bench);
	}
}
