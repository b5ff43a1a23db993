/* SPDX-License-Identifier: MIT */
/*
 * Words (layer 0): numbers and sizes as people read them. Called by plan.c for its reasons, and by
 * tools. Passed by value, so that one format can hold several. Keeps no state.
 */
#ifndef MEWS_NUMA_WORDS_H
#define MEWS_NUMA_WORDS_H

#include <stdint.h>

struct mews_words {
	char text[64];
};

/* 1234567 -> "1,234,567" */
struct mews_words mews_number(uint64_t value);

/*
 * "4,032 B", "4 KiB", "17.5 GiB": exact below 64 KiB, else to a tenth. UINT64_MAX, which limits say
 * for «no limit»: "unlimited".
 */
struct mews_words mews_bytes(uint64_t value);

#endif
