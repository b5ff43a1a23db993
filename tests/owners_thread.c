/* SPDX-License-Identifier: MIT */
/* Owners and threads: a thread's own, scopes, threads that die, fork, and returns by others. */
#include "owners.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support/threads.h"

#define COUNT 2000

static struct mews_pool *pool;

static void lease_and_keep(int keep)
{
	struct mews_owner *own = mews_owner_thread();
	void *block[20];

	for (int i = 0; i < 20; i++)
		block[i] = owner_lease(pool, own);
	for (int i = keep; i < 20; i++)
		owner_give(pool, own, block[i]);
}

static void *return_from(void *unused)
{
	lease_and_keep(10);
	return unused;
}

static void *exit_from(void *unused)
{
	lease_and_keep(10);
	pthread_exit(unused);
}

static void *wait_for_ever(void *unused)
{
	lease_and_keep(10);
	/* Not in a call that ThreadSanitizer wraps: it would miss what comes after. */
	for (;; sched_yield())
		pthread_testcancel();
	return unused;
}

static pthread_key_t late_key;

/* A destructor of somebody else's, which may run after the library's. */
static void late(void *block)
{
	struct mews_owner *own = mews_owner_thread();

	owner_give(pool, own, block);
	owner_lease(pool, own);
}

static void *end_late(void *unused)
{
	lease_and_keep(0);
	pthread_setspecific(late_key, owner_lease(pool, mews_owner_thread()));
	return unused;
}

static void run_thread(void *(*body)(void *), bool cancel)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, body, NULL), 0);
	if (cancel)
		pthread_cancel(thread);
	pthread_join(thread, NULL);
}

static void test_thread_ends(void **state)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	(void)state;
	pool = owner_pool(COUNT);
	run_thread(return_from, false);
	run_thread(exit_from, false);
	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.owner_returns, 20);
	/* It may be cancelled before it leased, or later. */
	run_thread(wait_for_ever, true);
	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	end_owner_pool(pool, stats.owner_returns);
}

static void test_late_destructor(void **state)
{
	(void)state;
	pool = owner_pool(COUNT);
	assert_int_equal(pthread_key_create(&late_key, late), 0);
	run_thread(end_late, false);
	pthread_key_delete(late_key);
	end_owner_pool(pool, 1);
}

static void test_own(void **state)
{
	struct mews_owner *own = mews_owner_thread();

	(void)state;
	assert_non_null(own);
	assert_ptr_equal(mews_owner_thread(), own);
	pool = owner_pool(COUNT);
	lease_and_keep(7);
	assert_int_equal(mews_owner_end(own), 7);
	assert_ptr_equal(mews_owner_thread(), own);
	end_owner_pool(pool, 7);
}

static void test_scope(void **state)
{
	(void)state;
	pool = owner_pool(COUNT);
	for (int i = 0; i < 1000; i++) {
		struct mews_owner *MEWS_OWNER_SCOPE(outer, "outer");

		assert_non_null(outer);
		assert_non_null(owner_lease(pool, outer));
		if (i % 2) {
			struct mews_owner *MEWS_OWNER_SCOPE(inner, "inner");

			assert_non_null(owner_lease(pool, inner));
			assert_non_null(owner_lease(pool, outer));
		}
	}
	end_owner_pool(pool, 2000);
}

/* Left by longjmp: it ends with the scope around it. */
static void test_scope_jumped_out_of(void **state)
{
	static sigjmp_buf back;
	struct mews_owner *outer = mews_owner_enter("outer"), *inner, *gone = NULL;

	(void)state;
	pool = owner_pool(COUNT);
	if (!sigsetjmp(back, 0)) {
		inner = mews_owner_enter("inner");
		owner_lease(pool, inner);
		siglongjmp(back, 1);
	}
	owner_lease(pool, outer);
	mews_owner_leave(&outer);
	mews_owner_leave(&gone);
	end_owner_pool(pool, 2);
}

static void *scope_and_die(void *unused)
{
	struct mews_owner *scope = mews_owner_enter("never left");

	owner_lease(pool, scope);
	owner_lease(pool, scope);
	return unused;
}

static void test_scope_of_dead_thread(void **state)
{
	(void)state;
	pool = owner_pool(COUNT);
	run_thread(scope_and_die, false);
	end_owner_pool(pool, 2);
}

