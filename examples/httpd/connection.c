/* SPDX-License-Identifier: MIT */
/*
 * The life of a connection. connection_advance() is its heart: parse, answer, send, and when
 * neither is possible say what is waited for. The loops call in with outcomes and never decide.
 */
#include "connection.h"

#include "loop.h"
#include "routes.h"
#include "server.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* With so much to send, the next pipelined request waits. */
#define OUTPUT_MOST 65536

struct connection *connection_open(struct worker *worker, int fd)
{
	struct connection *c = worker->free;

	if (c)
		worker->free = c->next_free;
	else if (worker->high < worker->server->options.max_connections)
		c = &worker->table[worker->high++];
	if (!c) {
		close(fd);
		return NULL;
	}
	memset(c, 0, offsetof(struct connection, request));
	c->worker = worker;
	c->fd = fd;
	c->deadline = worker->now + worker->server->options.idle;
	request_init(&c->request, &worker->lender, worker->server->options.max_body);
	worker->open++;
	count(&worker->lender.counts.connections, 1);
	return c;
}

static void input_drop(struct connection *c)
{
	if (c->input && c->input != c->worker->spare)
		buffer_return(&c->worker->lender, c->input);
	c->input = NULL;
}

/* Closing takes two steps, since neither the kernel nor the cook can be made to let go at once. */
void connection_settle(struct connection *c)
{
	if (c->waiting != WAITING_GONE || c->operations || c->cooking)
		return;
	chain_return(&c->worker->lender, &c->output);
	request_reset(&c->request);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->waiting = WAITING_IDLE;
	c->next_free = c->worker->free;
	c->worker->free = c;
	c->worker->open--;
}

void connection_close(struct connection *c)
{
	if (c->waiting == WAITING_GONE)
		return;
	c->waiting = WAITING_GONE;
	c->deadline = UINT64_MAX;
	input_drop(c);
	if (c->operations) {
		shutdown(c->fd, SHUT_RDWR);   /* ends the operations; the last one settles */
	} else {
		close(c->fd);
		c->fd = -1;
	}
	connection_settle(c);
}

/* Ends the connection behind what is already to be sent, with a constant response. */
static void refuse(struct connection *c, unsigned status)
{
	c->farewell = response_farewell(status);
	c->last = true;
	count(&c->worker->lender.counts.requests, 1);
	if (status == 503)
		count(&c->worker->lender.counts.refused, 1);
}

static void take_answer(struct connection *c, struct response *response, bool served)
{
	if (!served) {
		refuse(c, 503);
		return;
	}
	for (const struct buffer *b = response->chain.first; b; b = b->next)
		c->output_bytes += b->end - b->start;
	chain_move(&c->output, &response->chain);
	c->last = c->last || !c->request.keep_alive;
	count(&c->worker->lender.counts.requests, 1);
	request_reset(&c->request);
}

static void answer(struct connection *c)
{
	struct worker *worker = c->worker;
	struct response response;
	bool served;

	if (route_is_handed_off(&c->request)) {
		c->cooking = true;
		c->order.request = &c->request;
		queue_put(&worker->orders, &c->order);
		return;
	}
	served = route_answer(worker->server, &c->request, &worker->lender, &response);
	take_answer(c, &response, served);
}

/* From input to output, until one of them is at its end. */
static void parse(struct connection *c)
{
	while (c->input && !c->cooking && !c->last && c->output_bytes < OUTPUT_MOST) {
		struct buffer *in = c->input;

		in->start += request_feed(&c->request, in->data + in->start, in->end - in->start);
		if (in->start == in->end)
			input_drop(c);
		if (c->request.state == REQUEST_COMPLETE)
			answer(c);
		else if (c->request.state == REQUEST_FAILED)
			refuse(c, c->request.status);
	}
	if (c->last)
		input_drop(c);
	if (c->input == c->worker->spare && c->input) {
		/* The spare is on loan for this one call: what is in it cannot wait. */
		input_drop(c);
		c->last = true;
	}
}

/* Describes the output, as much of it as goes into one send. */
static void gather(struct connection *c)
{
	size_t n = 0;

	for (struct buffer *b = c->output.first; b && n < IOVECS; b = b->next)
		c->iovec[n++] = (struct iovec){ b->data + b->start, b->end - b->start };
	if (c->farewell && n < IOVECS)
		c->iovec[n++] = (struct iovec){ (char *)c->farewell, strlen(c->farewell) };
	c->message = (struct msghdr){ .msg_iov = c->iovec, .msg_iovlen = n };
}

/* So many bytes are with the kernel: their buffers go back. */
static void output_taken(struct connection *c, size_t sent)
{
	struct chain done = { 0 };
	struct buffer *b;

	count(&c->worker->lender.counts.bytes_out, sent);
	while ((b = c->output.first) && sent >= b->end - b->start) {
		sent -= b->end - b->start;
		c->output_bytes -= b->end - b->start;
		c->output.first = b->next;
		b->next = NULL;
		chain_add(&done, b);
	}
	if (b) {
		b->start += sent;
		c->output_bytes -= sent;
	} else {
		c->output.last = NULL;
		if (c->farewell && sent)
			c->farewell = c->farewell[sent] ? c->farewell + sent : NULL;
	}
	chain_return(&c->worker->lender, &done);
}

