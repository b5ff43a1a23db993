/* SPDX-License-Identifier: MIT */
/*
 * The workloads of one thread (layer 6): pair, bursts, bulk, replacement. Called by main.c.
 */
#include "workloads.h"

#include <stdlib.h>

#include "measure.h"

#define BATCHES 100

struct single {
	const struct perf_backend *backend;
	perf_loop *loop;
	enum perf_order order;
};

static void run_single(struct perf_run *run, const void *closure)
{
	const struct single *single = closure;
	const struct perf_backend *backend = single->backend;
	uint32_t count = (uint32_t)perf_argument(run, 1);
	struct perf_local local = { .count = count, .block_size = (size_t)perf_argument(run, 0) };
	const char *problem = backend->set_up(local.block_size);
	uint16_t *order;

	if (problem) {
		perf_skip(run, problem);
		return;
	}
	local.block = perf_lines(count * sizeof(*local.block));
	local.order = order = perf_order_of(single->order, count);
	perf_measure(run, backend, single->loop, &local);
	free(order);
	free(local.block);
	backend->tear_down();
}

/* The default pool's first: what is not about sizes runs with that one alone. */
static const int64_t sizes[] = { 4032, 256, 1024, 4096, 16384, 131072 };

/* Registers one workload; the closure lives as long as the process. */
static void add(const char *workload, const struct perf_backend *backend, perf_loop *loop,
		enum perf_order order, const int64_t *counts, int sizes_wanted)
{
	struct single *single = malloc(sizeof(*single));
	struct perf_bench bench = {
		.body = run_single, .closure = single, .iterations = perf_smoke() ? 2 : BATCHES,
		.arg = { { .name = "size" }, { .name = "count" } },
	};
	char name[64];

	if (!single)
		abort();
	*single = (struct single){ backend, loop, order };
	for (int i = 0; counts[i]; i++)
		bench.arg[1].value[i] = counts[i];
	for (int i = 0; i < sizes_wanted; i++)
		bench.arg[0].value[i] = sizes[i];
	bench.name = perf_name(name, workload, backend->name);
	perf_register(&bench);
}

void perf_add_single(const struct perf_backend *backend)
{
	static const int64_t one[] = { 1, 0 }, bursts[] = { 64, 1024, 0 };
	static const int64_t bulks[] = { 8, 32, 64, 1024, 0 }, by_size[] = { 64, 0 };
	const int all = perf_smoke() ? 2 : sizeof(sizes) / sizeof(sizes[0]);

	if (!(backend->can & PERF_CAN_PAIR))
		return;
	add("pair", backend, backend->pair, PERF_LIFO, one, all);
	add("pair_whole", backend, backend->pair_whole, PERF_LIFO, one, all);
	add("pair_untouched", backend, backend->pair_untouched, PERF_LIFO, one, 1);
	if (!(backend->can & PERF_CAN_HOLD))
		return;
	add("burst_sizes", backend, backend->burst, PERF_RANDOM, by_size, all);
	add("burst_lifo", backend, backend->burst, PERF_LIFO, bursts, 1);
	add("burst_fifo", backend, backend->burst, PERF_FIFO, bursts, 1);
	add("burst_random", backend, backend->burst, PERF_RANDOM, bursts, 1);
	add("bulk", backend, backend->bulk, PERF_LIFO, bulks, 1);
	add("bulk_touch", backend, backend->bulk_touch, PERF_LIFO, bulks, 1);
}
