/* SPDX-License-Identifier: MIT */
/*
 * The misuse matrix: each wrong call is made on a pool of its own, at both levels of checking, and
 * must be told as the contract says: by a report, by a counter, and without loss of another block.
 * At CHEAP a double or interior return is told when the block reaches its slab, which a drain
 * forces. misuse_memory.c has what only AddressSanitizer and valgrind can see.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "misuse.h"
#include "support/audit.h"
#include "support/check.h"
#include "support/kinds.h"
#include "support/options.h"
#include "support/threads.h"

struct told {
	unsigned reports[MEWS_REPORT_OUTSTANDING + 1]; /* by kind */
	const void *block;              /* of the last one */
};

struct place {
	struct mews_pool *pool, *other;
	struct told told;
	void *out[4];                   /* leased before the misuse, returned properly after it */
	const void *wrong;              /* what the report must name */
};

static void on_report(void *context, const struct mews_report *report)
{
	struct told *told = context;

	CHECK(report->size == sizeof(*report) && report->kind <= MEWS_REPORT_OUTSTANDING, "report");
	CHECK(report->message && strlen(report->message) > 10, "a report without a message");
	told->reports[report->kind]++;
	if (report->kind < MEWS_REPORT_DEGRADED)
		told->block = report->block;
}

static void give(struct place *place, const void *pointer)
{
	place->wrong = pointer;
	kind_calls.give(place->pool, (void *)pointer);
}

/* Takes the i-th block out of the list, so that it is not returned again at the end. */
static void *take(struct place *place, int i)
{
	void *block = place->out[i];

	place->out[i] = NULL;
	return block;
}

static void double_at_once(struct place *place)
{
	void *block = take(place, 0);

	kind_calls.give(place->pool, block);
	give(place, block);
}

static void double_later(struct place *place)
{
	void *first = take(place, 0), *second = take(place, 1);

	kind_calls.give(place->pool, first);
	kind_calls.give(place->pool, second);
	give(place, first);
}

static void double_in_bulk(struct place *place)
{
	void *block = take(place, 0), *blocks[] = { block, take(place, 1), block };

	place->wrong = block;
	mews_return_many(place->pool, blocks, 3);
}

static void double_in_two_bulks(struct place *place)
{
	void *blocks[] = { take(place, 0), take(place, 1) };

	mews_return_many(place->pool, blocks, 2);
	place->wrong = blocks[1];
	mews_return_many(place->pool, blocks + 1, 1);
}

static void double_after_a_drain(struct place *place)
{
	struct timespec past = { 0 };
	void *block = take(place, 0);

	kind_calls.give(place->pool, block);
	CHECK(mews_pool_drain(place->pool, &past) == -ETIMEDOUT, "drain");
	give(place, block);
}

/* The block was leased again, so that the stale return takes it from its new owner. */
static void double_after_a_lease(struct place *place)
{
	void *block = take(place, 0), *again;

	kind_calls.give(place->pool, block);
	again = kind_calls.lease(place->pool);
	kind_calls.give(place->pool, again);
	give(place, again);
}

static void foreign_stack(struct place *place)
{
	int local = 0;

	give(place, &local);
}

static void foreign_heap(struct place *place)
{
	void *heap = calloc(1, 64);

	give(place, heap);
	free(heap);
}

static void foreign_static(struct place *place)
{
	static char object[64];

	give(place, object);
}

static void foreign_unmapped(struct place *place)
{
	give(place, (void *)0xdead000);
}

static void foreign_one(struct place *place)
{
	give(place, (void *)1);
}

static void foreign_highest(struct place *place)
{
	give(place, (void *)UINTPTR_MAX);
}

static void foreign_pool_handle(struct place *place)
{
	give(place, place->pool);
}

static void foreign_other_pool(struct place *place)
{
	void *block = kind_calls.lease(place->other);

	give(place, block);
	kind_calls.give(place->other, block);
}

