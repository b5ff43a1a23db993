/* SPDX-License-Identifier: MIT */
/* Threads, CPUs and time for the tests, see threads.h. */
#include "threads.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

static pthread_once_t cpus_once = PTHREAD_ONCE_INIT;
static cpu_set_t cpus_mask;
static unsigned cpus_count;
static unsigned cpus_id[THREADS_CPUS_MAX];

static void read_cpus(void)
{
	CHECK(sched_getaffinity(getpid(), sizeof(cpus_mask), &cpus_mask) == 0, "affinity");
	for (unsigned id = 0; id < CPU_SETSIZE && cpus_count < THREADS_CPUS_MAX; id++)
		if (CPU_ISSET(id, &cpus_mask))
			cpus_id[cpus_count++] = id;
}

unsigned threads_cpus(void)
{
	pthread_once(&cpus_once, read_cpus);
	return cpus_count;
}

void threads_pin_other(pid_t tid, unsigned index)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpus_id[index % cpus_count], &one);
	CHECK(sched_setaffinity(tid, sizeof(one), &one) == 0 || errno == ESRCH, "pinning to CPU %u",
	      cpus_id[index % cpus_count]);
}

unsigned threads_pin(unsigned index)
{
	unsigned count = threads_cpus();

	threads_pin_other(0, index);
	return cpus_id[index % count];
}

void threads_unpin(void)
{
	threads_cpus();
	CHECK(sched_setaffinity(0, sizeof(cpus_mask), &cpus_mask) == 0, "unpinning");
}

pid_t threads_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

void threads_start(struct worker *workers, unsigned count, uint64_t seed, void *shared,
		   void *(*body)(void *worker))
{
	for (unsigned i = 0; i < count; i++) {
		struct worker *worker = &workers[i];

		worker->index = i;
		worker->rng.state = seed + 0x1000003u * (i + 1);
		worker->shared = shared;
		CHECK(pthread_create(&worker->thread, NULL, body, worker) == 0, "thread %u", i);
	}
}

void threads_join(struct worker *workers, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		CHECK(pthread_join(workers[i].thread, NULL) == 0, "thread %u", i);
}

void threads_run(unsigned count, uint64_t seed, void *shared, void *(*body)(void *worker))
{
	struct worker *workers = calloc(count, sizeof(*workers));

	CHECK(workers != NULL, "memory for %u workers", count);
	threads_start(workers, count, seed, shared, body);
	threads_join(workers, count);
	free(workers);
}

double threads_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct timespec threads_deadline(double seconds)
{
	double at = threads_now() + seconds;
	struct timespec deadline = { .tv_sec = (time_t)at };

	deadline.tv_nsec = (long)((at - (double)deadline.tv_sec) * 1e9);
	return deadline;
}

void threads_sleep(double seconds)
{
	struct timespec length = { .tv_sec = (time_t)seconds };

	length.tv_nsec = (long)((seconds - (double)length.tv_sec) * 1e9);
	while (nanosleep(&length, &length) != 0)
		;
}
