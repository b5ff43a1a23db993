/* SPDX-License-Identifier: MIT */
/*
 * Exchange (layer 4): see exchange.h. The order in which a miss looks for blocks is the cost of what
 * it finds: the CPU's own depot (pool.c: its L3 may still hold the lines), the node's slabs, its other
 * depots, memory from the node; then, unless the policy is strict, the same of the other nodes
 * by distance; and last, at the limit only, what lies unused in other CPUs' caches.
 */
#include <errno.h>
#include "../numa/kernel.h"
#include "cache.h"
#include "exchange.h"
#include "owned.h"

void mews_report_bad(void *context, const void *block, enum mews_verdict verdict)
{
	static const char *const message[] = {
		[MEWS_BLOCK_START] = "double return: the block was free already",
		[MEWS_BLOCK_INTERIOR] = "interior pointer: not the start of a block",
		[MEWS_BLOCK_FOREIGN] = "foreign pointer: no block was carved there",
	};
	static const enum mews_report_kind kind[] = {
		[MEWS_BLOCK_START] = MEWS_REPORT_DOUBLE_RETURN,
		[MEWS_BLOCK_INTERIOR] = MEWS_REPORT_INTERIOR_POINTER,
		[MEWS_BLOCK_FOREIGN] = MEWS_REPORT_FOREIGN_POINTER,
	};

	mews_report(context, kind[verdict], block, message[verdict]);
}

void mews_give_to_slabs(struct mews_control *control, void *const *blocks, size_t count)
{
	mews_slabs_put(&control->slabs, blocks, count, mews_report_bad, control);
	mews_notice(control);
}

static uint32_t depot_of_window(const struct mews_control *control, uint32_t cpu, uint32_t window)
{
	const struct mews_plan *plan = &control->plan;
	uint32_t depot = plan->cpu_depot[cpu];

	/* Every window has a depot: the search ends. */
	while (plan->depot_window[depot] != window)
		depot = (depot + 1) % plan->depots;
	return depot;
}

void mews_give(struct mews_control *control, uint32_t cpu, uint32_t window, void *const *blocks,
	       size_t count)
{
	uint32_t depot = depot_of_window(control, cpu, window);
	size_t magazine = control->plan.magazine;

	while (count >= magazine && mews_depot_put(&control->depots, depot, blocks)) {
		blocks += magazine;
		count -= magazine;
	}
	/* For the magazines as well. */
	mews_give_to_slabs(control, blocks, count);
}

void mews_stash(struct mews_control *control, void *const *blocks, size_t count)
{
	size_t put = mews_owned(control) ? mews_owned_put(control, blocks, count) :
		     mews_seq_return_many(control->pool, mews_rseq_offset, blocks, count);

	if (put < count)
		mews_give_to_slabs(control, blocks + put, count - put);
}

/* Blocks that can't go to the CPU's own depot as a magazine: it is full, or the thread was moved. */
static void give_loose(struct mews_control *control, uint32_t cpu, void *const *blocks, size_t count)
{
	if (count < control->plan.magazine)
		mews_stash(control, blocks, count); /* the cache was not full after all */
	else
		mews_give(control, cpu, mews_slabs_window_of(&control->slabs, blocks[0]), blocks,
			  count);
}

/* Up to count of this CPU's cache, the coldest first, all of one window. */
static size_t take_cached(struct mews_control *control, void **blocks, size_t count)
{
	size_t got, kept = 0, i;

	if (!mews_owned(control))
		return mews_seq_lease_many(control->pool, mews_rseq_offset, blocks, count);
	/* One by one: the thread may be moved to another node on the way. */
	got = mews_owned_take(control, blocks, count);
	for (i = 0; i < got; i++)
		if (mews_slabs_window_of(&control->slabs, blocks[i]) ==
		    mews_slabs_window_of(&control->slabs, blocks[0]))
			blocks[kept++] = blocks[i];
		else
			mews_give_to_slabs(control, &blocks[i], 1);
	return kept;
}

