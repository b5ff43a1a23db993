/* SPDX-License-Identifier: MIT */
/*
 * Work handed to another thread. A worker puts a connection, whose request is complete, into its
 * cook's queue; the cook leases the buffers, fills them, and puts the connection into the worker's
 * inbox; the worker sends them and returns them: leased on one thread, returned on another.
 *
 * A queue may be used from any threads. It links the connections themselves: nothing is allocated.
 */
#ifndef HTTPD_HANDOFF_H
#define HTTPD_HANDOFF_H

#include "response.h"

#include <pthread.h>

struct worker;

struct order {
	struct order *next;
	struct request *request;
	struct response response;     /* what the cook made */
	bool served;                  /* false: the pool was full */
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct order *first, *last;
	bool closed;
};

void queue_init(struct queue *queue);

/* True if the queue was empty: whoever waits outside of it (an event loop) must be woken. */
bool queue_put(struct queue *queue, struct order *order);

/* All that is there, oldest first, at once; NULL if none. */
struct order *queue_take_all(struct queue *queue);

/* Waits for something; then as queue_take_all. NULL: closed and empty. */
struct order *queue_wait_all(struct queue *queue);

void queue_close(struct queue *queue);

/* The cook's thread: takes orders until their queue is closed. argument: its worker. */
void *cook_main(void *argument);

#endif
