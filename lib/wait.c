/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a block (layer 5): mews_lease_wait, and the eventfd for those who wait for it with other
 * things. What makes it fair, and why no wake-up is lost, stands in waiters.h. Invariant: a waiter holds
 * the pool, and who leaves by any way (a block, its deadline, cancellation) leaves no block behind.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include "../numa/fence.h"
#include "../numa/kernel.h"
#include "drain.h"
#include "ledger.h"
#include "owned.h"
#include "process.h"
#include "wait.h"

#define NS INT64_C(1000000000)
#define STEP_NS INT64_C(10000000)       /* between looks of a waiter whom not every return can see */

struct waiter {
	struct mews_control *control;
	struct mews_waiters *queue;
	const struct timespec *deadline;
	void *caller;
	uint32_t cpu;                   /* of whose node its queue is */
	uint64_t ticket;
	bool entered, left;
	bool by_clock;
	void *block;
	int error;
};

static void hold(struct mews_control *control)
{
	atomic_fetch_add(&control->holders, 1);
}

/* Counted once it is in the queue, so that who sees it counted comes after it. */
static void enter(struct waiter *w)
{
	w->entered = mews_waiters_enter(w->queue, &w->ticket);
	atomic_fetch_add(&w->control->waiting.now, 1);
}

static int64_t now_ns(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS + now.tv_nsec;
}

static bool valid(const struct timespec *deadline)
{
	return !deadline || (deadline->tv_sec >= 0 && deadline->tv_sec < INT64_MAX / NS / 2 &&
			     deadline->tv_nsec >= 0 && deadline->tv_nsec < NS);
}

/* Nanoseconds to the deadline, and at most `most`; 0 or less: it is over. */
static int64_t time_left(const struct waiter *w, int64_t most)
{
	int64_t left;

	if (!w->deadline)
		return most;
	left = w->deadline->tv_sec * NS + w->deadline->tv_nsec - now_ns();
	return left < most ? left : most;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec) { .tv_sec = ns / NS, .tv_nsec = ns % NS };
}

/*
 * The one place where a waiter can be cancelled. Nothing is done here but the call, and whatever the
 * queue did meanwhile, abandon() finds it.
 */
static void sleep_on(uint32_t *word, uint32_t expected, int64_t ns)
{
	const struct timespec step = to_timespec(ns);
	int type;

	mews_process_cancellable(true);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	mews_kernel->futex_wait(word, expected, &step);
	pthread_setcanceltype(type, NULL);
	mews_process_cancellable(false);
}

/* Leaves the queue, with the block that was handed over, if one was; looked_up: one found by a look. */
static void leave(struct waiter *w, void *looked_up, int error)
{
	struct mews_control *control = w->control;
	uint32_t value = MEWS_TURN_EMPTY;

	if (w->entered)
		value = mews_waiters_leave(w->queue, w->ticket);
	w->left = true;
	w->error = error;
	w->block = looked_up;
	if (value >= MEWS_TURN_HANDED) {
		atomic_fetch_add(&control->waiting.handovers, 1);
		w->block = mews_lease_accept(control, value - MEWS_TURN_HANDED, w->caller);
	}
	if (looked_up && w->block != looked_up)
		mews_return(control->pool, looked_up);
	mews_waiters_stir(&control->waiting);
	if (value < MEWS_TURN_HANDED || looked_up)
		mews_waiters_notice(control);
}

/* Where a limit in bytes is what stands in the way, other pools may make room: nobody tells of it. */
static bool must_look_by_clock(const struct mews_control *control)
{
	return atomic_load(&control->waiting.leaky) || !mews_slabs_at_limit(&control->slabs);
}

static void look(struct waiter *w)
{
	int error = 0;
	void *block;

	if (w->entered && !mews_waiters_is_first(w->queue, w->ticket))
		return;
	block = mews_lease_watch(w->control, w->cpu, w->caller, &error);
	if (block || error != ENOBUFS)
		leave(w, block, error);
	else
		w->by_clock = must_look_by_clock(w->control);
}

static void sleep_in_turn(struct waiter *w)
{
	int64_t most = w->by_clock ? STEP_NS : INT64_MAX / 2, left = time_left(w, most);

	if (left <= 0) {
		leave(w, NULL, ETIMEDOUT);
		return;
	}
	sleep_on(mews_waiters_word(w->queue, w->ticket), MEWS_TURN_WAITING, left);
	if (w->by_clock)
		mews_waiters_change(w->queue, w->ticket, MEWS_TURN_WAITING, MEWS_TURN_LOOK);
}

/*
 * A signal handler that interrupted the sleep has forked, and this is the child: its queue is a new one,
 * and nobody holds its pool.
 */
static void enter_again(struct waiter *w)
{
	hold(w->control);
	enter(w);
}