/* Handed from the one who leases to others, who return while it goes on: the rest comes back. */
#define PASSED 64
static _Atomic(void *) mailbox[PASSED];
static atomic_bool over;
static atomic_size_t returned;

static void *return_what_comes(void *worker)
{
	struct rng *rng = &((struct worker *)worker)->rng;
	void *block;

	while (!atomic_load(&over)) {
		block = atomic_exchange(&mailbox[rng_below(rng, PASSED)], NULL);
		if (block) {
			kind_calls.give(pool, block);
			atomic_fetch_add(&returned, 1);
		}
	}
	return NULL;
}

static void test_others_return(void **state)
{
	struct mews_owner *owner = new_owner("leases");
	struct worker workers[2];
	size_t sent = 0, ended;
	struct rng rng = { 17 };

	(void)state;
	pool = owner_pool(COUNT);
	atomic_store(&over, false);
	atomic_store(&returned, 0);
	threads_start(workers, 2, 18, NULL, return_what_comes);
	for (double end = threads_now() + 0.3; threads_now() < end;) {
		void *block = owner_lease(pool, owner), *old;

		if (!block)
			continue;
		if (rng_below(&rng, 3) == 0) {
			owner_give(pool, owner, block);
			continue;
		}
		sent++;
		old = atomic_exchange(&mailbox[rng_below(&rng, PASSED)], block);
		if (old)
			kind_calls.give(pool, old);
		sent -= old != NULL;
	}
	atomic_store(&over, true);
	threads_join(workers, 2);
	ended = mews_owner_end(owner);
	assert_int_equal(ended, sent - atomic_load(&returned));
	for (int i = 0; i < PASSED; i++)
		atomic_store(&mailbox[i], NULL);
	mews_owner_destroy(owner);
	assert_int_equal(reports, 0);
	end_owner_pool(pool, ended);
}

/*
 * A mistake: others return an owner's leases while it ends. Of the two exactly one gets each block; what
 * is told of it is another test's.
 */
#define LATE 16
static void *late_block[LATE];
static atomic_uint late_round, late_done;

static void *return_late(void *unused)
{
	for (unsigned round = 1;; round++) {
		while (atomic_load(&late_round) < round)
			sched_yield();
		if (atomic_load(&over))
			return unused;
		for (int i = 0; i < LATE; i++)
			kind_calls.give(pool, late_block[i]);
		atomic_store(&late_done, round);
	}
}

static void test_late_returns(void **state)
{
	struct mews_owner *owner = new_owner("late");
	struct mews_stats stats = { .size = sizeof(stats) };
	pthread_t thread;

	(void)state;
	pool = owner_pool(COUNT);
	atomic_store(&over, false);
	atomic_store(&late_round, 0);
	assert_int_equal(pthread_create(&thread, NULL, return_late, NULL), 0);
	for (unsigned round = 1; round <= 500; round++) {
		for (int i = 0; i < LATE; i++)
			late_block[i] = owner_lease(pool, owner);
		atomic_store(&late_round, round);
		mews_owner_end(owner);
		while (atomic_load(&late_done) < round)
			sched_yield();
		if (round % 50 == 0)
			audit_out(pool, NULL, 0);
	}
	atomic_store(&over, true);
	atomic_fetch_add(&late_round, 1);
	pthread_join(thread, NULL);
	mews_owner_destroy(owner);
	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	end_owner_pool(pool, stats.owner_returns);
}

