/* SPDX-License-Identifier: MIT */
/*
 * The backends of perf-bench-dpdk (layer 6): DPDK's mempool on registered and unregistered threads.
 * The EAL runs without devices, shared files and reserved huge pages, as in a plain process.
 */
#include "workloads.h"

#include <rte_eal.h>
#include <sched.h>
#include <stdlib.h>

extern const struct perf_backend perf_dpdk, perf_dpdk_unregistered;

const struct perf_backend *const perf_backends[] = {
	&perf_dpdk, &perf_dpdk_unregistered, NULL,
};

const char *perf_prepare(int *argc, char **argv)
{
	static char arg[][24] = {
		"perf-bench-dpdk", "--no-huge", "--no-pci", "--no-shconf", "--iova-mode=va",
		"--no-telemetry", "--log-level=error", "-m", "2048", "-l", "0",
	};
	enum { ARGS = sizeof(arg) / sizeof(arg[0]) };
	char *eal[ARGS + 1] = { NULL };
	cpu_set_t usable;
	int error;

	(void)argc;
	(void)argv;
	for (int i = 0; i < ARGS; i++)
		eal[i] = arg[i];
	/* The EAL pins this thread to its first lcore, and the threads of the benches would inherit it. */
	sched_getaffinity(0, sizeof(usable), &usable);
	error = rte_eal_init(ARGS, eal);
	sched_setaffinity(0, sizeof(usable), &usable);
	return error < 0 ? "rte_eal_init refused" : NULL;
}

void perf_add_others(void) {}