/* One step of a waiter that has a ticket. */
static void take_turn(struct waiter *w)
{
	uint32_t value = mews_waiters_value(w->queue, w->ticket);

	if (value >= MEWS_TURN_HANDED)
		leave(w, NULL, 0);
	else if (value == MEWS_TURN_EMPTY)
		enter_again(w);
	else if (value == MEWS_TURN_WAITING)
		sleep_in_turn(w);
	else if (mews_waiters_change(w->queue, w->ticket, MEWS_TURN_LOOK, MEWS_TURN_WAITING))
		look(w);
}

/* The ring is full: some waiter of 65,536 tickets ago still waits. Looks by the clock, out of turn. */
static void wait_outside(struct waiter *w)
{
	int64_t left = time_left(w, STEP_NS / 10);
	uint32_t word = 0;

	look(w);
	if (!w->left && left <= 0)
		leave(w, NULL, ETIMEDOUT);
	else if (!w->left)
		sleep_on(&word, 0, left);
}

static void wait_in_turn(struct waiter *w)
{
	while (!w->left) {
		if (!w->entered)
			w->entered = mews_waiters_enter(w->queue, &w->ticket);
		(w->entered ? take_turn : wait_outside)(w);
	}
}

static void let_go(struct mews_control *control)
{
	atomic_fetch_sub(&control->waiting.now, 1);
	mews_release_holders(control, 1);
}

/* The thread was cancelled while it slept. */
static void abandon(void *argument)
{
	struct waiter *w = argument;

	mews_asan_unwound();
	mews_process_cancellable(false);
	if (!w->left)
		leave(w, NULL, ECANCELED);
	if (w->block)
		mews_return(w->control->pool, w->block);
	let_go(w->control);
}

static void count_wait(struct mews_waiting *waiting, const struct waiter *w, uint64_t ns)
{
	uint64_t longest = atomic_load(&waiting->longest);

	atomic_fetch_add(&waiting->waits, 1);
	atomic_fetch_add(&waiting->nanoseconds, ns);
	if (!w->block && w->error == ETIMEDOUT)
		atomic_fetch_add(&waiting->timeouts, 1);
	while (ns > longest && !atomic_compare_exchange_weak(&waiting->longest, &longest, ns))
		;
}

static void *wait_for_block(struct waiter w, int *error)
{
	struct mews_control *control = w.control;
	int64_t start = now_ns();

	hold(control);
	pthread_cleanup_push(abandon, &w);
	enter(&w);
	wait_in_turn(&w);
	pthread_cleanup_pop(0);
	count_wait(&control->waiting, &w, (uint64_t)(now_ns() - start));
	let_go(control);
	*error = w.error;
	return w.block;
}

static uint32_t own_cpu(const struct mews_control *control)
{
	uint32_t cpu = mews_fence_current_cpu();

	return cpu < control->sides.count ? cpu : 0;
}

/* A block of this CPU's cache. */
static void *hit(struct mews_control *control)
{
	void *block;

	if (!mews_owned(control))
		return mews_seq_lease(control->pool, mews_rseq_offset);
	return mews_owned_lease(control, &block, 1) ? block : NULL;
}

/* Unless others wait: they come first. */
static void *lease_at_once(const struct waiter *w, int *error)
{
	void *block = NULL;

	*error = ENOBUFS;
	if (mews_waiters_any(w->queue))
		return NULL;
	block = hit(w->control);
	if (!block)
		return mews_lease_look(w->control, w->caller, error);
	mews_tsan_acquire(block);
	return block;
}

static __attribute__((noinline)) void *lease_or_wait(struct mews_control *control,
						     const struct timespec *deadline, void *caller)
{
	struct waiter w = { .control = control, .cpu = own_cpu(control), .deadline = deadline,
			    .caller = caller };
	int saved = errno, error = EINVAL, type;
	void *block = NULL;

	w.queue = mews_waiters_of(&control->waiting, control->plan.cpu_window[w.cpu]);
	if (valid(deadline))
		block = lease_at_once(&w, &error);
	if (!block && error == ENOBUFS) {
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
		block = wait_for_block(w, &error);
		pthread_setcanceltype(type, NULL);
	}
	errno = block ? saved : error;
	return block;
}

/* Has no locals: AddressSanitizer would have them guarded in a thread that is cancelled here. */
MEWS_API void *mews_lease_wait(struct mews_pool *pool, const struct timespec *deadline)
{
	pthread_testcancel();
	return lease_or_wait(mews_control_of(pool), deadline,
			     __builtin_extract_return_addr(__builtin_return_address(0)));
}

MEWS_API int mews_pool_pressure_fd(struct mews_pool *pool)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	uint32_t none = 0;
	int fd;

	if (!pool)
		return -EINVAL;
	if (atomic_load(&control->state) == MEWS_DISPOSED)
		return -ESHUTDOWN;
	if (atomic_load(&control->waiting.event))
		return (int)atomic_load(&control->waiting.event) - 1;
	fd = mews_kernel->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (atomic_compare_exchange_strong(&control->waiting.event, &none, (uint32_t)fd + 1))
		return fd;
	mews_kernel->close(fd);
	return (int)none - 1;
}