/* A magazine's slots from the cache without a stop. False where it had less, or of another window. */
static bool fill(struct mews_control *control, const struct mews_pass *pass, void **slots)
{
	uint32_t depot = control->plan.cpu_depot[pass->cpu];
	size_t count = take_cached(control, slots, control->plan.magazine);

	if (count == control->plan.magazine &&
	    mews_slabs_window_of(&control->slabs, slots[0]) == control->depots.depot[depot].window)
		return true;
	give_loose(control, pass->cpu, slots, count);
	return false;
}

/* X1: with a detour that was set meanwhile, one of the two closes this cache: see detour.h. */
static void heed_detours(struct mews_control *control, uint32_t cpu)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&control->detours))
		mews_collect_cache(control, cpu);
}

static void open_cache(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	mews_cache_open(control, cpu, capacity);
	heed_detours(control, cpu);
}

/*
 * Empties a CPU's cache, and opens it with other room: where it begins says how much that is. Returns how
 * many magazines are to leave still: one where someone else is at it, or the kernel refuses a fence.
 */
static size_t resize_cache(struct mews_control *control, uint32_t cpu, uint32_t capacity)
{
	mews_collect_cache(control, cpu);
	open_cache(control, cpu, capacity);
	/* Relaxed: a hint. */
	return atomic_load_explicit(&control->sides.side[cpu].capacity, memory_order_relaxed) != capacity;
}

#define CALM 8          /* overflows: to empty a cache for each would cost more than the room does */

static bool is_calm(struct mews_side *side, bool bursts)
{
	/* Relaxed: a hint. */
	uint32_t calm = bursts ? 0 : atomic_load_explicit(&side->calm, memory_order_relaxed) + 1;

	atomic_store_explicit(&side->calm, calm % CALM, memory_order_relaxed);
	return calm == CALM;
}

/*
 * How many magazines are to leave the CPU's cache. After a miss its threads lease and return in turns, more
 * than it holds: it gets room for as many again, and where it had that, what is too much is little. After
 * an overflow they return what others lease, and what circulates had better stay in L2: after some of
 * those it loses that room. Three of its four leave then, but two where their slots can be sent ahead: a
 * miss there is so short that a smaller one, after which others wait less, does not cost more.
 */
static size_t overflow_magazines(struct mews_control *control, const struct mews_pass *pass)
{
	const struct mews_plan *plan = &control->plan;
	/* Relaxed: hints. */
	bool bursts = atomic_load_explicit(&pass->side->took, memory_order_relaxed);
	uint32_t capacity = atomic_load_explicit(&pass->side->capacity, memory_order_relaxed);
	bool calm = is_calm(pass->side, bursts);

	if (bursts && capacity < plan->cache_most)
		return resize_cache(control, pass->cpu, plan->cache_most);
	if (calm && capacity > plan->cache_capacity)
		return resize_cache(control, pass->cpu, plan->cache_capacity);
	return bursts ? 1 : control->depots.sends ? 2 : 3;
}

/*
 * Puts the first so many of sent's magazines in the depot. They are for others to read where some are gone from
 * there since the last overflow of this CPU, which took none.
 */
static void send_full(struct mews_control *control, const struct mews_pass *pass, struct mews_sent *sent,
		      uint32_t full)
{
	struct mews_side *side = pass->side;
	uint32_t depth = mews_depot_push_full(&control->depots, control->plan.cpu_depot[pass->cpu],
					      sent->magazines, full);
	/* Relaxed: hints. */
	uint32_t before = atomic_load_explicit(&side->depth, memory_order_relaxed);

	atomic_store_explicit(&side->depth, depth, memory_order_relaxed);
	if (control->depots.sends && depth < before + full &&
	    !atomic_load_explicit(&side->took, memory_order_relaxed)) {
		sent->count = full;
		sent->magazine = control->plan.magazine;
	}
}

#define HOT 32          /* what was returned last, which stays; to move more of it costs more than it saves */