static void foreign_in_bulk(struct place *place)
{
	int local = 0;
	void *blocks[] = { take(place, 0), &local, take(place, 1) };

	place->wrong = &local;
	mews_return_many(place->pool, blocks, 3);
}

static void foreign_never_carved(struct place *place)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	mews_pool_stats(place->pool, &stats);
	give(place, (char *)place->out[0] + stats.max_blocks * stats.stride + 4096);
}

static void foreign_oversize_twice(struct place *place)
{
	void *large = mews_lease_sized(place->pool, 100000);

	kind_calls.give(place->pool, large);
	give(place, large);
}

static void foreign_oversize_interior(struct place *place)
{
	char *large = mews_lease_sized(place->pool, 100000);

	give(place, large + 4096);
	kind_calls.give(place->pool, large);
}

static void interior_first_byte(struct place *place)
{
	give(place, (char *)place->out[0] + 1);
}

static void interior_line(struct place *place)
{
	give(place, (char *)place->out[1] + 64);
}

static void interior_last_byte(struct place *place)
{
	give(place, (char *)place->out[2] + 255);
}

static void interior_in_bulk(struct place *place)
{
	void *blocks[] = { take(place, 0), (char *)place->out[1] + 8 };

	place->wrong = blocks[1];
	mews_return_many(place->pool, blocks, 2);
}

static const struct misuse {
	const char *name;
	void (*commit)(struct place *place);
	enum mews_report_kind kind;
} matrix[] = {
	{ "double, at once", double_at_once, MEWS_REPORT_DOUBLE_RETURN },
	{ "double, later", double_later, MEWS_REPORT_DOUBLE_RETURN },
	{ "double, in one bulk", double_in_bulk, MEWS_REPORT_DOUBLE_RETURN },
	{ "double, in two bulks", double_in_two_bulks, MEWS_REPORT_DOUBLE_RETURN },
	{ "double, after a drain", double_after_a_drain, MEWS_REPORT_DOUBLE_RETURN },
	{ "double, after a lease", double_after_a_lease, MEWS_REPORT_DOUBLE_RETURN },
	{ "foreign, stack", foreign_stack, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, heap", foreign_heap, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, static", foreign_static, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, unmapped", foreign_unmapped, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, 1", foreign_one, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, highest", foreign_highest, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, the pool", foreign_pool_handle, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, another pool's", foreign_other_pool, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, in a bulk", foreign_in_bulk, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, never carved", foreign_never_carved, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, oversize twice", foreign_oversize_twice, MEWS_REPORT_FOREIGN_POINTER },
	{ "foreign, within oversize", foreign_oversize_interior, MEWS_REPORT_FOREIGN_POINTER },
	{ "interior, first byte", interior_first_byte, MEWS_REPORT_INTERIOR_POINTER },
	{ "interior, a line", interior_line, MEWS_REPORT_INTERIOR_POINTER },
	{ "interior, last byte", interior_last_byte, MEWS_REPORT_INTERIOR_POINTER },
	{ "interior, in a bulk", interior_in_bulk, MEWS_REPORT_INTERIOR_POINTER },
};

#define MISUSES (sizeof(matrix) / sizeof(matrix[0]))

static struct mews_pool *open_pool(struct told *told)
{
	struct mews_pool_config config = kind_config();

	config.block_size = 256;
	config.max_blocks = 1000;
	config.on_report = on_report;
	config.context = told;
	return kind_pool_from(&config);
}

static void check_counters(const struct place *place, enum mews_report_kind kind)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	uint64_t counted;

	CHECK(mews_pool_stats(place->pool, &stats) == 0, "statistics");
	counted = kind == MEWS_REPORT_DOUBLE_RETURN ? stats.double_returns :
		  kind == MEWS_REPORT_FOREIGN_POINTER ? stats.foreign_pointers :
		  stats.interior_pointers;
	CHECK(counted == 1, "counted %llu times", (unsigned long long)counted);
	CHECK(stats.double_returns + stats.foreign_pointers + stats.interior_pointers == 1,
	      "counted as something else too");
	CHECK(stats.leased == 0, "%llu blocks out", (unsigned long long)stats.leased);
}

