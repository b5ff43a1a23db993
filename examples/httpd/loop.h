/* SPDX-License-Identifier: MIT */
/*
 * What a worker asks of an event loop. Two of them stand behind this table: loop_uring.c and
 * loop_epoll.c. All calls are made on the worker's thread.
 */
#ifndef HTTPD_LOOP_H
#define HTTPD_LOOP_H

#include <stdbool.h>
#include <sys/types.h>

struct worker;
struct connection;

struct loop {
	const char *name;
	bool nonblocking;   /* the listener and the eventfd must not block: it tries, then waits */
	/* 0, or -errno: this kernel does not have what the loop needs, or refuses it. */
	int (*probe)(void);
	int (*open)(struct worker *worker);
	void (*close)(struct worker *worker);
	/* Looks after a fresh connection. 0 or -errno. */
	int (*watch)(struct connection *connection);
	/* Wants input: connection_received() follows, not from within this call. */
	void (*receive)(struct connection *connection);
	/* Sends the connection's message: bytes, -errno, or -EAGAIN: connection_sent() follows. */
	ssize_t (*send)(struct connection *connection);
	/* Waits for events, at most so many ms, and carries them to the connections. */
	void (*turn)(struct worker *worker, unsigned ms);
	/* Accepts again, after it had to stop for want of file descriptors. */
	void (*accept)(struct worker *worker);
};

extern const struct loop loop_uring, loop_epoll;

#endif
