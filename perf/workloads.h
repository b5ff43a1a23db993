/* SPDX-License-Identifier: MIT */
/*
 * What the files of workloads offer to main.c (layer 6): each registers its benches for one
 * backend.
 */
#ifndef PERF_WORKLOADS_H
#define PERF_WORKLOADS_H

#include <stdbool.h>

#include "backend.h"

void perf_add_single(const struct perf_backend *backend);
void perf_add_threaded(const struct perf_backend *backend);
void perf_add_memory(const struct perf_backend *backend);

/* True where all block sizes shall be registered, and not just the default's (PERF_SIZES=all). */
bool perf_more_sizes(void);

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
