/* SPDX-License-Identifier: MIT */
/*
 * httpd: a small HTTP/1.1 server whose buffers are leased from a mews pool. main opens the pool and
 * the listeners, starts the threads, waits for a signal, and closes the books.
 */
#include "ledger.h"
#include "loop.h"
#include "request.h"
#include "server.h"
#include "worker.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

static void loop_choose(struct server *server)
{
	static char reason[96];
	enum loop_choice asked = server->options.loop;
	int error = asked == LOOP_EPOLL ? 0 : loop_uring.probe();

	server->loop = asked == LOOP_EPOLL || error ? &loop_epoll : &loop_uring;
	if (asked == LOOP_URING && error)
		errx(EX_UNAVAILABLE, "io_uring cannot be used here: %s", strerror(-error));
	if (error)
		snprintf(reason, sizeof(reason), "io_uring is refused: %s", strerror(-error));
	else
		strcpy(reason, asked == LOOP_AUTO ? "the kernel has all it needs" : "as asked");
	server->loop_reason = reason;
}

/* One listener a worker, all on one port: the kernel spreads the clients over them. */
static int listener_open(struct server *server)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(server->port),
	};
	socklen_t length = sizeof(address);
	int flags = SOCK_CLOEXEC | (server->loop->nonblocking ? SOCK_NONBLOCK : 0);
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0), one = 1;

	if (inet_pton(AF_INET, server->options.address, &address.sin_addr) != 1)
		errx(EX_USAGE, "%s is not an IPv4 address", server->options.address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));   /* accepted ones inherit it */
	if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4096))
		err(EX_UNAVAILABLE, "cannot listen on %s:%u", server->options.address, server->port);
	getsockname(fd, (struct sockaddr *)&address, &length);
	server->port = ntohs(address.sin_port);
	return fd;
}

static void worker_prepare(struct server *server, unsigned number)
{
	struct worker *worker = &server->workers[number];

	worker->server = server;
	worker->loop = server->loop;
	lender_init(&worker->lender, &server->options, server->pool, 2 * number);
	lender_init(&worker->cook_lender, &server->options, server->pool, 2 * number + 1);
	queue_init(&worker->orders);
	queue_init(&worker->inbox);
	worker->listener = listener_open(server);
	worker->wake = eventfd(0, EFD_CLOEXEC | (server->loop->nonblocking ? EFD_NONBLOCK : 0));
	if (worker->wake < 0)
		err(EX_OSERR, "eventfd");
}

static void threads_start(struct server *server)
{
	unsigned threads = server->options.threads;

	pthread_barrier_init(&server->started, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		struct worker *worker = &server->workers[i];

		if (pthread_create(&worker->thread, NULL, worker_main, worker) ||
		    pthread_create(&worker->cook_thread, NULL, cook_main, worker))
			errx(EX_OSERR, "cannot start a thread");
	}
	pthread_barrier_wait(&server->started);
	for (unsigned i = 0; i < threads; i++)
		if (server->workers[i].error)
			errx(EX_OSERR, "worker %u: %s", i, strerror(-server->workers[i].error));
}

static void threads_stop(struct server *server)
{
	unsigned threads = server->options.threads;

	atomic_store_explicit(&server->stop, true, memory_order_relaxed);
	for (unsigned i = 0; i < threads; i++)
		worker_wake(&server->workers[i]);
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(server->workers[i].thread, NULL);
		pthread_join(server->workers[i].cook_thread, NULL);
		close(server->workers[i].wake);
	}
}

/* As many connections as the system lets us have. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void describe(struct server *server)
{
	char *text;
	int length;

	if (!server->pool) {
		puts("no pool: buffers come from malloc");
		return;
	}
	length = mews_pool_describe(server->pool, NULL, 0);
	text = length < 0 ? NULL : malloc(length + 1);
	if (!text)
		errx(EX_SOFTWARE, "the pool cannot be described");
	mews_pool_describe(server->pool, text, length + 1);
	puts(text);
	free(text);
}

static void announce(const struct server *server)
{
	struct mews_stats s = { .size = sizeof(s) };

	if (!server->options.quiet) {
		printf("loop      %s, %u threads: %s\n", server->loop->name,
		       server->options.threads, server->loop_reason);
		if (server->pool && mews_pool_stats(server->pool, &s) == 0)
			printf("pool      %s; %s mode, %llu bytes a block, %u a cache\n", s.path_reason,
			       s.mode == MEWS_MODE_SERVER ? "server" : "workstation",
			       (unsigned long long)s.block_size, s.cache_capacity);
		else
			printf("pool      none: buffers come from malloc\n");
	}
	printf("listening http://%s:%u\n", server->options.address, server->port);
	fflush(stdout);
}

static void wait_for_signal(struct mews_pool *pool, const sigset_t *signals)
{
	int number;

	while ((number = sigwaitinfo(signals, NULL)) < 0 || number == SIGUSR1)
		if (number > 0 && pool)
			ledger_leases(pool, stdout);
}

/* Waits a second for what is still out; by now nothing should be. */
static bool books_close(struct server *server)
{
	struct timespec deadline;
	char text[LEDGER_JSON_MAX];
	FILE *file;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec++;
	if (server->pool && mews_pool_drain(server->pool, &deadline))
		warnx("the pool did not drain: blocks are missing");
	if (!server->options.quiet)
		ledger_print(server, stdout);
	if (server->options.ledger) {
		file = fopen(server->options.ledger, "w");
		ledger_json(server, text);
		if (!file || fputs(text, file) < 0 || fclose(file))
			err(EX_CANTCREAT, "%s", server->options.ledger);
	}
	return ledger_balances(server);
}

static void server_open(struct server *server)
{
	unsigned threads = server->options.threads;
	int error = buffers_open(&server->options, &server->pool);

	if (error)
		errx(EX_OSERR, "cannot create the pool: %s", strerror(-error));
	server->port = server->options.port;
	server->workers = aligned_alloc(128, threads * sizeof(struct worker));
	if (!server->workers)
		err(EX_OSERR, "no memory for the workers");
	memset(server->workers, 0, threads * sizeof(struct worker));
}

int main(int argc, char **argv)
{
	static struct server server;
	sigset_t signals;
	bool balances;

	options_parse(&server.options, argc, argv);
	server_open(&server);
	if (server.options.describe) {
		describe(&server);
		return 0;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);   /* for all threads: main alone takes them */
	raise_file_limit();
	request_setup();
	loop_choose(&server);
	for (unsigned i = 0; i < server.options.threads; i++)
		worker_prepare(&server, i);
	threads_start(&server);
	announce(&server);
	wait_for_signal(server.pool, &signals);
	threads_stop(&server);
	balances = books_close(&server);
	free(server.workers);
	if (server.pool)
		mews_pool_dispose(server.pool);
	return balances ? 0 : 1;
}
