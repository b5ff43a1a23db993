/* SPDX-License-Identifier: MIT */
/* The shared command line, see options.h. */
#include "options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEY_LONG = 256, KEY_PLANT, KEY_LIST, KEY_UPDATE };

static const struct argp_option lines[] = {
	{ "kind", 'k', "NAME", 0, "kind of pool, see --list", 0 },
	{ "seed", 's', "N", 0, "repeat the run that printed this seed", 0 },
	{ "seconds", 't', "N", 0, "time of each scenario", 0 },
	{ "operations", 'n', "N", 0, "operations instead of time", 0 },
	{ "threads", 'j', "N", 0, "threads of each scenario", 0 },
	{ "long", KEY_LONG, NULL, 0, "the long version", 0 },
	{ "plant", KEY_PLANT, "BUG", 0, "plant this bug: the run passes if it is found", 0 },
	{ "list", KEY_LIST, NULL, 0, "list kinds, scenarios and bugs", 0 },
	{ "file", 'f', "PATH", 0, "the file to compare with", 0 },
	{ "update", KEY_UPDATE, NULL, 0, "rewrite that file", 0 },
	{ 0 },
};

static void add_name(struct options *options, const char *name, struct argp_state *state)
{
	if (options->name_count == OPTIONS_NAMES_MAX)
		argp_error(state, "too many names");
	options->names[options->name_count++] = name;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'k': options->kind = value; break;
	case 's': options->seed = strtoull(value, NULL, 0); break;
	case 't': options->seconds = atof(value); break;
	case 'n': options->operations = strtoull(value, NULL, 0); break;
	case 'j': options->threads = (unsigned)atoi(value); break;
	case 'f': options->file = value; break;
	case KEY_LONG: options->long_run = true; break;
	case KEY_PLANT: options->plant = value; break;
	case KEY_LIST: options->list = true; break;
	case KEY_UPDATE: options->update = true; break;
	case ARGP_KEY_ARG: add_name(options, value, state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

void options_parse(struct options *options, const char *doc, int argc, char **argv)
{
	struct argp argp = { lines, parse, "[NAME...]", doc, NULL, NULL, NULL };
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(options, 0, sizeof(*options));
	options->seed = (uint64_t)now.tv_sec * 1000003u ^ (uint64_t)now.tv_nsec;
	options->long_run = getenv("MEWS_TEST_LONG") != NULL;
	options->short_run = getenv("MEWS_TEST_SHORT") != NULL;
	argp_parse(&argp, argc, argv, 0, NULL, options);
	if (getenv("MEWS_TEST_LONG"))
		options->seconds *= 5;
}

bool options_chosen(const struct options *options, const char *name)
{
	for (int i = 0; i < options->name_count; i++)
		if (strcmp(options->names[i], name) == 0)
			return true;
	return options->name_count == 0;
}