void mews_overflow(struct mews_control *control, const struct mews_pass *pass, struct mews_sent *sent)
{
	uint32_t depot = control->plan.cpu_depot[pass->cpu];
	struct mews_magazine *empty = sent->magazines;
	void *hot[HOT], *blocks[MEWS_MAGAZINE_MAX];
	size_t want = overflow_magazines(control, pass), have, count, full = 0, i;

	sent->count = 0;
	if (want == 0)
		return; /* it has room now */
	have = mews_depot_pop_empty(&control->depots, depot, empty, want);
	mews_depot_near_slots(&control->depots, empty, have);
	count = take_cached(control, hot, control->plan.magazine < HOT ? control->plan.magazine : HOT);
	while (full < have && fill(control, pass, empty[full].slots))
		full++;
	if (full)
		send_full(control, pass, sent, full);
	if (full < have)
		mews_depot_push_empty(&control->depots, depot, empty + full, have - full);
	mews_notice(control);
	/* Relaxed: a hint for the next miss. */
	atomic_store_explicit(&pass->side->took, 0, memory_order_relaxed);
	/* The depot is at its capacity: to the slabs. */
	for (i = have; i < want && full == have && fill(control, pass, blocks); i++)
		mews_give_to_slabs(control, blocks, control->plan.magazine);
	mews_stash(control, hot, count);
}

/* Gives blocks of several windows, each window's together. Reorders blocks. */
static void give_mixed(struct mews_control *control, uint32_t cpu, void **blocks, size_t count)
{
	uint32_t window;
	size_t i, same;
	void *swap;

	for (; count; blocks += same, count -= same) {
		window = mews_slabs_window_of(&control->slabs, blocks[0]);
		for (same = 1, i = 1; i < count; i++)
			if (mews_slabs_window_of(&control->slabs, blocks[i]) == window) {
				swap = blocks[same];
				blocks[same++] = blocks[i];
				blocks[i] = swap;
			}
		mews_give(control, cpu, window, blocks, same);
	}
}

void mews_send_home(struct mews_control *control, const struct mews_pass *pass, void *block)
{
	void *blocks[MEWS_MAGAZINE_MAX];
	size_t magazine = control->plan.magazine, count;
	uint32_t depth;

	mews_count(pass->side, MEWS_EVENT_FOREIGN_RETURNS, 1);
	depth = mews_side_push(&control->sides, &pass->side->away, &block, 1, mews_report_bad,
			       control);
	mews_notice(control);
	if (depth < magazine)
		return;
	count = mews_side_pop(&control->sides, &pass->side->away, blocks, magazine);
	give_mixed(control, pass->cpu, blocks, count);
}

void mews_open_cache(struct mews_control *control, uint32_t cpu)
{
	open_cache(control, cpu, control->plan.cache_capacity);
}

bool mews_wake_cache(struct mews_control *control, uint32_t cpu)
{
	bool woken = mews_cache_wake(control, cpu);

	if (woken)
		heed_detours(control, cpu);
	return woken;
}

bool mews_rest_cache(struct mews_control *control, uint32_t cpu)
{
	bool rests = mews_cache_rest(control, cpu);

	if (rests)
		heed_detours(control, cpu);
	return rests;
}

/* One magazine from a depot of the window. */
static bool take_magazine(struct mews_control *control, uint32_t window, void **blocks)
{
	const struct mews_plan *plan = &control->plan;
	uint32_t d;

	for (d = 0; d < plan->depots; d++)
		if (plan->depot_window[d] == window &&
		    mews_depot_take(&control->depots, d, blocks))
			return true;
	return false;
}

/* Free blocks of the window that need no system call: of slabs and depots. */
static size_t fetch_free(struct mews_control *control, const struct mews_pass *pass,
			 uint32_t window, void **blocks, size_t batch)
{
	size_t got = mews_slabs_take(&control->slabs, window, blocks, batch);

	if (got) {
		mews_count(pass->side, MEWS_EVENT_SLAB_HITS, 1);
		return got;
	}
	if (batch >= control->plan.magazine && take_magazine(control, window, blocks)) {
		mews_count(pass->side, MEWS_EVENT_DEPOT_HITS, 1);
		return control->plan.magazine;
	}
	return 0;
}

