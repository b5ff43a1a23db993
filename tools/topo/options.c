/* SPDX-License-Identifier: MIT */
/*
 * Options (mews-topo): the command line, by argp. Ends the program with status 2 and a clear
 * message where it is wrong, so that what follows can rely on it.
 */
#define _GNU_SOURCE 1
#include <argp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "topo.h"

enum {
	KEY_XML = 256, KEY_SYNTHETIC, KEY_ROOT, KEY_BLOCK, KEY_ALIGNMENT, KEY_MAX, KEY_INITIAL,
	KEY_MODE, KEY_PAGES, KEY_NODES, KEY_CONFIG, KEY_DIFF, KEY_CHECK, KEY_VERIFY, KEY_WIDTH,
};

static const struct argp_option choices[] = {
	{ NULL, 0, NULL, 0, "Which machine (default: this one, as this process may use it):", 1 },
	{ "xml", KEY_XML, "FILE", 0, "a machine in hwloc's XML (lstopo FILE.xml writes it)", 1 },
	{ "synthetic", KEY_SYNTHETIC, "STRING", 0, "a made-up machine, as hwloc describes it: "
	  "\"pack:2 numa:1 l3:4 l2:4 core:1 pu:2\"", 1 },
	{ "root", KEY_ROOT, "DIR", 0, "read /proc and /sys below DIR", 1 },
	{ "pid", 'p', "PID", 0, "as that process may use this machine: its affinity and cgroup, in "
	  "its mount namespace", 1 },
	{ NULL, 0, NULL, 0, "Which pool (default: as mews_pool_create makes it):", 2 },
	{ "block-size", KEY_BLOCK, "BYTES", 0, "usable bytes a block; K, M, G may follow", 2 },
	{ "alignment", KEY_ALIGNMENT, "BYTES", 0, "of each block", 2 },
	{ "max-blocks", KEY_MAX, "N", 0, "hard maximum", 2 },
	{ "initial-blocks", KEY_INITIAL, "N", 0, "backed when the pool is created", 2 },
	{ "mode", KEY_MODE, "MODE", 0, "auto, server, workstation", 2 },
	{ "pages", KEY_PAGES, "SIZE", 0, "first page size tried: auto, 1g, 2m, thp, base", 2 },
	{ "nodes", KEY_NODES, "POLICY", 0, "preferred, strict", 2 },
	{ NULL, 0, NULL, 0, "What to write:", 3 },
	{ "format", 'f', "FORMAT", 0, "text, json, csv (one row a CPU), svg", 3 },
	{ "config", KEY_CONFIG, NULL, 0, "a snippet of C that pins the plan", 3 },
	{ "width", KEY_WIDTH, "COLUMNS", 0, "of text, 76 at least (default: the terminal's, or "
	  "80)", 3 },
	{ NULL, 0, NULL, 0, "What to do instead:", 4 },
	{ "check", KEY_CHECK, NULL, 0, "a line a problem; status 1 if there is one", 4 },
	{ "verify", KEY_VERIFY, NULL, 0, "build the pool, touch blocks from each CPU, ask the "
	  "kernel where they lie; status 1 unless all is as planned", 4 },
	{ "diff", KEY_DIFF, NULL, 0, "what changes from A to B; status 1 if anything does. Each "
	  "is a file of hwloc's XML or of --format json, this, or synthetic:STRING", 4 },
	{ 0 },
};

static const char usage_text[] = "\n--diff A B";
static const char about[] =
	"Shows the machine as a pool of the mews library sees it, and the plan that it makes."
	"\vExit status: 0; 1 where --check, --verify or --diff found something; 2 for an error.";

static void write_version(FILE *out, struct argp_state *state)
{
	(void)state;
	fprintf(out, "mews-topo %s\n", mews_version());
}

static uint64_t number(const char *text, struct argp_state *state, const char *what, uint64_t most)
{
	static const char suffix[] = "KMG";
	unsigned long long value;
	const char *unit;
	char *end;

	value = strtoull(text, &end, 10);
	unit = *end != 0 ? strchr(suffix, *end) : NULL;
	if (unit != NULL && end[1] == 0) {
		unsigned shift = 10 * ((unsigned)(unit - suffix) + 1);

		value = value > UINT64_MAX >> shift ? UINT64_MAX : value << shift;
		end++;
	}
	if (*text < '0' || *text > '9' || *end != 0 || value > most)
		argp_error(state, "%s: '%s' is not a number from 0 to %llu", what, text,
			   (unsigned long long)most);
	return value;
}

/* The place of word in a list that ends with NULL; the program's end if it is not there. */
static unsigned choice(const char *word, const char *const *list, struct argp_state *state,
		       const char *what)
{
	unsigned i = 0;

	while (list[i] != NULL && strcmp(list[i], word) != 0)
		i++;
	if (list[i] == NULL)
		argp_error(state, "%s: '%s' is not one of those that --help names", what, word);
	return i;
}

static const char *const formats[] = { "text", "json", "csv", "svg", NULL };
static const char *const modes[] = { "auto", "server", "workstation", NULL };
static const char *const pages[] = { "auto", "1g", "2m", "thp", "base", NULL };
static const char *const policies[] = { "preferred", "strict", NULL };

