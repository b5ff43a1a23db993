/* SPDX-License-Identifier: MIT */
/*
 * The command line that the plain test programs share: --help, --kind, --seed, --seconds,
 * --operations, --long, --plant, --list, and names of scenarios. Parsed once in main.
 */
#ifndef TESTS_SUPPORT_OPTIONS_H
#define TESTS_SUPPORT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_NAMES_MAX 32

struct options {
	const char *kind;       /* NULL: the default kind */
	uint64_t seed;          /* from the clock unless given; main prints it */
	double seconds;         /* of each scenario; 0: its own default */
	uint64_t operations;    /* 0: the program's own default */
	unsigned threads;       /* 0: the scenario's own default */
	bool long_run;
	bool short_run;         /* on an emulated machine */
	bool list;
	bool update;            /* rewrite the golden file instead of comparing */
	const char *plant;      /* the bug to plant; NULL: none */
	const char *file;       /* golden file, or other input */
	const char *names[OPTIONS_NAMES_MAX];
	int name_count;
};

/* Fills *options; doc is the one sentence that --help shows. Exits on a bad line. */
void options_parse(struct options *options, const char *doc, int argc, char **argv);

/* True if name was chosen, or none was. */
bool options_chosen(const struct options *options, const char *name);

#endif