/* False: wait for the outcome, or the connection is gone. */
static bool send_some(struct connection *c)
{
	ssize_t sent;

	gather(c);
	sent = c->worker->loop->send(c);
	if (sent == -EAGAIN) {
		c->sending = true;
		return false;
	}
	if (sent < 0) {
		connection_close(c);
		return false;
	}
	output_taken(c, sent);
	return true;
}

static bool has_output(const struct connection *c)
{
	return c->output.first || c->farewell;
}

/* A head has one deadline for all of it; whatever else is waited for, progress sets a new one. */
static void wait_for(struct connection *c, enum waiting what)
{
	const struct options *o = &c->worker->server->options;

	if (what == WAITING_HEAD && c->waiting == WAITING_HEAD)
		return;
	c->waiting = what;
	c->deadline = c->worker->now + (what == WAITING_IDLE ? o->idle : o->timeout);
	if (what == WAITING_COOK)
		c->deadline = UINT64_MAX;
}

static enum waiting waits_for(const struct connection *c)
{
	if (c->cooking)
		return WAITING_COOK;
	if (c->request.state == REQUEST_NONE)
		return WAITING_IDLE;
	return c->request.state == REQUEST_HEAD ? WAITING_HEAD : WAITING_BODY;
}

/*
 * All was said. Closing now, with bytes of the client unread, would make the kernel send a reset
 * that can overtake the farewell: so only this side is shut, and the client's bytes are dropped.
 */
static void linger(struct connection *c)
{
	if (c->end_of_input || c->worker->stopping) {
		connection_close(c);
		return;
	}
	if (c->waiting != WAITING_LINGER) {
		shutdown(c->fd, SHUT_WR);
		wait_for(c, WAITING_LINGER);
	}
	c->worker->loop->receive(c);
}

void connection_advance(struct connection *c)
{
	if (c->waiting == WAITING_GONE || c->sending)
		return;
	for (;;) {
		parse(c);
		if (!has_output(c))
			break;
		if (!send_some(c)) {
			if (c->sending)
				wait_for(c, WAITING_SEND);
			return;
		}
	}
	if (c->last && !c->cooking) {
		linger(c);
		return;
	}
	if (c->end_of_input && !c->cooking) {
		connection_close(c);
		return;
	}
	wait_for(c, waits_for(c));
	if (!c->cooking && !c->end_of_input)
		c->worker->loop->receive(c);
}

void connection_received(struct connection *c, struct buffer *buffer, ssize_t result)
{
	c->input = buffer;
	if (c->waiting == WAITING_GONE || result < 0) {
		input_drop(c);
		connection_close(c);
		return;
	}
	if (result == 0)
		c->end_of_input = true;
	count(&c->worker->lender.counts.bytes_in, result);
	connection_advance(c);
}

void connection_receive_now(struct connection *c)
{
	struct buffer *buffer = buffer_lease(&c->worker->lender);
	ssize_t n;

	if (!buffer)
		buffer = c->worker->spare;
	n = recv(c->fd, buffer->data, buffer->capacity, MSG_DONTWAIT);
	buffer->start = 0;
	buffer->end = n > 0 ? n : 0;
	if (n > 0) {
		connection_received(c, buffer, n);
		return;
	}
	n = n < 0 ? -errno : 0;
	if (buffer != c->worker->spare)
		buffer_return(&c->worker->lender, buffer);
	if (n == -EAGAIN || n == -EINTR)
		c->worker->loop->receive(c);
	else
		connection_received(c, NULL, n);
}

void connection_sent(struct connection *c, ssize_t result)
{
	c->sending = false;
	if (c->waiting == WAITING_GONE)
		return;
	if (result < 0) {
		connection_close(c);
		return;
	}
	output_taken(c, result);
	connection_advance(c);
}

void connection_served(struct order *order)
{
	struct connection *c = (struct connection *)((char *)order -
						     offsetof(struct connection, order));

	c->cooking = false;
	if (c->waiting == WAITING_GONE) {
		chain_return(&c->worker->lender, &order->response.chain);
		connection_settle(c);
		return;
	}
	take_answer(c, &order->response, order->served);
	connection_advance(c);
}

void connection_expire(struct connection *c)
{
	bool unheard = c->waiting == WAITING_HEAD || c->waiting == WAITING_BODY;

	if (!unheard) {
		connection_close(c);
		return;
	}
	refuse(c, 408);
	connection_advance(c);
}

void connection_stop(struct connection *c)
{
	if (c->waiting == WAITING_IDLE || c->waiting == WAITING_LINGER)
		connection_close(c);
	else
		c->last = c->last || c->cooking || c->sending;
}
