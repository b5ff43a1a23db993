/* SPDX-License-Identifier: MIT */
/* What the stress scenarios share, see stress.h. */
#include "stress.h"

#include <errno.h>
#include <string.h>
#include "support/audit.h"

unsigned stress_threads(const struct stress *stress, unsigned own)
{
	return stress->threads ? stress->threads : own;
}

void arena_open(struct arena *arena, const struct stress *stress, size_t max_blocks)
{
	struct mews_pool_config config = kind_config();

	memset(arena, 0, sizeof(*arena));
	arena->max_blocks = max_blocks ? max_blocks : ARENA_BLOCKS;
	config.block_size = ARENA_BLOCK_SIZE;
	config.max_blocks = arena->max_blocks;
	config.decay_ms = stress->decay_ms ? stress->decay_ms : ARENA_DECAY_MS;
	arena->pool = kind_pool_from(&config);
	arena->ledger = ledger_new(arena->max_blocks, ARENA_BLOCK_SIZE);
	arena->plant = stress->plant;
	arena->end = threads_now() + stress->seconds;
}

bool arena_running(struct arena *arena)
{
	return !atomic_load(&arena->stop) && threads_now() < arena->end;
}

bool arena_again(struct arena *arena, const atomic_ullong *counted)
{
	arena->end = threads_now() + 0.5;
	return atomic_load(counted) == 0 && arena->rounds++ < 20;
}

void *arena_lease(struct arena *arena)
{
	void *block = kind_calls.lease(arena->pool);

	if (block) {
		ledger_take(arena->ledger, block);
	} else {
		CHECK(errno == ENOBUFS, "a lease failed: %s", strerror(errno));
		atomic_fetch_add(&arena->failures, 1);
	}
	return block;
}

/* Now and then, one return goes wrong as planted. */
static bool plant_here(struct arena *arena, enum plant plant)
{
	return arena->plant == plant && atomic_fetch_add(&arena->operations, 1) % 500 == 499;
}

/* Writes into a block returned earlier, once somebody has it again. */
static void write_late(struct arena *arena, void *block)
{
	static _Thread_local void *stale;

	if (stale && ledger_holds(arena->ledger, stale)) {
		memset(stale, 0x55, ARENA_BLOCK_SIZE);
		stale = NULL;
	} else if (!stale && plant_here(arena, PLANT_LATE_WRITE)) {
		stale = block;
	}
}

void arena_give(struct arena *arena, void *block)
{
	ledger_give(arena->ledger, block);
	if (plant_here(arena, PLANT_LOST))
		return;
	kind_calls.give(arena->pool, block);
	if (plant_here(arena, PLANT_DOUBLE))
		kind_calls.give(arena->pool, block);
	if (arena->plant == PLANT_LATE_WRITE)
		write_late(arena, block);
}

size_t arena_lease_many(struct arena *arena, void **blocks, size_t count)
{
	size_t got = mews_lease_many(arena->pool, blocks, count);

	CHECK(got == count || errno == ENOBUFS, "a bulk lease failed: %s", strerror(errno));
	for (size_t i = 0; i < got; i++)
		ledger_take(arena->ledger, blocks[i]);
	return got;
}

void arena_give_many(struct arena *arena, void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ledger_give(arena->ledger, blocks[i]);
	mews_return_many(arena->pool, blocks, count);
}

void *arena_mail(struct arena *arena, struct rng *rng, void *block)
{
	return atomic_exchange(&arena->mailbox[rng_below(rng, ARENA_MAILBOXES)], block);
}

struct list {
	void *block[ARENA_BLOCKS];
	size_t count;
};

static void add(void *block, void *context)
{
	struct list *list = context;

	CHECK(list->count < ARENA_BLOCKS, "more blocks out than the pool has");
	list->block[list->count++] = block;
}

void arena_audit(struct arena *arena)
{
	static struct list list;
	struct audit audit;

	list.count = 0;
	ledger_each(arena->ledger, add, &list);
	CHECK(audit_pool(arena->pool, list.block, list.count, &audit), "audit: %s", audit.message);
	CHECK(audit.carved == audit.leased + audit.cached + audit.side + audit.depot + audit.slab,
	      "the audit's own sum");
}

void arena_empty_mail(struct arena *arena)
{
	for (unsigned i = 0; i < ARENA_MAILBOXES; i++) {
		void *block = atomic_exchange(&arena->mailbox[i], NULL);

		if (block)
			arena_give(arena, block);
	}
}

