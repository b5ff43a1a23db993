/* SPDX-License-Identifier: MIT */
/*
 * The event loop over io_uring. One multishot accept; receives name no buffer, the kernel takes one
 * from a ring of leased blocks when there are bytes, so that waiting connections hold none; the
 * connection that gets a block keeps its lease, and the ring is topped up with fresh leases once a
 * turn. What a turn submits goes to the kernel in the call that waits for the next events.
 */
#include "loop.h"

#include "connection.h"
#include "server.h"
#include "worker.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/mman.h>

#define DEPTH 1024     /* entries to submit in one go */
#define SLOTS 64       /* blocks in the ring, a power of two */
#define GROUP 0
#define SEND_NOW 16000 /* bytes from which on an answer is not held until the end of the turn */

/* What an operation was, in the low bits of its user data; the rest is the connection. */
enum operation { OP_ACCEPT, OP_WAKE, OP_RECEIVE, OP_SEND, OP_MASK = 7 };

struct uring {
	struct io_uring ring;
	struct io_uring_buf_ring *blocks;
	struct buffer *slot[SLOTS];     /* what the kernel may fill */
	uint16_t empty[SLOTS];          /* numbers of slots without a block */
	unsigned empties;
	uint64_t wakes;                 /* read from the eventfd */
};

static struct io_uring_sqe *operation(struct uring *u, struct connection *c, enum operation op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	while (!sqe) {
		io_uring_submit(&u->ring);
		sqe = io_uring_get_sqe(&u->ring);
	}
	sqe->user_data = (uintptr_t)c | op;   /* which the prep calls leave alone */
	if (c)
		c->operations++;
	return sqe;
}

static int queue_open(struct io_uring *ring)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE,
		.cq_entries = 8 * DEPTH,
	};
	int error = io_uring_queue_init_params(DEPTH, ring, &params);

	if (error != -EINVAL)
		return error;
	/* Before Linux 6.1. */
	params = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE, .cq_entries = 8 * DEPTH };
	return io_uring_queue_init_params(DEPTH, ring, &params);
}

/* IORING_OP_SEND_ZC came with Linux 6.0; what is used here came before. */
static int probe(void)
{
	struct io_uring_probe *probe;
	struct io_uring ring;
	int error = queue_open(&ring);

	if (error)
		return error;
	probe = io_uring_get_probe_ring(&ring);
	error = probe && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) ? 0 : -ENOSYS;
	io_uring_free_probe(probe);
	io_uring_queue_exit(&ring);
	return error;
}

/* Leases blocks for the empty slots and shows them to the kernel. Short of blocks: fewer slots. */
static void top_up(struct worker *worker)
{
	struct uring *u = worker->loop_state;
	struct buffer *fresh[SLOTS];
	size_t got;

	if (!u->empties)
		return;
	got = buffer_lease_many(&worker->lender, fresh, u->empties);
	for (size_t i = 0; i < got; i++) {
		unsigned slot = u->empty[--u->empties];

		u->slot[slot] = fresh[i];
		io_uring_buf_ring_add(u->blocks, fresh[i]->data, fresh[i]->capacity, slot,
				      SLOTS - 1, i);
	}
	io_uring_buf_ring_advance(u->blocks, got);
}
_Static_assert(SLOTS <= BULK, "topped up in one call");

static int blocks_open(struct worker *worker)
{
	struct uring *u = worker->loop_state;
	size_t bytes = SLOTS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg reg = { .ring_entries = SLOTS, .bgid = GROUP };
	int error;

	u->blocks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->blocks == MAP_FAILED)
		return -errno;
	reg.ring_addr = (uintptr_t)u->blocks;
	error = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (error)
		return error;
	io_uring_buf_ring_init(u->blocks);
	while (u->empties < SLOTS) {
		u->empty[u->empties] = u->empties;
		u->empties++;
	}
	top_up(worker);
	return 0;
}

static void accept_on(struct worker *worker)
{
	struct io_uring_sqe *sqe = operation(worker->loop_state, NULL, OP_ACCEPT);

	io_uring_prep_multishot_accept(sqe, worker->listener, NULL, NULL, SOCK_CLOEXEC);
}

static void wake_on(struct worker *worker)
{
	struct uring *u = worker->loop_state;
	struct io_uring_sqe *sqe = operation(u, NULL, OP_WAKE);

	io_uring_prep_read(sqe, worker->wake, &u->wakes, sizeof(u->wakes), 0);
}

