/* SPDX-License-Identifier: MIT */
/*
 * The nth kernel call fails: for every call of the kernel table, every n that a pool's life
 * reaches, several errors, once and for good. Each time the result must be one that the contract
 * names, nothing may leak, and the pool, if there is one, must work once the kernel does again. Of a
 * call that comes often, every n with --long only; else the first ones, and further on one here and there
 * by the seed; and under AddressSanitizer one error of each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/ledger.h"
#include "support/audit.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/kinds.h"
#include "support/maps.h"
#include "support/options.h"
#include "support/threads.h"

#define COUNT 3000

static const int errors[] = { ENOMEM, EPERM, ENOSYS, EINVAL };

static void *blocks[COUNT];

static void check_errno(const char *what)
{
	CHECK(errno == ENOMEM || errno == ENOBUFS, "%s failed with %s", what, strerror(errno));
}

/* Parts of slabs and whole ones go back, by hand and by the keeper, and come again. */
static void give_back(struct mews_pool *pool, size_t some)
{
	size_t got = mews_lease_many(pool, blocks, some < 500 ? some : 500), kept = 0;
	int error;

	for (size_t i = 0; i < got; i++)
		if (i != 300)
			mews_return(pool, blocks[i]);
		else
			blocks[kept++] = blocks[i];
	error = mews_pool_collect(pool);
	CHECK(error == 0, "collect: %s", strerror(-error));
	CHECK(mews_keeper_step(0) >= 0, "a step of the keeper");
	if (kept < got)
		kept += mews_lease_many(pool, blocks + kept, got - kept);
	mews_return_many(pool, blocks, kept);
}

/* All blocks are out: leases fail, or wait in vain; one comes back, and the eventfd may tell. */
static void meet_limit(struct mews_pool *pool, size_t out)
{
	struct timespec soon = threads_deadline(2e-4);
	int event = mews_pool_pressure_fd(pool);
	void *block;

	CHECK(event != -ESHUTDOWN && event != -EBADF, "eventfd: %s", strerror(-event));
	CHECK(!mews_lease(pool), "a lease above the limit");
	block = mews_lease_wait(pool, &soon);
	CHECK(!block && (errno == ETIMEDOUT || errno == ENOMEM), "a wait in vain: %s",
	      strerror(errno));
	mews_return(pool, blocks[--out]);
	blocks[out] = mews_lease_wait(pool, NULL);
	CHECK(blocks[out], "a wait for a free block: %s", strerror(errno));
}

/*
 * Leases, returns, migrates: growth, exchange, caches that open and close. Kernel calls may
 * fail.
 */
static void use(struct mews_pool *pool)
{
	struct timespec past = { 0 };
	void *large;
	size_t got;
	int error;

	for (int round = 0; round < 2; round++) {
		threads_pin((unsigned)round);
		errno = 0;
		got = mews_lease_many(pool, blocks, COUNT);
		if (got < COUNT)
			check_errno("a bulk lease");
		if (got == COUNT)
			meet_limit(pool, got);
		mews_return_many(pool, blocks, got);
	}
	give_back(pool, got);
	large = mews_lease_sized(pool, 100000);
	if (!large)
		check_errno("an oversize lease");
	error = mews_pool_drain(pool, &past);
	CHECK(error == 0 || error == -ETIMEDOUT, "drain: %s", strerror(-error));
	mews_return(pool, large);
	threads_unpin();
}

/* The kernel works again: so does the pool. */
static void check_sound(struct mews_pool *pool)
{
	struct timespec soon = threads_deadline(5);
	struct mews_stats stats = { .size = sizeof(stats) };
	struct audit audit;
	size_t got = mews_lease_many(pool, blocks, COUNT);

	CHECK(got == COUNT, "%zu of %d blocks, though nothing fails now", got, COUNT);
	CHECK(audit_pool(pool, blocks, COUNT, &audit), "audit: %s", audit.message);
	mews_return_many(pool, blocks, COUNT);
	CHECK(mews_pool_drain(pool, &soon) == 0, "drain, though nothing fails now");
	CHECK(mews_pool_stats(pool, &stats) == 0 && stats.leased == 0, "%llu blocks are out",
	      (unsigned long long)stats.leased);
	CHECK(audit_pool(pool, NULL, 0, &audit), "audit: %s", audit.message);
}