void arena_close(struct arena *arena)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	arena_empty_mail(arena);
	CHECK(ledger_count(arena->ledger) == 0, "%zu blocks are out by the test's ledger",
	      ledger_count(arena->ledger));
	arena_audit(arena);
	for (int i = 0; i < 10000; i++) {       /* the keeper may have some in hand */
		CHECK(mews_pool_stats(arena->pool, &stats) == 0, "statistics");
		if (stats.leased == 0)
			break;
		threads_sleep(0.001);
	}
	CHECK(stats.leased == 0, "%llu blocks are out by the pool's statistics",
	      (unsigned long long)stats.leased);
	CHECK(stats.double_returns + stats.foreign_pointers + stats.interior_pointers == 0,
	      "misuse was counted, and there was none");
	CHECK(mews_pool_dispose(arena->pool) == 0, "dispose");
	ledger_free(arena->ledger);
}

static void hand_grow(struct arena *arena, struct hand *hand, struct rng *rng)
{
	unsigned room = 64 - hand->count, count = 1 + rng_below(rng, 16);

	if (count > room)
		count = room;
	if (count > 1 && rng_below(rng, 2)) {
		hand->count += arena_lease_many(arena, hand->block + hand->count, count);
		return;
	}
	while (count-- > 0) {
		void *block = arena_lease(arena);

		if (block)
			hand->block[hand->count++] = block;
	}
}

static void hand_shrink(struct arena *arena, struct hand *hand, struct rng *rng)
{
	unsigned count = 1 + rng_below(rng, hand->count);

	if (rng_below(rng, 2)) {
		hand->count -= count;
		arena_give_many(arena, hand->block + hand->count, count);
		return;
	}
	while (count-- > 0) {
		unsigned at = rng_below(rng, hand->count);

		arena_give(arena, hand->block[at]);
		hand->block[at] = hand->block[--hand->count];
	}
}

void hand_step(struct arena *arena, struct hand *hand, struct rng *rng)
{
	if (hand->count == 0 || (hand->count < 64 && rng_below(rng, 2)))
		hand_grow(arena, hand, rng);
	else
		hand_shrink(arena, hand, rng);
	if (hand->count && rng_below(rng, 4) == 0) {
		void *block = arena_mail(arena, rng, hand->block[--hand->count]);

		if (block)
			hand->block[hand->count++] = block;
	}
}

void hand_empty(struct arena *arena, struct hand *hand)
{
	arena_give_many(arena, hand->block, hand->count);
	hand->count = 0;
}

void *hand_worker(void *argument)
{
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	struct hand hand = { .count = 0 };

	while (arena_running(arena))
		for (int i = 0; i < 50; i++)
			hand_step(arena, &hand, &worker->rng);
	hand_empty(arena, &hand);
	return NULL;
}

static void look_at_site(void *context, const struct mews_lease_site *site)
{
	struct arena *arena = context;

	CHECK(site->size == sizeof(*site) && site->pool == arena->pool, "a site of another pool");
	CHECK(site->leases > 0 && site->leases <= arena->max_blocks, "%llu leases at a site",
	      (unsigned long long)site->leases);
	CHECK(site->bytes == site->leases * ARENA_BLOCK_SIZE, "%llu bytes in %llu leases",
	      (unsigned long long)site->bytes, (unsigned long long)site->leases);
	CHECK(site->depth <= MEWS_SITE_DEPTH && site->oldest_ns >= site->youngest_ns &&
	      site->oldest_ns < UINT64_C(1000000000000), "a site's depth or ages");
	for (uint32_t i = 0; i < site->depth; i++)
		CHECK(site->stack[i], "a stack with a hole");
}

void *sample_worker(void *argument)
{
	static const unsigned one_in[] = { 0, 1, 1, 2, 10, 1000 };
	struct worker *worker = argument;
	struct arena *arena = worker->shared;
	unsigned n;

	while (arena_running(arena)) {
		n = one_in[rng_below(&worker->rng, 6)];
		CHECK(mews_pool_sample_leases(arena->pool, n) == 0, "sampling");
		for (unsigned i = rng_below(&worker->rng, 3); i > 0; i--) {
			threads_sleep(rng_below(&worker->rng, 20) * 1e-4);
			CHECK(mews_pool_report_leases(arena->pool, look_at_site, arena) == 0,
			      "a report");
		}
	}
	return NULL;
}
