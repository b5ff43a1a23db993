/* SPDX-License-Identifier: MIT */
/* A worker's life, and what its event loop tells it. */
#ifndef HTTPD_WORKER_H
#define HTTPD_WORKER_H

struct worker;

/* The worker's thread. argument: its struct worker, as main prepared it. */
void *worker_main(void *argument);

/* From another thread: look at server.stop, or into the inbox. */
void worker_wake(struct worker *worker);

void worker_accepted(struct worker *worker, int fd);
void worker_woken(struct worker *worker);

/* Reads the clock once for all that this turn does. */
void worker_clock(struct worker *worker);

#endif
