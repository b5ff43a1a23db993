/* SPDX-License-Identifier: MIT */
/*
 * What memory costs before anybody leases it (layer 6): the reasons behind the limit of growth, as
 * benches of their own. Registered by backends_shared.c. `backing/...`: the kernel backs a
 * mapping, in huge or base pages, by touch or by madvise, whole or 2 MiB at a time; `zero/...`:
 * memory that is there already is written from end to end, as the kernel zeroes it, and past the
 * caches. Invariant: reported are CPU nanoseconds for each 4 KiB, of the second time: the first
 * one makes a virtual machine's host back the memory.
 */
#include "limits.h"

#include <sys/mman.h>

#include "arena.h"
#include "clock.h"
#include "measure.h"
#include "workloads.h"

#if defined(__x86_64__)

#include <emmintrin.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define BYTES (perf_smoke() ? 2 * PERF_HUGE : 100 * PERF_HUGE)

static void touch(char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 4096)
		*(volatile char *)(memory + at) = 1;
}

static void populate(char *memory, size_t bytes)
{
	(void)madvise(memory, bytes, MADV_POPULATE_WRITE);
}

static void populate_by_huge_page(char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += PERF_HUGE)
		populate(memory + at, PERF_HUGE);
}

static void string_store(char *memory, size_t bytes)
{
	__asm__ volatile("rep stosb" : "+D"(memory), "+c"(bytes) : "a"(0) : "memory");
}

static void streaming_stores(char *memory, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += 16)
		_mm_stream_si128((__m128i *)(memory + at), _mm_setzero_si128());
	_mm_sfence();
}

static const struct way {
	const char *name;
	void (*work)(char *memory, size_t bytes);
	int advice;
	bool warm;                      /* on memory that is there already */
} ways[] = {
	{ "backing/huge_touch", touch, MADV_HUGEPAGE, false },
	{ "backing/huge_populate", populate, MADV_HUGEPAGE, false },
	{ "backing/huge_populate_2m", populate_by_huge_page, MADV_HUGEPAGE, false },
	{ "backing/base_touch", touch, MADV_NOHUGEPAGE, false },
	{ "backing/base_populate", populate, MADV_NOHUGEPAGE, false },
	{ "zero/rep_stosb", string_store, MADV_HUGEPAGE, true },
	{ "zero/streaming", streaming_stores, MADV_HUGEPAGE, true },
};

/* CPU nanoseconds for each 4 KiB; negative where there is no memory. */
static double once(const struct way *way)
{
	struct perf_mapping mapping;
	double ns;

	if (!perf_map(&mapping, BYTES, way->advice))
		return -1;
	if (way->warm)
		touch(mapping.memory, mapping.bytes);
	ns = perf_cpu_ns(false);
	way->work(mapping.memory, mapping.bytes);
	ns = perf_cpu_ns(false) - ns;
	perf_unmap(&mapping);
	return ns / ((double)mapping.bytes / 4096);
}

static void run_way(struct perf_run *run, const void *closure)
{
	double ns = once(closure);

	while (ns >= 0 && perf_next(run)) {
		ns = once(closure);
		perf_seconds(run, ns * 1e-9);
		perf_counter(run, "ns", ns);
	}
	if (ns < 0)
		perf_skip(run, "no memory");
}

void perf_add_backing(void)
{
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct perf_bench bench = {
			.name = ways[i].name, .body = run_way, .closure = &ways[i],
		};

		perf_register(&bench);
	}
}

#else

void perf_add_backing(void) {}

#endif
