/* SPDX-License-Identifier: MIT */
/*
 * The pool (layer 5): create, lease and return. The hit path is mews_lease_inline and
 * mews_return_inline of mews/inline.h; what stands here is everything that is not a hit. Invariant:
 * each slow operation passes the gate once, reads the pool's state inside, and leaves nothing of a
 * block in its hands.
 */
#include <errno.h>
#include <string.h>
#include "../numa/fence.h"
#include "cache.h"
#include "detour.h"
#include "drain.h"
#include "exchange.h"
#include "keeper.h"
#include "ledger.h"
#include "owned.h"
#include "owner.h"
#include "pool.h"
#include "process.h"
#include "sites.h"
#include "wait.h"

/* A line of its own for each function of the hit path: where a loop's calls land is then no luck. */
#define HOT MEWS_API __attribute__((aligned(64)))

ptrdiff_t mews_rseq_offset;

/* Before the constructors of a program that links the static library: they may lease. */
static __attribute__((constructor(101))) void copy_rseq_offset(void)
{
	mews_rseq_offset = __rseq_offset;
}

static void *lease_slow_one(struct mews_control *control, void *caller);

HOT void *mews_lease(struct mews_pool *pool)
{
	void *block = mews_seq_lease(pool, mews_rseq_offset);

	if (__builtin_expect(!block, 0))
		return lease_slow_one(mews_control_of(pool), CALLER);
	mews_tsan_acquire(block);
	return block;
}

HOT void mews_return(struct mews_pool *pool, void *block)
{
	mews_tsan_release(block);
	if (__builtin_expect(!mews_seq_return(pool, mews_rseq_offset, block), 0))
		mews_return_slow_2(pool, block);
}

/* One slow operation: its pass, the state it found, and whether it may use this CPU's cache. */
struct operation {
	struct mews_pass pass;
	uint32_t state;
	uint32_t detours;
	bool cached;
	bool woken;                     /* its cache rested: what it looks for may be there */
	struct mews_sent sent;          /* by the last overflow in it */
};

/*
 * known: cpu is the one that it is on. In place: a copy of words that were just written in smaller pieces
 * waits for their stores.
 */
static inline __attribute__((always_inline)) void begin_on(struct mews_control *control,
							   struct operation *op, uint32_t cpu,
							   bool known)
{
	mews_pass_enter(control, cpu, &op->pass);
	/* Sequentially consistent, after G1: see side.h. */
	op->state = atomic_load(&control->state);
	op->detours = atomic_load(&control->detours);
	op->cached = known && op->state == MEWS_LIVE && !op->detours;
	op->woken = op->cached && mews_cache_rests(op->pass.side) &&
		    mews_wake_cache(control, op->pass.cpu);
}

static void begin(struct mews_control *control, struct operation *op)
{
	int cpu = mews_seq_cpu(mews_rseq_offset);
	bool known = control->path == MEWS_PATH_RSEQ && cpu >= 0 &&
		     (uint32_t)cpu < control->sides.count;

	/* Before the gate, which waits for the stores under way: the lines come meanwhile. */
	if (known)
		mews_depot_near(&control->depots, control->plan.cpu_depot[cpu]);
	begin_on(control, op, known ? (uint32_t)cpu : mews_fence_current_cpu(), known);
}

/* In this order: the pool may be gone when its last operation has left. */
static void end(struct mews_control *control, struct operation *op)
{
	mews_keeper_stir(control);
	mews_pass_end(&op->pass);
}

static bool closed(const struct operation *op)
{
	/* Relaxed: a hint; who opens claims it first. */
	return atomic_load_explicit(&op->pass.side->cache_state, memory_order_relaxed) <=
	       MEWS_CACHE_CLOSED;
}

static void keep(struct mews_control *control, struct operation *op, void *const *blocks,
		 size_t count)
{
	if (!op->cached) {
		mews_side_push(&control->sides, &op->pass.side->local, blocks, count,
			       mews_report_bad, control);
		mews_notice(control);
		return;
	}
	if (closed(op))
		mews_open_cache(control, op->pass.cpu);
	mews_stash(control, blocks, count);
}

/* Hands out the last of n blocks, up to count, and keeps the rest; returns how many. */
static size_t deal(struct mews_control *control, struct operation *op, void *const *from, size_t n,
		   void **blocks, size_t count)
{
	size_t use = n < count ? n : count;

	memcpy(blocks, from + n - use, use * sizeof(*blocks));
	if (n > use)
		keep(control, op, from, n - use);
	return use;
}

