/* SPDX-License-Identifier: MIT */
/*
 * Owners under load, on one kind of pool:
 *
 *   deaths   10,000 threads that lease, keep half and die, by return, pthread_exit and cancellation
 *            (1,000 under a sanitizer); then the pool is whole, and no larger than after a tenth
 *   mix      threads lease under owners of their own, return, hand on, adopt, and end them, while the
 *            pool is drained and trimmed: each end brings back exactly what was held
 *
 * --plant keep: an owner that is never ended, which both must find.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <mews/owner_inline.h>
#include "lib/ledger.h"
#include "support/audit.h"
#include "support/check.h"
#include "support/kinds.h"
#include "support/ledger.h"
#include "support/options.h"
#include "support/threads.h"

#define BATCH 25
#define LEASES 32
#define HELD 48
#define MAILBOXES 32
#define WORKERS 4

static struct mews_pool *pool;
static bool plant;

static struct mews_pool *make_pool(size_t blocks)
{
	struct mews_pool_config config = kind_config();

	config.block_size = 256;
	config.max_blocks = blocks;
	config.owners = 1;
	return kind_pool_from(&config);
}

static void close_pool(void)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct audit audit;

	CHECK(audit_pool(pool, NULL, 0, &audit), "audit: %s", audit.message);
	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	CHECK(stats.leased == 0 && stats.double_returns == 0, "%llu out, %llu double returns",
	      (unsigned long long)stats.leased, (unsigned long long)stats.double_returns);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static void *lease_and_die(void *number)
{
	struct mews_owner *own = plant && !number ? NULL : mews_owner_thread();
	void *block[LEASES];

	for (int i = 0; i < LEASES; i++) {
		block[i] = own ? mews_owner_lease(pool, own) : mews_lease(pool);
		CHECK(block[i], "lease: %s", strerror(errno));
	}
	for (int i = 0; i < LEASES; i += 2)
		mews_owner_return(pool, own, block[i]);
	if ((uintptr_t)number % 3 == 1)
		pthread_exit(NULL);
	/* Not in a call that ThreadSanitizer wraps: it would miss what comes after. */
	if ((uintptr_t)number % 3 == 2)
		for (;; sched_yield())
			pthread_testcancel();
	return NULL;
}

static size_t resident_kib(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	CHECK(file && fscanf(file, "%*u %lu", &pages) == 1, "/proc/self/statm");
	fclose(file);
	return pages * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void run_batch(uintptr_t first)
{
	pthread_t thread[BATCH];

	for (uintptr_t i = 0; i < BATCH; i++)
		CHECK(pthread_create(&thread[i], NULL, lease_and_die, (void *)(first + i)) == 0,
		      "thread");
	for (uintptr_t i = 0; i < BATCH; i++) {
		if ((first + i) % 3 == 2)
			pthread_cancel(thread[i]);
		pthread_join(thread[i], NULL);
	}
}

static void run_deaths(size_t threads)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	size_t before = 0, after;

	check_context("deaths", 0);
	pool = make_pool(4 * BATCH * LEASES);
	for (uintptr_t i = 0; i < threads; i += BATCH) {
		run_batch(i);
		if (i <= threads / 10)
			before = resident_kib();
	}
	after = resident_kib();
	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	printf("deaths: %zu threads, %llu blocks came back, %zu KiB after a tenth, %zu at the end\n",
	       threads, (unsigned long long)stats.owner_returns, before, after);
	CHECK(mews_asan_active() || mews_tsan_active() || after < before + 4096,
	      "the process has grown by %zu KiB", after - before);
	close_pool();
}

static struct {
	struct ledger *ledger;
	_Atomic(void *) mailbox[MAILBOXES];
	atomic_bool over;
	atomic_ullong steps, ends;
} mix;

struct holder {
	struct mews_owner *owner;
	void *block[HELD];
	unsigned count;
	struct rng *rng;
};

static void take(struct holder *h)
{
	void *block = h->count < HELD ? mews_owner_lease(pool, h->owner) : NULL;

	CHECK(block || h->count == HELD || errno == ENOBUFS, "lease: %s", strerror(errno));
	if (!block)
		return;
	ledger_take(mix.ledger, block);
	h->block[h->count++] = block;
}