const char *topo_mode_name(enum mews_mode mode)
{
	return modes[mode];
}

const char *topo_pages_name(enum mews_page_policy policy)
{
	return pages[policy];
}

const char *topo_policy_name(enum mews_node_policy policy)
{
	return policies[policy];
}

static bool pool_option(int key, const char *arg, struct argp_state *state,
			struct mews_plan_request *request)
{
	switch (key) {
	case KEY_BLOCK:
		request->block_size = number(arg, state, "--block-size", MEWS_BLOCK_SIZE_MAX);
		return true;
	case KEY_ALIGNMENT:
		request->alignment = number(arg, state, "--alignment", MEWS_ALIGNMENT_MAX);
		return true;
	case KEY_MAX:
		request->max_blocks = number(arg, state, "--max-blocks", (uint64_t)1 << 48);
		return true;
	case KEY_INITIAL:
		request->initial_blocks = number(arg, state, "--initial-blocks", (uint64_t)1 << 48);
		return true;
	case KEY_MODE:
		request->mode = (enum mews_mode)choice(arg, modes, state, "--mode");
		return true;
	case KEY_PAGES:
		request->page_policy = (enum mews_page_policy)choice(arg, pages, state, "--pages");
		return true;
	case KEY_NODES:
		request->node_policy =
			(enum mews_node_policy)choice(arg, policies, state, "--nodes");
		return true;
	}
	return false;
}

static bool machine_option(int key, const char *arg, struct argp_state *state,
			   struct topo_options *options)
{
	switch (key) {
	case KEY_XML:
		options->xml = arg;
		return true;
	case KEY_SYNTHETIC:
		options->synthetic = arg;
		return true;
	case KEY_ROOT:
		options->root = arg;
		return true;
	case 'p':
		options->pid = (int)number(arg, state, "--pid", INT_MAX);
		if (options->pid == 0)
			argp_error(state, "--pid: 0 is no process");
		return true;
	}
	return false;
}

static void act(struct topo_options *options, enum topo_action action, struct argp_state *state)
{
	if (options->action != TOPO_SHOW && options->action != action)
		argp_error(state, "only one of --config, --diff, --check, --verify");
	options->action = action;
}

static void take_operand(struct topo_options *options, const char *arg, struct argp_state *state)
{
	int at = options->diff[0] != NULL;

	if (options->diff[1] != NULL)
		argp_error(state, "too many arguments: '%s'", arg);
	options->diff[at] = arg;
}

/* What does not go together. */
static void check_together(const struct topo_options *o, struct argp_state *state)
{
	if (o->xml != NULL && o->synthetic != NULL)
		argp_error(state, "--xml and --synthetic: only one machine at a time");
	if (o->pid != 0 && (o->xml != NULL || o->synthetic != NULL || o->root[0] != 0))
		argp_error(state, "--pid is of this machine: not with --xml, --synthetic, --root");
	if (o->action == TOPO_VERIFY &&
	    (o->pid != 0 || o->xml != NULL || o->synthetic != NULL || o->root[0] != 0))
		argp_error(state, "--verify tries this machine: not with another one, nor --pid");
	if (o->action != TOPO_SHOW && o->format_given)
		argp_error(state, "--format is for the picture and the tables only");
	if (o->action == TOPO_DIFF && (o->xml || o->synthetic || o->root[0] || o->pid))
		argp_error(state, "--diff A B: name both machines as A and B");
	if (o->action == TOPO_DIFF && o->diff[1] == NULL)
		argp_error(state, "--diff wants two machines, A and B");
	if (o->action != TOPO_DIFF && o->diff[0] != NULL)
		argp_error(state, "'%s': no argument is taken but by --diff", o->diff[0]);
}

static bool action_option(int key, struct argp_state *state, struct topo_options *options)
{
	switch (key) {
	case KEY_CONFIG:
		act(options, TOPO_CONFIG, state);
		return true;
	case KEY_DIFF:
		act(options, TOPO_DIFF, state);
		return true;
	case KEY_CHECK:
		act(options, TOPO_CHECK, state);
		return true;
	case KEY_VERIFY:
		act(options, TOPO_VERIFY, state);
		return true;
	}
	return false;
}

static error_t take(int key, char *arg, struct argp_state *state)
{
	struct topo_options *options = state->input;

	if (pool_option(key, arg, state, &options->request) ||
	    machine_option(key, arg, state, options) || action_option(key, state, options))
		return 0;
	switch (key) {
	case 'f':
		options->format = (enum topo_format)choice(arg, formats, state, "--format");
		options->format_given = true;
		return 0;
	case KEY_WIDTH:
		options->width = (int)number(arg, state, "--width", 1000);
		return 0;
	case ARGP_KEY_ARG:
		take_operand(options, arg, state);
		return 0;
	case ARGP_KEY_END:
		check_together(options, state);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

void topo_options_parse(int argc, char **argv, struct topo_options *options)
{
	static const struct argp argp = {
		.options = choices, .parser = take, .args_doc = usage_text, .doc = about,
	};

	*options = (struct topo_options){ .root = "" };
	argp_program_version_hook = write_version;
	argp_err_exit_status = TOPO_EXIT_ERROR;
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
