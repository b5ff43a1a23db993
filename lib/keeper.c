/* SPDX-License-Identifier: MIT */
/*
 * The keeper (layer 5): see keeper.h. A free block rises from the CPU's cache to its slab, and from
 * there to the system, while it is not used. The keeper looks at a pool eight times in a decay period:
 *
 *   cache      the same as at the last look? It is shut with what it holds, to see who misses it. Still
 *              shut at the next look: its blocks go to their slabs. A CPU that uses it wakes it by one
 *              slow operation, and finds all its blocks.
 *   side stack the same head, hence the same tag: nobody touched it, it goes
 *   depot      as many magazines as it never went below in the last two looks
 *   slabs      as many free blocks as they never went below in the last four looks, less the margin
 *              by which that moved; all of them where use only fell; none where the pool grew
 *
 * So memory that is not used goes back within 7 of 8 looks, and a load that comes and goes keeps what
 * its peaks need. A pool that grows soon after it gave memory back is left alone for a while, longer
 * each time. Invariant: the keeper holds no lock while it works, and nothing that a lease or a return
 * waits for: where it is stopped for ever, few blocks are out of use (docs/architecture.md says which).
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>
#include "../numa/fence.h"
#include "../numa/kernel.h"
#include "cache.h"
#include "exchange.h"
#include "keeper.h"
#include "pressure.h"
#include "process.h"

#define MS INT64_C(1000000)
#define LOOKS_A_DECAY 8
#define STEP_US 1000            /* of the thread, at a time */
#define REST_NS MS              /* between steps that had not enough of it */
#define NEVER INT64_MAX
#define SPLITS 128              /* of 256: half of a slab free, and its huge pages are split */
#define SPLITS_HASTY 32
#define HOLD_LEAST 4
#define HOLD_MOST 32
#define CPUS 8192

static _Atomic uint32_t running;        /* written under the process's lock */
static bool forked;                     /* ThreadSanitizer ends a child that starts a thread */
static _Atomic uint32_t wakes;          /* futex: the thread has a reason to look */
static _Atomic uint32_t hastens;

/* One step at one pool. */
struct step {
	struct mews_control *control;
	const unsigned long *usable;    /* CPUs of this process */
	int64_t now, end;               /* end 0: no bound */
	bool hasty;
	bool used;                      /* not idle: a cache is open, or a stack was touched */
};

static void count(mews_word *word, uint64_t amount)
{
	/* Relaxed: a counter, it publishes nothing. */
	atomic_fetch_add_explicit(word, amount, memory_order_relaxed);
}

static void wake_thread(void)
{
	atomic_fetch_add(&wakes, 1);
	mews_pressure_wake((uint32_t *)&wakes);
}

void mews_keeper_rouse(struct mews_control *control)
{
	int saved = errno;

	if (atomic_exchange(&control->keeping.asleep, 0))
		wake_thread();
	errno = saved;
}

void mews_keeper_hasten(void)
{
	int saved = errno;

	atomic_fetch_add(&hastens, 1);
	wake_thread();
	errno = saved;
}

static bool is_usable(const struct step *step, uint32_t cpu)
{
	const uint32_t bits = 8 * sizeof(unsigned long);

	return cpu < CPUS && step->usable[cpu / bits] >> cpu % bits & 1;
}

/* Changes with whatever a look can see of a CPU's use of its cache. */
static uint64_t trace_of(const struct mews_control *control, uint32_t cpu)
{
	const struct mews_side *side = &control->sides.side[cpu];

	return mews_cache_count(control, cpu) +
		(atomic_load_explicit(&side->event[MEWS_EVENT_LEASE_MISSES], memory_order_relaxed) +
		 atomic_load_explicit(&side->event[MEWS_EVENT_RETURN_MISSES], memory_order_relaxed)) *
		4096;
}

static void look_at_cache(struct step *step, uint32_t cpu, uint64_t *blocks)
{
	struct mews_side *side = &step->control->sides.side[cpu];
	uint32_t state = atomic_load(&side->cache_state);
	uint64_t trace;

	if (state <= MEWS_CACHE_CLOSED)
		return;
	trace = trace_of(step->control, cpu);
	step->used |= state != MEWS_CACHE_RESTING;
	if (state == MEWS_CACHE_RESTING || (trace == side->seen[0] && step->hasty) ||
	    (trace == side->seen[0] && !is_usable(step, cpu)))
		*blocks += mews_collect_cache(step->control, cpu);
	else if (trace == side->seen[0] && mews_rest_cache(step->control, cpu))
		trace = UINT64_MAX; /* woken, it has a look's time before it is tried again */
	side->seen[0] = trace;
}

