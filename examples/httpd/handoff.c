/* SPDX-License-Identifier: MIT */
/* The queues between a worker and its cook, and the cook. */
#include "handoff.h"

#include "count_malloc.h"
#include "routes.h"
#include "server.h"

#include <sys/eventfd.h>

void queue_init(struct queue *queue)
{
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->filled, NULL);
	queue->first = queue->last = NULL;
	queue->closed = false;
}

bool queue_put(struct queue *queue, struct order *order)
{
	bool was_empty;

	order->next = NULL;
	pthread_mutex_lock(&queue->lock);
	was_empty = !queue->first;
	if (was_empty)
		queue->first = order;
	else
		queue->last->next = order;
	queue->last = order;
	pthread_mutex_unlock(&queue->lock);
	if (was_empty)
		pthread_cond_signal(&queue->filled);
	return was_empty;
}

static struct order *take_all_locked(struct queue *queue)
{
	struct order *orders = queue->first;

	queue->first = queue->last = NULL;
	return orders;
}

struct order *queue_take_all(struct queue *queue)
{
	struct order *orders;

	pthread_mutex_lock(&queue->lock);
	orders = take_all_locked(queue);
	pthread_mutex_unlock(&queue->lock);
	return orders;
}

struct order *queue_wait_all(struct queue *queue)
{
	struct order *orders;

	pthread_mutex_lock(&queue->lock);
	while (!queue->first && !queue->closed)
		pthread_cond_wait(&queue->filled, &queue->lock);
	orders = take_all_locked(queue);
	pthread_mutex_unlock(&queue->lock);
	return orders;
}

void queue_close(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_mutex_unlock(&queue->lock);
	pthread_cond_signal(&queue->filled);
}

static void cook(struct worker *worker, struct order *order)
{
	order->served = route_answer(worker->server, order->request, &worker->cook_lender,
				     &order->response);
	if (queue_put(&worker->inbox, order))
		eventfd_write(worker->wake, 1);
}

void *cook_main(void *argument)
{
	struct worker *worker = argument;
	struct counts *counts = &worker->cook_lender.counts;
	struct order *orders, *next;
	uint64_t before = malloc_calls();

	while ((orders = queue_wait_all(&worker->orders)))
		for (; orders; orders = next) {
			next = orders->next;
			cook(worker, orders);
			count(&counts->malloc_calls, malloc_calls() - before);
			before = malloc_calls();
		}
	return NULL;
}
