/* SPDX-License-Identifier: MIT */
/*
 * The workloads of many threads (layer 6): replacement, hand-over, a server's pattern, tails.
 * Called by main.c. Reported are slot_ns (wall x min(threads, CPUs) / operations), which says what
 * a CPU gives, and cpu_ns (CPU time / operations), which other processes disturb less: where the team
 * looks, of what it did beside nobody, or, where that is too little (crowded), of all.
 */
#include "workloads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "measure.h"
#include "ring.h"
#include "tail.h"

#define SECONDS (perf_smoke() ? 0.002 : 0.1)
#define REPLACE_HELD 32
#define SERVE_HELD 256
#define SERVE_REMOTE 20         /* per cent */
#define CHUNK 512
#define TURNS 7

static const char *block_size_up(struct perf_run *run, const struct perf_backend *backend)
{
	const char *problem = backend->set_up((size_t)perf_argument(run, 0));

	if (problem)
		perf_skip(run, problem);
	return problem;
}

static double cpu_ns(const struct perf_team *team)
{
	return team->cpu_seconds * 1e9 / (double)(team->operations ? team->operations : 1);
}

static void report(struct perf_run *run, const struct perf_team *team)
{
	int slots = team->threads < perf_cpus() ? team->threads : perf_cpus();
	double operations = team->operations ? (double)team->operations : 1;
	bool alone = team->looks && perf_team_alone(team);

	perf_seconds(run, team->wall);
	perf_counter(run, "slot_ns", team->wall * 1e9 * slots / operations);
	perf_counter(run, "cpu_ns", alone ? (double)team->alone_ns / (double)team->alone_operations :
		     cpu_ns(team));
	perf_counter(run, "wall_ns", team->wall * 1e9 / operations);
	if (team->looks)
		perf_counter(run, "crowded", !alone);
}

/* Gives a member its working set, full. */
static void hold(struct perf_member *member, uint32_t held, unsigned percent_remote)
{
	struct perf_local *local = &member->local;

	local->count = 1;
	local->held = held;
	local->order = perf_choices((uint32_t)member->index + 1, percent_remote);
	local->block = perf_lines(held * sizeof(*local->block));
	for (uint32_t i = 0; i < held; i++)
		local->block[i] = member->team->backend->lease();
}

static void let_go(struct perf_member *member)
{
	struct perf_local *local = &member->local;

	for (uint32_t i = 0; i < local->held; i++)
		member->team->backend->give(local->block[i]);
	free(local->block);
	free((void *)local->order);
}

static void prepare_replace(struct perf_member *member)
{
	hold(member, REPLACE_HELD, 0);
}

static uint64_t chunk_replace(struct perf_member *member)
{
	member->team->backend->replace(&member->local, CHUNK);
	return CHUNK;
}

static void run_replace(struct perf_run *run, const void *closure)
{
	struct perf_team team = {
		.backend = closure, .threads = (int)perf_argument(run, 1), .cpu = -1,
		.seconds = SECONDS, .looks = true, .prepare = prepare_replace,
		.chunk = chunk_replace, .finish = let_go,
	};

	if (block_size_up(run, closure))
		return;
	while (perf_next(run)) {
		if (perf_team_run(&team))
			perf_skip(run, "no memory");
		report(run, &team);
		free(team.member);
	}
	team.backend->tear_down();
}

/* The rings of one run; the benches of a process run one after another. */
static struct perf_ring *rings;

static bool rings_open(struct perf_run *run, int count)
{
	void *memory = NULL;

	if (posix_memalign(&memory, 128, count * sizeof(*rings))) {
		perf_skip(run, "no memory");
		return false;
	}
	rings = memset(memory, 0, count * sizeof(*rings));
	return true;
}

/* What is left in the rings goes back, on a thread that the backend knows. */
struct sweep {
	const struct perf_backend *backend;
	int count;
};

static void *sweep_thread(void *arg)
{
	struct sweep *sweep = arg;
	void *block;

	sweep->backend->enter();
	for (int i = 0; i < sweep->count; i++) {
		perf_ring_tell(&rings[i]);
		while ((block = perf_ring_pop(&rings[i])))
			sweep->backend->give(block);
	}
	sweep->backend->leave();
	return NULL;
}

static void rings_close(const struct perf_backend *backend, int count)
{
	struct sweep sweep = { backend, count };
	pthread_t thread;

	if (!pthread_create(&thread, NULL, sweep_thread, &sweep))
		pthread_join(thread, NULL);
	free(rings);
}

/* Members 2i and 2i + 1 are a pair: the first produces, the second consumes, and counts. */
static void prepare_pass(struct perf_member *member)
{
	member->local.pair = (uint32_t)member->index / 2;
	member->local.in = member->local.out = &rings[member->local.pair];
}

static uint64_t chunk_pass(struct perf_member *member)
{
	const struct perf_backend *backend = member->team->backend;

	if (member->index % 2)
		return backend->consume(&member->local, CHUNK);
	backend->produce(&member->local, CHUNK);
	return 0;
}

