/* SPDX-License-Identifier: MIT */
/*
 * What a pool costs beside its blocks: its tables stay under one per cent of 100,000 blocks,
 * counted by the pool and by the kernel; and neither tables nor caches grow with the number of
 * threads.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "support/check.h"
#include "support/kinds.h"
#include "support/options.h"
#include "support/threads.h"

#define MANY 100000

struct crowd {
	struct mews_pool *pool;
	pthread_barrier_t met;
};

static struct mews_stats stats_of(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	return stats;
}

/*
 * Bytes behind this process's mappings; huge pages that are reserved are counted apart by the
 * kernel.
 */
static uint64_t resident(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib, sum = 0;
	char line[256];

	CHECK(file, "/proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Rss: %lu", &kib) == 1 ||
		    sscanf(line, "Shared_Hugetlb: %lu", &kib) == 1 ||
		    sscanf(line, "Private_Hugetlb: %lu", &kib) == 1)
			sum += kib;
	fclose(file);
	return (uint64_t)sum << 10;
}

static void check_share(const char *what, double bytes, double stride, bool planted)
{
	double share = bytes / MANY / stride * 100;

	if (planted)
		share += 1;
	printf("%s: %.1f bytes a block, %.3f %% of its stride of %.0f\n", what, bytes / MANY, share,
	       stride);
	CHECK(share < 1, "%.3f %% above the stride, 1 %% is the bar", share);
}

static void measure_overhead(bool planted)
{
	static void *blocks[MANY];
	struct mews_pool *pool;
	uint64_t before;
	struct mews_stats stats;
	double blocks_bytes, memory;

	memset(blocks, 1, sizeof(blocks)); /* ours, not the pool's */
	before = resident();
	pool = kind_pool(0, MANY);
	CHECK(mews_lease_many(pool, blocks, MANY) == MANY, "100,000 blocks");
	for (size_t i = 0; i < MANY; i++)
		memset(blocks[i], 1, MEWS_MAX_POOLED_BLOCK_LENGTH);
	stats = stats_of(pool);
	blocks_bytes = (double)MANY * (double)stats.stride;
	memory = (double)(resident() - before);
	printf("100,000 blocks: %.1f MiB of blocks, %.1f MiB resident, %.2f MiB backed, "
	       "%.2f MiB of tables\n", blocks_bytes / (1 << 20), memory / (1 << 20),
	       (double)stats.backed_bytes / (1 << 20), (double)stats.metadata_bytes / (1 << 20));
	check_share("tables, as the pool counts them", (double)stats.metadata_bytes,
		    (double)stats.stride, planted);
	check_share("resident, as the kernel counts", memory - blocks_bytes, (double)stats.stride,
		    planted);
	mews_return_many(pool, blocks, MANY);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

/* Each of many threads alive at once leases and returns, and waits for all the others. */
static void *crowd_member(void *argument)
{
	struct worker *worker = argument;
	struct crowd *crowd = worker->shared;
	void *blocks[4];

	for (int i = 0; i < 20; i++) {
		size_t got = mews_lease_many(crowd->pool, blocks, 4);

		CHECK(got == 4, "4 blocks: %s", strerror(errno));
		mews_return_many(crowd->pool, blocks, got);
	}
	pthread_barrier_wait(&crowd->met);
	return NULL;
}

static struct mews_stats gather(unsigned threads)
{
	struct crowd crowd = { .pool = kind_pool(0, MANY) };
	struct mews_stats stats;

	pthread_barrier_init(&crowd.met, NULL, threads);
	threads_run(threads, 1, &crowd, crowd_member);
	stats = stats_of(crowd.pool);
	printf("%5u threads: %llu blocks carved, %llu in caches, %llu in side stacks, %llu in depots, "
	       "%.2f MiB of tables\n", threads, (unsigned long long)stats.carved,
	       (unsigned long long)stats.cached, (unsigned long long)stats.side,
	       (unsigned long long)stats.depot, (double)stats.metadata_bytes / (1 << 20));
	CHECK(stats.leased == 0, "%llu blocks out", (unsigned long long)stats.leased);
	CHECK(mews_pool_dispose(crowd.pool) == 0, "dispose");
	pthread_barrier_destroy(&crowd.met);
	return stats;
}

/*
 * Whatever the threads, what is cached fits the caches of the CPUs. Tables are of the blocks that were
 * carved: many threads may have leased at once, or grown the pool at once.
 */
static void compare_crowds(bool long_run)
{
	struct mews_stats few = gather(64), many = gather(long_run ? 10000 : 2000);
	uint64_t most = (uint64_t)many.cache_most * (uint64_t)sysconf(_SC_NPROCESSORS_CONF);
	uint64_t more;

	CHECK(many.cached <= most, "%llu blocks in caches that hold %llu",
	      (unsigned long long)many.cached, (unsigned long long)most);
	more = many.carved > few.carved ? many.carved - few.carved : 0;
	CHECK(many.metadata_bytes <= few.metadata_bytes + 65536 + more * 16,
	      "%llu bytes of tables more",
	      (unsigned long long)(many.metadata_bytes - few.metadata_bytes));
}

static void measure_planted(void *unused)
{
	(void)unused;
	measure_overhead(true);
}

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, "The memory that a pool takes beside its blocks, and with many threads. "
		      "--plant fat: tables one per cent larger must be found.", argc, argv);
	kind_choose(options.kind, argv);
	if (options.plant) {
		bool found = check_finds(measure_planted, NULL);

		printf("larger tables are %s\n", found ? "found" : "NOT found");
		return !found;
	}
	measure_overhead(false);
	compare_crowds(options.long_run);
	return 0;
}
