/* SPDX-License-Identifier: MIT */
/*
 * What a pool makes of its environment: it must work, and say what it got and why.
 *
 *   probe [path=rseq|fallback] [reason=TEXT] [pages=2m|thp|base] [mode=server|workstation]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "../support/audit.h"
#include "../support/check.h"
#include "../support/threads.h"

#define COUNT 20000
#define SIZE 4032

static struct mews_pool *pool;
static unsigned degraded;

static void on_report(void *context, const struct mews_report *report)
{
	(void)context;
	if (report->kind == MEWS_REPORT_DEGRADED) {
		printf("told: %s\n", report->message);
		degraded++;
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	void *blocks[100];

	for (int round = 0; round < 200; round++) {
		size_t want = 1 + rng_below(&worker->rng, 100);
		size_t got = mews_lease_many(pool, blocks, want);

		CHECK(got > 0, "a lease: %s", strerror(errno));
		for (size_t i = 0; i < got; i++)
			memset(blocks[i], (int)worker->index, SIZE);
		mews_return_many(pool, blocks, got);
	}
	return NULL;
}

/* The largest that any node got: the kernel puts reserved pages on whichever node it likes. */
static const char *pages_of(const struct mews_stats *stats)
{
	uint64_t large = 0, gigantic = 0, transparent = 0;

	for (uint32_t i = 0; i < stats->nodes; i++) {
		gigantic += stats->node[i].backed_1g;
		large += stats->node[i].backed_2m;
		transparent += stats->node[i].backed_thp;
	}
	return gigantic ? "1g" : large ? "2m" : transparent ? "thp" : "base";
}

static uint64_t unbound_of(const struct mews_stats *stats)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < stats->nodes; i++)
		bytes += stats->node[i].unbound;
	return bytes;
}

static void expect(const char *line, const struct mews_stats *stats)
{
	const char *value = strchr(line, '='), *is = "?";

	CHECK(value++, "what is %s", line);
	if (strncmp(line, "path", 4) == 0)
		is = stats->path == MEWS_PATH_RSEQ ? "rseq" :
		     stats->path == MEWS_PATH_FALLBACK ? "fallback" : "checked";
	else if (strncmp(line, "pages", 5) == 0)
		is = pages_of(stats);
	else if (strncmp(line, "mode", 4) == 0)
		is = stats->mode == MEWS_MODE_SERVER ? "server" : "workstation";
	else if (strncmp(line, "reason", 6) == 0)
		is = strstr(stats->path_reason, value) ? value : stats->path_reason;
	CHECK(strcmp(is, value) == 0, "expected %s, the pool says %s", line, is);
}

int main(int argc, char **argv)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .name = "probe", .max_blocks = COUNT, .on_report = on_report,
		.checks = MEWS_CHECKS_CHEAP,
		.decay_ms = 600000, /* a keeper, that does not move blocks while they are counted */
	};
	struct mews_stats stats = { .size = sizeof(stats) };
	struct audit audit;
	int error = mews_pool_create(&config, &pool);
	void *large;

	CHECK(error == 0, "create: %s", strerror(-error));
	threads_run(8, 1, NULL, work);
	large = mews_lease_sized(pool, 1 << 20);
	CHECK(large, "an oversize lease: %s", strerror(errno));
	memset(large, 1, 1 << 20);
	mews_return(pool, large);
	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	CHECK(audit_pool(pool, NULL, 0, &audit), "audit: %s", audit.message);
	printf("path: %s\npages: %s, %llu bytes not bound, %u reports\n", stats.path_reason,
	       pages_of(&stats), (unsigned long long)unbound_of(&stats), degraded);
	for (int i = 1; i < argc; i++)
		expect(argv[i], &stats);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
	return 0;
}
