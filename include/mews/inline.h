/* SPDX-License-Identifier: MIT */
/*
 * The hit path of mews, inlined (opt-in): 4-5 cycles instead of a call. Include it instead of
 * mews/mews.h. It relies on the layout below; a library of another layout refuses the pool
 * (mews_pool_create: -EPROTO), or, since the slow path's names carry the layout's number, does not
 * link. Needs gcc or clang and glibc 2.35.
 *
 * A plugin that is unloaded must not inline these functions unless it is linked with -z nodelete:
 * the kernel may still read the descriptor of the last sequence a thread ran.
 */
#ifndef MEWS_INLINE_H
#define MEWS_INLINE_H

#include <sys/rseq.h>
#include <mews/mews.h>

#define MEWS_INLINE_LAYOUT 2
#define MEWS_CACHE_SHIFT 13

/*
 * The cache of one CPU: a header, at pool + cpu_id * 8192, and below it block pointers, a stack that
 * grows towards the header and is full where it meets it. How much room it has is a matter of where
 * it begins. A pool's handle is the address of CPU 0's header. Two of zeros stand before it, for the
 * values -1 and -2 that cpu_id has in a thread without restartable sequences: closed.
 *
 *   who        cur                   all other fields        slots below cur
 *   sequence   on its CPU: commits   reads                   reads / writes
 *   closer     after its fence       stores                  reads
 *
 * A hit counts nothing: a counter in this line costs no store of its own, but its load waits for the
 * store of the operation before, and that makes a pair a third of a cycle slower than it need be.
 */
struct mews_cpu_cache {
	void **cur;             /* behind the top block; the header's own address: full */
	void **base;            /* a lease at or below it finds the cache empty; ~0: closed */
	uintptr_t lo, span;     /* blocks in [lo, lo + span) belong here: this CPU's node; span 0: closed */
	void **owned_base;      /* base and span of a pool whose leases have owners: there the two */
	uintptr_t owned_span;   /*  above stay closed, and in every other pool these (mews/owner.h) */
	uint64_t unused[2];
};

#if defined(__cplusplus)
extern "C" {
#endif

/* What the hit path calls when there is no hit. Not for other callers. */
MEWS_API void *mews_lease_slow_2(struct mews_pool *pool);
MEWS_API void mews_return_slow_2(struct mews_pool *pool, void *block);
MEWS_API int mews_pool_create_layout(const struct mews_pool_config *config,
				     struct mews_pool **pool, int layout);

#if defined(__cplusplus)
}
#endif

#define mews_pool_create(config, pool) mews_pool_create_layout((config), (pool), MEWS_INLINE_LAYOUT)

/* What each sequence is given beside its own: the rseq area, the pool, and offsets in both. */
#define MEWS_SEQ_INPUTS								\
	[rseq] "r" (rseq), [pool] "r" (pool), [cs] "i" (8), [cpu] "i" (4),	\
	[shift] "i" (MEWS_CACHE_SHIFT),						\
	[cur] "i" (offsetof(struct mews_cpu_cache, cur)),			\
	[base] "i" (offsetof(struct mews_cpu_cache, base)),			\
	[lo] "i" (offsetof(struct mews_cpu_cache, lo)),				\
	[span] "i" (offsetof(struct mews_cpu_cache, span))

#if defined(__x86_64__)
#include <mews/rseq_x86_64.h>
#elif defined(__aarch64__)
#include <mews/rseq_aarch64.h>
#else
#error "mews/inline.h knows x86-64 and aarch64; include mews/mews.h and call the functions instead"
#endif

/* ThreadSanitizer does not see into the sequences: it is told what a return publishes. */
#if defined(__SANITIZE_THREAD__)
#define MEWS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MEWS_TSAN 1
#endif
#endif
#if defined(MEWS_TSAN)
#if defined(__cplusplus)
extern "C" {
#endif
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#if defined(__cplusplus)
}
#endif
#define mews_tsan_active() 1
#define mews_tsan_acquire(block) __tsan_acquire(block)
#define mews_tsan_release(block) __tsan_release(block)
#else
#define mews_tsan_active() 0
#define mews_tsan_acquire(block) ((void)0)
#define mews_tsan_release(block) ((void)0)
#endif

/* What a lease's sequence found, or what the slow path finds. */
static inline __attribute__((always_inline)) void *mews_leased(struct mews_pool *pool, void *block)
{
	if (__builtin_expect(!block, 0))
		return mews_lease_slow_2(pool);
	mews_tsan_acquire(block);
	return block;
}

/* As mews_lease. */
static inline __attribute__((always_inline)) void *mews_lease_inline(struct mews_pool *pool)
{
	return mews_leased(pool, mews_seq_lease(pool, __rseq_offset));
}

/*
 * As mews_lease, where a thread leases block after block by the same line of code, as who produces for another
 * thread does: it leaves out a store that would repeat what stands there, and asks for the first line of a block
 * to come. Behind a return it costs more.
 */
static inline __attribute__((always_inline)) void *mews_lease_row_inline(struct mews_pool *pool)
{
	return mews_leased(pool, mews_seq_lease_row(pool, __rseq_offset));
}

/* As mews_return. */
static inline __attribute__((always_inline)) void mews_return_inline(struct mews_pool *pool,
								     void *block)
{
	mews_tsan_release(block);
	if (__builtin_expect(!mews_seq_return(pool, __rseq_offset, block), 0))
		mews_return_slow_2(pool, block);
}

#endif
