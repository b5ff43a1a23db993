/* SPDX-License-Identifier: MIT */
/*
 * What a process has once (layer 5): see process.h.
 *
 * fork copies the address space page by page while the other threads run: a block that moves from a
 * cache to a depot meanwhile may be in both, or in neither, in the child. So a fork freezes each
 * pool: it shuts the caches, and operations wait at the gate until it is over, as their page faults
 * wait in the kernel. The forking thread itself does not: its signal handlers may lease and return.
 * What other threads have in hand at that moment is out for ever in the child.
 *
 * hugetlb pages are shared mappings, so that the kernel can't refuse the child or the parent a copy:
 * the child copies what of it is in use, once, and the parent waits for that.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include "../numa/fence.h"
#include "../numa/kernel.h"
#include "../numa/place.h"
#include "cache.h"
#include "keeper.h"
#include "owner.h"
#include "process.h"
#include "sites.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
CDS_LIST_HEAD(mews_process_pools);
static struct mews_topology *topology;
static unsigned topology_users;
static uint32_t generation; /* changes in the child of a fork, while it has one thread */
/* Operations of this thread inside a gate: more than one where a handler or a callback interrupts. */
static __thread unsigned inside __attribute__((tls_model("initial-exec")));
static __thread bool cancellable __attribute__((tls_model("initial-exec")));
static _Atomic pthread_t forker; /* valid while a pool is frozen */
/* A word that parent and child share while a child copies hugetlb pages; NULL where none are. */
static uint32_t *copied;

void mews_process_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void mews_process_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

int mews_process_topology(const struct mews_topology **out)
{
	int error = 0;

	pthread_mutex_lock(&mutex);
	if (!topology)
		error = mews_topology_load(MEWS_TOPOLOGY_MACHINE, NULL, &topology);
	if (!error) {
		topology_users++;
		*out = topology;
	}
	pthread_mutex_unlock(&mutex);
	return error;
}

void mews_process_topology_release(void)
{
	pthread_mutex_lock(&mutex);
	if (--topology_users == 0) {
		mews_topology_free(topology);
		topology = NULL;
	}
	pthread_mutex_unlock(&mutex);
}

static uint64_t hugetlb_bytes(const struct mews_control *control)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < control->slabs.windows; i++)
		bytes += atomic_load(&control->slabs.window[i].backed_1g) +
			 atomic_load(&control->slabs.window[i].backed_2m);
	return bytes;
}

/*
 * Not for the forker itself, and, while the fork waits for those inside, not for an operation within
 * another of the same thread, which it may be waiting for.
 */
static bool frozen_for_me(struct mews_control *control)
{
	uint32_t frozen = atomic_load(&control->frozen);

	/* Relaxed: a forker of another fork than the one that froze makes for one more look. */
	return frozen && (inside == 1 || frozen == MEWS_FROZEN) &&
	       !pthread_equal(atomic_load_explicit(&forker, memory_order_relaxed), pthread_self());
}

/*
 * Until the fork is over: then inside. A lease that gets its block keeps errno. Without signals: the fork
 * does not wait for who waits for it, nor for the operation of a handler within that.
 */
static __attribute__((noinline)) void wait_for_fork(struct mews_control *control, uint32_t cpu,
						    struct mews_pass *pass)
{
	const struct timespec step = { .tv_nsec = 1000000 };
	sigset_t all, before;
	uint32_t frozen;
	int saved = errno;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	do {
		mews_gate_leave(pass);
		frozen = atomic_load(&control->frozen);
		if (frozen)
			mews_kernel->futex_wait((uint32_t *)&control->frozen, frozen, &step);
		*pass = mews_gate_enter(&control->sides, cpu);
	} while (frozen_for_me(control));
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = saved;
}

void mews_process_cancellable(bool is)
{
	atomic_signal_fence(memory_order_seq_cst);
	cancellable = is;
	atomic_signal_fence(memory_order_seq_cst);
}

/* By its type: a cancellation that is on its way asks for that alone, in glibc before 2.41. */
static bool hold_cancellation(void)
{
	int type;

	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	return type == PTHREAD_CANCEL_ASYNCHRONOUS;
}

void mews_pass_enter(struct mews_control *control, uint32_t cpu, struct mews_pass *pass)
{
	bool held = __builtin_expect(cancellable, 0) && hold_cancellation();

	inside++; /* before the gate: a handler between the two must not wait for this one's fork */
	*pass = mews_gate_enter(&control->sides, cpu);
	if (__builtin_expect(frozen_for_me(control), 0))
		wait_for_fork(control, cpu, pass);
	pass->generation = generation;
	pass->nested = inside > 1;
	pass->held = held;
}

void mews_pass_end(struct mews_pass *pass)
{
	/* Else: a fork from within this operation, whose child has counts of its own. */
	if (pass->generation == generation)
		mews_gate_leave(pass);
	inside--;
	if (__builtin_expect(pass->held, 0))
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
}

static void shut_caches(struct mews_control *control)
{
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++)
		mews_cache_freeze(control, cpu);
}

/*
 * In phases, all pools in each: an operation on one may wait for its pool to thaw inside another's.
 * A fork from within an operation (a report's callback) can't wait for itself: its child has what it
 * gets, and may exec or end.
 */