/*
 * Two of a cache's four: room for two more is left then, as there are two until the next miss. All of
 * them for a CPU that took some at its last exchange too, as one that produces for others does.
 */
static size_t miss_magazines(const struct operation *op)
{
	_Atomic uint32_t *took = &op->pass.side->took;

	if (!op->cached)
		return 1;
	/* Relaxed: a hint. */
	if (atomic_load_explicit(took, memory_order_relaxed))
		return MEWS_AT_ONCE;
	atomic_store_explicit(took, 1, memory_order_relaxed);
	return 2;
}

/* From magazines of the CPU's depot, without a stop. 0 where there is none. */
static size_t lease_from_depot(struct mews_control *control, struct operation *op, void **blocks,
			       size_t count)
{
	uint32_t depot = control->plan.cpu_depot[op->pass.cpu];
	struct mews_magazine full[MEWS_AT_ONCE];
	size_t use = 0, i, n = mews_depot_pop_full(&control->depots, depot, full,
						   miss_magazines(op));

	if (!n)
		return 0;
	mews_depot_near_full(&control->depots, full, n);
	mews_count(op->pass.side, MEWS_EVENT_DEPOT_HITS, 1);
	for (i = 0; i < n; i++)
		use += deal(control, op, full[i].slots, control->plan.magazine, blocks + use,
			    count - use);
	mews_depot_push_empty(&control->depots, depot, full, n);
	return use;
}

static size_t lease_elsewhere(struct mews_control *control, struct operation *op, void **blocks,
			      size_t count, int *error)
{
	size_t batch = op->state == MEWS_LIVE ? control->plan.magazine : 1;
	void *fetched[MEWS_MAGAZINE_MAX];
	size_t n = mews_fetch(control, &op->pass, fetched, 1, batch, error);

	return n ? deal(control, op, fetched, n, blocks, count) : 0;
}

/* What one sequence moves at most: count * 8 must not wrap within it. */
static inline size_t at_once(size_t count)
{
	return count < MEWS_CACHE_SLOTS_MAX ? count : MEWS_CACHE_SLOTS_MAX;
}

/* From a cache that rested, and that looked empty for it. */
static size_t lease_woken(struct mews_control *control, void **blocks, size_t count)
{
	return mews_owned(control) ? mews_owned_take(control, blocks, at_once(count)) :
	       mews_seq_lease_many(control->pool, mews_rseq_offset, blocks, at_once(count));
}

static bool has_local(const struct operation *op)
{
	/* Relaxed: a hint. */
	return mews_tagstack_top(atomic_load_explicit(&op->pass.side->local.head,
						      memory_order_relaxed)) != MEWS_NONE;
}

/*
 * Leases up to count blocks beyond what the cache had; *error where it gets fewer. During a drain the
 * depots are on their way to the slabs, where all other returns go too: until that has happened, once at
 * its beginning, a lease may grow the pool though a magazine lies there.
 */
static size_t lease_more(struct mews_control *control, struct operation *op, void **blocks,
			 size_t count, int *error)
{
	bool live = op->state == MEWS_LIVE;
	size_t got = 0, use;

	/* Also where it has a cache again: what came during a detour. */
	if (live && (!op->cached || has_local(op)))
		got = mews_side_pop(&control->sides, &op->pass.side->local, blocks, count);
	if (got < count && op->woken)
		got += lease_woken(control, blocks + got, count - got);
	if (got < count)
		mews_count(op->pass.side, MEWS_EVENT_LEASE_MISSES, 1);
	for (; got < count; got += use) {
		use = live ? lease_from_depot(control, op, blocks + got, count - got) : 0;
		if (!use)
			use = lease_elsewhere(control, op, blocks + got, count - got, error);
		if (!use)
			break;
	}
	return got;
}

/* Writes the leases into the ledger, and tells the tools for memory errors. */
static void enter_leases(struct mews_control *control, void **blocks, size_t count)
{
	uint32_t number;
	size_t i;

	for (i = 0; i < count; i++) {
		mews_slabs_find(&control->slabs, blocks[i], &number);
		mews_ledger_set(control->leased, number);
		mews_asan_hide(blocks[i], control->plan.stride);
		mews_asan_show(blocks[i], control->plan.block_size);
		mews_valgrind_lease(control->pool, blocks[i], control->plan.block_size,
				    control->plan.stride);
	}
}

/* What makes blocks leases, wherever they come from. */
static void enter_all(struct mews_control *control, struct operation *op, void **blocks, size_t count,
		      void *caller)
{
	size_t i;

	for (i = 0; mews_tsan_active() && i < count; i++)
		mews_tsan_acquire(blocks[i]);
	if (control->path == MEWS_PATH_CHECKED)
		enter_leases(control, blocks, count);
	if (mews_owned(control))
		mews_owned_lend(control, blocks, count);
	mews_samples_lease(&control->samples, &op->pass.side->leases, &control->slabs, blocks, count,
			   caller);
}

