/* SPDX-License-Identifier: MIT */
/*
 * Short batches on one thread (layer 6), see measure.h. Invariant: what is reported is a median
 * over batches whose calibrations agree; batches that were preempted lie far above it and do not
 * count. A batch beside which somebody used the core's other half is repeated, as long as the patience
 * of its bench lasts; `crowded` is the share of those that had to be taken all the same.
 */
#include "measure.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "patience.h"

#define BATCH_NS 5e3            /* in 20 us a neighbour comes and goes unseen: 6.9 cycles for 6.0, at every second look */
#define BATCH_ROUNDS 4          /* at least: a round of 1,024 blocks misses as its turn comes */
#define WARM_NS 5e6             /* a predictor of branches settles after a millisecond: 7.8 cycles for 8.5 and 9.2 */
#define SAMPLES 4096
#define LONE_BATCHES 60
#define LONE_PATIENCE_NS 3e6

struct measurement {
	struct perf_run *run;
	const struct perf_backend *backend;
	perf_loop *loop;
	struct perf_local *local;
	struct perf_clock clock;
	uint64_t rounds;
	int samples, dropped, crowded;
	int quiet;                      /* batches in a row that were alone */
	struct perf_patience patience;
	double ticks[SAMPLES];
	double event[PERF_EVENTS][SAMPLES];
};