/* In the child the thread that forked goes on with its owner. */
static void test_fork(void **state)
{
	struct mews_owner *owner = new_owner("parent's");
	int status;
	pid_t child;

	(void)state;
	pool = owner_pool(COUNT);
	lease_and_keep(5);
	owner_lease(pool, owner);
	child = fork();
	if (child == 0) {
		if (mews_owner_end(owner) != 1 || mews_owner_end(mews_owner_thread()) != 5)
			_exit(1);
		lease_and_keep(3);
		_exit(mews_owner_end(mews_owner_thread()) == 3 ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(mews_owner_end(owner), 1);
	assert_int_equal(mews_owner_end(mews_owner_thread()), 5);
	mews_owner_destroy(owner);
	end_owner_pool(pool, 6);
}

static struct {
	unsigned calls;
	uint64_t leases;
	struct mews_lease_site last;
} told;

static void on_site(void *unused, const struct mews_lease_site *site)
{
	(void)unused;
	told.calls++;
	told.leases += site->leases;
	told.last = *site;
}

static void ask(int (*report)(struct mews_pool *, void (*)(void *, const struct mews_lease_site *),
			      void *))
{
	told.calls = 0;
	told.leases = 0;
	assert_int_equal(report(pool, on_site, NULL), 0);
}

/* Sampled leases name their owner, and end with it; the audit looks at each record. */
static void test_sampled(void **state)
{
	struct mews_owner *owner = new_owner("request");
	void *block[20];

	(void)state;
	pool = owner_pool(COUNT);
	assert_int_equal(mews_pool_sample_leases(pool, 1), 0);
	for (int i = 0; i < 20; i++)
		block[i] = owner_lease(pool, owner);
	for (int i = 10; i < 20; i++)
		owner_give(pool, owner, block[i]);
	audit_out(pool, block, 10);
	ask(mews_pool_report_leases);
	assert_int_equal(told.leases, 10);
	assert_string_equal(told.last.owner, "request");
	assert_true(told.last.depth > 0);
	ask(mews_pool_report_orphans);
	assert_int_equal(told.calls, 0);
	assert_int_equal(mews_owner_end(owner), 10);
	ask(mews_pool_report_leases);
	assert_int_equal(told.calls, 0);
	kind_calls.give(pool, block[0]);
	assert_int_equal(reports, 1);
	assert_int_equal(reported.kind, MEWS_REPORT_OWNER_ENDED);
	assert_non_null(reported.site);
	assert_int_equal(mews_pool_sample_leases(pool, 0), 0);
	mews_owner_destroy(owner);
	end_owner_pool(pool, 10);
}

static atomic_int stage;

static void *hold_some(void *unused)
{
	lease_and_keep(4);
	atomic_store(&stage, 1);
	while (atomic_load(&stage) == 1)
		threads_sleep(0.001);
	return unused;
}

static void bring_back(void *unused, const struct mews_lease_site *site)
{
	on_site(unused, site);
	mews_return(pool, (void *)site->block);
}

/* In the child of a fork the leases of threads that are not in it are orphans, and can be returned. */
static int look_at_orphans(void)
{
	static const char name[] = "thread ";

	ask(mews_pool_report_orphans);
	if (told.calls != 4 || told.leases != 4 || memcmp(told.last.owner, name, sizeof(name) - 1))
		return 1;
	if (mews_pool_report_orphans(pool, bring_back, NULL))
		return 2;
	ask(mews_pool_report_orphans);
	return told.calls != 0 || mews_owner_end(mews_owner_thread()) != 3 || reports ? 3 : 0;
}

static void test_orphans(void **state)
{
	pthread_t thread;
	int status;
	pid_t child;

	(void)state;
	pool = owner_pool(COUNT);
	atomic_store(&stage, 0);
	assert_int_equal(pthread_create(&thread, NULL, hold_some, NULL), 0);
	while (atomic_load(&stage) == 0)
		threads_sleep(0.001);
	lease_and_keep(3);
	ask(mews_pool_report_orphans);
	assert_int_equal(told.calls, 0);
	child = fork();
	if (child == 0)
		_exit(look_at_orphans());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	ask(mews_pool_report_orphans);
	assert_int_equal(told.calls, 0);
	atomic_store(&stage, 2);
	pthread_join(thread, NULL);
	assert_int_equal(mews_owner_end(mews_owner_thread()), 3);
	end_owner_pool(pool, 7);
}

const struct CMUnitTest owners_thread[] = {
	cmocka_unit_test(test_thread_ends),
	cmocka_unit_test(test_late_destructor),
	cmocka_unit_test(test_own),
	cmocka_unit_test(test_scope),
	cmocka_unit_test(test_scope_jumped_out_of),
	cmocka_unit_test(test_scope_of_dead_thread),
	cmocka_unit_test(test_others_return),
	cmocka_unit_test(test_late_returns),
	cmocka_unit_test(test_fork),
	cmocka_unit_test(test_sampled),
	cmocka_unit_test(test_orphans),
};
const size_t owners_thread_count = sizeof(owners_thread) / sizeof(owners_thread[0]);
