/* SPDX-License-Identifier: MIT */
/*
 * CPUs that go away and come back under a pool: at random while threads lease on them, before a pool
 * knows them, and for good with blocks in their caches. Switches CPUs of the machine that it runs
 * on: for the one that run boots, so it wants --file as a promise: `hotplug --file guest`.
 * --plant lost: a block is never returned, which the audit must find.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../stress.h"
#include "../../lib/cache.h"
#include "../support/nodes.h"
#include "../support/options.h"

static unsigned cpus;           /* 0 .. cpus - 1 */

/* False where the kernel refuses: the CPU has no switch, or is busy with something else. */
static bool switch_cpu(unsigned cpu, bool on)
{
	char path[64];
	FILE *file;
	bool done;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	file = fopen(path, "w");
	if (!file)
		return false;
	done = fprintf(file, "%d\n", on) > 0;
	return fclose(file) == 0 && done;
}

static void all_on(void)
{
	for (unsigned cpu = 1; cpu < cpus; cpu++)
		switch_cpu(cpu, true);
}

static void pin(unsigned cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0, "pinning to CPU %u", cpu);
}

static void unpin(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0, "unpinning");
}

/* Half of the threads go where the kernel puts them, half ask for a CPU now and then. */
static void *lease_somewhere(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	while (arena_running(arena)) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET(rng_below(&worker->rng, cpus), &one);
		if (worker->index % 2)
			sched_setaffinity(0, sizeof(one), &one); /* it may be off */
		for (int i = 0; i < 50; i++)
			hand_step(arena, &hand, &worker->rng);
	}
	hand_empty(arena, &hand);
	return NULL;
}

/* Switches CPUs at random, for the time of the stress, and until one was off. */
static unsigned switch_at_random(const struct stress *stress)
{
	double end = threads_now() + stress->seconds, late = end + 60;
	struct rng rng = { stress->seed };
	unsigned off = 0;

	while (threads_now() < end || (off == 0 && threads_now() < late)) {
		bool on = rng_below(&rng, 2);

		off += switch_cpu(1 + rng_below(&rng, cpus - 1), on) && !on;
		threads_sleep(rng_below(&rng, 20) * 1e-3);
	}
	return off;
}

static void storm(const struct stress *stress)
{
	unsigned count = stress_threads(stress, cpus + cpus / 2), off;
	struct worker workers[64];
	struct arena arena;

	count = count > 64 ? 64 : count;
	arena_open(&arena, stress, 0);
	arena.end = threads_now() + 3600;       /* until it is stopped */
	threads_start(workers, count, stress->seed, &arena, lease_somewhere);
	off = switch_at_random(stress);
	atomic_store(&arena.stop, true);
	all_on();
	threads_join(workers, count);
	arena_close(&arena);
	CHECK(off > 0, "no CPU was ever switched off");
	printf("storm: %u threads on %u CPUs, switched off %u times, seed %llu\n", count, cpus, off,
	       (unsigned long long)stress->seed);
}

/* A CPU that is off when the pool is made, and on later, is served by its own node. */
static void late(const struct stress *stress)
{
	unsigned cpu = cpus - 1, node;
	size_t pages[NODES_MOST] = { 0 }, absent = 0;
	struct nodes nodes;
	struct mews_pool *pool;
	void *block;

	(void)stress;
	nodes_read(&nodes);
	CHECK(switch_cpu(cpu, false), "CPU %u off: %s", cpu, strerror(errno));
	pool = kind_pool(4096, 10000);
	CHECK(switch_cpu(cpu, true), "CPU %u on: %s", cpu, strerror(errno));
	pin(cpu);
	node = nodes_nearest(&nodes, nodes_of_cpu(&nodes, cpu), 0);
	block = mews_lease(pool);
	CHECK(block, "a lease: %s", strerror(errno));
	nodes_of_range(&nodes, block, 4096, pages, &absent);
	CHECK(absent == 0 && pages[node], "a block leased on CPU %u is not on node %u", cpu,
	      nodes.node[node].id);
	mews_return(pool, block);
	unpin();
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

/* Each CPU leases and returns, so that its cache holds blocks; then all but one go off. */
static void fill_and_kill(struct mews_pool *pool, void **block, unsigned count)
{
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		pin(cpu);
		for (unsigned i = 0; i < count; i++)
			CHECK((block[i] = kind_calls.lease(pool)), "a lease: %s", strerror(errno));
		for (unsigned i = 0; i < count; i++)
			kind_calls.give(pool, block[i]);
	}
	pin(0);
	for (unsigned cpu = 1; cpu < cpus; cpu++)
		CHECK(switch_cpu(cpu, false), "CPU %u off: %s", cpu, strerror(errno));
}

