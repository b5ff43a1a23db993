/* SPDX-License-Identifier: MIT */
/*
 * The event loop over epoll, level-triggered. A connection that does not want input stays listened
 * for: only if an event does come is it masked, and unmasked when it wants input again. A client
 * that waits for its answers causes no call to epoll_ctl but the first.
 */
#include "loop.h"

#include "connection.h"
#include "server.h"
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS 256

struct epoll {
	int fd;
	struct epoll_event events[EVENTS];
};

static int probe(void)
{
	return 0;
}

static int listen_for(struct worker *worker, int operation, int fd, void *who, uint32_t events)
{
	struct epoll *epoll = worker->loop_state;
	struct epoll_event event = { .events = events, .data.ptr = who };

	return epoll_ctl(epoll->fd, operation, fd, &event) ? -errno : 0;
}

static void accept_on(struct worker *worker)
{
	listen_for(worker, EPOLL_CTL_ADD, worker->listener, &worker->listener, EPOLLIN);
}

static int open_epoll(struct worker *worker)
{
	struct epoll *epoll = calloc(1, sizeof(*epoll));

	if (!epoll)
		return -ENOMEM;
	worker->loop_state = epoll;
	epoll->fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll->fd < 0)
		return -errno;
	accept_on(worker);
	return listen_for(worker, EPOLL_CTL_ADD, worker->wake, &worker->wake, EPOLLIN);
}

static void close_epoll(struct worker *worker)
{
	struct epoll *epoll = worker->loop_state;

	if (epoll)
		close(epoll->fd);
	free(epoll);
}

static int watch(struct connection *c)
{
	return listen_for(c->worker, EPOLL_CTL_ADD, c->fd, c, EPOLLIN);
}

/* Listens for what the connection waits for: room to send before anything else. */
static int mask(struct connection *c, uint32_t events)
{
	c->masked = !(events & EPOLLIN);
	return listen_for(c->worker, EPOLL_CTL_MOD, c->fd, c, events);
}

static void receive(struct connection *c)
{
	c->receiving = true;
	if (c->masked)
		mask(c, EPOLLIN);
}

static ssize_t try_send(struct connection *c)
{
	ssize_t n = sendmsg(c->fd, &c->message, MSG_DONTWAIT | MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

static ssize_t send_message(struct connection *c)
{
	ssize_t n = try_send(c);

	c->receiving = false;
	if (n != -EAGAIN)
		return n;
	return mask(c, EPOLLOUT) ? -ENOMEM : -EAGAIN;
}

static void accept_some(struct worker *worker)
{
	for (int i = 0; i < 64; i++) {
		int fd = accept4(worker->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0) {
			worker_accepted(worker, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
			epoll_ctl(((struct epoll *)worker->loop_state)->fd, EPOLL_CTL_DEL,
				  worker->listener, NULL);
			worker->accept_paused = true;
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	}
}

static void connection_event(struct connection *c, uint32_t events)
{
	ssize_t n;

	if (c->fd < 0)
		return;   /* closed earlier in this turn */
	if (c->sending) {
		n = try_send(c);
		if (n != -EAGAIN)
			connection_sent(c, n);
	} else if (c->receiving) {
		c->receiving = false;
		connection_receive_now(c);
	} else if (events & (EPOLLERR | EPOLLHUP)) {
		connection_close(c);
	} else {
		mask(c, 0);
	}
}

static void woken(struct worker *worker)
{
	eventfd_t value;

	eventfd_read(worker->wake, &value);
	worker_woken(worker);
}

static void turn(struct worker *worker, unsigned ms)
{
	struct epoll *epoll = worker->loop_state;
	int n = epoll_wait(epoll->fd, epoll->events, EVENTS, ms);

	worker_clock(worker);
	for (int i = 0; i < n; i++) {
		void *who = epoll->events[i].data.ptr;

		if (who == &worker->listener)
			accept_some(worker);
		else if (who == &worker->wake)
			woken(worker);
		else
			connection_event(who, epoll->events[i].events);
	}
}

const struct loop loop_epoll = {
	.name = "epoll",
	.nonblocking = true,
	.probe = probe,
	.open = open_epoll,
	.close = close_epoll,
	.watch = watch,
	.receive = receive,
	.send = send_message,
	.turn = turn,
	.accept = accept_on,
};
