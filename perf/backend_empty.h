/* SPDX-License-Identifier: MIT */
/*
 * The limit of a function pair (layer 6): two functions that do nothing, in a library of the same
 * linkage as mews. Included by backend_empty.c; built twice, into a shared and a static library.
 */
#ifndef PERF_BACKEND_EMPTY_H
#define PERF_BACKEND_EMPTY_H

void *perf_empty_lease(void *block);
void perf_empty_return(void *pool, void *block);

#endif