/* What dead CPUs hold can be leased, and drained. */
static void dead(const struct stress *stress)
{
	enum { MOST = 4000 };
	struct timespec deadline = threads_deadline(60);
	struct mews_pool *pool = kind_pool(ARENA_BLOCK_SIZE, MOST);
	struct mews_stats stats = { .size = sizeof(stats) };
	static void *block[MOST];

	(void)stress;
	fill_and_kill(pool, block, MOST / cpus / 4);
	CHECK(mews_pool_stats(pool, &stats) == 0 && stats.cached + stats.side > 0,
	      "nothing is in the caches");
	for (unsigned i = 0; i < MOST; i++)
		CHECK((block[i] = kind_calls.lease(pool)), "lease %u of %u: %s", i, MOST,
		      strerror(errno));
	for (unsigned i = 0; i < MOST; i++)
		kind_calls.give(pool, block[i]);
	all_on();
	fill_and_kill(pool, block, MOST / cpus / 4);
	CHECK(mews_pool_drain(pool, &deadline) == 0, "the drain did not end");
	CHECK(mews_pool_stats(pool, &stats) == 0 && stats.slab == stats.carved,
	      "%llu of %llu blocks are in the slabs", (unsigned long long)stats.slab,
	      (unsigned long long)stats.carved);
	all_on();
	unpin();
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

/* Blocks in the caches and side stacks of CPUs that are off. */
static size_t in_dead_hands(struct mews_pool *pool)
{
	const struct mews_control *control = mews_control_of(pool);
	size_t count = 0;

	for (unsigned cpu = 1; cpu < cpus; cpu++) {
		const struct mews_side *side = &control->sides.side[cpu];

		count += mews_cache_count(control, cpu) +
			mews_side_depth(&control->sides, &side->local) +
			mews_side_depth(&control->sides, &side->away);
	}
	return count;
}

/*
 * The keeper finds what dead CPUs hold within a decay period, while this CPU works. On a machine that may
 * be slow the period is counted in the keeper's looks, of which it has eight.
 */
static void kept(const struct stress *stress)
{
	enum { COUNT = 500, DECAY_MS = 4000, LOOKS = 8 };
	struct mews_pool_config config = kind_config();
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_pool *pool;
	static void *block[COUNT];
	unsigned looks = 0;
	int64_t look;
	double start;

	(void)stress;
	config.decay_ms = DECAY_MS;
	pool = kind_pool_from(&config);
	fill_and_kill(pool, block, COUNT);
	look = atomic_load(&mews_control_of(pool)->keeping.look);
	for (start = threads_now(); in_dead_hands(pool) && looks <= LOOKS;) {
		CHECK(threads_now() < start + 60, "%u looks in a minute", looks);
		looks += atomic_load(&mews_control_of(pool)->keeping.look) != look;
		look = atomic_load(&mews_control_of(pool)->keeping.look);
		kind_calls.give(pool, kind_calls.lease(pool));
		threads_sleep(0.01);
	}
	CHECK(in_dead_hands(pool) == 0, "%zu blocks are still with dead CPUs after %u looks",
	      in_dead_hands(pool), looks);
	printf("kept: dead CPUs' blocks were taken %.1f s and %u looks after the last CPU went, "
	       "decay %d ms\n", threads_now() - start, looks, DECAY_MS);
	CHECK(mews_pool_stats(pool, &stats) == 0 && stats.reclaimed_orphaned > 0,
	      "nothing was taken from dead CPUs, the pool says");
	all_on();
	unpin();
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static const struct scenario scenarios[] = {
	{ "late", "a CPU comes that the pool did not know", late },
	{ "dead", "CPUs go with blocks in their caches", dead },
	{ "kept", "the keeper finds what dead CPUs hold", kept },
	{ "storm", "CPUs go and come at random under load", storm },
};

static void storm_planted(void *argument)
{
	storm(argument);
}

int main(int argc, char **argv)
{
	struct options options;
	struct stress stress;

	options_parse(&options, "A pool while CPUs are switched off and on: --file guest.", argc, argv);
	kind_choose(options.kind, argv);
	cpus = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
	if (!options.file || strcmp(options.file, "guest") != 0)
		check_skip("switches CPUs off: only in a machine of its own, see tests/vm/run");
	if (cpus < 2 || !switch_cpu(1, true))
		check_skip("no CPU here can be switched");
	all_on();
	stress = (struct stress){ .seconds = options.seconds ? options.seconds : 5,
				  .threads = options.threads, .seed = options.seed };
	check_context("hotplug", options.seed);
	if (options.plant) {
		stress.plant = PLANT_LOST;
		return !check_finds(storm_planted, &stress);
	}
	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (!options_chosen(&options, scenarios[i].name))
			continue;
		check_context(scenarios[i].name, options.seed);
		scenarios[i].run(&stress);
		printf("%s: well (kind %s)\n", scenarios[i].name, kind->name);
		fflush(stdout);
	}
	return 0;
}
