/* SPDX-License-Identifier: MIT */
/*
 * A program around the pool does what programs do: leases in its constructors, inlines the hit path
 * into cold functions, forks while other threads hold its locks, while their signal handlers lease,
 * and from a report's callback. Each of these once crashed or hung; an alarm ends a hang.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/inline.h>
#include "tests/support/check.h"
#include "tests/support/threads.h"

#define BATCH 600       /* more than two caches: the slow paths are taken */

static struct mews_pool *early_pool;
static void *early_block;

static __attribute__((constructor)) void lease_early(void)
{
	threads_pin(0); /* elsewhere is another cache, or another node */
	if (mews_pool_create(NULL, &early_pool) == 0)
		early_block = mews_lease(early_pool);
}

static __attribute__((cold, noinline)) void return_coldly(struct mews_pool *pool, void *block)
{
	mews_return_inline(pool, block);
}

static __attribute__((cold, noinline)) void *lease_coldly(struct mews_pool *pool)
{
	return mews_lease_inline(pool);
}

static void run_early_and_cold(void)
{
	void *block;

	CHECK(early_block, "a constructor could not lease");
	return_coldly(early_pool, early_block);
	block = lease_coldly(early_pool);
	CHECK(block == early_block, "the cache gave another block than the last");
	mews_return(early_pool, block);
	threads_unpin();
	CHECK(mews_pool_dispose(early_pool) == 0, "dispose");
}

static struct mews_pool *pool;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool stop;

static void take_lock(void)
{
	pthread_mutex_lock(&lock);
}

static void drop_lock(void)
{
	pthread_mutex_unlock(&lock);
}

static void lease_and_return(size_t count)
{
	void *blocks[BATCH];
	size_t i, got = 0;

	for (i = 0; i < count; i++)
		if ((blocks[got] = mews_lease(pool)))
			got++;
	for (i = 0; i < got; i++)
		mews_return(pool, blocks[i]);
}

static void *work_under_lock(void *unused)
{
	while (!stop) {
		take_lock();
		lease_and_return(BATCH);
		drop_lock();
	}
	return unused;
}

static void *work(void *unused)
{
	while (!stop)
		lease_and_return(BATCH);
	return unused;
}

static void on_signal(int number)
{
	(void)number;
	lease_and_return(40);
}

static void *send_signals(void *target)
{
	while (!stop) {
		pthread_kill(*(pthread_t *)target, SIGUSR1);
		usleep(20);
	}
	return NULL;
}

static void fork_often(int count)
{
	int status;
	pid_t child;

	while (count--) {
		child = fork();
		if (child == 0) {
			lease_and_return(BATCH);
			_exit(0);
		}
		CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0,
		      "the child ended with status %x", (unsigned)status);
	}
}

static void open_pool(void)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .mode = MEWS_MODE_WORKSTATION, .max_blocks = 20000,
	};

	stop = false;
	CHECK(mews_pool_create(&config, &pool) == 0, "create");
}

static void close_pool(pthread_t thread)
{
	stop = true;
	pthread_join(thread, NULL);
	CHECK(mews_pool_drain(pool, NULL) == 0 && mews_pool_dispose(pool) == 0, "the end");
}

static void run_locks(int forks)
{
	pthread_t worker;

	open_pool();
	pthread_create(&worker, NULL, work_under_lock, NULL);
	fork_often(forks);
	close_pool(worker);
}

static void run_signals(int forks)
{
	pthread_t worker, sender;
	sigset_t set;

	open_pool();
	signal(SIGUSR1, on_signal);
	pthread_create(&worker, NULL, work, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&sender, NULL, send_signals, &worker);
	fork_often(forks);
	stop = true;
	pthread_join(sender, NULL);
	close_pool(worker);
}

static int reports;

static void fork_in_report(void *context, const struct mews_report *report)
{
	pid_t child = fork();

	(void)context;
	(void)report;
	if (child == 0)
		_exit(7);
	CHECK(child > 0 && waitpid(child, &reports, 0) == child, "fork in a report");
}

static void run_report(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .on_report = fork_in_report };

	CHECK(mews_pool_create(&config, &pool) == 0, "create");
	mews_return(pool, &config);
	CHECK(WIFEXITED(reports) && WEXITSTATUS(reports) == 7, "no report");
	CHECK(mews_pool_drain(pool, NULL) == 0 && mews_pool_dispose(pool) == 0, "the end");
}

int main(void)
{
	/* ThreadSanitizer takes a fifth of a second for a fork. */
	bool few = mews_tsan_active() && !getenv("MEWS_TEST_LONG");
	int forks = few || getenv("MEWS_TEST_SHORT") ? 60 : 300;

	alarm(250);
	pthread_atfork(take_lock, drop_lock, drop_lock);
	run_early_and_cold();
	run_locks(forks);
	run_signals(forks);
	run_report();
	return 0;
}
