/* SPDX-License-Identifier: MIT */
/*
 * The thread of an event loop: opens what it needs, turns the loop, sweeps its connections for
 * deadlines four times a second, and at the end sees every connection off before it returns.
 */
#include "worker.h"

#include "connection.h"
#include "count_malloc.h"
#include "loop.h"
#include "server.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS 250

void worker_wake(struct worker *worker)
{
	eventfd_write(worker->wake, 1);
}

void worker_clock(struct worker *worker)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	worker->now = t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

void worker_accepted(struct worker *worker, int fd)
{
	struct connection *c = connection_open(worker, fd);

	if (!c)
		return;
	if (worker->stopping || worker->loop->watch(c))
		connection_close(c);
	else
		worker->loop->receive(c);
}

void worker_woken(struct worker *worker)
{
	struct order *order, *next;

	for (order = queue_take_all(&worker->inbox); order; order = next) {
		next = order->next;
		connection_served(order);
	}
}

static void begin_stop(struct worker *worker)
{
	worker->stopping = true;
	worker->stop_by = worker->now + worker->server->options.timeout;
	worker->next_sweep = 0;
	/* The shutdown ends an accept in flight, the close what an epoll listens for. */
	shutdown(worker->listener, SHUT_RDWR);
	close(worker->listener);
}

static void sweep(struct worker *worker)
{
	bool overdue = worker->stopping && worker->now >= worker->stop_by;

	for (unsigned i = 0; i < worker->high; i++) {
		struct connection *c = &worker->table[i];

		if (c->fd < 0)
			continue;
		if (overdue)
			connection_close(c);
		else if (worker->now >= c->deadline)
			connection_expire(c);
		else if (worker->stopping)
			connection_stop(c);
	}
	if (worker->accept_paused && !worker->stopping) {
		worker->accept_paused = false;
		worker->loop->accept(worker);
	}
	worker->next_sweep = worker->now + SWEEP_MS;
}

static void serve(struct worker *worker)
{
	uint64_t before = malloc_calls();

	while (!worker->stopping || worker->open) {
		worker->loop->turn(worker, SWEEP_MS);
		if (!worker->stopping && atomic_load_explicit(&worker->server->stop,
							      memory_order_relaxed))
			begin_stop(worker);
		if (worker->now >= worker->next_sweep)
			sweep(worker);
		count(&worker->lender.counts.malloc_calls, malloc_calls() - before);
		before = malloc_calls();
	}
}

static int prepare(struct worker *worker)
{
	size_t bytes = worker->server->options.max_connections * sizeof(struct connection);

	worker_clock(worker);
	worker->table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (worker->table == MAP_FAILED)
		return -errno;
	worker->spare = buffer_lease(&worker->lender);
	if (!worker->spare)
		return -ENOBUFS;
	return worker->loop->open(worker);
}

void *worker_main(void *argument)
{
	struct worker *worker = argument;

	worker->error = prepare(worker);
	pthread_barrier_wait(&worker->server->started);
	if (!worker->error)
		serve(worker);
	worker->loop->close(worker);
	buffer_return(&worker->lender, worker->spare);
	queue_close(&worker->orders);
	return NULL;
}
