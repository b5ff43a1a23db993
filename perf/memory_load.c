/* SPDX-License-Identifier: MIT */
/*
 * The workloads whose result is memory, or the price of getting some (layer 6): footprint, growth,
 * miss tiers, thread churn, random reads. Called by main.c. The runner starts each of these in a
 * process of its own, since an allocator keeps what an earlier bench left it.
 */
#include "workloads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "arena.h"
#include "clock.h"
#include "measure.h"
#include "memory.h"

#define FOOTPRINT_THREADS 64
#define FOOTPRINT_BLOCKS (perf_smoke() ? 6400 : 200000)
#define IDLE_SECONDS (perf_smoke() ? 0 : 2)
#define MIB (1024.0 * 1024.0)

static double held_bytes(void)
{
	struct perf_memory memory;

	return perf_memory_read(&memory) ? -1 : (double)(memory.pss + memory.hugetlb);
}

static void sleep_seconds(int seconds)
{
	struct timespec pause = { seconds, 0 };

	while (nanosleep(&pause, &pause))
		;
}

/* The stages of a footprint: all threads pass each together with the one that reads the memory. */
struct footprint {
	const struct perf_backend *backend;
	size_t block_size;
	unsigned keep;                  /* one in so many stays out; 0: none */
	double after_pool;              /* bytes held when the backend was set up */
	pthread_barrier_t stage;
};

static void *footprint_thread(void *arg)
{
	struct footprint *footprint = arg;
	const uint64_t count = FOOTPRINT_BLOCKS / FOOTPRINT_THREADS;
	struct perf_local local = { .block_size = footprint->block_size };

	local.block = malloc(count * sizeof(*local.block));
	/* Touched now, so that it does not count as the pool's. */
	memset(local.block, 1, count * sizeof(*local.block));
	footprint->backend->enter();
	pthread_barrier_wait(&footprint->stage);        /* the reader takes the start */
	pthread_barrier_wait(&footprint->stage);
	footprint->backend->fill(&local, count);
	pthread_barrier_wait(&footprint->stage);        /* the peak */
	pthread_barrier_wait(&footprint->stage);
	for (uint64_t i = 0; i < count; i++)
		if (!footprint->keep || i % footprint->keep)
			footprint->backend->give(local.block[i]);
	pthread_barrier_wait(&footprint->stage);        /* idle */
	pthread_barrier_wait(&footprint->stage);
	for (uint64_t i = 0; footprint->keep && i < count; i += footprint->keep)
		footprint->backend->give(local.block[i]);
	footprint->backend->leave();
	free(local.block);
	return NULL;
}

/* What the threads themselves take is not the pool's: start is from before the pool, with it. */
static void footprint_read(struct perf_run *run, struct footprint *footprint, double before_pool)
{
	const double leased = (double)FOOTPRINT_BLOCKS * (double)footprint->block_size;
	double start, peak;

	pthread_barrier_wait(&footprint->stage);
	start = held_bytes() - (footprint->after_pool - before_pool);
	pthread_barrier_wait(&footprint->stage);
	pthread_barrier_wait(&footprint->stage);
	peak = held_bytes() - start;
	perf_counter(run, "peak_mib", peak / MIB);
	perf_counter(run, "peak_over_percent", (peak / leased - 1) * 100);
	pthread_barrier_wait(&footprint->stage);
	pthread_barrier_wait(&footprint->stage);
	sleep_seconds(IDLE_SECONDS);
	perf_counter(run, "idle_mib", (held_bytes() - start) / MIB);
	pthread_barrier_wait(&footprint->stage);
}

static void run_footprint(struct perf_run *run, const void *closure)
{
	pthread_t thread[FOOTPRINT_THREADS];
	struct footprint footprint = {
		.backend = closure, .block_size = (size_t)perf_argument(run, 0),
		.keep = perf_argument(run, 1) > 1 ? (unsigned)perf_argument(run, 1) : 0,
	};
	double before_pool = held_bytes();
	const char *problem = footprint.backend->set_up(footprint.block_size);

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	footprint.after_pool = held_bytes();
	while (perf_next(run)) {
		pthread_barrier_init(&footprint.stage, NULL, FOOTPRINT_THREADS + 1);
		for (int i = 0; i < FOOTPRINT_THREADS; i++)
			if (pthread_create(&thread[i], NULL, footprint_thread, &footprint))
				abort();
		footprint_read(run, &footprint, before_pool);
		for (int i = 0; i < FOOTPRINT_THREADS; i++)
			pthread_join(thread[i], NULL);
		pthread_barrier_destroy(&footprint.stage);
		perf_seconds(run, 1);
	}
	footprint.backend->tear_down();
}

