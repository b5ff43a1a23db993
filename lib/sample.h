/* SPDX-License-Identifier: MIT */
/*
 * Sampled leases (layer 4): one lease in n is recorded with its stack, its thread and its time; those of
 * a checked pool each with its caller, until somebody asks for stacks. Called by pool.c for each lease
 * and return while sampling is on, and by sites.c, which switches it and reports. Invariant: while
 * sampling is on, each lease and each return comes here (the caches are closed: see detour.h), so that
 * a record says «out» exactly while its lease is.
 *
 *   record   one a block number, and one an oversize entry; indexed, never searched
 *   site     one a stack: a hash of bounded probe length, entered once and for good
 *
 * Both stand in one mapping, made when sampling is first switched on and untouched zeros until then.
 * A record is written by who has the block in hand: by the lease before it hands it out, by the return
 * before it gives it away. Readers may meet any mixture of two leases of one block, and no other.
 */
#ifndef MEWS_LIB_SAMPLE_H
#define MEWS_LIB_SAMPLE_H

#include <stdbool.h>
#include <mews/mews.h>
#include "slab.h"
#include "tagstack.h"

#define MEWS_SITES 4096         /* stacks; later ones are counted as unknown */

struct mews_site {
	mews_word hash;                 /* of the stack; 0: free */
	_Atomic uint32_t depth;         /* 0: the stack is being written */
	mews_word stack[MEWS_SITE_DEPTH];
};

struct mews_record {
	mews_word lease;                /* out | site | thread; 0: nothing is known */
	mews_word time;                 /* CLOCK_MONOTONIC, nanoseconds */
};

struct mews_samples {
	_Atomic uint32_t one_in;        /* 0: off */
	_Atomic uint32_t stacks;        /* unwound; else a site is the address of the call alone */
	_Atomic uint32_t switching;     /* one control call at a time */
	size_t records, length;
	struct mews_record *record;     /* NULL until sampling is first switched on */
	struct mews_site *site;
};

/* What a record says. */
struct mews_sample {
	bool out;
	uint32_t thread;                /* the kernel's number; 0: not known */
	uint32_t site;                  /* 1 .. MEWS_SITES; 0: not known */
	uint64_t time;
};

/* Maps the tables for records of so many numbers. 0 or -ENOMEM. Not concurrent with itself. */
int mews_samples_map(struct mews_samples *samples, size_t records);
void mews_samples_unmap(struct mews_samples *samples);

/* Forgets everything and gives the memory back. Only while sampling is off. */
void mews_samples_clear(struct mews_samples *samples);

/* Inside the gate: what is read there was not switched off before the operation began. */
static inline uint32_t mews_samples_one_in(const struct mews_samples *samples)
{
	/* Sequentially consistent, after G1: see side.h. */
	return atomic_load(&samples->one_in);
}

/* In the child of a fork: its thread has another number. */
void mews_samples_in_child(void);

/*
 * Counts leases in *counter, and records those that are chosen: exactly one in each stretch of n that
 * the counter passes, at a place in it that differs from stretch to stretch. A fixed place would see
 * one of two sites only where a program leases at both in turn. caller: the return address of the call
 * of the library. Async-signal-safe.
 */
void mews_samples_record(struct mews_samples *samples, mews_word *counter,
			 const struct mews_slabs *slabs, void *const *blocks, size_t count,
			 void *caller);

static inline void mews_samples_lease(struct mews_samples *samples, mews_word *counter,
				      const struct mews_slabs *slabs, void *const *blocks,
				      size_t count, void *caller)
{
	if (mews_samples_one_in(samples))
		mews_samples_record(samples, counter, slabs, blocks, count, caller);
}

/* The same for one lease, of this number. */
void mews_samples_lease_one(struct mews_samples *samples, mews_word *counter, size_t number,
			    void *caller);

/* The lease of this number, if it is one, ended; its record goes on to say who had it last. */
void mews_samples_end(struct mews_samples *samples, size_t number);

static inline void mews_samples_return(struct mews_samples *samples, size_t number)
{
	if (mews_samples_one_in(samples))
		mews_samples_end(samples, number);
}

/* False where nothing is known of the number, or sampling is off. */
bool mews_samples_look(const struct mews_samples *samples, size_t number,
		       struct mews_sample *sample);

/* The stack of a site into stack[MEWS_SITE_DEPTH]; its depth, 0 where it is not known. */
uint32_t mews_samples_stack(const struct mews_samples *samples, uint32_t site, void **stack);

#endif
