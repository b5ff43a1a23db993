/* SPDX-License-Identifier: MIT */
/*
 * Owners (layer 5): the objects; see owner.h. They stand in one table a process, reserved at the first
 * and never released, so that a word's owner can always be looked up. Created and destroyed by any
 * thread without a lock. An owner's key has a generation: a name is told only where the key is still
 * the one that the word has.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "../numa/place.h"
#include "owner.h"

#define INDEX_BITS 17
#define ENTRIES (1u << INDEX_BITS)
#define ENTRIES_NOT_USED 2      /* 0, so that no key is 0, and 1, whose key is MEWS_NOBODY */
#define GENERATIONS (1u << (64 - MEWS_WORD_KEY_SHIFT - INDEX_BITS))
#define DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 2)

static struct table {
	struct mews_owner owner[ENTRIES];
	mews_word link[ENTRIES];
} *_Atomic table;

static struct mews_tagstack unused;     /* entries that were used before */
static _Atomic uint32_t used = ENTRIES_NOT_USED; /* entries from here on never were */

/* What a thread has. Its address is the thread's mark in its owners. */
static __thread struct {
	struct mews_owner *own, *scope;
	unsigned rounds;        /* of destructors that have passed */
} mine __attribute__((tls_model("initial-exec")));
static pthread_key_t thread_end;
static int thread_end_error;
static _Atomic uint32_t threads;        /* that had an owner of their own */

static struct table *get_table(void)
{
	struct table *now = atomic_load(&table), *fresh;

	if (now)
		return now;
	fresh = mews_place_reserve(sizeof(*fresh), _Alignof(struct table));
	if (!fresh)
		return NULL;
	if (mews_place_table(fresh, sizeof(*fresh)) ||
	    !atomic_compare_exchange_strong(&table, &now, fresh)) {
		mews_place_release(fresh, sizeof(*fresh));
		return now;
	}
	return fresh;
}

/* An entry that was never used; MEWS_NONE where there is none. */
static uint32_t fresh_entry(void)
{
	uint32_t next = atomic_load(&used);

	do {
		if (next == ENTRIES)
			return MEWS_NONE;
	} while (!atomic_compare_exchange_weak(&used, &next, next + 1));
	return next;
}

static void set_name(struct mews_owner *owner, const char *name)
{
	uint64_t text[4] = { 0 };
	int i;

	snprintf((char *)text, sizeof(text), "%s", name ? name : "owner");
	/* N1: after the key: who reads a part of this name (N2) does not find the key before it. */
	for (i = 0; i < 4; i++)
		atomic_store_explicit(&owner->name[i], text[i], memory_order_release);
}

static uint64_t next_key(uint64_t key, uint32_t index)
{
	uint64_t generation = (key >> (MEWS_WORD_KEY_SHIFT + INDEX_BITS)) + 1;

	return (generation % GENERATIONS << INDEX_BITS | index) << MEWS_WORD_KEY_SHIFT;
}

static int create(const char *name, enum mews_owner_state state, struct mews_owner **out)
{
	struct table *t = get_table();
	struct mews_owner *owner;
	uint32_t index;

	if (!t)
		return -ENOMEM;
	index = mews_tagstack_pop(&unused, t->link);
	if (index == MEWS_NONE)
		index = fresh_entry();
	if (index == MEWS_NONE)
		return -EAGAIN;
	owner = &t->owner[index];
	/* Relaxed: see N1. */
	__atomic_store_n(&owner->key, next_key(owner->key, index), __ATOMIC_RELAXED);
	set_name(owner, name);
	owner->group = owner->first;
	owner->capacity = MEWS_GROUPS_AT_FIRST;
	owner->thread = &mine;
	atomic_store(&owner->state, state);
	*out = owner;
	return 0;
}

bool mews_owner_name(uint64_t word, char name[32])
{
	uint64_t key = word & MEWS_WORD_KEY, text[4];
	uint32_t index = (uint32_t)(key >> MEWS_WORD_KEY_SHIFT) % ENTRIES;
	const struct table *t = atomic_load(&table);
	int i;

	if (index < ENTRIES_NOT_USED || !t)
		return false;
	/* N2: before the key. */
	for (i = 0; i < 4; i++)
		text[i] = atomic_load_explicit(&t->owner[index].name[i], memory_order_acquire);
	memcpy(name, text, sizeof(text));
	return __atomic_load_n(&t->owner[index].key, __ATOMIC_RELAXED) == key;
}

struct mews_owner_of mews_owner_of(const struct mews_control *control, const void *block)
{
	struct mews_owner_of of = { 0 };
	struct table *t = atomic_load(&table);
	uint64_t word, id;