static void freeze_all(void)
{
	struct mews_control *control;

	/* Sequentially consistent, before the gate is looked at: see side.h. */
	cds_list_for_each_entry(control, &mews_process_pools, link)
		atomic_store(&control->frozen, MEWS_FREEZING);
	if (!inside)
		cds_list_for_each_entry(control, &mews_process_pools, link)
			mews_gate_wait(&control->sides);
	cds_list_for_each_entry(control, &mews_process_pools, link)
		atomic_store(&control->frozen, MEWS_FROZEN);
	cds_list_for_each_entry(control, &mews_process_pools, link)
		shut_caches(control);
}

static void thaw(struct mews_control *control)
{
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++)
		mews_cache_thaw(control, cpu);
	atomic_store(&control->frozen, MEWS_THAWED);
	mews_kernel->futex_wake((uint32_t *)&control->frozen, INT_MAX);
}

static void before_fork(void)
{
	struct mews_control *control;
	uint64_t shared = 0;
	void *word;

	pthread_mutex_lock(&mutex);
	atomic_store(&forker, pthread_self());
	freeze_all();
	cds_list_for_each_entry(control, &mews_process_pools, link)
		shared += hugetlb_bytes(control);
	word = shared ? mews_kernel->mmap(NULL, sizeof(*copied), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
	copied = word == MAP_FAILED ? NULL : word;
}

/* Up to a second: a child that was killed before it copied must not hold its parent. */
static void wait_for_child(void)
{
	const struct timespec step = { .tv_nsec = 100000 };
	int steps;

	for (steps = 0; steps < 10000 && !__atomic_load_n(copied, __ATOMIC_ACQUIRE); steps++)
		mews_kernel->futex_wait(copied, 0, &step); /* to sleep: no cancellation point */
}

static void drop_word(void)
{
	mews_kernel->munmap(copied, sizeof(*copied));
	copied = NULL;
}

static void in_parent(void)
{
	struct mews_control *control;

	if (copied) {
		wait_for_child();
		drop_word();
	}
	cds_list_for_each_entry(control, &mews_process_pools, link)
		thaw(control);
	pthread_mutex_unlock(&mutex);
}

/* The parent's eventfd is the parent's: what is written to it here would be read there. */
static void forget_event(struct mews_control *control)
{
	uint32_t event = atomic_exchange(&control->waiting.event, 0);

	if (event)
		mews_kernel->close((int)event - 1);
}

/* The threads that passed the gate, or drained, or waited, are not here. */
static void forget_threads(struct mews_control *control)
{
	uint32_t draining = MEWS_DRAINING;

	mews_gate_reset(&control->sides);
	atomic_store(&control->growers, 0);
	atomic_store(&control->crowd, 0);
	mews_sites_in_child(control);
	mews_waiters_reset(&control->waiting);
	atomic_fetch_and(&control->detours, ~(uint32_t)MEWS_DETOUR_WAIT);
	forget_event(control);
	atomic_store(&control->draining, 0);
	atomic_store(&control->keeping.busy, 0);
	atomic_store(&control->keeping.asleep, 0);
	atomic_compare_exchange_strong(&control->state, &draining, MEWS_LIVE);
	if (atomic_load(&control->state) != MEWS_DISPOSED)
		atomic_store(&control->holders, MEWS_HOLDERS_BIAS);
}

/* A pool whose free blocks are the parent's too must not lease them: its caches stay shut. */
static void revive(struct mews_control *control)
{
	forget_threads(control);
	if (hugetlb_bytes(control) && !mews_slabs_privatize(&control->slabs))
		atomic_store(&control->state, MEWS_DISPOSED);
	else
		thaw(control);
	atomic_store(&control->frozen, MEWS_THAWED);
}

static void in_child(void)
{
	char reason[sizeof(((struct mews_control *)0)->path_reason)];
	struct mews_control *control;

	/* Registers the child with membarrier, in case the kernel did not copy that. */
	mews_fence_available(reason, sizeof(reason));
	generation++;
	mews_owner_child();
	if (!inside)
		mews_owner_pools_child();
	mews_keeper_child();
	mews_samples_in_child();
	cds_list_for_each_entry(control, &mews_process_pools, link)
		revive(control);
	if (copied) {
		__atomic_store_n(copied, 1, __ATOMIC_RELEASE);
		drop_word();
	}
	pthread_mutex_unlock(&mutex);
}

void mews_process_enter(struct mews_control *control)
{
	pthread_mutex_lock(&mutex);
	cds_list_add(&control->link, &mews_process_pools);
	pthread_mutex_unlock(&mutex);
}

void mews_process_leave(struct mews_control *control)
{
	pthread_mutex_lock(&mutex);
	cds_list_del(&control->link);
	pthread_mutex_unlock(&mutex);
}

/*
 * First of all constructors, so that before a fork the handler is the last to run, and after it the
 * first: other handlers may want locks whose holders wait for a pool to thaw.
 */
static __attribute__((constructor(101))) void install_handlers(void)
{
	pthread_atfork(before_fork, in_parent, in_child);
}
