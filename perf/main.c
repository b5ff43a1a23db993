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

bool perf_more_sizes(void)
{
	const char *sizes = getenv("PERF_SIZES");

	return sizes && !strcmp(sizes, "all");
}

bool perf_smoke(void)
{
	return getenv("PERF_SMOKE") != NULL;
}

const char *perf_name(char *buffer, const char *workload, const char *backend)
{
	snprintf(buffer, 64, "%s/%s", workload, backend);
	return buffer;
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
		perf_add_memory(perf_backends[i]);
	}
	perf_add_others();
	return perf_main(argc, argv);
}
