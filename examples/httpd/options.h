/* SPDX-License-Identifier: MIT */
/* What the command line of the server can say. */
#ifndef HTTPD_OPTIONS_H
#define HTTPD_OPTIONS_H

#include <mews/mews.h>
#include <stdbool.h>
#include <stddef.h>

enum allocator { ALLOCATOR_MEWS, ALLOCATOR_MALLOC };
enum loop_choice { LOOP_AUTO, LOOP_URING, LOOP_EPOLL };

struct options {
	const char *address;      /* dotted IPv4 address to listen on */
	unsigned port;            /* 0: any free one, printed at start */
	unsigned threads;         /* event loops; 0: one a usable CPU */
	enum allocator allocator;
	enum loop_choice loop;
	size_t block_size;        /* usable bytes a block; 0: the pool's default */
	size_t max_blocks;        /* 0: the pool's own hard limit */
	enum mews_mode mode;
	unsigned max_connections; /* a thread */
	size_t max_body;          /* bytes of a request's body */
	unsigned timeout;         /* ms a client may take over a head, a part of a body, a write */
	unsigned idle;            /* ms that a connection is kept between requests */
	bool quiet, describe;
	const char *ledger;       /* file for the ledger as JSON, or NULL */
};

/* Fills *options from the command line; prints and exits on --help or on nonsense. */
void options_parse(struct options *options, int argc, char **argv);

#endif
