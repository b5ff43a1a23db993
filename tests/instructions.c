/* SPDX-License-Identifier: MIT */
/*
 * Counts the instructions of the hit path, by stepping through it, and compares them with the
 * golden file: it fails where one takes more than it did. --update rewrites the file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <mews/owner_inline.h>
#include "support/check.h"
#include "support/options.h"
#include "support/step.h"
#include "support/threads.h"

#if defined(__clang__)
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

#define BULK 32

static struct mews_pool *pool;
static struct mews_pool *owned;         /* a pool with owners */
static struct mews_owner *owner;
static void *held;                      /* its lease, when returns are counted */
static void *blocks[BULK];

static void run_lease(void *unused)
{
	(void)unused;
	blocks[0] = mews_lease(pool);
}

static void run_return(void *unused)
{
	(void)unused;
	mews_return(pool, blocks[0]);
}

static void run_lease_many(void *unused)
{
	(void)unused;
	mews_lease_many(pool, blocks, BULK);
}

static void run_return_many(void *unused)
{
	(void)unused;
	mews_return_many(pool, blocks, BULK);
}

/* Counted as a whole, with its own return. */
static __attribute__((noinline)) void run_inline_pair(void *argument)
{
	struct mews_pool *mine = argument;

	mews_return_inline(mine, mews_lease_inline(mine));
}

/* With its arming store, which it leaves out elsewhere: stepping disarms what was armed. */
static __attribute__((noinline)) void run_inline_row(void *argument)
{
	blocks[0] = mews_lease_row_inline(argument);
}

static __attribute__((noinline)) void run_owned_pair(void *unused)
{
	struct mews_bound bound = mews_bind_inline(owned, owner);

	(void)unused;
	mews_owner_return_inline(bound, mews_owner_lease_inline(bound));
}

static void run_owned_lease(void *unused)
{
	(void)unused;
	blocks[0] = mews_owner_lease(owned, owner); /* in the child only */
}

static void run_owned_return(void *unused)
{
	(void)unused;
	mews_owner_return(owned, owner, held);
}

static const struct counted {
	const char *name;
	void (*run)(void *argument);
	const void *function;
} counted[] = {
	{ "inline-pair", run_inline_pair, run_inline_pair },
	{ "inline-row", run_inline_row, run_inline_row },
	{ "lease", run_lease, mews_lease },
	{ "return", run_return, mews_return },
	{ "lease-many-32", run_lease_many, mews_lease_many },
	{ "return-many-32", run_return_many, mews_return_many },
	{ "owned-inline-pair", run_owned_pair, run_owned_pair },
	{ "owner-lease", run_owned_lease, mews_owner_lease },
	{ "owner-return", run_owned_return, mews_owner_return },
};

#define COUNTED (sizeof(counted) / sizeof(counted[0]))

/* The cache half full, whatever its size: blocks are small enough for it to be large. */
static void warm_up(void)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	void *warm[512];
	size_t half;

	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	half = stats.cache_capacity / 2;
	CHECK(half >= BULK, "caches of %u blocks are too small", stats.cache_capacity);
	CHECK(mews_lease_many(pool, warm, half) == half, "%zu blocks", half);
	for (size_t i = 0; i < half; i++)
		mews_return(pool, warm[i]);
}

/* The same in the pool with owners: what lies on top was the owner's. */
static void warm_up_owned(void)
{
	void *warm[BULK];

	for (size_t i = 0; i < BULK; i++)
		CHECK(warm[i] = mews_owner_lease(owned, owner), "owned lease %zu", i);
	for (size_t i = 1; i < BULK; i++)
		mews_owner_return(owned, owner, warm[i]);
	held = warm[0];
}

/* What the operation takes now, on a warm cache; returns leave from a lease made before. */
static size_t count(const struct counted *what)
{
	size_t steps;

	warm_up();
	warm_up_owned();
	if (what->run == run_return)
		blocks[0] = mews_lease(pool);
	if (what->run == run_return_many)
		CHECK(mews_lease_many(pool, blocks, BULK) == BULK, "32 blocks");
	steps = step_through(what->run, pool, what->function, NULL, 0);
	if (what->run == run_return)
		mews_return(pool, blocks[0]);
	if (what->run == run_return_many)
		mews_return_many(pool, blocks, BULK);
	mews_owner_return(owned, owner, held);
	return steps;
}

/* The figure of the golden file's line "compiler name figure"; 0 if there is none. */
static size_t golden_of(const char *path, const char *name)
{
	char line[128], compiler[16], what[32];
	size_t figure, found = 0;
	FILE *file = fopen(path, "r");

	CHECK(file, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%15s %31s %zu", compiler, what, &figure) == 3 &&
		    strcmp(compiler, COMPILER) == 0 && strcmp(what, name) == 0)
			found = figure;
	fclose(file);
	return found;
}

static bool compare(const char *path, const char *name, size_t now)
{
	size_t golden = golden_of(path, name);

	printf("%-16s %4zu instructions, golden %zu\n", name, now, golden);
	if (golden == 0)
		printf("%s has no line for %s %s\n", path, COMPILER, name);
	else if (now > golden)
		printf("%s grew by %zu: --update %s if that is wanted\n", name, now - golden, path);
	return golden != 0 && now <= golden;
}

/* Keeps the comments and the other compiler's lines, replaces ours. */
static void update(const char *path, const size_t *now)
{
	char kept[4096] = "", line[128];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, COMPILER " ", strlen(COMPILER " ")) != 0)
			strncat(kept, line, sizeof(kept) - strlen(kept) - 1);
	if (file)
		fclose(file);
	file = fopen(path, "w");
	CHECK(file, "%s: %s", path, strerror(errno));
	fputs(kept, file);
	for (size_t i = 0; i < COUNTED; i++)
		fprintf(file, "%s %s %zu\n", COMPILER, counted[i].name, now[i]);
	fclose(file);
}

int main(int argc, char **argv)
{
	struct options options;
	struct mews_pool_config config = { .size = sizeof(config), .block_size = 64,
					   .decay_ms = MEWS_DECAY_NEVER };
	size_t now[COUNTED];
	bool good = true;

	options_parse(&options, "Counts the instructions of the hit path. --file: the golden file. "
		      "--plant grown: pretends that each grew by one.", argc, argv);
	CHECK(options.file, "--file is missing");
	if (__rseq_size == 0)
		check_skip("glibc did not register restartable sequences");
	CHECK(mews_pool_create(&config, &pool) == 0, "pool");
	config.owners = 1;
	CHECK(mews_pool_create(&config, &owned) == 0, "pool with owners");
	CHECK(mews_owner_create("counted", &owner) == 0, "owner");
	threads_pin(0); /* elsewhere the cache is cold; a pool made here would be a small one */
	for (size_t i = 0; i < COUNTED; i++) {
		now[i] = count(&counted[i]) + (options.plant != NULL);
		if (now[i] == (options.plant != NULL))
			check_skip("this machine does not let a process trace its child");
	}
	mews_owner_destroy(owner);
	CHECK(mews_pool_dispose(pool) == 0 && mews_pool_dispose(owned) == 0, "dispose");
	if (options.update) {
		update(options.file, now);
		return 0;
	}
	for (size_t i = 0; i < COUNTED; i++)
		good &= compare(options.file, counted[i].name, now[i]);
	return good == (options.plant == NULL) ? 0 : 1;
}