/* All that was out comes back, a drain brings all into the slabs, and then the misuse is known. */
static void check_told(struct place *place, const struct misuse *misuse)
{
	struct timespec soon = threads_deadline(5);
	struct audit audit;

	mews_return_many(place->pool, place->out, 4);
	CHECK(mews_pool_drain(place->pool, &soon) == 0, "not all blocks came back");
	CHECK(place->told.reports[misuse->kind] == 1, "reported %u times",
	      place->told.reports[misuse->kind]);
	CHECK(place->told.block == place->wrong, "the report names %p, wrong was %p",
	      place->told.block, place->wrong);
	check_counters(place, misuse->kind);
	CHECK(audit_pool(place->pool, NULL, 0, &audit), "audit: %s", audit.message);
}

static void commit(const struct misuse *misuse)
{
	struct place place = { .wrong = NULL };
	unsigned at_once;

	check_context(misuse->name, 0);
	place.pool = open_pool(&place.told);
	place.other = kind_pool(256, 100);
	CHECK(mews_lease_many(place.pool, place.out, 4) == 4, "4 blocks");
	misuse->commit(&place);
	at_once = place.told.reports[misuse->kind];
	if (kind->checks == MEWS_CHECKS_FULL)
		CHECK(at_once == 1, "not reported at once, in spite of full checks");
	check_told(&place, misuse);
	CHECK(mews_pool_dispose(place.pool) == 0 && mews_pool_dispose(place.other) == 0, "dispose");
	printf("%-26s told %s\n", misuse->name, at_once ? "at once" : "at the slab");
}

/* On a disposed pool: each wrong return is told, and only the right ones bring its end. */
static void misuse_after_dispose(void)
{
	struct told told = { .block = NULL };
	struct mews_pool *pool = open_pool(&told);
	void *blocks[3];
	int local = 0;

	check_context("after dispose", 0);
	CHECK(mews_lease_many(pool, blocks, 3) == 3, "3 blocks");
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
	kind_calls.give(pool, blocks[0]);
	kind_calls.give(pool, blocks[0]);
	CHECK(told.reports[MEWS_REPORT_DOUBLE_RETURN] == 1, "a double return");
	mews_return_many(pool, blocks, 1);
	CHECK(told.reports[MEWS_REPORT_DOUBLE_RETURN] == 2, "a double return in bulk");
	kind_calls.give(pool, &local);
	CHECK(told.reports[MEWS_REPORT_FOREIGN_POINTER] == 1, "a foreign pointer");
	kind_calls.give(pool, (char *)blocks[1] + 8);
	CHECK(told.reports[MEWS_REPORT_INTERIOR_POINTER] == 1, "an interior pointer");
	memset(blocks[1], 1, 256);
	memset(blocks[2], 1, 256);
	mews_return_many(pool, blocks + 1, 2);
	printf("%-26s told at once\n", "after dispose, 4 kinds");
}

/* A checker that always says yes would pass: a proper return must not be reported. */
static void proper_use(struct place *place)
{
	give(place, take(place, 0));
}

static void commit_proper_use(void *unused)
{
	const struct misuse none = { "proper use", proper_use, MEWS_REPORT_DOUBLE_RETURN };

	(void)unused;
	commit(&none);
}

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, "What happens to callers that do it wrong, on one kind of pool. "
		      "--plant none: a proper return must not count as misuse. "
		      "memory: what AddressSanitizer or valgrind must see.", argc, argv);
	kind_choose(options.kind, argv);
	if (options.plant) {
		bool found = check_finds(commit_proper_use, NULL);

		printf("proper use %s\n", found ? "is not reported" : "is REPORTED");
		return !found;
	}
	if (options.name_count)
		return misuse_of_memory();
	for (size_t i = 0; i < MISUSES; i++)
		commit(&matrix[i]);
	misuse_after_dispose();
	return 0;
}
