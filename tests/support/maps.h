/* SPDX-License-Identifier: MIT */
/*
 * What of the address space is mapped, read from /proc/self/maps: for tests of leaks and of
 * release.
 */
#ifndef TESTS_SUPPORT_MAPS_H
#define TESTS_SUPPORT_MAPS_H

#include <stdbool.h>
#include <stddef.h>

struct maps {
	size_t count;           /* mappings that are neither heap nor stack */
	size_t bytes;
};

struct maps maps_read(void);

/*
 * False under ThreadSanitizer, which maps memory of its own all the time: nothing can be
 * concluded.
 */
bool maps_tell(void);

/* True if addr lies in a readable mapping. */
bool maps_readable(const void *addr);

/* Prints /proc/self/maps to stderr. */
void maps_print(void);

#endif