/* All that a lease does but failing. *error where it gets fewer than count. */
static size_t lease_within(struct mews_control *control, struct operation *op, void **blocks,
			   size_t count, void *caller, int *error)
{
	size_t got = 0;

	*error = ESHUTDOWN;
	if (op->state != MEWS_DISPOSED)
		got = lease_more(control, op, blocks, count, error);
	if (op->state == MEWS_DRAINING)
		atomic_fetch_add(&control->drain_leases, 1); /* D4: after its blocks are taken */
	enter_all(control, op, blocks, got, caller);
	return got;
}

/* From here on returns are watched. */
static void watch_returns(struct mews_control *control, struct operation *op)
{
	bool open = false;
	uint32_t cpu;

	op->cached = false;
	op->detours |= MEWS_DETOUR_WAIT;
	if (!mews_detour_set(control, MEWS_DETOUR_WAIT))
		return;
	for (cpu = 0; cpu < control->sides.count && !open; cpu++)
		open = atomic_load(&control->sides.side[cpu].cache_state) > MEWS_CACHE_CLOSED;
	atomic_store(&control->waiting.leaky, open);
}

/*
 * At the limit, in a pool with an eventfd: arms it, and looks once more, so that the next block that
 * comes back either is found here or makes it readable.
 */
static size_t lease_armed(struct mews_control *control, struct operation *op, void **blocks,
			  size_t count, void *caller, int *error)
{
	atomic_store(&control->waiting.armed, 1);
	watch_returns(control, op);
	return lease_within(control, op, blocks, count, caller, error);
}

size_t mews_slow_lease(struct mews_control *control, void **blocks, size_t count, void *caller)
{
	struct operation op;
	size_t got;
	int error;

	begin(control, &op);
	got = lease_within(control, &op, blocks, count, caller, &error);
	if (got < count && error == ENOBUFS && atomic_load(&control->waiting.event))
		got += lease_armed(control, &op, blocks + got, count - got, caller, &error);
	if (got < count) {
		mews_count(op.pass.side, MEWS_EVENT_FAILURES, 1);
		errno = error;
	}
	end(control, &op);
	return got;
}

void *mews_lease_look(struct mews_control *control, void *caller, int *error)
{
	struct operation op;
	void *block = NULL;

	begin(control, &op);
	lease_within(control, &op, &block, 1, caller, error);
	end(control, &op);
	return block;
}

void *mews_lease_watch(struct mews_control *control, uint32_t cpu, void *caller, int *error)
{
	struct operation op;
	void *block = NULL;

	begin_on(control, &op, cpu, false);
	if (op.state != MEWS_DISPOSED)
		watch_returns(control, &op);
	lease_within(control, &op, &block, 1, caller, error);
	end(control, &op);
	return block;
}

void *mews_lease_accept(struct mews_control *control, uint32_t number, void *caller)
{
	void *block = mews_slabs_block(&control->slabs, number);
	struct operation op;

	begin(control, &op);
	enter_all(control, &op, &block, 1, caller);
	end(control, &op);
	return block;
}

/* In a pool with owners every lease that has none comes here, and finds its hit here. */
static __attribute__((noinline)) size_t lease_missed(struct mews_control *control, void **blocks,
						     size_t count, void *caller)
{
	size_t got = mews_owned(control) ? mews_owned_lease(control, blocks, count) : 0, i;

	for (i = 0; mews_tsan_active() && i < got; i++)
		mews_tsan_acquire(blocks[i]);
	if (got < count)
		got += mews_slow_lease(control, blocks + got, count - got, caller);
	return got;
}

static __attribute__((noinline)) void *lease_slow_one(struct mews_control *control, void *caller)
{
	void *block;

	return lease_missed(control, &block, 1, caller) ? block : NULL;
}

MEWS_API void *mews_lease_slow_2(struct mews_pool *pool)
{
	return lease_slow_one(mews_control_of(pool), CALLER);
}

HOT size_t mews_lease_many(struct mews_pool *pool, void **blocks, size_t count)
{
	size_t got = mews_seq_lease_many(pool, mews_rseq_offset, blocks, at_once(count)), i;

	for (i = 0; mews_tsan_active() && i < got; i++)
		mews_tsan_acquire(blocks[i]);
	if (__builtin_expect(got < count, 0))
		got += lease_missed(mews_control_of(pool), blocks + got, count - got, CALLER);
	return got;
}

