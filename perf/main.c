/* SPDX-License-Identifier: MIT */
/*
 * The main of the bench programs (layer 6): registers every workload for every backend that this
 * program was linked with, tells what the cycles are, and lets the shim run what was asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "measure.h"
#include "workloads.h"

bool perf_smoke(void)
{
	return getenv("PERF_SMOKE") != NULL;
}

const char *perf_name(char *buffer, const char *workload, const char *backend)
{
	snprintf(buffer, 64, "%s/%s", workload, backend);
	return buffer;
}

void perf_add(const char *workload, const struct perf_backend *backend,
	      void (*body)(struct perf_run *run, const void *closure), const char *unit, int64_t size,
	      const int64_t *counts)
{
	struct perf_bench bench = {
		.body = body, .closure = backend, .iterations = 1,
		.arg = { { .name = "size", .value = { size } }, { .name = unit } },
	};
	char name[64];

	for (int i = 0; counts[i]; i++)
		bench.arg[1].value[i] = counts[i];
	bench.name = perf_name(name, workload, backend->name);
	perf_register(&bench);
}

int main(int argc, char **argv)
{
	const char *problem = perf_prepare(&argc, argv);
	char text[64];

	if (problem) {
		fprintf(stderr, "%s: %s\n", argv[0], problem);
		return 77;
	}
	perf_context("cycles", perf_cycles_kind());
	snprintf(text, sizeof(text), "%d", perf_cpus());
	perf_context("usable_cpus", text);
	snprintf(text, sizeof(text), "%.4f", perf_ticks_a_ns());
	perf_context("ticks_a_ns", text);
	for (int i = 0; perf_backends[i]; i++) {
		perf_add_single(perf_backends[i]);
		perf_add_threaded(perf_backends[i]);
		perf_add_footprint(perf_backends[i]);
		perf_add_filled(perf_backends[i]);
		perf_add_churn(perf_backends[i]);
	}
	perf_add_others();
	return perf_main(argc, argv);
}