struct filled {
	struct perf_run *run;
	const struct perf_backend *backend;
	struct perf_local local;
	uint64_t count;
};

/* Runs a body on a thread that the backend knows, with room for the blocks. */
static void on_thread(struct perf_run *run, const struct perf_backend *backend, uint64_t count,
		      void *(*body)(void *))
{
	struct filled filled = { .run = run, .backend = backend, .count = count };
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));
	pthread_t thread;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	filled.local.block_size = (size_t)perf_argument(run, 0);
	filled.local.count = 1;
	filled.local.block = calloc(count, sizeof(*filled.local.block));
	if (pthread_create(&thread, NULL, body, &filled))
		abort();
	pthread_join(thread, NULL);
	free(filled.local.block);
	backend->tear_down();
}

static void give_all(const struct filled *filled)
{
	for (uint64_t i = 0; i < filled->count; i++)
		if (filled->local.block[i])
			filled->backend->give(filled->local.block[i]);
}

/*
 * The limit of growth: nanoseconds the kernel alone takes to back so many bytes with huge pages
 * where it has them, a block's worth each, and to write each page once. Run first: it also makes a
 * virtual machine's host back the pages, which may take twenty times as long and is not the
 * allocator's.
 */
static double kernel_ns(uint64_t blocks, size_t block_size)
{
	size_t bytes = (blocks * block_size + (4u << 20)) & ~(size_t)((2u << 20) - 1);
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double start = perf_cpu_ns(false);

	if (memory == MAP_FAILED)
		return -1;
	(void)madvise(memory, bytes, MADV_HUGEPAGE);
	for (size_t at = 0; at < bytes; at += 4096)
		*(volatile char *)(memory + at) = 1;
	start = perf_cpu_ns(false) - start;
	munmap(memory, bytes);
	return start / (double)blocks;
}

static void *growth_thread(void *arg)
{
	struct filled *filled = arg;

	kernel_ns(filled->count, filled->local.block_size);
	perf_counter(filled->run, "ns_kernel", kernel_ns(filled->count, filled->local.block_size));
	filled->backend->enter();
	while (perf_next(filled->run)) {
		double ns = perf_cpu_ns(false);

		filled->backend->fill(&filled->local, filled->count);
		ns = perf_cpu_ns(false) - ns;
		perf_seconds(filled->run, ns / 1e9);
		perf_counter(filled->run, "ns", ns / (double)filled->count);
		give_all(filled);
	}
	filled->backend->leave();
	return NULL;
}

