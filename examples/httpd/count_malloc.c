/* SPDX-License-Identifier: MIT */
/*
 * glibc's malloc with a counter in front, so that the server can show that requests need none.
 * Defined in the program, these stand before libc's for every library of the process. The cost is
 * one addition to a thread's own word, with either allocator.
 */
#include "count_malloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

const bool malloc_is_counted = true;

static _Thread_local uint64_t calls;

uint64_t malloc_calls(void)
{
	return calls;
}

void *malloc(size_t size)
{
	calls++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	calls++;
	return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	calls++;
	return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	calls++;
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	calls++;
	*block = __libc_memalign(alignment, size);
	return *block ? 0 : ENOMEM;
}
