/* SPDX-License-Identifier: MIT */
/* Patience (layer 6), see patience.h. */
#include "patience.h"

#include <stdlib.h>

#include "measure.h"

#define MOVE_NS 15e6            /* on one CPU */

double perf_patience_ns(void)
{
	const char *ms = getenv("PERF_PATIENCE");

	return (ms ? atof(ms) : 40) * 1e6;
}

void perf_patience_open(struct perf_patience *patience, double ns)
{
	patience->left = ns * perf_ticks_a_ns();
	patience->until_move = MOVE_NS * perf_ticks_a_ns();
	CPU_ZERO(&patience->allowed);
	sched_getaffinity(0, sizeof(patience->allowed), &patience->allowed);
}

void perf_patience_close(const struct perf_patience *patience)
{
	sched_setaffinity(0, sizeof(patience->allowed), &patience->allowed);
}

static void move(const cpu_set_t *allowed)
{
	int cpu = sched_getcpu();

	do
		cpu = (cpu + 1) % CPU_SETSIZE;
	while (!CPU_ISSET(cpu, allowed));
	perf_pin_to(cpu);
}

bool perf_patience_spend(struct perf_patience *patience, uint64_t since)
{
	double taken = (double)(perf_ticks() - since);

	patience->left -= taken;
	patience->until_move -= taken;
	if (patience->until_move > 0 || CPU_COUNT(&patience->allowed) < 2)
		return false;
	move(&patience->allowed);
	patience->until_move = MOVE_NS * perf_ticks_a_ns();
	return true;
}

struct perf_look perf_wait_alone(struct perf_patience *patience)
{
	struct perf_look look, before;
	int quiet = 0;

	if (perf_widest.width == 0)
		perf_look_around(&perf_widest);
	for (look = perf_look(); quiet < PERF_QUIET && patience->left > 0;) {
		uint64_t since = perf_ticks();

		before = look;
		look = perf_look();
		quiet = perf_alone_between(&perf_widest, &before, &look) ? quiet + 1 : 0;
		if (!quiet)
			perf_patience_spend(patience, since);
	}
	return look;
}