static void run_growth(struct perf_run *run, const void *closure)
{
	on_thread(run, closure, (uint64_t)perf_argument(run, 1), growth_thread);
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

/* The limit of the reads: the same over blocks of one mapping in huge pages, which no pool made. */
static double arena_cycles(const struct filled *filled)
{
	struct perf_local local = filled->local;
	char *arena = perf_arena_open(local.block_size, filled->count);
	double cycles;

	if (!arena)
		return -1;
	for (uint64_t i = 0; i < filled->count; i++) {
		local.block[i] = arena + i * perf_arena_stride();
		*(volatile char *)local.block[i] = 1;
	}
	shuffle(local.block, filled->count);
	cycles = perf_loop_cycles(read_loop, &local);
	perf_arena_close();
	return cycles;
}

static void *reads_thread(void *arg)
{
	struct filled *filled = arg;
	double cycles;

	filled->local.held = (uint32_t)filled->count;
	perf_counter(filled->run, "cycles_arena", arena_cycles(filled));
	filled->backend->enter();
	filled->backend->fill(&filled->local, filled->count);
	shuffle(filled->local.block, filled->count);
	while (perf_next(filled->run)) {
		cycles = perf_loop_cycles(read_loop, &filled->local);
		perf_counter(filled->run, "cycles", cycles);
		perf_seconds(filled->run, cycles * 1e-9);
	}
	give_all(filled);
	filled->backend->leave();
	return NULL;
}

static void run_reads(struct perf_run *run, const void *closure)
{
	on_thread(run, closure, (uint64_t)perf_argument(run, 1), reads_thread);
}

#define CHURN_BLOCKS 32

static void *churn_member(void *arg)
{
	const struct perf_backend *backend = arg;
	static const uint16_t order[CHURN_BLOCKS];
	void *block[CHURN_BLOCKS];
	struct perf_local local = { .block = block, .count = 1, .order = order };

	if (!backend)
		return NULL;
	backend->enter();
	for (int i = 0; i < CHURN_BLOCKS; i++)
		backend->burst(&local, 1);
	backend->leave();
	return NULL;
}

/* Microseconds, and of the CPU, of one thread's start, its 32 leases and returns, its end. */
struct churn {
	double us, cpu_us;
};

static struct churn churn(const struct perf_backend *backend, int threads)
{
	double cpu = perf_cpu_ns(true);
	uint64_t start = perf_ticks();

	for (int i = 0; i < threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, churn_member, (void *)backend))
			abort();
		pthread_join(thread, NULL);
	}
	return (struct churn){
		.us = (double)(perf_ticks() - start) / perf_ticks_a_ns() / 1e3 / threads,
		.cpu_us = (perf_cpu_ns(true) - cpu) / 1e3 / threads,
	};
}

static void run_churn(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));
	int threads = (int)perf_argument(run, 1);
	struct churn with, bare;
	double before;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	churn(backend, threads / 10);
	before = held_bytes();
	while (perf_next(run)) {
		with = churn(backend, threads);
		bare = churn(NULL, threads);
		perf_seconds(run, with.us * threads / 1e6);
		perf_counter(run, "us", with.us);
		perf_counter(run, "us_bare", bare.us);
		perf_counter(run, "cpu_us", with.cpu_us);
		perf_counter(run, "cpu_us_bare", bare.cpu_us);
	}
	perf_counter(run, "growth_mib", (held_bytes() - before) / MIB);
	backend->tear_down();
}

static void run_rest(struct perf_run *run, const void *closure)
{
	const struct perf_backend *backend = closure;
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));
	uint64_t fresh = 0, used = 0;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	while (perf_next(run)) {
		backend->at_rest(&fresh, &used);
		perf_seconds(run, 1e-9);
		perf_counter(run, "fresh_kib", (double)fresh / 1024);
		perf_counter(run, "used_kib", (double)used / 1024);
	}
	backend->tear_down();
}

static void add(const char *workload, const struct perf_backend *backend,
		void (*body)(struct perf_run *, const void *), const char *unit, int64_t size,
		const int64_t *counts, int iterations)
{
	struct perf_bench bench = {
		.body = body, .closure = backend, .iterations = iterations,
		.arg = { { .name = "size", .value = { size } }, { .name = unit } },
	};
	char name[64];

	for (int i = 0; counts[i]; i++)
		bench.arg[1].value[i] = counts[i];
	bench.name = perf_name(name, workload, backend->name);
	perf_register(&bench);
}

void perf_add_memory(const struct perf_backend *backend)
{
	static const int64_t keep[] = { 1, 64, 0 }, one[] = { 1, 0 };
	const int64_t growth[] = { perf_smoke() ? 500 : 50000, 0 };
	const int64_t reads[] = { perf_smoke() ? 2000 : 200000, 0 };
	const int64_t churn[] = { perf_smoke() ? 20 : 1000, 0 };

	if (!(backend->can & PERF_CAN_GROW))
		return;
	add("churn", backend, run_churn, "threads", 4032, churn, 1);
	add("footprint", backend, run_footprint, "keep", 4096, keep, 1);
	add("growth", backend, run_growth, "blocks", 4032, growth, 1);
	add("reads", backend, run_reads, "blocks", 4032, reads, 1);
	if (backend->at_rest)
		add("rest", backend, run_rest, "pools", 4032, one, 1);
}
