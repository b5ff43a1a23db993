/* SPDX-License-Identifier: MIT */
/*
 * Blocks by the ten thousand on one thread (layer 6): what it costs to get them from the system,
 * and to read them in a random order. Called by main.c, in a process of its own for each backend.
 */
#include "workloads.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arena.h"
#include "clock.h"
#include "measure.h"
#include "patience.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PARTS 50        /* of what grows: a neighbour's pause may be shorter than longer ones */

struct filled {
	struct perf_run *run;
	const struct perf_backend *backend;
	struct perf_local local;
	uint64_t count;
	void **part;            /* [count / PARTS] */
	bool reserved;          /* the backend has its memory already */
};

/* Runs a body on a thread that the backend, which was set up, knows, with room for the blocks. */
static void on_thread(struct perf_run *run, const struct perf_backend *backend, const char *problem,
		      bool reserved, void *(*body)(void *))
{
	struct filled filled = {
		.run = run, .backend = backend, .count = (uint64_t)perf_argument(run, 1),
		.local = { .block_size = (size_t)perf_argument(run, 0), .count = 1 },
		.reserved = reserved,
	};

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	filled.local.block = perf_lines(filled.count * sizeof(*filled.local.block));
	filled.part = perf_lines(filled.count / PARTS * sizeof(*filled.part));
	perf_on_thread(backend, body, &filled);
	free(filled.part);
	free(filled.local.block);
	backend->tear_down();
}

static void give_all(const struct filled *filled)
{
	for (uint64_t i = 0; i < filled->count; i++)
		if (filled->local.block[i])
			filled->backend->give(filled->local.block[i]);
}

/* What a pool cannot lease costs it nothing. */
static bool had_all(const struct filled *filled)
{
	for (uint64_t i = 0; i < filled->count; i++)
		if (!filled->local.block[i]) {
			perf_skip(filled->run, "it has too few blocks");
			return false;
		}
	return true;
}

/* Writes a word at each step of so many bytes. */
static void touch(char *memory, size_t bytes, size_t step)
{
	for (size_t at = 0; at < bytes; at += step)
		*(volatile char *)(memory + at) = 1;
}

static void populate(char *memory, size_t bytes)
{
	if (madvise(memory, bytes, MADV_POPULATE_WRITE))
		touch(memory, bytes, 4096);
}

/*
 * The first time that a virtual machine touches a page its host has to find one, which may take twenty times as
 * long and is not the allocator's: as much as the pool and its limit will take is backed, and given back. What
 * they have already is out of most caches then: both were populated, one after the other.
 */
static bool warm_host(size_t bytes)
{
	struct perf_mapping mapping;

	if (!perf_map(&mapping, bytes, MADV_HUGEPAGE))
		return false;
	populate(mapping.memory, bytes);
	perf_unmap(&mapping);
	return true;
}

/*
 * The limit: what the kernel takes to back a part with huge pages where it has them, one at a time, unless memory
 * was reserved, and the first touch of each block right after, at the bare array's places, which spread over the
 * sets of the caches. CPU ns.
 */
static double limit_alone(const struct filled *filled, char *memory, size_t bytes)
{
	double ns = perf_cpu_ns(false);

	for (size_t at = 0; at < bytes; at += PERF_HUGE) {
		if (!filled->reserved)
			populate(memory + at, PERF_HUGE);
		touch(memory + at, PERF_HUGE, perf_arena_stride_of(filled->local.block_size));
	}
	return perf_cpu_ns(false) - ns;
}

/* The next blocks; CPU ns. Where they lie is written down after it, far away from what is measured. */
static double fill(struct filled *filled, uint64_t from, uint64_t count)
{
	struct perf_local local = filled->local;
	double ns;

	local.block = filled->part;
	ns = perf_cpu_ns(false);
	filled->backend->fill(&local, count);
	ns = perf_cpu_ns(false) - ns;
	memcpy(filled->local.block + from, filled->part, count * sizeof(*filled->part));
	return ns;
}

/* What parts took, and again those of them beside which nobody used the core's other half. */
struct parts {
	double all[PARTS], quiet[PARTS];
	int count, quiet_count;
};

