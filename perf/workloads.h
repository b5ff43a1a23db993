/* SPDX-License-Identifier: MIT */
/*
 * What the files of workloads offer to main.c (layer 6): each registers its benches for one
 * backend.
 */
#ifndef PERF_WORKLOADS_H
#define PERF_WORKLOADS_H

#include <stdbool.h>

#include "backend.h"
#include "shim.h"

void perf_add_single(const struct perf_backend *backend);
void perf_add_threaded(const struct perf_backend *backend);
void perf_add_footprint(const struct perf_backend *backend);
void perf_add_filled(const struct perf_backend *backend);
void perf_add_churn(const struct perf_backend *backend);

/*
 * Registers "workload/backend", run once by `body` with the backend as its closure, for one block
 * size and each count of `unit` up to the 0.
 */
void perf_add(const char *workload, const struct perf_backend *backend,
	      void (*body)(struct perf_run *run, const void *closure), const char *unit, int64_t size,
	      const int64_t *counts);

/*
 * The program's own part, in its backends_*.c: what must be done before any backend is set up
 * (NULL, or why nothing can run here), and benches that belong to no backend.
 */
const char *perf_prepare(int *argc, char **argv);
void perf_add_others(void);

/* True where each bench shall only show that it runs (PERF_SMOKE=1): few batches, few blocks. */
bool perf_smoke(void);

/* "workload/backend" into a buffer of 64, which it returns. */
const char *perf_name(char *buffer, const char *workload, const char *backend);

#endif