static size_t grow(struct mews_control *control, const struct mews_pass *pass, uint32_t window,
		   void **blocks, size_t batch, int *error)
{
	size_t got = mews_slabs_grow(&control->slabs, window, blocks, batch, error);

	if (got) {
		mews_count(pass->side, MEWS_EVENT_GROWTHS, 1);
		mews_notice(control);
	}
	return got;
}

/*
 * What others brought since the last look: to this CPU's cache, to its stack, or to where all can take it. The
 * thread may be on another node's CPU meanwhile: that one's blocks are not what it came for.
 */
static size_t look_again(struct mews_control *control, const struct mews_pass *pass, uint32_t window,
			 void **blocks, size_t batch)
{
	size_t got = take_cached(control, blocks, batch);

	if (got && mews_slabs_window_of(&control->slabs, blocks[0]) != window) {
		mews_give_to_slabs(control, blocks, got);
		got = 0;
	}
	if (!got && batch >= control->plan.magazine)
		got = mews_side_pop(&control->sides, &pass->side->local, blocks, batch);
	return got ? got : fetch_free(control, pass, window, blocks, batch);
}

static bool let_in(struct mews_control *control)
{
	uint32_t growers = atomic_load(&control->growers);

	while (growers < control->plan.cpus)
		if (atomic_compare_exchange_weak(&control->growers, &growers, growers + 1))
			return true;
	return false;
}

/* 0 in the child of a fork from within an operation, or another's count: see process.c. */
static void count_out(_Atomic uint32_t *count)
{
	uint32_t now = atomic_load(count);

	while (now && !atomic_compare_exchange_weak(count, &now, now - 1))
		;
}

#define WOKEN 8         /* what one growth brings is enough for some of them, and its place for one */

static void let_out(struct mews_control *control)
{
	int saved = errno;

	count_out(&control->growers);
	/* X2: sees who counted itself before, or that one sees the place. */
	if (atomic_load(&control->crowd))
		mews_kernel->futex_wake((uint32_t *)&control->growers, WOKEN);
	errno = saved;
}

/*
 * Sleeps, if all places are taken, until one that leaves wakes it, but no longer than a nap, since blocks come
 * back unsaid. True where it slept that long.
 */
static bool nap(struct mews_control *control)
{
	const struct timespec length = { .tv_nsec = 900000 };
	int saved = errno;
	bool whole;

	atomic_fetch_add(&control->crowd, 1);
	whole = mews_kernel->futex_wait((uint32_t *)&control->growers, control->plan.cpus, &length) && /* X2 */
		errno != EAGAIN && errno != EINTR;
	count_out(&control->crowd);
	errno = saved;
	return whole;
}

#define PATIENCE_CROWD 100      /* naps since a move of memory ended: 90 ms */
#define PATIENCE_TURNS 1000     /* naps and wakes in all: a second at most */

/*
 * As many grow at a time as there are CPUs to do it. Else each thread that runs while another is
 * preempted in its growth, or waits for memory that comes slowly, backs some as well, and the pool gets far
 * ahead of its need. The others sleep meanwhile: if they looked all the time, those who grow would have to
 * share their CPUs with them. An operation within another does not wait, nor anybody for those who got stuck,
 * nor at the limit, where nobody grows, nor once more who waited before (first). *in: the caller is to
 * let_out.
 */
static size_t grow_in_crowd(struct mews_control *control, const struct mews_pass *pass, uint32_t window,
			    void **blocks, size_t batch, bool first, bool *in, int *error)
{
	uint32_t grown = atomic_load(&control->slabs.grown), now;
	unsigned turns, naps = 0;
	size_t got = 0;

	*in = let_in(control);
	for (turns = 0; first && !got && !*in && naps < PATIENCE_CROWD && turns < PATIENCE_TURNS &&
	     !pass->nested && !mews_slabs_at_limit(&control->slabs); turns++) {
		naps += nap(control);
		got = look_again(control, pass, window, blocks, batch);
		*in = !got && let_in(control);
		now = atomic_load(&control->slabs.grown);
		naps = now == grown ? naps : 0;
		grown = now;
	}
	/* Who was let in for one that left looks at what that one brought. */
	if (!got && *in)
		got = look_again(control, pass, window, blocks, batch);
	return got ? got : grow(control, pass, window, blocks, batch, error);
}

