/* SPDX-License-Identifier: MIT */
/*
 * A connection: bytes in, requests, answers, bytes out. It belongs to one worker and is touched by
 * its thread alone, but for its order while the cook has it. It holds a received block only while
 * there are bytes in it that were not parsed yet: an idle connection holds no block.
 */
#ifndef HTTPD_CONNECTION_H
#define HTTPD_CONNECTION_H

#include "handoff.h"
#include "request.h"

#include <sys/socket.h>
#include <sys/uio.h>

#define IOVECS 16

/* What the connection waits for: decides its deadline, and what happens when it passes. */
enum waiting {
	WAITING_IDLE,      /* for the first byte of a request */
	WAITING_HEAD,
	WAITING_BODY,
	WAITING_COOK,
	WAITING_SEND,      /* for the client to take what it asked for */
	WAITING_LINGER,    /* for the client to close, after a farewell */
	WAITING_GONE,      /* for the last operations on a closed connection */
};

struct connection {
	struct connection *next_free;
	struct worker *worker;
	int fd;                    /* -1: free, or closed and not yet settled */
	unsigned operations;       /* in flight in the kernel */
	enum waiting waiting;
	uint64_t deadline;         /* in the worker's ms */
	bool receiving, sending;   /* an operation of the loop is under way */
	bool masked;               /* epoll: input is not listened for */
	bool cooking;              /* the order is with the cook */
	bool last;                 /* nothing more is read: say farewell, if any, and close */
	bool end_of_input;         /* the client has closed its side */
	const char *farewell;      /* constant text that goes out behind the output */
	struct buffer *input;      /* received, not all of it parsed */
	struct chain output;
	size_t output_bytes;
	struct request request;
	struct order order;
	struct msghdr message;     /* describes the output while it is being sent */
	struct iovec iovec[IOVECS];
} __attribute__((aligned(64)));

/* Takes over an accepted socket; closes it if the worker's table is full. */
struct connection *connection_open(struct worker *worker, int fd);

/* Goes on as far as it goes without waiting. */
void connection_advance(struct connection *connection);

/*
 * The outcome of a receive: bytes now in the buffer, 0 at the end of input, or -errno. The buffer
 * is the connection's from here on, but for the worker's spare.
 */
void connection_received(struct connection *connection, struct buffer *buffer, ssize_t result);

/* Receives without waiting, into a leased block or, if there is none, the spare. */
void connection_receive_now(struct connection *connection);

/* The outcome of a send that said -EAGAIN: bytes, or -errno. */
void connection_sent(struct connection *connection, ssize_t result);

/* The cook is done. */
void connection_served(struct order *order);

/* Its deadline has passed. */
void connection_expire(struct connection *connection);

/* The server stops: an idle connection closes now, any other one behind its present request. */
void connection_stop(struct connection *connection);

/* Drops it at once, whatever it is at. */
void connection_close(struct connection *connection);

/* An operation in the kernel has ended: frees the connection if it was closed and this the last. */
void connection_settle(struct connection *connection);

#endif
