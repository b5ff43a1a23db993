/* SPDX-License-Identifier: MIT */
/*
 * What the benches know of an allocator (layer 6): a table of whole measured loops, each compiled
 * with the allocator's own calls in it (workload_body.h), so that no indirect call stands inside a
 * loop. Called by the files of workloads. Invariant: set_up or set_up_reserved comes before
 * everything else and tear_down after; each thread calls enter before its first block.
 */
#ifndef PERF_BACKEND_H
#define PERF_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct perf_ring;

#define PERF_ORDER 4096                 /* entries of a table of random choices */
#define PERF_ORDER_REMOTE 0x8000        /* in an entry: the block goes to the next thread */

/* Which workloads a backend can run. */
enum {
	PERF_CAN_PAIR = 1,              /* nothing held while another block is leased */
	PERF_CAN_HOLD = 2,              /* up to 1,024 blocks held by the thread that leased them */
	PERF_CAN_PASS = 4,              /* a block goes to another thread */
	PERF_CAN_SERVE = 8,             /* any thread gives back any block */
	PERF_CAN_ALL = 15,
	PERF_CAN_FILL = 16,             /* 200,000 blocks and more */
	PERF_CAN_GROW = 32,             /* and their memory comes when they are leased */
};

/* One thread's part of a workload. */
struct perf_local {
	void **block;                   /* [count] or [held] */
	uint32_t count;                 /* blocks in one round */
	uint32_t held;                  /* size of the working set, a power of two */
	const uint16_t *order;          /* [count] a permutation, or [PERF_ORDER] choices */
	uint32_t cursor;
	size_t block_size;
	struct perf_ring *out, *in;
	uint32_t pair;                  /* of a producer and its consumer */
	struct perf_tail *tail;
	const atomic_bool *stop;        /* the end of the run, for loops that wait */
};

/* A measured loop of so many rounds, each of local->count blocks. */
typedef void perf_loop(struct perf_local *local, uint64_t rounds);

struct perf_backend {
	const char *name;
	unsigned can;
	const char *(*set_up)(size_t block_size); /* NULL, or why it cannot run */
	void (*tear_down)(void);
	void (*enter)(void);
	void (*leave)(void);
	void *(*lease)(void);           /* outside of measured loops */
	void (*give)(void *block);
	/*
	 * The next four may be NULL. set_up_reserved: with the memory of so many blocks. trim: gives
	 * back what is free. launch: runs body on a thread of the backend's own, and waits for it.
	 */
	const char *(*set_up_reserved)(size_t block_size, size_t blocks);
	void (*trim)(void);
	void (*launch)(void *(*body)(void *), void *arg);
	/*
	 * A pool that was just set up: bytes it holds beside the blocks, and the same once a block was
	 * leased and returned.
	 */
	void (*at_rest)(uint64_t *fresh, uint64_t *used);
	perf_loop *pair;                /* lease, touch, return */
	perf_loop *pair_whole;          /* the same, with each line of the block written */
	perf_loop *pair_untouched;      /* lease, return */
	perf_loop *burst;               /* count leases and touches, then returns in the given order */
	perf_loop *bulk;                /* count leased at once, returned at once, not touched */
	perf_loop *bulk_touch;
	perf_loop *replace;             /* one of the held is returned and leased anew */
	perf_loop *serve;               /* as replace; some go to the next thread */
	perf_loop *timed;               /* as replace; each operation is timed */
	perf_loop *fill;                /* leases one for each round, touches each page of it */
	/* Blocks handed over the ring until told to stop: how many. */
	uint64_t (*produce)(struct perf_local *local, uint64_t most);
	uint64_t (*consume)(struct perf_local *local, uint64_t most);
};

/* The bare array, in every program: the limit that some workloads measure beside theirs. */
extern const struct perf_backend perf_bare;

/* The backends of this program, NULL at the end. */
extern const struct perf_backend *const perf_backends[];

#endif