static void *pick(struct holder *h)
{
	unsigned i = rng_below(h->rng, h->count);
	void *block = h->block[i];

	h->block[i] = h->block[--h->count];
	return block;
}

/* By the owner, or as those do who know none. */
static void give(struct holder *h)
{
	void *block = h->count ? pick(h) : NULL;

	if (!block)
		return;
	ledger_give(mix.ledger, block);
	if (rng_below(h->rng, 4))
		mews_owner_return(pool, h->owner, block);
	else
		kind_calls.give(pool, block);
}

/* Nobody's while it lies in a mailbox; who finds it there adopts it, or returns it. */
static void hand_on(struct holder *h)
{
	_Atomic(void *) *box = &mix.mailbox[rng_below(h->rng, MAILBOXES)];
	void *block = h->count ? pick(h) : NULL, *found;

	CHECK(!block || mews_owner_disown(pool, block) == 0, "disown %p", block);
	found = atomic_exchange(box, block);
	if (found && h->count < HELD && rng_below(h->rng, 2)) {
		CHECK(mews_owner_adopt(pool, h->owner, found) == 0, "adopt %p", found);
		h->block[h->count++] = found;
	} else if (found) {
		ledger_give(mix.ledger, found);
		kind_calls.give(pool, found);
	}
}

static void end(struct holder *h)
{
	unsigned held = h->count;
	size_t back;

	while (h->count)
		ledger_give(mix.ledger, pick(h));
	back = plant ? 0 : mews_owner_end(h->owner);
	CHECK(back == held, "%zu of %u came back", back, held);
	atomic_fetch_add(&mix.ends, 1);
	if (rng_below(h->rng, 8) == 0) {
		mews_owner_destroy(h->owner);
		CHECK(mews_owner_create("mix", &h->owner) == 0, "owner");
	}
}

static void *mix_worker(void *argument)
{
	struct worker *worker = argument;
	struct holder h = { .rng = &worker->rng };

	CHECK(mews_owner_create("mix", &h.owner) == 0, "owner");
	while (!atomic_load(&mix.over)) {
		switch (rng_below(h.rng, 40)) {
		case 0: end(&h); break;
		case 1 ... 3: hand_on(&h); break;
		case 4 ... 20: give(&h); break;
		default: take(&h);
		}
		atomic_fetch_add_explicit(&mix.steps, 1, memory_order_relaxed);
	}
	end(&h);
	mews_owner_destroy(h.owner);
	return NULL;
}

static void run_mix(double seconds, uint64_t seed)
{
	static const struct timespec past;
	struct worker workers[WORKERS];

	check_context("mix", seed);
	pool = make_pool(WORKERS * HELD + 400);
	mix.ledger = ledger_new(WORKERS * HELD + 400, 256);
	threads_start(workers, WORKERS, seed, NULL, mix_worker);
	for (double stop = threads_now() + seconds; threads_now() < stop;) {
		threads_sleep(0.002);
		mews_pool_drain(pool, &past);
		mews_pool_trim(pool, 0, 100);
	}
	atomic_store(&mix.over, true);
	threads_join(workers, WORKERS);
	for (int i = 0; i < MAILBOXES; i++)
		kind_calls.give(pool, atomic_load(&mix.mailbox[i]));
	printf("mix: %llu steps, %llu ends\n", (unsigned long long)mix.steps,
	       (unsigned long long)mix.ends);
	close_pool();
	ledger_free(mix.ledger);
}

static void run_planted(void *argument)
{
	const struct options *options = argument;

	if (options_chosen(options, "deaths"))
		run_deaths(2 * BATCH);
	else
		run_mix(1, options->seed);
}

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, "Owners under load. Scenarios: deaths, mix. --operations: threads that "
		      "die. --plant keep: owners that are not ended.", argc, argv);
	kind_choose(options.kind, argv);
	printf("seed %llu\n", (unsigned long long)options.seed);
	plant = options.plant != NULL;
	if (plant)
		return check_finds(run_planted, &options) ? 0 : 1;
	if (options_chosen(&options, "deaths"))
		run_deaths(options.operations ? options.operations : options.short_run ||
			   mews_asan_active() || mews_tsan_active() ? 1000 : 10000);
	if (options_chosen(&options, "mix"))
		run_mix(options.seconds > 0 ? options.seconds : options.long_run ? 20 : 1, options.seed);
	return 0;
}