static int open_uring(struct worker *worker)
{
	struct uring *u = calloc(1, sizeof(*u));
	int error;

	if (!u)
		return -ENOMEM;
	error = queue_open(&u->ring);
	if (error) {
		free(u);
		return error;
	}
	worker->loop_state = u;
	error = blocks_open(worker);
	if (error)
		return error;
	accept_on(worker);
	wake_on(worker);
	return 0;
}

static void close_uring(struct worker *worker)
{
	struct uring *u = worker->loop_state;

	if (!u)
		return;
	io_uring_queue_exit(&u->ring);
	for (unsigned i = 0; i < SLOTS; i++)
		buffer_return(&worker->lender, u->slot[i]);
	munmap(u->blocks, SLOTS * sizeof(struct io_uring_buf));
	free(u);
}

static int watch(struct connection *c)
{
	(void)c;
	return 0;
}

static void receive(struct connection *c)
{
	struct io_uring_sqe *sqe;

	if (c->receiving)
		return;
	c->receiving = true;
	sqe = operation(c->worker->loop_state, c, OP_RECEIVE);
	io_uring_prep_recv(sqe, c->fd, NULL, 0, 0);
	/* Waits first: the answer has only just left, and no block is taken until there are bytes. */
	sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
}

static ssize_t send_message(struct connection *c)
{
	struct io_uring_sqe *sqe;
	ssize_t n;

	/*
	 * Long answers go out as they are made: their bytes are still in the CPU's cache, and their
	 * blocks come back before the next answer of this turn leases its own.
	 */
	if (c->output_bytes >= SEND_NOW) {
		n = sendmsg(c->fd, &c->message, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0 || errno != EAGAIN)
			return n < 0 ? -errno : n;
	}
	sqe = operation(c->worker->loop_state, c, OP_SEND);
	if (c->message.msg_iovlen == 1)
		io_uring_prep_send(sqe, c->fd, c->iovec[0].iov_base, c->iovec[0].iov_len,
				   MSG_NOSIGNAL);
	else
		io_uring_prep_sendmsg(sqe, c->fd, &c->message, MSG_NOSIGNAL);
	return -EAGAIN;
}

/* Takes the block that the kernel filled out of its slot. */
static struct buffer *take_block(struct uring *u, const struct io_uring_cqe *cqe)
{
	unsigned slot = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	struct buffer *buffer = u->slot[slot];

	u->slot[slot] = NULL;
	u->empty[u->empties++] = slot;
	buffer->start = 0;
	buffer->end = cqe->res > 0 ? cqe->res : 0;
	return buffer;
}

static void received(struct uring *u, struct connection *c, const struct io_uring_cqe *cqe)
{
	struct buffer *buffer = NULL;

	c->receiving = false;
	if (cqe->flags & IORING_CQE_F_BUFFER)
		buffer = take_block(u, cqe);
	if (cqe->res == -ENOBUFS && c->waiting != WAITING_GONE)
		connection_receive_now(c);   /* more were ready than the ring had blocks */
	else
		connection_received(c, buffer, cqe->res);
}

static void accepted(struct worker *worker, const struct io_uring_cqe *cqe)
{
	if (cqe->res >= 0)
		worker_accepted(worker, cqe->res);
	if (cqe->flags & IORING_CQE_F_MORE || worker->stopping)
		return;
	if (cqe->res == -EMFILE || cqe->res == -ENFILE || cqe->res == -ENOMEM)
		worker->accept_paused = true;
	else
		accept_on(worker);
}

static void complete(struct worker *worker, const struct io_uring_cqe *cqe)
{
	struct connection *c = (struct connection *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);

	if (c)
		c->operations--;
	switch (cqe->user_data & OP_MASK) {
	case OP_ACCEPT:
		accepted(worker, cqe);
		break;
	case OP_WAKE:
		worker_woken(worker);
		wake_on(worker);
		break;
	case OP_RECEIVE:
		received(worker->loop_state, c, cqe);
		break;
	case OP_SEND:
		connection_sent(c, cqe->res);
		break;
	}
	if (c)
		connection_settle(c);
}

static void turn(struct worker *worker, unsigned ms)
{
	struct uring *u = worker->loop_state;
	struct __kernel_timespec wait = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;

	top_up(worker);
	io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &wait, NULL);
	worker_clock(worker);
	io_uring_for_each_cqe(&u->ring, head, cqe) {
		complete(worker, cqe);
		seen++;
	}
	io_uring_cq_advance(&u->ring, seen);
}

const struct loop loop_uring = {
	.name = "io_uring",
	.probe = probe,
	.open = open_uring,
	.close = close_uring,
	.watch = watch,
	.receive = receive,
	.send = send_message,
	.turn = turn,
	.accept = accept_on,
};
