/* SPDX-License-Identifier: MIT */
/*
 * Sampled leases (layer 4): see sample.h. A stack is unwound by libgcc, through the tables for
 * exceptions, so that nobody need compile with frame pointers. That takes no lock and allocates
 * nothing from glibc 2.35 and gcc 12 on, whose unwinder finds the tables by _dl_find_object, unless the
 * process registers tables of its own (__register_frame): then older unwinders take a mutex.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unwind.h>
#include "../numa/kernel.h"
#include "../numa/place.h"
#include "sample.h"

#define OUT (UINT64_C(1) << 63)
#define PROBES 64
#define OWN_FRAMES 12           /* of the library, at the most, above its caller's */

_Static_assert(MEWS_SITES < 1 << 16, "a site's number has 16 bits");

/* The kernel's number of this thread, once it was asked for. */
static __thread pid_t thread __attribute__((tls_model("initial-exec")));

/* The frames from the caller of the library on. */
struct walk {
	void *caller;
	void *stack[MEWS_SITE_DEPTH];
	uint32_t depth, own;
};

static _Unwind_Reason_Code take_step(struct _Unwind_Context *context, void *argument)
{
	struct walk *walk = argument;
	void *at = (void *)_Unwind_GetIP(context);

	if (!walk->depth && at != walk->caller)
		return ++walk->own < OWN_FRAMES ? _URC_NO_REASON : _URC_NORMAL_STOP;
	if (at)
		walk->stack[walk->depth++] = at;
	return at && walk->depth < MEWS_SITE_DEPTH ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

int mews_samples_map(struct mews_samples *s, size_t records)
{
	struct walk first = { .caller = NULL };
	size_t length = records * sizeof(*s->record) + MEWS_SITES * sizeof(*s->site);
	void *tables;

	length = (length + 65535) & ~(size_t)65535;
	tables = mews_place_reserve(length, 65536);
	if (tables && mews_place_table(tables, length)) {
		mews_place_release(tables, length);
		tables = NULL;
	}
	if (!tables)
		return -ENOMEM;
	_Unwind_Backtrace(take_step, &first); /* initializes under pthread_once: not for handlers */
	s->records = records;
	s->length = length;
	s->site = (struct mews_site *)((struct mews_record *)tables + records);
	/* M1: last, for the child of a fork that comes between: what it finds mapped is whole. */
	__atomic_store_n(&s->record, tables, __ATOMIC_RELEASE);
	return 0;
}

void mews_samples_unmap(struct mews_samples *s)
{
	if (s->record)
		mews_place_release(s->record, s->length);
}

void mews_samples_clear(struct mews_samples *s)
{
	if (mews_kernel->madvise(s->record, s->length, MADV_DONTNEED))
		memset(s->record, 0, s->length);
}

/* Steele, Lea, Flood, «Fast splittable pseudorandom number generators», 2014: its last step. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static bool chosen(uint64_t count, uint32_t one_in)
{
	return count % one_in == mix(count / one_in) % one_in;
}

static uint64_t hash_of(void *const *stack, uint32_t depth)
{
	uint64_t hash = depth;

	while (depth--)
		hash = mix(hash ^ (uintptr_t)stack[depth]);
	return hash | 1;
}

/*
 * The number of the site of this stack. Who enters it writes the stack after; others with the same
 * hash need not wait for that, and the handler that interrupts the entering neither.
 */
static uint32_t site_of(struct mews_samples *s, void *const *stack, uint32_t depth)
{
	uint64_t hash = hash_of(stack, depth), found;
	struct mews_site *site;
	uint32_t step, i;

	for (step = 0; step < PROBES; step++) {
		site = &s->site[(hash / 2 + step) % MEWS_SITES];
		found = 0;
		/* Relaxed: the stack is published by its depth. */
		if (!atomic_compare_exchange_strong_explicit(&site->hash, &found, hash,
				memory_order_relaxed, memory_order_relaxed) && found != hash)
			continue;
		for (i = 0; !found && i < depth; i++)
			atomic_store_explicit(&site->stack[i], (uintptr_t)stack[i],
					      memory_order_relaxed);
		if (!found)
			/* P1: releases the stack to P2. */
			atomic_store_explicit(&site->depth, depth, memory_order_release);
		return (uint32_t)(site - s->site) + 1;
	}
	return 0;
}

/* Where the frames can't be unwound, or shall not be, the caller alone is the stack. */
static uint32_t locate(struct mews_samples *s, void *caller)
{
	struct walk walk = { .caller = caller };

	/* Relaxed: leases of this moment may be recorded either way. */
	if (atomic_load_explicit(&s->stacks, memory_order_relaxed))
		_Unwind_Backtrace(take_step, &walk);
	if (!walk.depth)
		walk.stack[walk.depth++] = caller;
	return site_of(s, walk.stack, walk.depth);
}

/* One call of the library: unwound once, however many blocks it leases, and only if one is chosen. */
struct moment {
	void *caller;
	uint64_t lease, time;
};

static void look_around(struct mews_samples *s, struct moment *moment)
{
	int saved = errno;

	if (thread <= 0)
		thread = mews_kernel->gettid();
	moment->lease = OUT | (uint64_t)locate(s, moment->caller) << 32 |
			(thread > 0 ? (uint32_t)thread : 0);
	moment->time = (uint64_t)mews_kernel_now();
	errno = saved;
}

void mews_samples_in_child(void)
{
	thread = 0;
}

/* A block that was not chosen must not keep the record of an earlier lease. */
static void write_record(struct mews_samples *s, size_t number, bool choose, struct moment *moment)
{
	struct mews_record *record = &s->record[number];

	if (!choose) {
		/* Relaxed, as below: the block is in this operation's hands, and so is its record. */
		if (atomic_load_explicit(&record->lease, memory_order_relaxed))
			atomic_store_explicit(&record->lease, 0, memory_order_relaxed);
		return;
	}
	if (!moment->lease)
		look_around(s, moment);
	atomic_store_explicit(&record->time, moment->time, memory_order_relaxed);
	/* R1: the time before it. Pairs with R2. */
	atomic_store_explicit(&record->lease, moment->lease, memory_order_release);
}

void mews_samples_record(struct mews_samples *s, mews_word *counter, const struct mews_slabs *slabs,
			 void *const *blocks, size_t count, void *caller)
{
	uint32_t one_in = mews_samples_one_in(s), number;
	struct moment moment = { .caller = caller };
	uint64_t first;
	size_t i;

	if (!one_in)
		return;
	/* Relaxed: a count. An addition, since one that got lost would skew what is sampled. */
	first = atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
	for (i = 0; i < count; i++)
		if (mews_slabs_find(slabs, blocks[i], &number) == MEWS_BLOCK_START)
			write_record(s, number, chosen(first + i, one_in), &moment);
}

void mews_samples_lease_one(struct mews_samples *s, mews_word *counter, size_t number, void *caller)
{
	uint32_t one_in = mews_samples_one_in(s);
	struct moment moment = { .caller = caller };

	if (one_in && number < s->records)
		write_record(s, number, chosen(atomic_fetch_add_explicit(counter, 1,
					memory_order_relaxed), one_in), &moment);
}

void mews_samples_end(struct mews_samples *s, size_t number)
{
	mews_word *lease;
	uint64_t word;

	if (number >= s->records)
		return;
	lease = &s->record[number].lease;
	/* Relaxed: see write_record; of two returns at once one is wrong, and both write the same. */
	word = atomic_load_explicit(lease, memory_order_relaxed);
	if (word & OUT)
		atomic_store_explicit(lease, word & ~OUT, memory_order_relaxed);
}

bool mews_samples_look(const struct mews_samples *s, size_t number, struct mews_sample *sample)
{
	uint64_t word;

	if (!mews_samples_one_in(s))
		return false;
	/* R2: pairs with R1. */
	word = atomic_load_explicit(&s->record[number].lease, memory_order_acquire);
	if (!word)
		return false;
	sample->out = word & OUT;
	sample->thread = (uint32_t)word;
	sample->site = (uint32_t)(word >> 32) & 0xffff;
	sample->time = atomic_load_explicit(&s->record[number].time, memory_order_relaxed);
	return true;
}

uint32_t mews_samples_stack(const struct mews_samples *s, uint32_t site, void **stack)
{
	const struct mews_site *from;
	uint32_t depth, i;

	if (!site)
		return 0;
	from = &s->site[site - 1];
	/* P2: pairs with P1. */
	depth = atomic_load_explicit(&from->depth, memory_order_acquire);
	for (i = 0; i < depth; i++)
		stack[i] = (void *)(uintptr_t)atomic_load_explicit(&from->stack[i],
								   memory_order_relaxed);
	return depth;
}
