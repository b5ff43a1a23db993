/* SPDX-License-Identifier: MIT */
/*
 * Runs the stress scenarios, each on a pool of its own of the chosen kind, each ending in the
 * audit. A planted bug (--plant) must be found in each chosen scenario.
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
	const struct scenario *lists[] = { stress_mix, stress_life, stress_signal, stress_wait,
					      stress_keeper, stress_stopped };

	for (int i = 0; i < 6; i++)
		for (const struct scenario *s = lists[i]; s->name; s++)
			visit(s, context);
}

static void print(const struct scenario *scenario, void *context)
{
	(void)context;
	printf("scenario %-14s %s\n", scenario->name, scenario->what);
}

void stress_refused(const struct stress *stress, const char *what)
{
	if (stress->built)
		check_skip("%s", what);
	fprintf(stderr, "skip: %s\n", what);
}

struct run {
	const struct options *options;
	struct stress stress;
	const struct scenario *now;
	int failed, done;
	bool built, found;
};

static void run_in_child(void *argument)
{
	struct run *run = argument;

	run->now->run(&run->stress);
}

/*
 * The library was built with a bug: one of the scenarios must find it, as soon as one does it
 * ends.
 */
static void try_built(struct run *run)
{
	if (run->found)
		return;
	run->found = check_finds(run_in_child, run);
	printf("%-14s %s\n", run->now->name, run->found ? "found it" : "did not find it");
}

static void run_chosen(const struct scenario *scenario, void *context)
{
	struct run *run = context;
	double start = threads_now();
	bool found = false;

	if (!options_chosen(run->options, scenario->name))
		return;
	run->now = scenario;
	if (run->built) {
		check_context(scenario->name, run->stress.seed++);
		try_built(run);
		return;
	}
	check_context(scenario->name, run->stress.seed);
	run->now = scenario;
	run->done++;
	if (run->stress.plant == PLANT_NONE) {
		scenario->run(&run->stress);
		printf("%-14s %.1f s\n", scenario->name, threads_now() - start);
		fflush(stdout);
		return;
	}
	/* It takes some hundred operations, which a busy machine may not get through in one go. */
	for (int i = 0; i < 10 && !found; i++)
		found = check_finds(run_in_child, run);
	if (found) {
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

	options_parse(&options, "Stress on one kind of pool, ending in the audit of every block. "
		      "--plant built: the library was built with a bug, which must be found.",
		      argc, argv);
	if (options.list) {
		kind_list(stdout);
		each_scenario(print, NULL);
		for (int i = 1; i < 4; i++)
			printf("bug %-19s %s\n", plants[i], plant_does[i]);
		return 0;
	}
	kind_choose(options.kind, argv);
	run.built = options.plant && strcmp(options.plant, "built") == 0;
	if (run.built)
		options.plant = NULL;
	run.stress = (struct stress){ options.seconds, options.threads, options.seed,
				      options.long_run, plant_named(options.plant), 0, run.built };
	if (run.stress.seconds == 0)
		run.stress.seconds = options.long_run ? 2 : 0.3;
	printf("kind %s, seed %llu\n", kind->name, (unsigned long long)options.seed);
	for (int round = 0; round < (run.built ? 50 : 1) && !run.found; round++)
		each_scenario(run_chosen, &run);
	return run.built ? !run.found : run.failed || !run.done;
}
