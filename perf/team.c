/* SPDX-License-Identifier: MIT */
/*
 * A team of threads under the clock (layer 6), see measure.h. Invariant: nobody starts before all
 * are prepared, and each reads the clock itself when it starts, since with more threads than CPUs
 * the one that let them go may not run for a while.
 */
#include "measure.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"

struct gate {
	pthread_barrier_t ready;
};

struct entry {
	struct perf_member *member;
	struct gate *gate;
	pthread_t thread;
};

int perf_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
}

void perf_pin(int i)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	i %= CPU_COUNT(&all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || i--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

static void *member_thread(void *arg)
{
	struct entry *entry = arg;
	struct perf_member *member = entry->member;
	struct perf_team *team = member->team;
	double cpu;

	if (team->cpu >= 0)
		perf_pin(team->cpu + member->index);
	if (team->backend)
		team->backend->enter();
	if (team->prepare)
		team->prepare(member);
	pthread_barrier_wait(&entry->gate->ready);
	cpu = perf_cpu_ns(false);
	member->start = perf_ticks();
	/* relaxed: only the end depends on it */
	while (!atomic_load_explicit(&team->stop, memory_order_relaxed))
		member->operations += team->chunk(member);
	member->end = perf_ticks();
	member->cpu_seconds = (perf_cpu_ns(false) - cpu) / 1e9;
	pthread_barrier_wait(&entry->gate->ready);
	if (team->finish)
		team->finish(member);
	if (team->backend)
		team->backend->leave();
	return NULL;
}

static void wait_and_stop(struct perf_team *team, struct gate *gate)
{
	struct timespec pause = { (time_t)team->seconds,
		(long)((team->seconds - (double)(time_t)team->seconds) * 1e9) };

	pthread_barrier_wait(&gate->ready);
	while (nanosleep(&pause, &pause) && errno == EINTR)
		;
	atomic_store(&team->stop, true);
	pthread_barrier_wait(&gate->ready);
}

static void add_up(struct perf_team *team)
{
	uint64_t start = UINT64_MAX, end = 0;

	team->operations = 0;
	team->cpu_seconds = 0;
	for (int i = 0; i < team->threads; i++) {
		const struct perf_member *member = &team->member[i];

		start = member->start < start ? member->start : start;
		end = member->end > end ? member->end : end;
		team->operations += member->operations;
		team->cpu_seconds += member->cpu_seconds;
	}
	team->wall = (double)(end - start) / perf_ticks_a_ns() / 1e9;
}

int perf_team_run(struct perf_team *team)
{
	struct entry *entry = calloc(team->threads, sizeof(*entry));
	struct gate gate;

	team->member = calloc(team->threads, sizeof(*team->member));
	if (!entry || !team->member) {
		free(entry);
		return -ENOMEM;
	}
	atomic_store(&team->stop, false);
	perf_ticks_a_ns();
	pthread_barrier_init(&gate.ready, NULL, team->threads + 1);
	for (int i = 0; i < team->threads; i++) {
		team->member[i].team = team;
		team->member[i].index = i;
		team->member[i].local.stop = &team->stop;
		entry[i] = (struct entry){ .member = &team->member[i], .gate = &gate };
		/* The barrier counts on every thread: there is no way on with fewer. */
		if (pthread_create(&entry[i].thread, NULL, member_thread, &entry[i]))
			abort();
	}
	wait_and_stop(team, &gate);
	for (int i = 0; i < team->threads; i++)
		pthread_join(entry[i].thread, NULL);
	pthread_barrier_destroy(&gate.ready);
	free(entry);
	add_up(team);
	return 0;
}