/* A block of the CPU's own node: to its cache, by way of an overflow if that is full. */
static void return_home(struct mews_control *control, struct operation *op, void *block)
{
	struct mews_side *side = op->pass.side;
	void *blocks[MEWS_MAGAZINE_MAX];
	size_t count;
	uint32_t depth;

	if (op->cached) {
		mews_count(side, MEWS_EVENT_RETURN_MISSES, 1);
		if (closed(op))
			mews_open_cache(control, op->pass.cpu);
		else if (!op->woken)
			mews_overflow(control, &op->pass, &op->sent);
		op->woken = false; /* from here on, who finds it full makes room */
		mews_stash(control, &block, 1);
		return;
	}
	depth = mews_side_push(&control->sides, &side->local, &block, 1, mews_report_bad, control);
	mews_notice(control);
	if (depth <= control->plan.cache_capacity)
		return;
	count = mews_side_pop(&control->sides, &side->local, blocks, control->plan.magazine);
	if (count)
		mews_give(control, op->pass.cpu, control->plan.cpu_window[op->pass.cpu], blocks,
			  count);
}

/* True where the block was out, as far as this pool can tell. */
static bool leave_ledger(struct mews_control *control, void *block, uint32_t number)
{
	if (control->path != MEWS_PATH_CHECKED)
		return true;
	if (!mews_ledger_clear(control->leased, number)) {
		mews_report(control, MEWS_REPORT_DOUBLE_RETURN, block,
			    "double return: the ledger has this block as free");
		return false;
	}
	mews_asan_hide(block, control->plan.stride);
	mews_valgrind_return(control->pool, block);
	return true;
}

/*
 * To the first who waits, if any. A block that is free by what can be told at once goes the other way,
 * where that is found out.
 */
static bool hand_over(struct mews_control *control, const struct operation *op, const void *block,
		      uint32_t number)
{
	const struct mews_slabs *slabs = &control->slabs;

	return op->detours & MEWS_DETOUR_WAIT && !atomic_load(&control->sides.link[number]) &&
	       !mews_slabs_is_free(slabs, number) &&
	       mews_waiters_hand(mews_waiters_of(&control->waiting,
						 mews_slabs_window_of(slabs, block)), number);
}

/* Routes a block that this operation has in hand and that is a block's start. */
static void put_back(struct mews_control *control, struct operation *op, void *block,
		     uint32_t number)
{
	if (hand_over(control, op, block, number))
		return;
	if (op->state == MEWS_DRAINING) {
		mews_give_to_slabs(control, &block, 1);
		mews_drain_notice(control);
	} else if (mews_slabs_window_of(&control->slabs, block) !=
		   control->plan.cpu_window[op->pass.cpu]) {
		mews_send_home(control, &op->pass, block);
	} else {
		return_home(control, op, block);
	}
}

/* An address that lies in no window. True where an oversize lease ended by it. */
static bool return_outside(struct mews_control *control, struct operation *op, void *block)
{
	if (!block)
		return false;
	mews_samples_return(&control->samples, mews_oversize_number(control, block));
	if (!mews_oversize_return(&control->oversize, block)) {
		mews_report(control, MEWS_REPORT_FOREIGN_POINTER, block,
			    "foreign pointer: no address of this pool");
		return false;
	}
	if (op->state != MEWS_DISPOSED)
		mews_oversize_uncount(&control->oversize);
	if (op->state == MEWS_DRAINING)
		mews_drain_notice(control);
	return true;
}

/* Returns one block. True where something that was out came back. */
static bool return_block(struct mews_control *control, struct operation *op, void *block)
{
	enum mews_verdict verdict;
	uint32_t number;

	if (!mews_slabs_contain(&control->slabs, block))
		return return_outside(control, op, block);
	verdict = mews_slabs_find(&control->slabs, block, &number);
	if (verdict != MEWS_BLOCK_START) {
		mews_report_bad(control, block, verdict);
		return false;
	}
	if (!leave_ledger(control, block, number))
		return false;
	mews_samples_return(&control->samples, number);
	if (op->state == MEWS_DISPOSED)
		return mews_drop(control, block, number);
	put_back(control, op, block, number);
	return true;
}

