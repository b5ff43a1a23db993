/* SPDX-License-Identifier: MIT */
/*
 * What this CPU's stores cost (layer 6): the reasons behind the limits, as benches of their own.
 * Registered by backends_shared.c. `stores/lines:N`: a loop of N stores, each to another line than
 * the one before it; `stores/pair`, `stores/pair_untouched`: as an inline pair writes, and one that
 * leaves the block as it is. `forward/...`: a pointer that is loaded, changed and stored in one place,
 * as a cache's `cur` is: by a constant, by a register, and through an address with an index.
 * Invariant: nothing but the named instructions and a counter stands in a loop.
 */
#include "limits.h"

#include "backend.h"
#include "measure.h"

#if defined(__x86_64__)

static struct {
	_Alignas(64) char a[64], b[64], c[64], d[64];
} line;

/* STORES names the lines: %1 the rseq area's, %2 a header's, %3 a block's, %4 a slot's. */
#define LOOP(name, stores)							\
static void name(struct perf_local *local, uint64_t rounds)			\
{										\
	uint64_t index = 0;							\
										\
	(void)local;								\
	__asm__ volatile(".balign 64\n1:\n\t" stores				\
			 "\n\tsub $1, %0\n\tjnz 1b"				\
			 : "+r"(rounds)						\
			 : "r"(line.a), "r"(line.b), "r"(line.c), "r"(line.d), "r"(index) \
			 : "rax", "memory", "cc");				\
}

#define A "mov %%rax, 8(%1)\n\t"
#define B "mov %%rax, (%2)\n\t"
#define C "mov %%rax, (%3)\n\t"
#define D "mov %%rax, (%4)\n\t"

LOOP(lines_4, A B C D)
LOOP(lines_8, A B C D A B C D)
LOOP(pair_untouched_stores, A B A D B)
LOOP(pair_stores, A B C A D B)
LOOP(one_line, B "mov %%rax, 8(%2)\n\t" B "mov %%rax, 8(%2)\n\t" B "mov %%rax, 8(%2)\n\t")
LOOP(forward_immediate, "mov (%2), %%rax\n\tadd $8, %%rax\n\tmov %%rax, (%2)")
LOOP(forward_register, "mov (%2), %%rax\n\tadd %5, %%rax\n\tmov %%rax, (%2)")
LOOP(forward_indexed, "mov (%2,%5), %%rax\n\tadd $8, %%rax\n\tmov %%rax, (%2,%5)")

static const struct limit {
	const char *name;
	perf_loop *loop;
} limits[] = {
	{ "stores/lines:4", lines_4 },
	{ "stores/lines:8", lines_8 },
	{ "stores/pair", pair_stores },
	{ "stores/pair_untouched", pair_untouched_stores },
	{ "stores/six_to_one_line", one_line },
	{ "forward/immediate", forward_immediate },
	{ "forward/register", forward_register },
	{ "forward/indexed", forward_indexed },
};

static void run_limit(struct perf_run *run, const void *closure)
{
	const struct limit *limit = closure;
	struct perf_local local = { .count = 1 };

	while (perf_next(run)) {
		double cycles = perf_loop_cycles(limit->loop, &local);

		perf_counter(run, "cycles", cycles);
		perf_seconds(run, cycles * 1e-9);
	}
}

void perf_add_limits(void)
{
	for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct perf_bench bench = {
			.name = limits[i].name, .body = run_limit, .closure = &limits[i],
		};

		perf_register(&bench);
	}
}

#else

void perf_add_limits(void) {}

#endif
