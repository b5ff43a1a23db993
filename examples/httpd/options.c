/* SPDX-License-Identifier: MIT */
/* The command line, by argp: one table, one switch. */
#include "options.h"

#include <argp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_ADDRESS = 256, KEY_ALLOCATOR, KEY_LOOP, KEY_BLOCK_SIZE, KEY_MAX_BLOCKS, KEY_MODE,
	KEY_MAX_CONNECTIONS, KEY_MAX_BODY, KEY_TIMEOUT, KEY_IDLE, KEY_LEDGER, KEY_DESCRIBE,
};

static const struct argp_option table[] = {
	{ "address", KEY_ADDRESS, "IPV4", 0, "Listen on this address (127.0.0.1)", 0 },
	{ "port", 'p', "PORT", 0, "Listen on this port; 0 takes a free one (8080)", 0 },
	{ "threads", 't', "N", 0, "Event loops (one a usable CPU)", 0 },
	{ "loop", KEY_LOOP, "KIND", 0, "uring, epoll, or auto: uring where it works (auto)", 0 },
	{ "allocator", KEY_ALLOCATOR, "KIND", 0, "Where buffers come from: mews or malloc (mews)", 1 },
	{ "mode", KEY_MODE, "MODE", 0, "Mode of the pool: server or workstation (the pool decides)", 1 },
	{ "block-size", KEY_BLOCK_SIZE, "BYTES", 0, "Usable bytes of a block, 1024 or more (4032)", 1 },
	{ "max-blocks", KEY_MAX_BLOCKS, "N", 0, "Most blocks; past them: 503 (the pool's limit)", 1 },
	{ "max-connections", KEY_MAX_CONNECTIONS, "N", 0, "Most connections a thread (16384)", 2 },
	{ "max-body", KEY_MAX_BODY, "BYTES", 0, "Longest body of a request (16 MiB)", 2 },
	{ "timeout", KEY_TIMEOUT, "SECONDS", 0, "For a head, each part of a body, each write (10)", 2 },
	{ "idle", KEY_IDLE, "SECONDS", 0, "Keep a connection so long between requests (60)", 2 },
	{ "ledger", KEY_LEDGER, "FILE", 0, "Write the ledger to FILE as JSON at the end", 3 },
	{ "describe", KEY_DESCRIBE, NULL, 0, "Print the whole plan of the pool, and exit", 3 },
	{ "quiet", 'q', NULL, 0, "Print the address and errors only", 3 },
	{ 0 },
};

static unsigned long long number(struct argp_state *state, const char *text, double unit,
				 double least, double most)
{
	char *end;
	double value = strtod(text, &end);

	/* Written so that NaN fails too. */
	if (end == text || *end || !(value >= least && value <= most))
		argp_error(state, "'%s' is not a number from %g to %g", text, least, most);
	return (unsigned long long)(value * unit);
}

static int word(struct argp_state *state, const char *text, const char *const words[])
{
	for (int i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	argp_error(state, "'%s' is not a choice here; see --help", text);
	return 0;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
	static const char *const allocators[] = { "mews", "malloc", NULL };
	static const char *const loops[] = { "auto", "uring", "epoll", NULL };
	static const char *const modes[] = { "auto", "server", "workstation", NULL };
	struct options *o = state->input;

	switch (key) {
	case KEY_ADDRESS: o->address = text; break;
	case 'p': o->port = number(state, text, 1, 0, 65535); break;
	case 't': o->threads = number(state, text, 1, 1, 1024); break;
	case KEY_LOOP: o->loop = word(state, text, loops); break;
	case KEY_ALLOCATOR: o->allocator = word(state, text, allocators); break;
	case KEY_MODE: o->mode = word(state, text, modes); break;
	case KEY_BLOCK_SIZE: o->block_size = number(state, text, 1, 1024, 1 << 20); break;
	case KEY_MAX_BLOCKS: o->max_blocks = number(state, text, 1, 1, 1 << 30); break;
	case KEY_MAX_CONNECTIONS: o->max_connections = number(state, text, 1, 1, 1 << 20); break;
	case KEY_MAX_BODY: o->max_body = number(state, text, 1, 0, 1 << 29); break;
	case KEY_TIMEOUT: o->timeout = number(state, text, 1000, 0.1, 3600); break;
	case KEY_IDLE: o->idle = number(state, text, 1000, 0.1, 86400); break;
	case KEY_LEDGER: o->ledger = text; break;
	case KEY_DESCRIBE: o->describe = true; break;
	case 'q': o->quiet = true; break;
	case ARGP_KEY_ARG: argp_error(state, "what is '%s'?", text); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static unsigned usable_cpus(void)
{
	cpu_set_t set;

	/* Fails only where there are more CPUs than the set has bits: then ask for the option. */
	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const struct argp argp = {
		.options = table,
		.parser = parse,
		.doc = "A small HTTP/1.1 server whose buffers are leased from a mews pool."
		       "\vRoutes: GET /plaintext /bytes/N /array/N /handoff/N /stats /health, POST /echo.\n"
		       "SIGTERM or SIGINT ends it: it finishes what it has, drains the pool, prints the "
		       "ledger, and exits with 1 if a block is missing.",
	};

	*options = (struct options){
		.address = "127.0.0.1",
		.port = 8080,
		.max_connections = 16384,
		.max_body = 16 << 20,
		.timeout = 10000,
		.idle = 60000,
	};
	argp_parse(&argp, argc, argv, 0, NULL, options);
	if (!options->threads)
		options->threads = usable_cpus();
}