void mews_slow_return(struct mews_control *control, void *const *blocks, size_t count)
{
	struct operation op;
	size_t back = 0, i, put;
	bool disposed;

	op.sent.count = 0;
	begin(control, &op);
	disposed = op.state == MEWS_DISPOSED;
	for (i = 0; i < count; i += put) {
		put = (i && op.cached) || op.woken ?
			mews_seq_return_many(control->pool, mews_rseq_offset, blocks + i,
					     at_once(count - i)) : 0;
		if (!put) {
			back += return_block(control, &op, blocks[i]);
			put = 1;
		}
	}
	end(control, &op);
	mews_depot_far_slots(&op.sent);
	/* Last: the pool may be gone with the last of its blocks. */
	if (disposed && back)
		mews_release_holders(control, back);
}

MEWS_API void mews_return_slow_2(struct mews_pool *pool, void *block)
{
	struct mews_control *control = mews_control_of(pool);
	int saved = errno;

	if (mews_owned(control))
		mews_owner_give(control, block);
	else
		mews_slow_return(control, &block, 1);
	errno = saved;
}

/*
 * What fits into a cache that was closed or rested, and so looked full. Without it bulk calls of a magazine
 * and more would go by the depot for good, since neither they nor their leases open a cache.
 */
static size_t fill_cache(struct mews_control *control, struct operation *op, void *const *blocks,
			 size_t count)
{
	if (!op->cached || (!op->woken && !closed(op)))
		return 0;
	if (closed(op))
		mews_open_cache(control, op->pass.cpu);
	return mews_seq_return_many(control->pool, mews_rseq_offset, blocks, at_once(count));
}

/* Whole magazines go to the depot without a stop in the cache, as long as it takes them. */
static size_t return_magazines(struct mews_control *control, void *const *blocks, size_t count)
{
	size_t magazine = control->plan.magazine, done, i;
	struct operation op;
	uintptr_t lo, differs;
	uint32_t depot;

	begin(control, &op);
	done = fill_cache(control, &op, blocks, count);
	depot = control->plan.cpu_depot[op.pass.cpu];
	lo = (uintptr_t)control->slabs.start +
		((uintptr_t)control->plan.cpu_window[op.pass.cpu] << control->slabs.window_shift);
	while (op.cached && count - done >= magazine) {
		for (differs = 0, i = 0; i < magazine; i++)
			differs |= (uintptr_t)blocks[done + i] ^ lo;
		if (differs >> control->slabs.window_shift ||
		    !mews_depot_put(&control->depots, depot, blocks + done))
			break;
		done += magazine;
	}
	mews_notice(control);
	end(control, &op);
	return done;
}

static __attribute__((noinline)) void return_rest(struct mews_control *control,
						  void *const *blocks, size_t count)
{
	int saved = errno;
	size_t put = 0;

	if (mews_owned(control))
		for (; put < count; put++)
			mews_owner_give(control, blocks[put]);
	else if (count >= control->plan.magazine)
		put = return_magazines(control, blocks, count);
	if (put < count)
		mews_slow_return(control, blocks + put, count - put);
	errno = saved;
}

HOT void mews_return_many(struct mews_pool *pool, void *const *blocks, size_t count)
{
	size_t put, i;

	for (i = 0; mews_tsan_active() && i < count; i++)
		mews_tsan_release(blocks[i]);
	put = mews_seq_return_many(pool, mews_rseq_offset, blocks, at_once(count));
	if (__builtin_expect(put < count, 0))
		return_rest(mews_control_of(pool), blocks + put, count - put);
}

MEWS_API void *mews_lease_sized(struct mews_pool *pool, size_t bytes)
{
	struct mews_control *control = mews_control_of(pool);
	const struct mews_plan *plan = &control->plan;
	struct mews_place_request request = { .policy = plan->node_policy, .top = plan->page_top };
	struct operation op;
	void *block = NULL;

	if (bytes <= plan->block_size) {
		block = mews_seq_lease(pool, mews_rseq_offset);
		if (!block)
			return lease_slow_one(control, CALLER);
		mews_tsan_acquire(block);
		return block;
	}
	begin(control, &op);
	request.node = plan->window_node[plan->cpu_window[op.pass.cpu]];
	request.bind = plan->nodes > 1;
	if (op.state == MEWS_DISPOSED)
		errno = ESHUTDOWN;
	else if (bytes > plan->oversize_limit)
		errno = EMSGSIZE;
	else
		block = mews_oversize_lease(&control->oversize, bytes, &request);
	if (op.state == MEWS_DRAINING)
		atomic_fetch_add(&control->drain_leases, 1); /* D4 */
	if (block)
		mews_samples_lease_one(&control->samples, &op.pass.side->leases,
				       mews_oversize_number(control, block), CALLER);
	else
		mews_count(op.pass.side, MEWS_EVENT_FAILURES, 1);
	end(control, &op);
	return block;
}
