/* SPDX-License-Identifier: MIT */
/*
 * What memory is made of: whether it is populated, which huge pages this kernel gives, and some
 * reserved for a test. Reserving needs root, and is for tests that run alone (RUN_SERIAL).
 */
#ifndef TESTS_SUPPORT_PAGES_H
#define TESTS_SUPPORT_PAGES_H

#include <stdbool.h>
#include <stddef.h>

/* True if the range reads as zero (one byte of each cache line is looked at). */
bool pages_zero(const char *addr, size_t length);

/* True if every page of the range was in memory already, and reads as zero. */
bool pages_populated_zero(const char *addr, size_t length);

/* True if transparent huge pages are not switched off. */
bool pages_thp(void);

/* The number behind key in a small file, "" for a file that is a number; -1 if there is none. */
long pages_number(const char *path, const char *key);

/* Open files (the first 64) and KiB of huge pages of this process: neither may stay behind. */
long pages_held(void);

/*
 * Reserves pages of 2 MiB until `needed` are free, since other programs may take some;
 * pages_unreserve puts the number back that was there. False where that is not allowed.
 */
bool pages_reserve(long needed);
void pages_unreserve(void);

/* Pages of 2 MiB that exist, and those of them that nobody has or was promised. */
long pages_huge(void);
long pages_huge_free(void);

#endif
