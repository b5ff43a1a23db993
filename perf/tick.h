/* SPDX-License-Identifier: MIT */
/*
 * The three architecture-bound pieces of the clock (layer 6): the time stamp counter, a chain of
 * additions each of which waits for the one before, and eight such chains side by side. Called by
 * clock.c and workload_body.h. Invariant: the chain takes exactly one core cycle an addition. It adds
 * register to register: recent cores add small constants while renaming, at no latency, and would run
 * ahead of the count. The eight take what the core's adders allow: less where somebody shares them.
 */
#ifndef PERF_TICK_H
#define PERF_TICK_H

#include <stdint.h>

#if defined(__x86_64__)

/* Not ordered with what stands around it; for single operations, whose percentiles matter. */
static inline uint64_t perf_tick(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* All before it has been done, nothing after it has begun. */
static inline uint64_t perf_tick_fenced(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* 100 cycles a round. */
static inline void perf_tick_chain(uint64_t rounds)
{
	uint64_t sum = 1, step = 3;

	__asm__ volatile("1:\n\t.rept 100\n\tadd %[step], %[sum]\n\t.endr\n\tdec %[rounds]\n\tjnz 1b"
			 : [sum] "+r"(sum), [rounds] "+r"(rounds) : [step] "r"(step) : "cc");
}

/* 160 additions a round. */
static inline void perf_tick_chains(uint64_t rounds)
{
	uint64_t step = 3, a = 1, b = 1, c = 1, d = 1, e = 1, f = 1, g = 1, h = 1;

	__asm__ volatile("1:\n\t.rept 20\n\t"
			 "add %[step], %[a]\n\tadd %[step], %[b]\n\tadd %[step], %[c]\n\t"
			 "add %[step], %[d]\n\tadd %[step], %[e]\n\tadd %[step], %[f]\n\t"
			 "add %[step], %[g]\n\tadd %[step], %[h]\n\t.endr\n\tdec %[rounds]\n\tjnz 1b"
			 : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f),
			   [g] "+r"(g), [h] "+r"(h), [rounds] "+r"(rounds) : [step] "r"(step) : "cc");
}

static inline void perf_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

#elif defined(__aarch64__)

static inline uint64_t perf_tick(void)
{
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
}

static inline uint64_t perf_tick_fenced(void)
{
	uint64_t ticks;

	__asm__ volatile("dsb ish\n\tisb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(ticks) : : "memory");
	return ticks;
}

static inline void perf_tick_chain(uint64_t rounds)
{
	uint64_t sum = 1, step = 3;

	__asm__ volatile("1:\n\t.rept 100\n\tadd %[sum], %[sum], %[step]\n\t.endr\n\t"
			 "subs %[rounds], %[rounds], #1\n\tb.ne 1b"
			 : [sum] "+r"(sum), [rounds] "+r"(rounds) : [step] "r"(step) : "cc");
}

static inline void perf_tick_chains(uint64_t rounds)
{
	uint64_t step = 3, a = 1, b = 1, c = 1, d = 1, e = 1, f = 1, g = 1, h = 1;

	__asm__ volatile("1:\n\t.rept 20\n\t"
			 "add %[a], %[a], %[step]\n\tadd %[b], %[b], %[step]\n\t"
			 "add %[c], %[c], %[step]\n\tadd %[d], %[d], %[step]\n\t"
			 "add %[e], %[e], %[step]\n\tadd %[f], %[f], %[step]\n\t"
			 "add %[g], %[g], %[step]\n\tadd %[h], %[h], %[step]\n\t.endr\n\t"
			 "subs %[rounds], %[rounds], #1\n\tb.ne 1b"
			 : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [e] "+r"(e), [f] "+r"(f),
			   [g] "+r"(g), [h] "+r"(h), [rounds] "+r"(rounds) : [step] "r"(step) : "cc");
}

static inline void perf_pause(void)
{
	__asm__ volatile("yield" : : : "memory");
}

#else
#error "perf/ knows the clocks of x86-64 and aarch64"
#endif

#endif
