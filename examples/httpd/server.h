/* SPDX-License-Identifier: MIT */
/*
 * The server and its threads. A worker is one event loop with its own listener, its own lender and
 * its own connections; a worker's cook is the thread to which it hands work. What threads share:
 *
 *   server.stop          written by main once, read by workers       relaxed: a wake follows
 *   worker.inbox, orders queues with a lock                          see handoff.h
 *   counts of a lender   written by its thread, read by /stats       relaxed counters
 *   all else             one thread's own
 */
#ifndef HTTPD_SERVER_H
#define HTTPD_SERVER_H

#include "handoff.h"
#include "options.h"

#include <pthread.h>

struct connection;
struct loop;

struct worker {
	struct lender lender;
	struct server *server;
	const struct loop *loop;
	void *loop_state;
	pthread_t thread, cook_thread;
	struct lender cook_lender;
	struct queue orders;          /* to the cook */
	struct queue inbox;           /* back from the cook */
	int listener, wake;           /* wake: an eventfd */
	uint64_t now;                 /* ms, read once a turn */
	uint64_t next_sweep, stop_by;
	bool stopping;
	bool accept_paused;           /* until the next sweep: out of file descriptors */
	struct buffer *spare;         /* receives when no block can be leased */
	struct connection *table;     /* max_connections of them, touched as they are used */
	struct connection *free;
	unsigned open, high;          /* connections open, and how much of the table was ever used */
	int error;                    /* why the worker could not start */
};

struct server {
	struct options options;
	const struct loop *loop;
	const char *loop_reason;
	struct mews_pool *pool;       /* NULL with malloc */
	struct worker *workers;
	pthread_barrier_t started;    /* every worker is ready, or says why not */
	_Atomic bool stop;
	unsigned port;
};

#endif