static void add_part(struct parts *parts, double ns, bool quiet)
{
	parts->all[parts->count++] = ns;
	if (quiet)
		parts->quiet[parts->quiet_count++] = ns;
}

/*
 * A block's share of what all parts took. Of memory that was there it is told by the quiet parts' lower quartile:
 * a neighbour leaves room for half as many lines on their way, and a part that meets a page which the machine
 * below had taken away, as every second may, takes five times as long.
 */
static double of_parts(const struct filled *filled, struct parts *parts, double blocks)
{
	double sum = 0;

	if (filled->reserved && parts->quiet_count)
		return perf_quantile(parts->quiet, parts->quiet_count, 0.25) * PARTS / blocks;
	if (filled->reserved)
		return perf_quantile(parts->all, PARTS, 0.25) * PARTS / blocks;
	for (int i = 0; i < PARTS; i++)
		sum += parts->all[i];
	return sum / blocks;
}

/*
 * The pool and its limit are filled in turns, by PARTS, since others take a part of the memory's bandwidth now
 * and then. Neither gives anything back meanwhile: a page that was zeroed a moment ago is sooner zeroed.
 */
static void grow(struct filled *filled, const struct perf_mapping *limit)
{
	const size_t bytes = limit->bytes / PARTS;
	const uint64_t count = filled->count / PARTS;
	struct parts pool = { .count = 0 }, alone = { .count = 0 };
	struct perf_patience patience;
	double ns, ns_alone;

	perf_patience_open(&patience, perf_patience_ns());
	for (uint64_t i = 0; i < PARTS; i++) {
		struct perf_look before = perf_wait_alone(&patience), after;
		bool quiet;

		ns_alone = limit_alone(filled, limit->memory + i * bytes, bytes);
		ns = fill(filled, i * count, count);
		after = perf_look();
		quiet = perf_alone_between(&perf_widest, &before, &after);
		add_part(&alone, ns_alone, quiet);
		add_part(&pool, ns, quiet);
	}
	perf_patience_close(&patience);
	if (!had_all(filled)) {
		give_all(filled);
		return;
	}
	ns = of_parts(filled, &pool, (double)filled->count);
	ns_alone = of_parts(filled, &alone, (double)limit->bytes /
			    (double)perf_arena_stride_of(filled->local.block_size));
	perf_seconds(filled->run, ns * (double)filled->count / 1e9);
	perf_counter(filled->run, "ns", ns);
	perf_counter(filled->run, filled->reserved ? "ns_touch" : "ns_kernel", ns_alone);
	perf_counter(filled->run, "ratio", ns / ns_alone);
	perf_counter(filled->run, "crowded", 1 - (double)pool.quiet_count / PARTS);
	give_all(filled);
}

static void *growth_thread(void *arg)
{
	struct filled *filled = arg;
	const size_t bytes = filled->count * perf_arena_stride_of(filled->local.block_size);
	const size_t part = (bytes / PARTS + PERF_HUGE - 1) & ~(PERF_HUGE - 1);
	struct perf_mapping limit;

	if (!perf_map(&limit, PARTS * part, MADV_HUGEPAGE)) {
		perf_skip(filled->run, "no memory for the limit");
		return NULL;
	}
	if (filled->reserved)
		populate(limit.memory, limit.bytes);
	else if (!warm_host(3 * limit.bytes))
		perf_skip(filled->run, "no memory to warm the host");
	filled->backend->enter();
	fill(filled, 0, 1); /* what an allocator does once, at its first lease, is no growth */
	give_all(filled);
	while (perf_next(filled->run))
		grow(filled, &limit);
	filled->backend->leave();
	perf_unmap(&limit);
	return NULL;
}

static void run_growth(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;

	on_thread(run, backend, backend->set_up((size_t)perf_argument(run, 0)), false, growth_thread);
}

/* The same from a pool that was given its memory when it was created. */
static void run_reserved(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;
	size_t size = (size_t)perf_argument(run, 0), count = (size_t)perf_argument(run, 1);

	on_thread(run, backend, backend->set_up_reserved(size, count), true, growth_thread);
}