/*
 * Blocks of other nodes, the nearest first; at last, of whatever memory the kernel finds, of each window:
 * one that rests since its node refused may have what is left of the pool, carved but without memory.
 */
static size_t fetch_remote(struct mews_control *control, const struct mews_pass *pass,
			   void **blocks, size_t direct, int *error)
{
	const struct mews_plan *plan = &control->plan;
	const uint32_t *order = plan->window_order + (size_t)plan->cpu_window[pass->cpu] * plan->nodes;
	int refused = 0;
	size_t got = 0;
	uint32_t i;

	if (plan->node_policy == MEWS_NODE_STRICT || plan->nodes == 1)
		return 0;
	for (i = 1; i < plan->nodes && !got; i++)
		got = fetch_free(control, pass, order[i], blocks, direct);
	for (i = 1; i < plan->nodes && !got; i++)
		got = grow(control, pass, order[i], blocks, direct, error);
	if (!got)
		*error = ENOBUFS;
	for (i = 0; i < plan->nodes && !got; i++) {
		got = mews_slabs_grow_anywhere(&control->slabs, order[i], blocks, direct, &refused);
		*error = refused == ENOMEM ? ENOMEM : *error;
	}
	if (got)
		mews_count(pass->side, MEWS_EVENT_REMOTE_NODE, 1);
	return got;
}

size_t mews_collect_depot(struct mews_control *control, uint32_t depot, uint32_t magazines)
{
	void *blocks[MEWS_MAGAZINE_MAX];
	size_t total = 0;

	while (magazines-- && mews_depot_take(&control->depots, depot, blocks)) {
		mews_give_to_slabs(control, blocks, control->plan.magazine);
		total += control->plan.magazine;
	}
	return total;
}

/* Depots whose magazines are larger than what is asked for: through the slabs. */
static size_t empty_depots(struct mews_control *control)
{
	size_t total = 0;
	uint32_t d;

	for (d = 0; d < control->depots.count; d++)
		total += mews_collect_depot(control, d, UINT32_MAX);
	return total;
}

/* Relaxed: a counter, it publishes nothing. */
static void note_for_others(struct mews_control *control, size_t blocks)
{
	if (blocks)
		atomic_fetch_add_explicit(&control->keeping.for_others, blocks, memory_order_relaxed);
}

/* At the limit: what lies unused in caches, side stacks and depots of others. */
static size_t reclaim(struct mews_control *control, const struct mews_pass *pass, void **blocks,
		      size_t direct)
{
	const struct mews_plan *plan = &control->plan;
	const uint32_t *order = plan->window_order + (size_t)plan->cpu_window[pass->cpu] * plan->nodes;
	uint32_t i, reach = plan->node_policy == MEWS_NODE_STRICT ? 1 : plan->nodes;
	size_t got = 0;
	size_t collected = mews_collect_cpus(control);

	collected += empty_depots(control);
	if (!collected)
		return 0;
	note_for_others(control, collected);
	mews_count(pass->side, MEWS_EVENT_RECLAIMS, 1);
	for (i = 0; i < reach && !got; i++)
		got = mews_slabs_take(&control->slabs, order[i], blocks, direct);
	return got;
}

/* One look at everything; first: of this operation. */
static size_t fetch_once(struct mews_control *control, const struct mews_pass *pass, void **blocks,
			 size_t direct, size_t batch, bool first, int *error)
{
	uint32_t window = control->plan.cpu_window[pass->cpu];
	size_t got = fetch_free(control, pass, window, blocks, batch);
	bool in = false;

	if (!got)
		got = grow_in_crowd(control, pass, window, blocks, batch, first, &in, error);
	if (!got)
		got = fetch_remote(control, pass, blocks, direct, error);
	if (in)
		let_out(control);
	if (!got)
		got = reclaim(control, pass, blocks, direct);
	return got;
}