static struct mews_pool_config configuration(void)
{
	struct mews_pool_config config = kind_config();

	config.block_size = 1024;
	config.max_blocks = COUNT;
	config.initial_blocks = 10;
	config.decay_ms = 8;
	config.keeper = MEWS_KEEPER_CALLER; /* so that each call is made by this thread */
	return config;
}

/* A life with one plan of refusal. Returns how many calls were refused. */
static unsigned long live(int call, unsigned long nth, int error, bool for_good)
{
	struct mews_pool_config config = configuration();
	struct mews_pool *pool;
	unsigned long refused;
	int created;

	faults_install();
	if (for_good)
		faults_refuse_from(call, nth, error);
	else
		faults_refuse(call, nth, error);
	created = mews_pool_create(&config, &pool);
	if (created == 0)
		use(pool);
	refused = faults_refused();
	faults_remove();
	if (created) {
		CHECK(created == -ENOMEM && !pool, "create: %s", strerror(-created));
		return refused;
	}
	check_sound(pool);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
	return refused;
}

#define EACH 16                 /* so many of the first are all tried */

static struct rng rng;
static bool all, one_error;
static uint64_t seed;

static void sweep_error(int call, int error, bool for_good, unsigned long *lives)
{
	char name[64];
	unsigned long nth = 1, refused;

	do {
		if (one_error)
			error = errors[rng_below(&rng, sizeof(errors) / sizeof(errors[0]))];
		snprintf(name, sizeof(name), "%s %lu%s: %d", faults_name(call), nth,
			 for_good ? " and all after" : "", error);
		check_context(name, seed);
		refused = live(call, nth, error, for_good);
		nth += all || nth < EACH ? 1 : 1 + rng_below(&rng, (uint32_t)nth);
		++*lives;
	} while (refused > 0);
}

static void check_leak(const char *call, struct maps before)
{
	struct maps after = maps_read();
	bool leaks = maps_tell() && (after.bytes > before.bytes + (2 << 20) ||
				     after.count > before.count + 3);

	check_context(call, 0);
	/* A mapping that the kernel refuses to take back stays, of course. */
	CHECK(!leaks || strcmp(call, "munmap") == 0, "%zd mappings, %zd bytes more than before",
	      (ssize_t)(after.count - before.count), (ssize_t)(after.bytes - before.bytes));
}

static void sweep(void *unused)
{
	unsigned long lives = 0, before_call;
	struct maps before;

	(void)unused;
	live(0, 0, 0, false);
	live(0, 0, 0, false);
	for (int call = 0; call < faults_calls(); call++) {
		before = maps_read();
		before_call = lives;
		for (size_t i = 0; i < (one_error ? 1 : sizeof(errors) / sizeof(errors[0])); i++) {
			sweep_error(call, errors[i], false, &lives);
			sweep_error(call, errors[i], true, &lives);
		}
		printf("%-18s %lu lives\n", faults_name(call), lives - before_call);
		check_leak(faults_name(call), before);
	}
}

/* A life that forgets a mapping, as a bug of the library might. */
static void leak(void *unused)
{
	struct maps before = maps_read();
	struct mews_pool *pool = kind_pool(1024, COUNT);

	(void)unused;
	CHECK(mews_lease(pool), "a lease that never comes back");
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
	check_leak("planted", before);
}

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, "Each kernel call fails at each point of a pool's life. "
		      "--plant leak: a leak must be found.", argc, argv);
	kind_choose(options.kind, argv);
	if (options.plant) {
		bool found = check_finds(leak, NULL);

		printf("a leak is %s\n", found ? "found" : "NOT found");
		return !found;
	}
	all = options.long_run;
	one_error = !all && mews_asan_active();
	seed = rng.state = options.seed;
	printf("seed %llu\n", (unsigned long long)seed);
	sweep(NULL);
	return 0;
}
