/* SPDX-License-Identifier: MIT */
/*
 * What giving memory back costs a load that wants it again (layer 6): `swing/waves` and
 * `swing/pauses`, by the length of a period and by the pool's decay. Registered by
 * backends_shared.c. Waves: the working set goes from 10,000 blocks to 30,000 and back; pauses:
 * 30,000, and for half of each period none at all; both beside a steady replacement in what is
 * held. Invariant: the load follows the clock, so that it is the same whatever it costs.
 */
#include "tiers.h"

#include <mews/mews.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "measure.h"
#include "workloads.h"

#define LOW (perf_smoke() ? 100 : 10000)
#define HIGH (perf_smoke() ? 300 : 30000)
#define AT_ONCE 2000            /* blocks more or fewer in a step, at most */
#define REPLACED 500            /* blocks in a step */
#define STEP_NS 1000000         /* of sleep between steps */
#define LOOK 50                 /* steps between looks at the memory: a look is dear */
#define WARM 1.5                /* periods */
#define MEASURED 3

struct swing {
	struct perf_run *run;
	struct mews_pool *pool;
	double period;                  /* seconds */
	bool pauses;
	void **block;
	uint32_t held, seed;
	uint64_t leases;
	double mib;                     /* behind the pool, summed over steps */
	uint32_t steps;
};

static struct mews_stats stats_of(const struct swing *swing)
{
	struct mews_stats stats;

	memset(&stats, 0, sizeof(stats));
	stats.size = sizeof(stats);
	mews_pool_stats(swing->pool, &stats);
	return stats;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* How many blocks the load wants at a time, 0 to 1 in its period. */
static uint32_t wanted(const struct swing *swing, double phase)
{
	double up = phase < 0.5 ? 2 * phase : 2 - 2 * phase;

	if (swing->pauses)
		return phase < 0.5 ? HIGH : 0;
	return LOW + (uint32_t)((HIGH - LOW) * up);
}

static void give_one(struct swing *swing)
{
	uint32_t i = perf_random(&swing->seed) % swing->held;

	mews_return(swing->pool, swing->block[i]);
	swing->block[i] = swing->block[--swing->held];
}

static void lease_one(struct swing *swing)
{
	void *block = mews_lease(swing->pool);

	if (!block)
		abort();
	*(volatile uint64_t *)block = 1;
	swing->block[swing->held++] = block;
	swing->leases++;
}

static void step(struct swing *swing, uint32_t want)
{
	const struct timespec sleep = { .tv_nsec = STEP_NS };
	uint32_t i;

	for (i = 0; i < AT_ONCE && swing->held < want; i++)
		lease_one(swing);
	for (i = 0; i < AT_ONCE && swing->held > want; i++)
		give_one(swing);
	for (i = 0; i < REPLACED && want; i++) {
		give_one(swing);
		lease_one(swing);
	}
	if (swing->steps++ % LOOK == 0)
		swing->mib += (double)stats_of(swing).backed_bytes / (1 << 20);
	nanosleep(&sleep, NULL);
}

static void swing_for(struct swing *swing, double periods)
{
	double start = seconds(), now = start, end = start + periods * swing->period;

	swing->leases = swing->steps = 0;
	swing->mib = 0;
	for (; now < end; now = seconds()) {
		double turn = (now - start) / swing->period;

		step(swing, wanted(swing, turn - (double)(uint64_t)turn));
	}
}

static void *swing_thread(void *arg)
{
	struct swing *swing = arg;
	struct mews_stats before, after;
	double ns, length = MEASURED * swing->period;

	while (perf_next(swing->run)) {
		swing_for(swing, WARM);
		before = stats_of(swing);
		ns = perf_cpu_ns(true);
		swing_for(swing, MEASURED);
		ns = perf_cpu_ns(true) - ns;
		after = stats_of(swing);
		perf_seconds(swing->run, length);
		perf_counter(swing->run, "growths_a_s",
			     (double)(after.growths - before.growths) / length);
		perf_counter(swing->run, "misses_a_1000", 1000 *
			     (double)(after.lease_misses - before.lease_misses) / (double)swing->leases);
		perf_counter(swing->run, "cpu_ms_a_s", ns * 1e-6 / length);
		perf_counter(swing->run, "mib", swing->mib / ((swing->steps + LOOK - 1) / LOOK));
	}
	while (swing->held)
		give_one(swing);
	return NULL;
}

extern const struct perf_backend perf_mews;

static void run_swing(struct perf_run *run, const void *closure)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .name = "swing", .block_size = 4032,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP,
		.decay_ms = (unsigned)perf_argument(run, 1),
	};
	struct swing swing = {
		.run = run, .pauses = *(const bool *)closure, .seed = 1,
		.period = (double)perf_argument(run, 0) * (perf_smoke() ? 1e-6 : 1e-3),
	};

	if (mews_pool_create(&config, &swing.pool)) {
		perf_skip(run, "mews_pool_create failed");
		return;
	}
	swing.block = perf_lines(HIGH * sizeof(*swing.block));
	perf_on_thread(&perf_mews, swing_thread, &swing);
	free(swing.block);
	mews_pool_dispose(swing.pool);
}

void perf_add_swing(void)
{
	static const bool waves = false, pauses = true;
	struct perf_bench bench = {
		.name = "swing/waves", .body = run_swing, .closure = &waves,
		.arg = { { .name = "period_ms", .value = { 500, 2000, 5000, 12000 } },
			 { .name = "decay_ms", .value = { 1500, 10000 } } },
	};

	perf_register(&bench);
	bench.name = "swing/pauses";
	bench.closure = &pauses;
	bench.arg[0] = (struct perf_arg) { .name = "period_ms", .value = { 2000, 6000 } };
	perf_register(&bench);
}