	if (!mews_owned(control))
		return of;
	word = atomic_load(mews_owned_word(control, block));
	id = (word & MEWS_WORD_KEY) >> MEWS_WORD_KEY_SHIFT;
	if (!mews_owned_out(control, word, block) || id % ENTRIES < ENTRIES_NOT_USED)
		return of;
	of.id = id;
	of.gone = atomic_load(&t->owner[id % ENTRIES].state) == MEWS_OWNER_GONE;
	if (!mews_owner_name(word, of.name)) {
		of.gone = true;
		of.name[0] = 0;
	}
	return of;
}

int mews_owner_hold(struct mews_owner *owner)
{
	int type;

	/* See hold_cancellation in process.c; nothing here is a cancellation point. */
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	owner->busy = 1;
	atomic_signal_fence(memory_order_seq_cst);
	return type;
}

void mews_owner_resume(struct mews_owner *owner, int type)
{
	atomic_signal_fence(memory_order_seq_cst);
	owner->busy = 0;
	pthread_setcanceltype(type, NULL);
}

static size_t end(struct mews_owner *owner, bool dead)
{
	int saved = errno, type = mews_owner_hold(owner);
	size_t count = mews_owner_return_all(owner, dead);

	mews_owner_resume(owner, type);
	errno = saved;
	return count;
}

static void destroy(struct mews_owner *owner)
{
	end(owner, true);
	atomic_store(&owner->state, MEWS_OWNER_FREE);
	mews_tagstack_push(&unused, atomic_load(&table)->link,
			   (uint32_t)(owner - atomic_load(&table)->owner));
}

/* The innermost scope that the thread is in ends. */
static void leave_scope(void)
{
	struct mews_owner *owner = mine.scope;

	mine.scope = owner->outer;
	destroy(owner);
}

/* Others' destructors may still lease and return: they have some rounds first. */
static void on_thread_end(void *thread)
{
	struct mews_owner *own = mine.own;

	if (mine.rounds++ < DESTRUCTOR_ROUNDS) {
		pthread_setspecific(thread_end, thread);
		return;
	}
	while (mine.scope)
		leave_scope();
	mine.own = NULL;
	if (own)
		destroy(own);
}

static __attribute__((constructor(101))) void create_key(void)
{
	thread_end_error = pthread_key_create(&thread_end, on_thread_end);
}

/* NULL and errno. */
static struct mews_owner *create_of_thread(const char *name)
{
	int error = thread_end_error ? thread_end_error : pthread_setspecific(thread_end, &mine);
	struct mews_owner *owner = NULL;

	if (!error)
		error = -create(name, MEWS_OWNER_OF_THREAD, &owner);
	if (error)
		errno = error;
	return owner;
}

MEWS_API int mews_owner_create(const char *name, struct mews_owner **owner)
{
	if (!owner)
		return -EINVAL;
	*owner = NULL;
	return create(name, MEWS_OWNER_LIVE, owner);
}

MEWS_API struct mews_owner *mews_owner_thread(void)
{
	char name[32];

	if (!mine.own) {
		snprintf(name, sizeof(name), "thread %u", atomic_fetch_add(&threads, 1));
		mine.own = create_of_thread(name);
	}
	return mine.own;
}

MEWS_API struct mews_owner *mews_owner_enter(const char *name)
{
	struct mews_owner *owner = create_of_thread(name);

	if (owner) {
		owner->outer = mine.scope;
		mine.scope = owner;
	}
	return owner;
}

/* Those within it were left by a longjmp. */
MEWS_API void mews_owner_leave(struct mews_owner **owner)
{
	struct mews_owner *scope = mine.scope;

	while (scope && scope != *owner)
		scope = scope->outer;
	if (!scope)
		return;
	while (mine.scope != *owner)
		leave_scope();
	leave_scope();
}

MEWS_API size_t mews_owner_end(struct mews_owner *owner)
{
	return owner ? end(owner, false) : 0;
}

MEWS_API void mews_owner_destroy(struct mews_owner *owner)
{
	/* One that was destroyed is no more than an entry for the next; a thread's own ends with it. */
	if (owner && atomic_load(&owner->state) == MEWS_OWNER_LIVE)
		destroy(owner);
}

/* Leases of threads that are not here stay out: the thread that forked may read what is in them. */
void mews_owner_child(void)
{
	struct table *t = atomic_load(&table);
	struct mews_owner *owner;

	for (owner = t ? t->owner + ENTRIES_NOT_USED : NULL; owner && owner < t->owner + used; owner++)
		if (atomic_load(&owner->state) == MEWS_OWNER_OF_THREAD && owner->thread != &mine)
			atomic_store(&owner->state, MEWS_OWNER_GONE);
}