static void look_at_stack(struct step *step, struct mews_tagstack *stack, uint64_t *seen,
			  uint64_t *blocks)
{
	uint64_t head = atomic_load(&stack->head);

	if (mews_tagstack_top(head) == MEWS_NONE)
		return;
	step->used |= head != *seen;
	if (head == *seen)
		*blocks += mews_collect_stack(step->control, stack);
	*seen = head;
}

static void look_at_cpus(struct step *step)
{
	struct mews_keeping *keeping = &step->control->keeping;
	struct mews_sides *sides = &step->control->sides;
	uint64_t blocks;
	uint32_t cpu;

	for (cpu = 0; cpu < sides->count; cpu++) {
		blocks = 0;
		look_at_cache(step, cpu, &blocks);
		look_at_stack(step, &sides->side[cpu].local, &sides->side[cpu].seen[1], &blocks);
		look_at_stack(step, &sides->side[cpu].away, &sides->side[cpu].seen[2], &blocks);
		count(is_usable(step, cpu) ? &keeping->idle : &keeping->orphaned, blocks);
	}
}

static void look_at_depots(struct step *step)
{
	struct mews_depots *depots = &step->control->depots;
	uint32_t d, low, idle;

	for (d = 0; d < depots->count; d++) {
		low = mews_depot_low(depots, d);
		idle = low < depots->depot[d].low_before ? low : depots->depot[d].low_before;
		depots->depot[d].low_before = low;
		count(&step->control->keeping.depot,
		      mews_collect_depot(step->control, d, step->hasty ? UINT32_MAX : idle));
	}
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What the looks at a window say. */
struct trend {
	uint64_t least, most;
	bool falling;           /* use fell or stayed at each look */
};

static struct trend look_back(const struct mews_window_look *look)
{
	struct trend trend = { .least = look->free[0], .most = look->free[0], .falling = true };
	uint32_t i;

	for (i = 1; i < MEWS_LOOKS; i++) {
		trend.least = least(trend.least, look->free[i]);
		trend.most = look->free[i] > trend.most ? look->free[i] : trend.most;
		trend.falling &= look->free[i] <= look->free[i - 1];
	}
	return trend;
}

/* A growth soon after a trim was thrash: the window is left alone, twice as long as the last time. */
static void note_growth(struct mews_window_look *look, bool grew)
{
	look->since_trim += look->since_trim && look->since_trim < UINT32_MAX;
	look->since_growth += look->since_growth < UINT32_MAX;
	look->hold -= look->hold > 0;
	if (grew) {
		look->since_growth = 0;
		look->give = 0;
		if (look->since_trim && look->since_trim <= 2 * LOOKS_A_DECAY) {
			look->holds = look->holds ? (uint32_t)least(look->holds * 2, HOLD_MOST) :
				HOLD_LEAST;
			look->hold = look->holds;
		}
	} else if (look->since_growth > 2 * HOLD_MOST) {
		look->holds = 0;
	}
}

/* Blocks that the caller wants to be there always. */
static uint64_t spare(const struct mews_control *control, uint32_t window, uint64_t blocks)
{
	const struct mews_window *w = &control->slabs.window[window];
	uint64_t bare = atomic_load(&w->bare_blocks), carved = atomic_load(&w->carved);
	uint64_t have = carved > bare ? carved - bare : 0;

	return have <= w->reserved ? 0 : least(have - w->reserved, blocks);
}

/* Decides how many bytes of a window go back. */
static void look_at_window(struct step *step, uint32_t window)
{
	struct mews_slabs *slabs = &step->control->slabs;
	struct mews_window_look *look = &slabs->window[window].look;
	uint64_t grown = atomic_load(&slabs->window[window].grown), blocks, low;
	bool grew = grown != look->grown;
	struct trend trend;
	uint32_t i;

	for (i = MEWS_LOOKS - 1; i > 0; i--)
		look->free[i] = look->free[i - 1];
	low = mews_slabs_low(slabs, window);
	look->free[0] = grew ? 0 : low;
	look->grown = grown;
	note_growth(look, grew);
	if (look->give || (look->free[0] == look->stuck && !step->hasty)) { /* under way, or in vain */
		look->give = least(look->give, look->free[0] * slabs->stride);
		return;
	}
	look->anew = true;
	trend = look_back(look);
	if (step->hasty)
		blocks = mews_slabs_ready(slabs, window);
	else if (trend.falling)
		blocks = look->hold && step->used ? 0 : trend.least;
	else
		blocks = look->hold || trend.most > 2 * trend.least ? 0 :
			2 * trend.least - trend.most;
	blocks = spare(step->control, window, blocks);
	look->parts = step->hasty || trend.least == trend.most; /* else whole slabs may come to it yet */
	look->give = look->parts ? blocks * slabs->stride :
		blocks / slabs->slab_blocks << slabs->slab_shift;
	/* Where all that is free may go, slabs that are bare, or nearly, do as a whole too. */
	look->all = look->parts && blocks >= mews_slabs_ready(slabs, window) &&
		    !slabs->window[window].reserved;
	if (look->all)
		look->give += slabs->stride * atomic_load(&slabs->window[window].bare_blocks) +
			((uint64_t)1 << slabs->slab_shift);
}

/* What went back was free at each look, and is not any more: no look shall see a use in that. */
static void note_given(struct mews_window_look *look, uint64_t blocks)
{
	uint32_t i;

	look->since_trim = 1;
	for (i = 0; i < MEWS_LOOKS; i++)
		look->free[i] -= least(look->free[i], blocks);
}

/* Gives back what was decided. False where time was up. */
static bool give_back(struct step *step)
{
	struct mews_slabs *slabs = &step->control->slabs;
	struct mews_window_look *look;
	struct mews_trim trim;
	uint64_t given, ready;
	uint32_t i;
	bool late = false;

	for (i = 0; i < slabs->windows && !late; i++) {
		look = &slabs->window[i].look;
		if (!look->give)
			continue;
		trim = (struct mews_trim) { .bytes = look->give, .end = step->end, .within = !look->all,
					    .parts = look->parts, .anew = look->anew,
					    .splits = step->hasty ? SPLITS_HASTY : SPLITS };
		look->anew = false;
		ready = mews_slabs_ready(slabs, i);
		late = mews_slabs_trim(slabs, i, &trim);
		mews_trim_note(step->control, &trim);
		given = trim.slab_bytes + trim.part_bytes;
		if (given)
			note_given(look, ready - least(ready, mews_slabs_ready(slabs, i)));
		look->stuck = late || given || !look->all ? UINT64_MAX : look->free[0];
		look->give = late && given < look->give ? look->give - given : 0;
	}
	return !late;
}

/* Free blocks that stay, since they lie between blocks in use, or on pages that can't be parted. */
static bool nothing_moves(const struct mews_control *control)
{
	const struct mews_window_look *look;
	uint32_t i, j;

	for (i = 0; i < control->slabs.windows; i++) {
		look = &control->slabs.window[i].look;
		/* More than the least of late: what this look has collected, which the next is to see. */
		if (mews_slabs_ready(&control->slabs, i) != look->free[0])
			return false;
		for (j = 1; j < MEWS_LOOKS; j++)
			if (look->free[j] != look->free[0])
				return false;
		if (look->since_trim && look->since_trim <= MEWS_LOOKS)
			return false;
	}
	return true;
}

static bool beside_slabs(const struct mews_control *control)
{
	const struct mews_side *side = control->sides.side;
	uint32_t i;

	for (i = 0; i < control->sides.count; i++, side++)
		if (atomic_load(&side->cache_state) > MEWS_CACHE_CLOSED ||
		    mews_tagstack_top(atomic_load(&side->local.head)) != MEWS_NONE ||
		    mews_tagstack_top(atomic_load(&side->away.head)) != MEWS_NONE)
			return true;
	for (i = 0; i < control->depots.count; i++)
		if (mews_depot_blocks(&control->depots, i))
			return true;
	return false;
}

/*
 * Where there is nothing to give back, and nothing changed, the pool is left alone until an operation
 * misses. Caches are closed, so that none hits. An operation that entered the gate before the second
 * look at the traffic is seen by it; one that enters after reads asleep after we have set it.
 */
static bool fall_asleep(struct step *step, uint64_t traffic)
{
	struct mews_control *control = step->control;

	if (beside_slabs(control) || !nothing_moves(control))
		return false;
	atomic_store(&control->keeping.asleep, 1);
	if (mews_gate_inside(traffic) == 1 && mews_gate_traffic(&control->sides) == traffic)
		return true;
	atomic_store(&control->keeping.asleep, 0);
	return false;
}

static void look_around(struct step *step)
{
	uint32_t i;

	look_at_cpus(step);
	look_at_depots(step);
	for (i = 0; i < step->control->slabs.windows; i++)
		look_at_window(step, i);
}

static int64_t look_interval(const struct mews_keeping *keeping)
{
	int64_t interval = keeping->decay_ms * MS / LOOKS_A_DECAY;

	return interval < MS ? MS : interval;
}

/* When the pool wants its next step. */
static int64_t work(struct step *step)
{
	struct mews_keeping *keeping = &step->control->keeping;
	uint32_t hastened = atomic_load(&hastens);
	int64_t interval = look_interval(keeping);
	uint64_t traffic = mews_gate_traffic(&step->control->sides);

	step->used = false;
	step->hasty = hastened != keeping->hastened;
	if (step->now >= keeping->look || step->hasty) {
		keeping->hastened = hastened;
		keeping->look = step->now + interval;
		look_around(step);
	}
	if (!give_back(step))
		return step->now + (interval < REST_NS ? interval : REST_NS);
	return fall_asleep(step, traffic) ? NEVER : keeping->look;
}

/* One step at a pool whose `busy` is ours. */
static void step_pool(struct step *step)
{
	struct mews_control *control = step->control;
	struct mews_keeping *keeping = &control->keeping;
	struct mews_pass pass = mews_pass_gate(control, mews_fence_current_cpu());
	int64_t start = mews_kernel_now(), length;

	keeping->due = step->now + look_interval(keeping);
	if (atomic_load(&control->state) == MEWS_LIVE)
		keeping->due = work(step);
	length = mews_kernel_now() - start;
	count(&keeping->steps, 1);
	if (length > (int64_t)atomic_load_explicit(&keeping->longest_ns, memory_order_relaxed))
		atomic_store_explicit(&keeping->longest_ns, (uint64_t)length, memory_order_relaxed);
	mews_pass_end(&pass);
}

static bool is_due(struct mews_keeping *keeping, int64_t now, bool thread, int64_t *next)
{
	int64_t due = keeping->due;
	uint32_t idle = 0;

	if ((thread && keeping->by_caller) || keeping->decay_ms == MEWS_DECAY_NEVER)
		return false;
	if (atomic_load(&hastens) != keeping->hastened)
		due = now;
	else if (due == NEVER && !atomic_load(&keeping->asleep)) /* roused */
		due = keeping->look;
	if (due <= now) {
		if (atomic_compare_exchange_strong(&keeping->busy, &idle, 1))
			return true;
		due = now + REST_NS; /* another step, or statistics */
	}
	if (due < *next)
		*next = due;
	return false;
}

/* A pool whose step is due, made busy; NULL and in *next when the next one is. */
static struct mews_control *pick(int64_t now, bool thread, int64_t *next)
{
	struct mews_control *control, *found = NULL;

	*next = NEVER;
	mews_process_lock();
	cds_list_for_each_entry(control, &mews_process_pools, link)
		if (!found && is_due(&control->keeping, now, thread, next))
			found = control;
	mews_process_unlock();
	return found;
}

/*
 * CPUs that the first thread or this one may use: those that are offline are not among them, nor those
 * that left the cpuset. Other threads may have others, whose caches then rest for a shorter time.
 */
static void read_usable(unsigned long *usable)
{
	unsigned long own[CPUS / (8 * sizeof(unsigned long))] = { 0 };
	size_t i;

	if (mews_kernel->sched_getaffinity(getpid(), sizeof(own), (cpu_set_t *)usable) < 0 ||
	    mews_kernel->sched_getaffinity(0, sizeof(own), (cpu_set_t *)own) < 0)
		own[0] = ~0UL;
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		usable[i] |= own[i];
}

/* All steps that are due. Returns when the next one is. */
static int64_t step_all(int64_t end, bool thread)
{
	unsigned long usable[CPUS / (8 * sizeof(unsigned long))] = { 0 };
	struct step step = { .usable = usable, .end = end };
	int64_t next;
	bool first = true;

	for (;;) {
		step.now = mews_kernel_now();
		step.control = pick(step.now, thread, &next);
		if (!step.control)
			return next;
		if (first)
			read_usable(usable);
		first = false;
		step_pool(&step);
		/* Last: a dispose that waits for it frees the pool. */
		atomic_store_explicit(&step.control->keeping.busy, 0, memory_order_release);
		if (end && mews_kernel_now() >= end)
			return step.now + REST_NS;
	}
}

void mews_keeper_leave(struct mews_control *control)
{
	unsigned turn = 0;

	wake_thread(); /* it ends with its last pool */
	while (atomic_load_explicit(&control->keeping.busy, memory_order_acquire))
		mews_pause(turn++);
}

/* Under the process's lock: whether a pool wants the thread. */
static bool wanted(void)
{
	struct mews_control *control;

	cds_list_for_each_entry(control, &mews_process_pools, link)
		if (!control->keeping.by_caller && control->keeping.decay_ms != MEWS_DECAY_NEVER)
			return true;
	return false;
}

#define PATIENCE_HOLD 200       /* turns: some 15 ms */

bool mews_keeper_hold(struct mews_control *control)
{
	uint32_t idle = 0;
	unsigned turn;

	for (turn = 0; turn < PATIENCE_HOLD; turn++, idle = 0) {
		if (atomic_compare_exchange_strong(&control->keeping.busy, &idle, 1))
			return true;
		mews_pause(turn);
	}
	return false;
}

void mews_keeper_resume(struct mews_control *control)
{
	atomic_store_explicit(&control->keeping.busy, 0, memory_order_release);
}

/* False where no pool wants the thread any more: it ends, and the next pool starts another. */
static bool stay(bool refused)
{
	bool stays;

	mews_process_lock();
	stays = wanted() && !refused;
	atomic_store(&running, stays);
	mews_process_unlock();
	return stays;
}

/* False where the kernel refuses to let it sleep: a thread that can't is worse than none. */
static bool sleep_until(int64_t time, uint32_t seen)
{
	int64_t left = time == NEVER ? 0 : time - mews_kernel_now();
	struct timespec step = { .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };

	if (time != NEVER && left <= 0)
		return true;
	return mews_pressure_sleep((uint32_t *)&wakes, seen, time == NEVER ? NULL : &step);
}

static void heed_pressure(void)
{
	if (mews_pressure_look())
		atomic_fetch_add(&hastens, 1);
}

static void *run(void *unused)
{
	bool refused = false;
	uint32_t seen;
	int64_t next;

	while (stay(refused)) {
		seen = atomic_load(&wakes);
		heed_pressure();
		next = step_all(mews_kernel_now() + STEP_US * INT64_C(1000), true);
		refused = !sleep_until(next, seen);
	}
	return unused;
}

int mews_keeper_ensure(void)
{
	int saved = errno, error = 0;

	wake_thread(); /* there may be a new pool */
	if (atomic_load(&running) || (forked && mews_tsan_active()))
		return 0;
	mews_process_lock();
	if (!atomic_load(&running) && wanted()) {
		error = mews_kernel->thread_start("mews-keeper", run) ? -errno : 0;
		atomic_store(&running, !error);
	}
	mews_process_unlock();
	errno = saved;
	return error;
}

bool mews_keeper_runs(void)
{
	return atomic_load(&running);
}

void mews_keeper_child(void)
{
	mews_pressure_child();
	atomic_store(&running, 0);
	forked = true;
}

MEWS_API long mews_keeper_step(unsigned budget_us)
{
	int64_t end = budget_us ? mews_kernel_now() + budget_us * INT64_C(1000) : 0;
	int64_t next, left, longest;
	int state;

	/* A thread that ended in a callback would keep all others from the sources, and forks waiting. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	heed_pressure();
	next = step_all(end, false);
	pthread_setcancelstate(state, NULL);
	longest = mews_pressure_told() ? 1000 : INT_MAX;
	if (next == NEVER)
		return longest;
	left = (next - mews_kernel_now() + MS - 1) / MS;
	return left < 0 ? 0 : left < longest ? left : longest;
}
