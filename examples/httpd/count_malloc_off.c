/* SPDX-License-Identifier: MIT */
/* In place of count_malloc.c where a sanitizer owns malloc: it says that none is counted. */
#include "count_malloc.h"

const bool malloc_is_counted = false;

uint64_t malloc_calls(void)
{
	return 0;
}
