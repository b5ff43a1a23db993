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
#include "patience.h"

#define STRETCH 20      /* chunks: some ten microseconds, in which a neighbour seldom comes and goes unseen */
#define LONGER 4        /* times the patience: others' threads stand in the way of the team's looks as well */

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

void perf_pin_to(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

void perf_pin(int i)
{
	cpu_set_t all;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	i %= CPU_COUNT(&all);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || i--)
			continue;
		perf_pin_to(cpu);
		return;
	}
}

static bool is_over(const struct perf_team *team)
{
	/* relaxed: only the end depends on it */
	return atomic_load_explicit(&team->stop, memory_order_relaxed);
}

/*
 * Two of a team are each other's neighbours where their CPUs are halves of one core. So what a core can do is
 * found beside a team that does the same on the other CPUs: less than that is somebody else's doing.
 */
static struct perf_widest beside_team;

static struct perf_widest *widest_of(const struct perf_team *team)
{
	return team->threads > 1 ? &beside_team : &perf_widest;
}

static uint64_t chunk_look_around(struct perf_member *member)
{
	(void)member;
	perf_look_around(&beside_team);
	return 1;
}

static void get_ready_to_look(const struct perf_team *team)
{
	struct perf_team all = { .threads = perf_cpus(), .chunk = chunk_look_around };

	if (widest_of(team)->width > 0)
		return;
	if (team->threads > 1)
		perf_team_run(&all);
	else
		perf_look_around(&perf_widest);
	free(all.member);
}

/* So many chunks without a stop, between two looks if the team wants them. */
static void stretch(struct perf_member *member, uint64_t chunks)
{
	struct perf_team *team = member->team;
	struct perf_look before = { 0 }, after;
	uint64_t operations = 0;
	double cpu;

	if (team->looks)
		before = perf_look();
	cpu = perf_cpu_ns(false);
	for (; chunks && !is_over(team); chunks--)
		operations += team->chunk(member);
	cpu = perf_cpu_ns(false) - cpu;
	member->operations += operations;
	member->cpu_seconds += cpu / 1e9;
	if (!team->looks)
		return;
	after = perf_look();
	if (perf_alone_between(widest_of(team), &before, &after)) {
		atomic_fetch_add(&team->alone_operations, operations);
		atomic_fetch_add(&team->alone_ns, (uint64_t)cpu);
	}
}

bool perf_team_alone(const struct perf_team *team)
{
	return (double)atomic_load(&team->alone_ns) >= team->seconds * 1e9 / 10;
}

static void *member_thread(void *arg)
{
	struct entry *entry = arg;
	struct perf_member *member = entry->member;
	struct perf_team *team = member->team;

	if (team->cpu >= 0)
		perf_pin(team->cpu + member->index);
	if (team->backend)
		team->backend->enter();
	if (team->prepare)
		team->prepare(member);
	pthread_barrier_wait(&entry->gate->ready);
	member->start = perf_ticks();
	while (!is_over(team))
		stretch(member, team->looks ? STRETCH : UINT64_MAX);
	member->end = perf_ticks();
	pthread_barrier_wait(&entry->gate->ready);
	if (team->finish)
		team->finish(member);
	if (team->backend)
		team->backend->leave();
	return NULL;
}

static void pause_for(double seconds)
{
	struct timespec pause = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	while (nanosleep(&pause, &pause) && errno == EINTR)
		;
}

static void wait_and_stop(struct perf_team *team, struct gate *gate)
{
	pthread_barrier_wait(&gate->ready);
	pause_for(team->seconds);
	for (double left = LONGER * perf_patience_ns() / 1e9;
	     left > 0 && team->looks && !perf_team_alone(team); left -= team->seconds)
		pause_for(team->seconds);
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
	atomic_store(&team->alone_operations, 0);
	atomic_store(&team->alone_ns, 0);
	perf_ticks_a_ns();
	if (team->looks)
		get_ready_to_look(team);
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