/* traffic: from before; 0 where it was not asked for. */
static bool alone_since(const struct mews_control *control, uint64_t traffic)
{
	return mews_gate_inside(traffic) == 1 && mews_gate_traffic(&control->sides) == traffic;
}

#define PATIENCE_GROWING 10000  /* a second and more: the machine below may have stopped our CPUs */
#define PATIENCE_OTHERS 32

/*
 * At the limit a look may find nothing though blocks are free: another operation had them in hand, on
 * their way from a cache to a slab, or claimed and not backed yet, and may have ended since. So only a
 * look beside which nothing moved is believed. After any other, the CPU goes to those who move, a
 * bounded number of times: they may be preempted for long, or be what this handler interrupted. So may
 * who is between a word of free blocks and the bit that leads to it: the last look is at all words.
 */
size_t mews_fetch(struct mews_control *control, const struct mews_pass *pass, void **blocks,
		  size_t direct, size_t batch, int *error)
{
	struct mews_slabs *slabs = &control->slabs;
	uint64_t traffic;
	uint32_t grown;
	unsigned tries;
	bool growing;
	size_t got;

	for (tries = 0;; tries++) {
		traffic = tries ? mews_gate_traffic(&control->sides) : 0;
		grown = atomic_load(&slabs->grown);
		growing = atomic_load(&slabs->growing) > 0;
		got = fetch_once(control, pass, blocks, direct, batch, !tries, error);
		if (!got && *error == ENOMEM)
			mews_notice(control); /* what was claimed is others' to have */
		if (got || *error != ENOBUFS || tries == PATIENCE_GROWING)
			return got;
		growing |= atomic_load(&slabs->grown) != grown;
		if (tries == PATIENCE_OTHERS && mews_slabs_mend(slabs))
			continue;
		if ((pass->nested || !growing) &&
		    (tries >= PATIENCE_OTHERS || alone_since(control, traffic)))
			return 0;
		mews_pause(tries);
	}
}

size_t mews_collect_stack(struct mews_control *control, struct mews_tagstack *stack)
{
	void *blocks[MEWS_MAGAZINE_MAX];
	size_t count, total = 0;

	while ((count = mews_side_pop(&control->sides, stack, blocks, MEWS_MAGAZINE_MAX))) {
		mews_give_to_slabs(control, blocks, count);
		total += count;
	}
	return total;
}

size_t mews_collect_cache(struct mews_control *control, uint32_t cpu)
{
	void *blocks[MEWS_CACHE_TAKE];
	size_t count, total = 0;
	bool left = false;

	do {
		count = mews_cache_close(control, cpu, blocks, &left);
		if (count)
			mews_give_to_slabs(control, blocks, count);
		total += count;
	} while (left);
	return total;
}

size_t mews_collect_cpu(struct mews_control *control, uint32_t cpu)
{
	struct mews_side *side = &control->sides.side[cpu];
	size_t total = 0;

	if (mews_cache_count(control, cpu))
		total = mews_collect_cache(control, cpu);
	total += mews_collect_stack(control, &side->local);
	return total + mews_collect_stack(control, &side->away);
}

size_t mews_collect_cpus(struct mews_control *control)
{
	size_t total = 0;
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++)
		total += mews_collect_cpu(control, cpu);
	return total;
}

void mews_collect(struct mews_control *control)
{
	size_t total = 0;
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++)
		total += mews_collect_cache(control, cpu);
	total += mews_collect_cpus(control);
	note_for_others(control, total + empty_depots(control));
}

void mews_trim_note(struct mews_control *control, const struct mews_trim *trim)
{
	mews_notice(control); /* while it looked, it had blocks in hand that are free again */
	/* Relaxed: counters, they publish nothing. */
	atomic_fetch_add_explicit(&control->keeping.slab_bytes, trim->slab_bytes,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&control->keeping.part_bytes, trim->part_bytes,
				  memory_order_relaxed);
}