/* A line going to and fro between two pinned threads: how near the two CPUs are at the moment. */
static _Alignas(128) atomic_uint ball;

static uint64_t chunk_ball(struct perf_member *member)
{
	uint64_t passed = 0;

	for (int tries = 0; tries < 10000 && passed < 100; tries++) {
		if (atomic_load_explicit(&ball, memory_order_acquire) % 2 == (unsigned)member->index) {
			/* Only the thread whose turn it is writes. */
			atomic_fetch_add_explicit(&ball, 1, memory_order_release);
			passed += member->index;
		}
		perf_pause();
	}
	return passed;
}

static double round_trip_ns(void)
{
	struct perf_team team = { .threads = 2, .cpu = 0, .seconds = 0.01, .chunk = chunk_ball };
	double ns = 0;

	if (perf_cpus() > 1 && !perf_team_run(&team) && team.operations)
		ns = team.wall * 1e9 / (double)team.operations;
	free(team.member);
	return ns;
}

/* One run over so many rings; the team's member array is gone when it returns. */
static void run_once(struct perf_run *run, struct perf_team *team, int count)
{
	if (!rings_open(run, count))
		return;
	if (perf_team_run(team))
		perf_skip(run, "no memory");
	rings_close(team->backend, count);
	free(team->member);
	team->member = NULL;
}

/* A pool that grows while it is measured shows its growth, which has a bench of its own. */
static void warm_up(struct perf_run *run, const struct perf_team *like)
{
	struct perf_team team = *like;

	team.seconds /= 5;
	run_once(run, &team, team.threads / 2);
}

/* ns of one team's operation over blocks of backend. */
typedef double perf_figure(struct perf_run *run, const struct perf_team *like, const struct perf_backend *backend);

/*
 * How near the two CPUs are changes by the minute and moves all that is handed over several times over: so the
 * bare array, which is the limit, is measured right before and right after, and the ratio to it is what lasts.
 */
static void in_turns(struct perf_run *run, const struct perf_team *team, perf_figure *figure, const char *name,
		     const char *limit_name)
{
	double limit[TURNS + 1], with[TURNS], ratio[TURNS];

	limit[0] = figure(run, team, &perf_bare);
	for (int i = 0; i < TURNS; i++) {
		with[i] = figure(run, team, team->backend);
		limit[i + 1] = figure(run, team, &perf_bare);
		ratio[i] = 2 * with[i] / (limit[i] + limit[i + 1]);
	}
	perf_counter(run, name, perf_quantile(with, TURNS, 0.5));
	perf_counter(run, limit_name, perf_quantile(limit, TURNS + 1, 0.5));
	perf_counter(run, "ratio", perf_quantile(ratio, TURNS, 0.5));
	perf_seconds(run, perf_quantile(with, TURNS, 0.5) / 1e9);
}

/* Of "bare" it is the ring alone: blocks that nobody leases. */
static double pass_ns(struct perf_run *run, const struct perf_team *like, const struct perf_backend *backend)
{
	struct perf_team team = *like;

	if (block_size_up(run, backend))
		return 0;
	team.backend = backend;
	if (backend != &perf_bare)
		warm_up(run, &team);
	run_once(run, &team, team.threads / 2);
	backend->tear_down();
	return team.wall * 1e9 / (double)(team.operations ? team.operations : 1);
}

static void run_pass(struct perf_run *run, const void *closure)
{
	const struct perf_team team = {
		.backend = closure, .threads = 2 * (int)perf_argument(run, 1), .cpu = 0,
		.seconds = SECONDS / 5, .prepare = prepare_pass, .chunk = chunk_pass,
	};

	perf_counter(run, "round_trip_ns", round_trip_ns());
	while (perf_next(run))
		in_turns(run, &team, pass_ns, "wall_ns", "ring_ns");
}

static void prepare_serve(struct perf_member *member)
{
	hold(member, SERVE_HELD, SERVE_REMOTE);
	member->local.in = &rings[member->index];
	member->local.out = &rings[(member->index + 1) % member->team->threads];
}

static uint64_t chunk_serve(struct perf_member *member)
{
	member->team->backend->serve(&member->local, CHUNK);
	return CHUNK;
}

static double serve_ns(struct perf_run *run, const struct perf_team *like, const struct perf_backend *backend)
{
	struct perf_team team = *like;

	team.backend = backend;
	team.operations = 0;
	run_once(run, &team, team.threads);
	return cpu_ns(&team);
}

/*
 * Threads that have a CPU each are pinned: else the scheduler puts two of them on one now and then,
 * where a hand-over costs nothing, and the figure says how often it did.
 */