void *perf_lines(size_t bytes)
{
	void *memory;

	if (posix_memalign(&memory, 64, bytes))
		abort();
	return memset(memory, 0, bytes);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double perf_quantile(double *value, int count, double q)
{
	if (!count)
		return -1;
	qsort(value, count, sizeof(*value), compare);
	return value[(int)(q * (count - 1) + 0.5)];
}

static double timed_rounds(struct measurement *m)
{
	uint64_t start = perf_ticks();

	m->loop(m->local, m->rounds);
	return (double)(perf_ticks() - start);
}

static void warm_up(struct measurement *m)
{
	for (double taken = 0; taken < WARM_NS * perf_ticks_a_ns();)
		taken += timed_rounds(m);
}

/*
 * Rounds for one batch. Each number is tried until two runs in a row agree that it is long enough:
 * the first runs meet page faults and cold caches.
 */
static void tune(struct measurement *m)
{
	double wanted = BATCH_NS * perf_ticks_a_ns();
	double taken = 0;

	m->rounds = 1;
	timed_rounds(m);
	for (int enough = 0; enough < 2;) {
		taken = timed_rounds(m);
		enough = taken < wanted / 2 ? 0 : enough + 1;
		if (!enough)
			m->rounds *= 2;
	}
	m->rounds = (uint64_t)((double)m->rounds * wanted / taken);
	if (m->rounds < BATCH_ROUNDS)
		m->rounds = BATCH_ROUNDS;
	warm_up(m);
}

/*
 * A loop that its stores bound keeps the pace for good that it finds in its first rounds, and behind the
 * clock's own additions it may find another than behind itself: 6.2 cycles or 6.85 on Zen 3. So an eighth
 * of the batch runs first.
 */
static struct perf_sample batch(struct measurement *m)
{
	struct perf_sample s;

	for (;;) {
		uint64_t start = perf_ticks();

		perf_clock_start(&m->clock);
		m->loop(m->local, m->rounds / 8);
		perf_clock_start_again(&m->clock);
		m->loop(m->local, m->rounds);
		perf_clock_stop(&m->clock, &s);
		m->quiet = s.steady && s.alone ? m->quiet + 1 : 0;
		if (m->quiet >= PERF_QUIET || m->patience.left <= 0)
			break;
		if (perf_patience_spend(&m->patience, start))
			warm_up(m);
	}
	return s;
}

static void sample(struct measurement *m)
{
	double blocks = (double)m->rounds * m->local->count;
	struct perf_sample s = batch(m);

	if (m->run)
		perf_seconds(m->run, s.ticks / perf_ticks_a_ns() / 1e9);
	if (!s.steady || m->samples == SAMPLES) {
		m->dropped++;
		return;
	}
	m->ticks[m->samples] = s.ticks / blocks;
	for (int i = 0; i < PERF_EVENTS; i++)
		m->event[i][m->samples] = s.event[i] / blocks;
	m->samples++;
	m->crowded += m->quiet < PERF_QUIET;
}

static void report(struct measurement *m)
{
	static const char *const names[PERF_EVENTS] = { "cycles", "instructions", "dtlb_misses" };

	for (int i = 0; i < PERF_EVENTS; i++)
		if (m->samples && m->event[i][0] >= 0)
			perf_counter(m->run, names[i], perf_quantile(m->event[i], m->samples, 0.5));
	if (m->samples) {
		perf_counter(m->run, "cycles_p10",
			     perf_quantile(m->event[PERF_CYCLES], m->samples, 0.1));
		perf_counter(m->run, "ns",
			     perf_quantile(m->ticks, m->samples, 0.5) / perf_ticks_a_ns());
	}
	perf_counter(m->run, "dropped", m->dropped);
	perf_counter(m->run, "crowded", m->samples ? (double)m->crowded / m->samples : 1);
}

static void begin(struct measurement *m, double patience_ns)
{
	perf_patience_open(&m->patience, patience_ns);
	perf_clock_open(&m->clock);
	tune(m);
}

static void end(struct measurement *m)
{
	perf_clock_close(&m->clock);
	perf_patience_close(&m->patience);
}

static void *measure_thread(void *arg)
{
	struct measurement *m = arg;

	m->backend->enter();
	begin(m, perf_patience_ns());
	while (perf_next(m->run))
		sample(m);
	report(m);
	end(m);
	m->backend->leave();
	return NULL;
}

void perf_on_thread(const struct perf_backend *backend, void *(*body)(void *), void *arg)
{
	pthread_t thread;

	if (backend->launch) {
		backend->launch(body, arg);
		return;
	}
	if (pthread_create(&thread, NULL, body, arg))
		abort();
	pthread_join(thread, NULL);
}

void perf_measure(struct perf_run *run, const struct perf_backend *backend, perf_loop *loop,
		  struct perf_local *local)
{
	struct measurement *m = calloc(1, sizeof(*m));

	if (!m) {
		perf_skip(run, "no memory");
		return;
	}
	m->run = run;
	m->backend = backend;
	m->loop = loop;
	m->local = local;
	perf_on_thread(backend, measure_thread, m);
	free(m);
}

double perf_loop_cycles(perf_loop *loop, struct perf_local *local)
{
	struct measurement *m = calloc(1, sizeof(*m));
	double cycles;

	if (!m)
		return -1;
	m->loop = loop;
	m->local = local;
	begin(m, LONE_PATIENCE_NS);
	for (int i = 0; i < LONE_BATCHES; i++)
		sample(m);
	end(m);
	cycles = perf_quantile(m->event[PERF_CYCLES], m->samples, 0.5);
	free(m);
	return cycles;
}

uint32_t perf_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

uint16_t *perf_order_of(enum perf_order kind, uint32_t count)
{
	uint16_t *order = malloc(count * sizeof(*order));
	uint32_t state = 20261;

	for (uint32_t i = 0; order && i < count; i++)
		order[i] = kind == PERF_LIFO ? count - 1 - i : i;
	for (uint32_t i = count; order && kind == PERF_RANDOM && i > 1; i--) {
		uint32_t j = perf_random(&state) % i;
		uint16_t swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
	return order;
}

uint16_t *perf_choices(uint32_t seed, unsigned percent_remote)
{
	uint16_t *order = malloc(PERF_ORDER * sizeof(*order));
	uint32_t state = seed * 2654435761u + 1;

	for (uint32_t i = 0; order && i < PERF_ORDER; i++) {
		order[i] = perf_random(&state) >> 8 & 0x7fff;
		if (perf_random(&state) >> 8 << 8 < percent_remote * 42949672u)
			order[i] |= PERF_ORDER_REMOTE;
	}
	return order;
}
