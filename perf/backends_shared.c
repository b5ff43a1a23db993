/* SPDX-License-Identifier: MIT */
/*
 * The backends of perf-bench (layer 6): the limits, malloc, and mews from the shared library.
 */
#include "limits.h"
#include "owner_end.h"
#include "tiers.h"
#include "workloads.h"

extern const struct perf_backend perf_nothing, perf_empty, perf_mutex, perf_malloc;
extern const struct perf_backend perf_mews, perf_mews_inline, perf_mews_checked;
extern const struct perf_backend perf_mews_workstation, perf_mews_owned, perf_home;

const struct perf_backend *const perf_backends[] = {
	&perf_nothing, &perf_empty, &perf_bare, &perf_mutex, &perf_malloc, &perf_mews,
	&perf_mews_inline, &perf_mews_checked, &perf_mews_workstation, &perf_mews_owned, &perf_home, NULL,
};

const char *perf_prepare(int *argc, char **argv)
{
	(void)argc;
	(void)argv;
	return NULL;
}

void perf_add_others(void)
{
	perf_add_limits();
	perf_add_backing();
	perf_add_tiers();
	perf_add_swing();
	perf_add_owner_end();
}
