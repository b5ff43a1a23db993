/* SPDX-License-Identifier: MIT */
/*
 * The backends of perf-bench-static (layer 6): mews from the static library, and an empty call pair
 * of the same linkage.
 */
#include "workloads.h"

extern const struct perf_backend perf_empty, perf_mews;

const struct perf_backend *const perf_backends[] = { &perf_empty, &perf_mews, NULL };

const char *perf_prepare(int *argc, char **argv)
{
	(void)argc;
	(void)argv;
	return NULL;
}

void perf_add_others(void) {}
