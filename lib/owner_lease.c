/* SPDX-License-Identifier: MIT */
/*
 * Leases with owners (layer 5): see owner.h. What stands here beside the hit path of
 * mews/owner_inline.h: a lease of a block that was another's, and returns by who is not the owner.
 * These change the word by compare-and-swap, so that of a return and the owner's end exactly one gets
 * the block, and the other one is told.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include "owner.h"
#include "pool.h"

#define HOT MEWS_API __attribute__((aligned(64)))

static void *lease_missed(struct mews_pool *pool, struct mews_owner *owner, void *caller);

HOT void *mews_owner_lease(struct mews_pool *pool, struct mews_owner *owner)
{
	void *block = NULL;

	if (__builtin_expect(owner != NULL, 1))
		block = mews_seq_owned_lease(mews_bind_inline(pool, owner), mews_rseq_offset);
	if (__builtin_expect(!block, 0))
		return lease_missed(pool, owner, CALLER);
	mews_tsan_acquire(block);
	return block;
}

HOT void mews_owner_return(struct mews_pool *pool, struct mews_owner *owner, void *block)
{
	mews_tsan_release(block);
	if (__builtin_expect(!owner, 0) ||
	    __builtin_expect(!mews_seq_owned_return(mews_bind_inline(pool, owner), mews_rseq_offset,
						    block), 0))
		mews_return_slow_2(pool, block);
}

/* The block on top of this CPU's cache, a moment ago; NULL where it is closed or empty. */
static void *look_at_top(struct mews_control *control)
{
	int cpu = mews_seq_cpu(mews_rseq_offset);
	struct mews_cpu_cache *cache;
	void **cur, *block;

	if (cpu < 0 || (uint32_t)cpu >= control->sides.count)
		return NULL;
	/* Relaxed: the sequence looks again. */
	cache = mews_cache_of(control->pool, (uint32_t)cpu);
	cur = __atomic_load_n(&cache->cur, __ATOMIC_RELAXED);
	if (cur <= __atomic_load_n(&cache->owned_base, __ATOMIC_RELAXED))
		return NULL;
	block = __atomic_load_n(cur - 1, __ATOMIC_RELAXED);
	return mews_slabs_contain(&control->slabs, block) ? block : NULL;
}

/* A block of the cache that was another's: the owner must know its group before its word says so. */
static void *lease_top(struct mews_control *control, struct mews_owner *owner, bool held)
{
	struct mews_bound bound = mews_bind_inline(control->pool, owner);
	void *block = look_at_top(control);

	if (!block || (held ? mews_owner_know(owner, control, block) :
		       !mews_owner_knows(owner, control, block)))
		return NULL;
	block = mews_seq_owned_lease_of(bound, mews_rseq_offset, mews_owned_group(control, block));
	if (block)
		mews_tsan_acquire(block);
	return block;
}

/* In hand, the word is nobody's until the owner knows the group. */
static void *lease_slow(struct mews_control *control, struct mews_owner *owner, void *caller)
{
	void *block;

	if (!mews_slow_lease(control, &block, 1, caller))
		return NULL;
	if (mews_owner_know(owner, control, block)) {
		mews_owner_give(control, block);
		errno = ENOMEM;
		return NULL;
	}
	/* Relaxed: read by this thread, or by who gets the block from it. */
	atomic_store_explicit(mews_owned_word(control, block), owner->key, memory_order_relaxed);
	return block;
}

static void *lease_held(struct mews_control *control, struct mews_owner *owner, void *caller)
{
	void *block = lease_top(control, owner, true);

	return block ? block : lease_slow(control, owner, caller);
}

static __attribute__((noinline)) void *lease_missed(struct mews_pool *pool,
						     struct mews_owner *owner, void *caller)
{
	struct mews_control *control = mews_control_of(pool);
	int saved = errno, type;
	void *block;

	if (!owner || !mews_owned(control) || owner->busy) {
		errno = owner && owner->busy ? EBUSY : EINVAL;
		return NULL;
	}
	block = lease_top(control, owner, false);
	if (block)
		return block;
	type = mews_owner_hold(owner);
	block = lease_held(control, owner, caller);
	mews_owner_resume(owner, type);
	if (block)
		errno = saved;
	return block;
}

static void report(struct mews_control *control, uint64_t word, const void *block)
{
	char name[32], message[128];

	if (!(word & MEWS_WORD_ENDED)) {
		mews_report(control, MEWS_REPORT_DOUBLE_RETURN, block,
			    "double return: the block was free already");
		return;
	}
	if (mews_owner_name(word, name))
		snprintf(message, sizeof(message), "returned after its owner, \"%.31s\", had ended",
			 name);
	else
		snprintf(message, sizeof(message), "returned after its owner had ended");
	mews_report(control, MEWS_REPORT_OWNER_ENDED, block, message);
}

MEWS_API void *mews_owner_lease_slow_2(struct mews_pool *pool, struct mews_owner *owner)
{
	return lease_missed(pool, owner, CALLER);
}

/* Takes a lease into the caller's hands. False, and reported, where it is none. */
static bool take_back(struct mews_control *control, void *block)
{
	mews_word *word = mews_owned_word(control, block);
	uint64_t seen = atomic_load(word);

	do {
		if (!mews_owned_out(control, seen, block)) {
			report(control, seen, block);
			return false;
		}
		/* W2: after the look into the slot. */
	} while (!atomic_compare_exchange_strong(word, &seen, 0));
	return true;
}

void mews_owner_take_home(struct mews_control *control, void *block)
{
	mews_tsan_release(block);
	if (!mews_owned_put(control, &block, 1))
		mews_slow_return(control, &block, 1);
}

void mews_owner_give(struct mews_control *control, void *block)
{
	uint32_t number;
	int type;

	if (!block) /* first: the pool may be gone with the block before it */
		return;
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	if (mews_slabs_find(&control->slabs, block, &number) != MEWS_BLOCK_START)
		mews_slow_return(control, &block, 1); /* oversize, or misuse */
	else if (take_back(control, block))
		mews_owner_take_home(control, block);
	pthread_setcanceltype(type, NULL);
}

/* Changes the key of a lease. 0 or -EINVAL: it is none. */
static int change_owner(struct mews_control *control, const void *block, uint64_t key)
{
	mews_word *word = mews_owned_word(control, block);
	uint64_t seen = atomic_load(word);

	do {
		if (!mews_owned_out(control, seen, block))
			return -EINVAL;
		/* W2: after the look into the slot. */
	} while (!atomic_compare_exchange_strong(word, &seen, key));
	return 0;
}

static bool is_block(struct mews_pool *pool, const void *block)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	uint32_t number;

	return pool && mews_owned(control) &&
	       mews_slabs_find(&control->slabs, block, &number) == MEWS_BLOCK_START;
}

MEWS_API int mews_owner_adopt(struct mews_pool *pool, struct mews_owner *owner, void *block)
{
	struct mews_control *control;
	int type, error;

	if (!owner || !is_block(pool, block))
		return -EINVAL;
	control = mews_control_of(pool);
	type = mews_owner_hold(owner);
	error = mews_owner_know(owner, control, block);
	if (!error)
		error = change_owner(control, block, owner->key);
	mews_owner_resume(owner, type);
	return error;
}

MEWS_API int mews_owner_disown(struct mews_pool *pool, void *block)
{
	if (!is_block(pool, block))
		return -EINVAL;
	return change_owner(mews_control_of(pool), block, MEWS_NOBODY);
}
