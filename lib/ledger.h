/* SPDX-License-Identifier: MIT */
/*
 * The ledger of a checked pool (layer 4): a bit a block that says «out on lease», and what tools for
 * memory errors are told. Called by pool.c on MEWS_PATH_CHECKED only, but for the dropped bits of a
 * disposed pool. Invariant: a bit changes by one atomic operation, whose old value is the verdict.
 */
#ifndef MEWS_LIB_LEDGER_H
#define MEWS_LIB_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tagstack.h"

#if defined(__SANITIZE_ADDRESS__)
#define MEWS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEWS_ASAN 1
#endif
#endif

#if defined(MEWS_ASAN)
#include <sanitizer/asan_interface.h>
#define mews_asan_active() true
#define mews_asan_hide(start, length) __asan_poison_memory_region((start), (length))
#define mews_asan_show(start, length) __asan_unpoison_memory_region((start), (length))
/* The frames below this one were left without a return: by a cancellation. */
#define mews_asan_unwound() __asan_handle_no_return()
#else
#define mews_asan_active() false
#define mews_asan_hide(start, length) ((void)(start), (void)(length))
#define mews_asan_show(start, length) ((void)(start), (void)(length))
#define mews_asan_unwound() ((void)0)
#endif

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#define mews_valgrind_active() (RUNNING_ON_VALGRIND != 0)
#define mews_valgrind_lease(pool, block, size, stride)			\
	do {								\
		VALGRIND_MAKE_MEM_NOACCESS((block), (stride));		\
		VALGRIND_MEMPOOL_ALLOC((pool), (block), (size));	\
	} while (0)
#define mews_valgrind_return(pool, block) VALGRIND_MEMPOOL_FREE((pool), (block))
#define mews_valgrind_create(pool) VALGRIND_CREATE_MEMPOOL((pool), 0, 0)
#define mews_valgrind_destroy(pool) VALGRIND_DESTROY_MEMPOOL(pool)
#else
#define mews_valgrind_active() false
#define mews_valgrind_lease(pool, block, size, stride) ((void)0)
#define mews_valgrind_return(pool, block) ((void)0)
#define mews_valgrind_create(pool) ((void)0)
#define mews_valgrind_destroy(pool) ((void)0)
#endif

/* Sets the block's bit; the old value. L1: orders the block's contents with L2. */
static inline bool mews_ledger_set(mews_word *bits, uint32_t number)
{
	uint64_t bit = (uint64_t)1 << number % 64;

	return atomic_fetch_or_explicit(&bits[number / 64], bit, memory_order_acq_rel) & bit;
}

/* Clears it; the old value. L2: pairs with L1. */
static inline bool mews_ledger_clear(mews_word *bits, uint32_t number)
{
	uint64_t bit = (uint64_t)1 << number % 64;

	return atomic_fetch_and_explicit(&bits[number / 64], ~bit, memory_order_acq_rel) & bit;
}

#endif
