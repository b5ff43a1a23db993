/* SPDX-License-Identifier: MIT */
/* How often this thread has called malloc, calloc, realloc and their like, in any library. */
#ifndef HTTPD_COUNT_MALLOC_H
#define HTTPD_COUNT_MALLOC_H

#include <stdbool.h>
#include <stdint.h>

extern const bool malloc_is_counted;   /* false in sanitizer builds, which bring their own malloc */
uint64_t malloc_calls(void);

#endif
