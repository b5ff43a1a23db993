/* SPDX-License-Identifier: MIT */
/*
 * Buffers, and where they come from: the one place that knows whether a block was leased from the
 * pool or got from malloc. A buffer is a block with a short header at its start; buffers form
 * chains. Each thread has its own lender, which counts what it does; a buffer leased through one
 * lender may be returned through any other.
 */
#ifndef HTTPD_BUFFERS_H
#define HTTPD_BUFFERS_H

#include "options.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct buffer {
	struct buffer *next;
	uint32_t start, end;   /* data[start .. end) is what it holds */
	uint32_t capacity;     /* bytes of data[] */
	uint32_t lender;       /* whose number leased it */
	char data[];
};

struct chain {
	struct buffer *first, *last;
};

/* Room left before a body, so that the head of the response goes into the same block. */
#define HEAD_ROOM 192

/* Written by the lender's thread only, read by any: relaxed, for each is a count of its own. */
typedef _Atomic uint64_t tally;

static inline void count(tally *t, uint64_t more)
{
	atomic_store_explicit(t, atomic_load_explicit(t, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

struct counts {
	tally connections, requests, refused, bytes_in, bytes_out;
	tally leases, oversize, returns, returns_elsewhere, lease_failures, malloc_calls;
};

struct lender {
	const struct allocator_calls *calls;
	struct mews_pool *pool;    /* NULL with malloc */
	uint32_t block_size;
	uint32_t number;
	struct counts counts;
} __attribute__((aligned(128)));

/* Creates the pool if the options ask for one. 0 or -errno. */
int buffers_open(const struct options *options, struct mews_pool **pool);

void lender_init(struct lender *lender, const struct options *options, struct mews_pool *pool,
		 unsigned number);

/* One buffer with the capacity of a block. NULL: the pool is full. */
struct buffer *buffer_lease(struct lender *lender);

/* A buffer of at least capacity bytes: an oversize lease where that is more than a block. */
struct buffer *buffer_lease_sized(struct lender *lender, size_t capacity);

/* Up to want buffers, at most BULK of them, in one call; returns how many it got. */
#define BULK 64
size_t buffer_lease_many(struct lender *lender, struct buffer **buffers, size_t want);

/* As many buffers as hold bytes, leased in bulk, at the end of the chain. All or none. */
bool chain_lease(struct lender *lender, struct chain *chain, size_t bytes);

void buffer_return(struct lender *lender, struct buffer *buffer);
void chain_return(struct lender *lender, struct chain *chain);

static inline void chain_add(struct chain *chain, struct buffer *buffer)
{
	if (chain->last)
		chain->last->next = buffer;
	else
		chain->first = buffer;
	chain->last = buffer;
}

/* Moves all of *from to the end of *to. */
static inline void chain_move(struct chain *to, struct chain *from)
{
	if (!from->first)
		return;
	chain_add(to, from->first);
	to->last = from->last;
	*from = (struct chain){ 0 };
}

#endif