/* Independent reads of first lines, in an order that no prefetcher knows. */
static void read_loop(struct perf_local *local, uint64_t rounds)
{
	uint64_t sum = 0;
	uint32_t at = local->cursor;

	for (; rounds; rounds--) {
		sum += *(volatile uint64_t *)local->block[at];
		at = at + 1 == local->held ? 0 : at + 1;
	}
	local->cursor = at;
	__asm__ volatile("" : : "r"(sum));
}

static void shuffle(void **block, uint64_t count)
{
	uint32_t state = 7;

	for (uint64_t i = count; i > 1; i--) {
		uint64_t j = perf_random(&state) % i;
		void *swap = block[i - 1];

		block[i - 1] = block[j];
		block[j] = swap;
	}
}

/* The limit of the reads: blocks of one mapping in huge pages, which no pool made. */
static const char *open_arena(struct perf_local *local)
{
	char *arena = perf_arena_open(local->block_size, local->held);

	if (!arena)
		return "no memory for the arena beside it";
	for (uint32_t i = 0; i < local->held; i++) {
		local->block[i] = arena + i * perf_arena_stride();
		*(volatile char *)local->block[i] = 1;
	}
	shuffle(local->block, local->held);
	return NULL;
}

#define LOOKS 40

/*
 * In turns, for a second: others of the machine below take a part of its memory's bandwidth for some ten
 * milliseconds at a time, and then a read takes twice as long, whoever laid the blocks. All are read once
 * before, since a machine below that maps our pages when they are first met takes a hundred times as long;
 * between the turns it is the warm-up of the loop that makes the last level's cache theirs.
 */
static void read_in_turns(struct filled *filled, struct perf_local *arena)
{
	double pool[LOOKS], alone[LOOKS], ratio[LOOKS];
	int looks = perf_smoke() ? 2 : LOOKS;
	double cycles;

	read_loop(arena, arena->held);
	read_loop(&filled->local, filled->local.held);
	for (int i = 0; i < looks; i++) {
		alone[i] = perf_loop_cycles(read_loop, arena);
		pool[i] = perf_loop_cycles(read_loop, &filled->local);
		ratio[i] = pool[i] / alone[i];
	}
	cycles = perf_quantile(pool, looks, 0.5);
	perf_counter(filled->run, "cycles", cycles);
	perf_counter(filled->run, "cycles_arena", perf_quantile(alone, looks, 0.5));
	perf_counter(filled->run, "ratio", perf_quantile(ratio, looks, 0.5));
	perf_seconds(filled->run, cycles * 1e-9);
}

static void *reads_thread(void *arg)
{
	struct filled *filled = arg;
	struct perf_local arena = filled->local;
	const char *problem;

	filled->local.held = arena.held = (uint32_t)filled->count;
	arena.block = perf_lines(filled->count * sizeof(*arena.block));
	problem = open_arena(&arena);
	if (problem)
		perf_skip(filled->run, problem);
	filled->backend->enter();
	filled->backend->fill(&filled->local, filled->count);
	shuffle(filled->local.block, filled->count);
	while (had_all(filled) && perf_next(filled->run))
		read_in_turns(filled, &arena);
	give_all(filled);
	filled->backend->leave();
	perf_arena_close();
	free(arena.block);
	return NULL;
}

static void run_reads(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;

	on_thread(run, backend, backend->set_up((size_t)perf_argument(run, 0)), false, reads_thread);
}

void perf_add_filled(const struct perf_backend *backend)
{
	const int64_t growth[] = { perf_smoke() ? 500 : 50000, 0 };
	const int64_t reads[] = { perf_smoke() ? 2000 : 200000, 0 };

	if (backend->can & PERF_CAN_GROW)
		perf_add("growth", backend, run_growth, "blocks", 4032, growth);
	if (backend->set_up_reserved)
		perf_add("reserved", backend, run_reserved, "blocks", 4032, growth);
	if (backend->can & PERF_CAN_FILL)
		perf_add("reads", backend, run_reads, "blocks", 4032, reads);
}
