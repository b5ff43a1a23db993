/* SPDX-License-Identifier: MIT */
/*
 * Owners (layer 5): see mews/owner.h for what they are, mews/owner_inline.h for the words. What the
 * files share:
 *
 *   owner.c        the owners of the process: a table of them; a thread's own, and its scopes
 *   owner_group.c  the groups of words that an owner knows; the walk over them when it ends
 *   owner_lease.c  lease, return, adopt, disown
 *   owner_pool.c   pools that owners know of, which may be gone when they end
 *
 * Invariant: a word that has an owner's key, and is not settled, is in a group that the owner knows.
 *
 *   who            key     groups                    the rest
 *   its user       reads   reads, writes             reads
 *   any thread     reads   -                         reads name and state, for reports
 */
#ifndef MEWS_LIB_OWNER_H
#define MEWS_LIB_OWNER_H

#include "owned.h"

/* A group of eight words of a pool. */
struct mews_group {
	uint64_t pool;          /* see mews_owner_pool_pin; 0: this entry is free */
	uint64_t number;        /* mews_owned_group */
};

#define MEWS_GROUPS_AT_FIRST 8

enum mews_owner_state {
	MEWS_OWNER_FREE,        /* an entry of the table that is not in use */
	MEWS_OWNER_LIVE,
	MEWS_OWNER_OF_THREAD,   /* ends with its thread: a thread's own, or of a scope */
	MEWS_OWNER_GONE,        /* of a thread that is not in this child of a fork */
};

struct mews_owner {
	_Alignas(64) uint64_t key; /* first: owner_inline.h reads it. { generation, index } << 33 */
	_Atomic uint32_t state;
	uint32_t busy;          /* its user changes groups: a signal handler must not */
	struct mews_group *group; /* [capacity] a hash table: first, or a mapping */
	uint32_t capacity, count; /* capacity: a power of two */
	struct mews_owner *outer; /* the scope around this one */
	const void *thread;     /* OF_THREAD: whose */
	mews_word name[4];      /* 32 characters, the last of them 0 */
	struct mews_group first[MEWS_GROUPS_AT_FIRST];
};

/* Holds asynchronous cancellation off; returns what mews_owner_resume wants. */
int mews_owner_hold(struct mews_owner *owner);
void mews_owner_resume(struct mews_owner *owner, int type);

/* In the child of a fork. */
void mews_owner_child(void);

/* Whether a block's group is known to its owner. Only its user, where it is not busy. */
bool mews_owner_knows(struct mews_owner *owner, const struct mews_control *control,
		      const void *block);

/* Makes it known: 0 or -ENOMEM. Only its user, held. */
int mews_owner_know(struct mews_owner *owner, struct mews_control *control, const void *block);

/*
 * Returns all leases; how many. With `dead` it knows no group afterwards. Words of groups that it
 * forgets lose its key, or are settled.
 */
size_t mews_owner_return_all(struct mews_owner *owner, bool dead);

/* Returns a block that may be anybody's lease; reports what is none. The pool may be gone then. */
void mews_owner_give(struct mews_control *control, void *block);

/* The same for a block in the caller's hands, its word settled, which it stays. */
void mews_owner_take_home(struct mews_control *control, void *block);

/* A pool with owners is entered: 0 or -ENOMEM; and left: true where it may be destroyed at once. */
int mews_owner_pool_enter(struct mews_control *control);
bool mews_owner_pool_leave(struct mews_control *control);

/* The pool that is registered so, kept from its end until it is unpinned; NULL where it has ended. */
struct mews_control *mews_owner_pool_pin(uint64_t registered);
void mews_owner_pool_unpin(uint64_t registered);

/* In the child of a fork that came from within no operation: whoever had pinned a pool is not here. */
void mews_owner_pools_child(void);

/* Whose lease a block is. */
struct mews_owner_of {
	uint64_t id;            /* 0: nobody's, or it is not out, as far as a moment's look tells */
	bool gone;              /* the owner is no more: nothing will bring this lease back */
	char name[32];
};

struct mews_owner_of mews_owner_of(const struct mews_control *control, const void *block);

/* The owner's name by a word, also of one that ended; false where the name is not kept any more. */
bool mews_owner_name(uint64_t word, char name[32]);

#endif
