/* SPDX-License-Identifier: MIT */
/*
 * The backends of perf-bench-dpdk (layer 6): DPDK's mempool in the ways that backend_dpdk.c lists.
 * The EAL runs without devices, shared files and reserved huge pages, as in a plain process.
 */
#include "workloads.h"

#include <rte_eal.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct perf_backend perf_dpdk, perf_dpdk_stack, perf_dpdk_own_cache, perf_dpdk_lcore;
extern const struct perf_backend perf_dpdk_unregistered, perf_dpdk_stack_store;

const struct perf_backend *const perf_backends[] = {
	&perf_dpdk, &perf_dpdk_stack, &perf_dpdk_own_cache, &perf_dpdk_lcore,
	&perf_dpdk_unregistered, &perf_dpdk_stack_store, NULL,
};

const char *perf_prepare(int *argc, char **argv)
{
	static char arg[][32] = {
		"perf-bench-dpdk", "--no-huge", "--no-pci", "--no-shconf", "--iova-mode=va",
		"--no-telemetry", "--log-level=error", "-m", "2048", "--lcores", "",
	};
	enum { ARGS = sizeof(arg) / sizeof(arg[0]) };
	char *eal[ARGS + 1] = { NULL };
	cpu_set_t usable;
	int error, first = 0, last = CPU_SETSIZE - 1;

	(void)argc;
	(void)argv;
	for (int i = 0; i < ARGS; i++)
		eal[i] = arg[i];
	/* The EAL pins this thread to its first lcore, and the threads of the benches would inherit it. */
	if (sched_getaffinity(0, sizeof(usable), &usable))
		return "sched_getaffinity failed";
	while (!CPU_ISSET(first, &usable))
		first++;
	while (!CPU_ISSET(last, &usable))
		last--;
	snprintf(arg[ARGS - 1], sizeof(arg[0]), "0@%d,1@%d", first, last);
	error = rte_eal_init(ARGS, eal);
	sched_setaffinity(0, sizeof(usable), &usable);
	return error < 0 ? "rte_eal_init refused" : NULL;
}

void perf_add_others(void) {}
