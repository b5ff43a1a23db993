/* SPDX-License-Identifier: MIT */
/*
 * Runs the stress scenarios, each on a pool of its own of the chosen kind, each ending in the audit.
 * A planted bug (--plant) must be found in each chosen scenario.
 */
#include "stress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "support/options.h"

static const char *const plants[] = { "none", "double", "lost", "late-write" };
static const char *const plant_does[] = { "", "a block is returned twice",
	"a block is never returned", "a block is written after its return" };

static enum plant plant_named(const char *name)
{
	for (int i = 1; name && i < 4; i++)
		if (strcmp(name, plants[i]) == 0)
			return (enum plant)i;
	if (name) {
		fprintf(stderr, "no bug is named %s\n", name);
		exit(1);
	}
	return PLANT_NONE;
}

static void each_scenario(void (*visit)(const struct scenario *scenario, void *context),
			  void *context)
{
	const struct scenario *lists[] = { stress_mix, stress_life, stress_signal };

	for (int i = 0; i < 3; i++)
		for (const struct scenario *s = lists[i]; s->name; s++)
			visit(s, context);
}

static void print(const struct scenario *scenario, void *context)
{
	(void)context;
	printf("scenario %-14s %s\n", scenario->name, scenario->what);
}

struct run {
	const struct options *options;
	struct stress stress;
	const struct scenario *now;
	int failed, done;
};

static void run_in_child(void *argument)
{
	struct run *run = argument;

	run->now->run(&run->stress);
}

static void run_chosen(const struct scenario *scenario, void *context)
{
	struct run *run = context;
	double start = threads_now();

	if (!options_chosen(run->options, scenario->name))
		return;
	check_context(scenario->name, run->stress.seed);
	run->now = scenario;
	run->done++;
	if (run->stress.plant == PLANT_NONE) {
		scenario->run(&run->stress);
		printf("%-14s %.1f s\n", scenario->name, threads_now() - start);
		fflush(stdout);
		return;
	}
	if (check_finds(run_in_child, run)) {
		printf("%-14s found that %s\n", scenario->name, plant_does[run->stress.plant]);
	} else {
		printf("%-14s did NOT find that %s\n", scenario->name, plant_does[run->stress.plant]);
		run->failed++;
	}
}

int main(int argc, char **argv)
{
	struct options options;
	struct run run = { .options = &options };

	options_parse(&options, "Stress on one kind of pool, ending in the audit of every block.",
		      argc, argv);
	if (options.list) {
		kind_list(stdout);
		each_scenario(print, NULL);
		for (int i = 1; i < 4; i++)
			printf("bug %-19s %s\n", plants[i], plant_does[i]);
		return 0;
	}
	kind_choose(options.kind, argv);
	run.stress = (struct stress){ options.seconds, options.threads, options.seed,
				      options.long_run, plant_named(options.plant) };
	if (run.stress.seconds == 0)
		run.stress.seconds = options.long_run ? 10 : 0.4;
	printf("kind %s, seed %llu\n", kind->name, (unsigned long long)options.seed);
	each_scenario(run_chosen, &run);
	return run.failed || !run.done;
}
