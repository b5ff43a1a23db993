/* SPDX-License-Identifier: MIT */
/*
 * The clock of the benches (layer 6), see clock.h. Invariant: a sample whose calibrations before
 * and after disagree by more than 2 % (the clock moved, or the thread was preempted within one of
 * them) is marked, and measure.c drops it; one beside which the core was shared is marked as well,
 * and repeated.
 */
#include "clock.h"

#include <linux/perf_event.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tick.h"

#define CHAIN_ROUNDS 40
#define CHAIN_CYCLES 4000.0     /* rounds times the additions in one round */
#define STEADY 0.02
#define SAME_WIDTH 0.005
#define CHAINS_ROUNDS 75
#define CHAINS_ADDITIONS 12000.0 /* rounds times the additions in one round */
#define ALONE 0.93              /* of the best width; a core that is shared has 0.5 to 0.88 of it */
#define LOOKS 20000             /* for the best width, 50 ms */

static const struct {
	uint32_t type;
	uint64_t config;
} events[PERF_EVENTS] = {
	[PERF_CYCLES] = { PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES },
	[PERF_INSTRUCTIONS] = { PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS },
	[PERF_DTLB_MISSES] = { PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_DTLB |
		PERF_COUNT_HW_CACHE_OP_READ << 8 | PERF_COUNT_HW_CACHE_RESULT_MISS << 16 },
};

static int event_open(int event)
{
	struct perf_event_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = events[event].type;
	attr.config = events[event].config;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

/* The least time that two readings lie apart. */
static uint64_t reading_cost(void)
{
	static uint64_t least;
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 1000 && !least; i++) {
		uint64_t start = perf_tick_fenced();
		uint64_t taken = perf_tick_fenced() - start;

		if (taken < best)
			best = taken;
	}
	if (!least)
		least = best;
	return least;
}

static double calibrate(void)
{
	uint64_t cost = reading_cost();
	uint64_t start = perf_tick_fenced();

	perf_tick_chain(CHAIN_ROUNDS);
	return (double)(perf_tick_fenced() - start - cost) / CHAIN_CYCLES;
}

/* Additions a cycle. */
static double width(double ticks_a_cycle)
{
	uint64_t cost = reading_cost();
	uint64_t start = perf_tick_fenced();

	perf_tick_chains(CHAINS_ROUNDS);
	return CHAINS_ADDITIONS * ticks_a_cycle / (double)(perf_tick_fenced() - start - cost);
}

static bool is_near(double a, double b, double tolerance)
{
	return fabs(a - b) <= tolerance * a;
}

static bool agree(const struct perf_look *before, const struct perf_look *after)
{
	return is_near(before->ticks_a_cycle, after->ticks_a_cycle, STEADY);
}

struct perf_look perf_look(void)
{
	struct perf_look look = { .ticks_a_cycle = calibrate() };

	look.width = width(look.ticks_a_cycle);
	return look;
}

struct perf_widest perf_widest;

/* Relaxed: what another thread found a moment ago makes no difference. */
static bool is_alone(struct perf_widest *widest, double width, bool sure)
{
	double best = atomic_load_explicit(&widest->width, memory_order_relaxed);

	if (width > best && sure)
		atomic_store_explicit(&widest->width, width, memory_order_relaxed);
	return width >= ALONE * best;
}

/* A calibration that was disturbed makes the core look wider than any is, but no two of them as wide. */
bool perf_alone_between(struct perf_widest *widest, const struct perf_look *before,
			const struct perf_look *after)
{
	return agree(before, after) && is_alone(widest, fmin(before->width, after->width),
						is_near(before->width, after->width, SAME_WIDTH));
}

void perf_look_around(struct perf_widest *widest)
{
	struct perf_look before = perf_look(), after;

	for (int i = 0; i < LOOKS; i++, before = after) {
		after = perf_look();
		perf_alone_between(widest, &before, &after);
	}
}

void perf_clock_open(struct perf_clock *clock)
{
	for (int i = 0; i < PERF_EVENTS; i++)
		clock->fd[i] = event_open(i);
	clock->counting = clock->fd[PERF_CYCLES] >= 0;
	if (perf_widest.width == 0)
		perf_look_around(&perf_widest);
}

void perf_clock_close(struct perf_clock *clock)
{
	for (int i = 0; i < PERF_EVENTS; i++)
		if (clock->fd[i] >= 0)
			close(clock->fd[i]);
}

static uint64_t event_read(const struct perf_clock *clock, int event)
{
	uint64_t value = 0;

	if (clock->fd[event] < 0 || read(clock->fd[event], &value, sizeof(value)) != sizeof(value))
		return 0;
	return value;
}

void perf_clock_start(struct perf_clock *clock)
{
	clock->before = perf_look();
	perf_clock_start_again(clock);
}

void perf_clock_start_again(struct perf_clock *clock)
{
	for (int i = 0; i < PERF_EVENTS && clock->counting; i++)
		clock->at[i] = event_read(clock, i);
	clock->ticks = perf_tick_fenced();
}

void perf_clock_stop(struct perf_clock *clock, struct perf_sample *sample)
{
	uint64_t end = perf_tick_fenced();
	const struct perf_look *before = &clock->before;
	struct perf_look after;

	sample->ticks = (double)(end - clock->ticks - reading_cost());
	for (int i = 0; i < PERF_EVENTS; i++)
		sample->event[i] = clock->fd[i] < 0 ? -1 :
				   (double)(event_read(clock, i) - clock->at[i]);
	after = perf_look();
	sample->steady = clock->counting || agree(before, &after);
	sample->alone = perf_alone_between(&perf_widest, before, &after);
	if (!clock->counting)
		sample->event[PERF_CYCLES] = sample->ticks /
					     ((before->ticks_a_cycle + after.ticks_a_cycle) / 2);
}

uint64_t perf_ticks(void)
{
	return perf_tick_fenced();
}

static double nanoseconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

double perf_cpu_ns(bool whole_process)
{
	return nanoseconds(whole_process ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID);
}

double perf_ticks_a_ns(void)
{
	static double rate;
	double start;
	uint64_t ticks;

	if (rate > 0)
		return rate;
	start = nanoseconds(CLOCK_MONOTONIC_RAW);
	ticks = perf_ticks();
	while (nanoseconds(CLOCK_MONOTONIC_RAW) - start < 2e7)
		;
	rate = (double)(perf_ticks() - ticks) / (nanoseconds(CLOCK_MONOTONIC_RAW) - start);
	return rate;
}

const char *perf_cycles_kind(void)
{
	int fd = event_open(PERF_CYCLES);

	if (fd < 0)
		return "calibrated (perf_event refused; ticks over a chain of dependent additions)";
	close(fd);
	return "counted (perf_event, user only)";
}