static void run_serve(struct perf_run *run, const void *closure)
{
	int threads = (int)perf_argument(run, 1);
	bool pinned = threads <= perf_cpus(), beside = pinned && closure != &perf_bare;
	struct perf_team team = {
		.backend = closure, .threads = threads, .cpu = pinned ? 0 : -1,
		.seconds = pinned ? SECONDS / 5 : SECONDS, .looks = !pinned, .prepare = prepare_serve,
		.chunk = chunk_serve, .finish = let_go,
	};

	if (block_size_up(run, closure))
		return;
	if (beside && block_size_up(run, &perf_bare)) {
		team.backend->tear_down();
		return;
	}
	perf_counter(run, "round_trip_ns", round_trip_ns());
	while (perf_next(run)) {
		if (pinned) {
			in_turns(run, &team, serve_ns, "cpu_ns", "bare_ns");
			continue;
		}
		run_once(run, &team, threads);
		report(run, &team);
	}
	team.backend->tear_down();
	if (beside)
		perf_bare.tear_down();
}

static void prepare_tail(struct perf_member *member)
{
	hold(member, REPLACE_HELD, 0);
	member->local.tail = perf_lines(sizeof(*member->local.tail));
}

static uint64_t chunk_tail(struct perf_member *member)
{
	member->team->backend->timed(&member->local, CHUNK);
	return 2 * CHUNK;
}

/* The quantile q of the members' times together, in ticks; the upper end of its step. */
static double tail_quantile(const struct perf_team *team, double q)
{
	double left = 0;

	for (int i = 0; i < team->threads; i++)
		left += (double)team->member[i].operations * q;
	for (uint32_t step = 0; step < PERF_TAIL_ALL; step++) {
		for (int i = 0; i < team->threads; i++)
			left -= team->member[i].local.tail->step[step];
		if (left <= 0)
			return perf_tail_end(step);
	}
	return 0;
}

static const struct {
	const char *name;
	double q;
} quantiles[] = {
	{ "p50_ns", 0.5 }, { "p90_ns", 0.9 }, { "p99_ns", 0.99 }, { "p999_ns", 0.999 },
	{ "p9999_ns", 0.9999 }, { "p99999_ns", 0.99999 },
};

#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

/* The ns of each quantile, as one turn's, and how many us the longest took. */
static double take_tails(const struct perf_team *team, double ns[][TURNS], int turn)
{
	double longest = 0, rate = perf_ticks_a_ns();

	for (unsigned i = 0; i < QUANTILES; i++)
		ns[i][turn] = tail_quantile(team, quantiles[i].q) / rate;
	for (int i = 0; i < team->threads; i++) {
		if ((double)team->member[i].local.tail->longest > longest)
			longest = (double)team->member[i].local.tail->longest;
		free(team->member[i].local.tail);
	}
	return longest / rate / 1e3;
}

/*
 * One operation in 10,000 is about what the machine below interrupts: so a team runs several times, for half as
 * long, and medians count. 1,000 threads take seconds to start and end, and run once.
 */
static void run_tail(struct perf_run *run, const void *closure)
{
	int threads = (int)perf_argument(run, 1), turns = threads < 100 ? TURNS : 1, turn;
	struct perf_team team = {
		.backend = closure, .threads = threads, .cpu = -1, .seconds = turns > 1 ? SECONDS / 2 : SECONDS,
		.prepare = prepare_tail, .chunk = chunk_tail, .finish = let_go,
	};
	double ns[QUANTILES][TURNS], longest, most = 0;

	if (block_size_up(run, closure))
		return;
	while (perf_next(run)) {
		for (turn = 0; turn < turns && !perf_team_run(&team); turn++) {
			longest = take_tails(&team, ns, turn);
			most = longest > most ? longest : most;
			free(team.member);
		}
		if (turn < turns) {
			perf_skip(run, "no memory");
			break;
		}
		for (unsigned i = 0; i < QUANTILES; i++)
			perf_counter(run, quantiles[i].name, perf_quantile(ns[i], turns, 0.5));
		perf_counter(run, "longest_us", most);
		perf_seconds(run, team.wall);
	}
	team.backend->tear_down();
}

void perf_add_threaded(const struct perf_backend *backend)
{
	static const int64_t replace[] = { 1, 2, 4, 64, 0 }, pairs[] = { 1, 8, 0 };
	const int64_t serve[] = { 2, 16, 0 }, tail[] = { 16, perf_smoke() ? 0 : 1000, 0 };

	if ((backend->can & (PERF_CAN_HOLD | PERF_CAN_PASS)) == (PERF_CAN_HOLD | PERF_CAN_PASS))
		perf_add("replace", backend, run_replace, "threads", 4032, replace);
	if (backend->can & PERF_CAN_PASS)
		perf_add("pass", backend, run_pass, "pairs", 4032, pairs);
	if ((backend->can & PERF_CAN_ALL) != PERF_CAN_ALL)
		return;
	perf_add("serve", backend, run_serve, "threads", 4032, serve);
	perf_add("tail", backend, run_tail, "threads", 4032, tail);
}
