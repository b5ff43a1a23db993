/* SPDX-License-Identifier: MIT */
/*
 * The side table (layer 4): what a CPU has beside its cache, for the paths that miss: the gate that
 * counts operations under way, event counters, and two tagged stacks of blocks. Called by cache.c,
 * exchange.c, drain.c and stats.c. Invariant: entries are indexed by a CPU id for locality only; any
 * thread may use any entry, so a stale id costs a cache miss and nothing else.
 *
 *   local   the cache of the fallback path, blocks of the CPU's own node
 *   away    blocks of other nodes, until there is a magazine's worth to send home
 *
 * The gate says when every operation that saw an old state of the pool has ended (drain, dispose).
 * It stands where a grace period of liburcu would: a first rcu_read_lock of a thread takes a mutex,
 * so that a lease could wait for a preempted thread, and urcu-bp's fork handlers deadlock in a
 * process that installs them twice. Here:
 *
 *   operation                              mews_gate_wait, after the new state was stored
 *   e = epoch; gate[e & 1]++               alone; twice: e = epoch++, then for each CPU
 *   read the state, work                           wait until gate[e & 1] is 0
 *   gate[e & 1]--
 *
 * An operation that read the old state incremented a counter before the state was stored, so its
 * counter is seen; after the flip new operations use the other counter, so the wait ends. An
 * operation that read the epoch two flips ago counts in the other half: hence twice. After SRCU
 * (McKenney, Sleepable RCU, 2006). A gate counts in its low half who is inside, in its high half who
 * has left: see mews_gate_traffic.
 */
#ifndef MEWS_LIB_SIDE_H
#define MEWS_LIB_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "slab.h"
#include "tagstack.h"

enum mews_cache_state {
	MEWS_CACHE_NEW,         /* never opened: zeros, closed, and better not touched */
	MEWS_CACHE_CLOSED,      /* its operations take the slow path; it holds nothing */
	MEWS_CACHE_BUSY,        /* one thread opens or closes it */
	MEWS_CACHE_FROZEN,      /* shut for the time of a fork, with what it holds */
	MEWS_CACHE_RESTING,     /* shut to see whether its CPU still wants it, with what it holds */
	MEWS_CACHE_OPEN,
};

enum mews_event {
	MEWS_EVENT_LEASE_MISSES,
	MEWS_EVENT_DEPOT_HITS,
	MEWS_EVENT_SLAB_HITS,
	MEWS_EVENT_GROWTHS,
	MEWS_EVENT_REMOTE_NODE,
	MEWS_EVENT_RECLAIMS,
	MEWS_EVENT_RETURN_MISSES,
	MEWS_EVENT_FOREIGN_RETURNS,
	MEWS_EVENT_FAILURES,
	MEWS_EVENT_OWNER_RETURNS,
	MEWS_EVENTS,
};

struct mews_side {
	_Alignas(128) mews_word gate[2];
	_Atomic uint32_t cache_state;
	_Atomic uint32_t took;          /* the last exchange with the depot was a miss */
	_Atomic uint32_t capacity;      /* of the CPU's cache: see mews_cache_open */
	_Atomic uint32_t calm;          /* overflows that wanted less of it than it has, one after another */
	_Atomic uint32_t depth;         /* of its depot, after its last overflow */
	mews_word event[MEWS_EVENTS];
	mews_word leases;               /* while leases are sampled: see sample.h */
	uint64_t seen[3];       /* the keeper's: the cache, local and away as at its last look */
	_Alignas(64) struct mews_tagstack local;
	_Alignas(64) struct mews_tagstack away;
};

struct mews_sides {
	uint32_t count;                 /* one a possible CPU id */
	_Atomic uint32_t epoch;
	_Atomic uint32_t waiting;       /* one waiter at a time: two would flip for each other */
	struct mews_side *side;
	mews_word *link;                /* [block numbers], for both stacks of all entries */
	const struct mews_slabs *slabs;
};

/* An operation's pass through the gate. */
struct mews_pass {
	struct mews_side *side;
	uint32_t cpu;                   /* < count */
	uint32_t half;
	uint32_t generation;            /* process.c: forks that this process came from */
	bool nested;                    /* process.c: within another operation of this thread */
	bool held;                      /* process.c: cancellation is held off until its end */
};

/*
 * Counts an event. Relaxed load and store, not an atomic addition: that would double the price of a
 * miss; a thread preempted between the two loses counts, which the statistics page says.
 */
static inline void mews_count(struct mews_side *side, enum mews_event event, uint64_t amount)
{
	uint64_t now = atomic_load_explicit(&side->event[event], memory_order_relaxed);

	atomic_store_explicit(&side->event[event], now + amount, memory_order_relaxed);
}

/* cpu: any number; a thread that does not know its CPU says what it likes. */
static inline struct mews_pass mews_gate_enter(struct mews_sides *sides, uint32_t cpu)
{
	struct mews_pass pass = { .cpu = cpu < sides->count ? cpu : cpu % sides->count };

	pass.side = &sides->side[pass.cpu];
	pass.half = atomic_load_explicit(&sides->epoch, memory_order_relaxed) & 1;
	/* G1: sequentially consistent with G3 and the state: see above. */
	atomic_fetch_add(&pass.side->gate[pass.half], 1);
	return pass;
}

static inline void mews_gate_leave(struct mews_pass *pass)
{
	/* G2: one less inside, one more that left. Releases what the operation did to G3. */
	atomic_fetch_add_explicit(&pass->side->gate[pass->half], (UINT64_C(1) << 32) - 1,
				  memory_order_release);
}

static inline uint32_t mews_gate_inside(uint64_t gate)
{
	return (uint32_t)gate;
}

/*
 * All gates' counts in sum: mews_gate_inside of it is how many are inside. Where it is the same before
 * and after a look, and only the caller is inside, nothing else moved a block but by hits.
 */
uint64_t mews_gate_traffic(const struct mews_sides *sides);

/* A turn of waiting for another thread: a yield at first, 50 us of sleep later. Keeps errno. */
void mews_pause(unsigned turn);

/* Waits until each operation that passed the gate before the call has left. Not from inside. */
void mews_gate_wait(struct mews_sides *sides);

/* In the child of a fork: the operations of other threads are gone with their threads. */
void mews_gate_reset(struct mews_sides *sides);

/*
 * Pushes up to MEWS_MAGAZINE_MAX blocks. One that is no block's start, or that is on a side stack already,
 * is left out and told to bad(): pushed twice, it would close the list to a circle. A link of 0 says «on no
 * stack». Returns how many the stack holds then; 0 where all were left out.
 */
uint32_t mews_side_push(struct mews_sides *sides, struct mews_tagstack *stack, void *const *blocks,
			size_t count, mews_bad_block *bad, void *context);

/* Pops up to count blocks, at most MEWS_MAGAZINE_MAX; returns how many. */
size_t mews_side_pop(struct mews_sides *sides, struct mews_tagstack *stack, void **blocks,
		     size_t count);

static inline uint32_t mews_side_depth(const struct mews_sides *sides,
				       const struct mews_tagstack *stack)
{
	return mews_tagstack_depth(stack, sides->link);
}

#endif
