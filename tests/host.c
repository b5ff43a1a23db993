/* SPDX-License-Identifier: MIT */
/*
 * A library is a guest in its process: what the program around it limits, closes, locks or cancels must
 * neither break the pool nor be broken by it. Each case runs in a process of its own; the
 * program has much thread-local storage, which comes out of the stacks of threads.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/inline.h>
#include "lib/ledger.h"
#include "numa/kernel.h"
#include "tests/support/check.h"
#include "tests/support/threads.h"

#define BATCH 600       /* more than a cache */
#define FILES 32

static __thread volatile char storage[230 << 10];

static struct mews_pool *open_pool(void (*on_report)(void *, const struct mews_report *))
{
	struct mews_pool_config config = { .size = sizeof(config), .mode = MEWS_MODE_SERVER,
					   .decay_ms = 80, .on_report = on_report };
	struct mews_pool *pool;

	storage[0] = 1;
	CHECK(mews_pool_create(&config, &pool) == 0, "create");
	return pool;
}

static void close_pool(struct mews_pool *pool)
{
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static void burst(struct mews_pool *pool)
{
	void *blocks[BATCH];
	size_t got = mews_lease_many(pool, blocks, BATCH);

	CHECK(got == BATCH, "%zu blocks", got);
	mews_return_many(pool, blocks, got);
}

static struct mews_stats stats_of(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	CHECK(mews_pool_stats(pool, &stats) == 0, "stats");
	return stats;
}

/* The keeper gives all back, in its time. */
static void wait_until_given_back(struct mews_pool *pool)
{
	double end = threads_now() + 200; /* a hang */

	while (stats_of(pool).backed_bytes) {
		CHECK(threads_now() < end, "the keeper gives nothing back");
		threads_sleep(0.02);
	}
}

/* The thread of the keeper, from its name. */
static pid_t find_keeper(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	char path[300], name[32];
	int tid = 0;

	CHECK(tasks, "tasks");
	while ((task = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		if (mews_kernel_read_text(path, name, sizeof(name)) > 0 &&
		    strcmp(name, "mews-keeper\n") == 0)
			sscanf(task->d_name, "%d", &tid);
	}
	closedir(tasks);
	return tid;
}

/* A file that grows past RLIMIT_FSIZE is answered with SIGXFSZ, and hugetlb pages come in files. */
static void run_file_size(void)
{
	const struct rlimit little = { 4096, 4096 };
	struct mews_pool *pool;

	CHECK(setrlimit(RLIMIT_FSIZE, &little) == 0, "limit");
	pool = open_pool(NULL);
	burst(pool);
	close_pool(pool);
}

static int reports;

static void on_report(void *context, const struct mews_report *report)
{
	(void)context;
	reports += report->kind != MEWS_REPORT_DEGRADED; /* that a pool is on the fallback is told as well */
	pthread_testcancel(); /* as any function that writes */
}

static void *misuse_cancelled(void *pool)
{
	pthread_cancel(pthread_self());
	mews_return(pool, &reports);
	pthread_testcancel();
	CHECK(false, "not cancelled");
	return NULL;
}

/* A report's callback that is a cancellation point does not leave the operation half done. */
static void run_cancelled_report(void)
{
	struct mews_pool *pool = open_pool(on_report);
	pthread_t thread;
	pid_t child;

	pthread_create(&thread, NULL, misuse_cancelled, pool);
	pthread_join(thread, NULL);
	CHECK(reports == 1, "%d reports", reports);
	child = fork();
	if (child == 0)
		_exit(0);
	CHECK(child > 0 && waitpid(child, NULL, 0) == child, "fork");
	close_pool(pool);
}

#define STACK (256 << 10)
#define STACK_UNUSED 0x5a
#define BLOCKS 3000

static char *stack;
static struct mews_pool *deep_pool;
static void *blocks[BLOCKS + 1];

static void lease_all(void)
{
	size_t i;

	for (i = 0; i < BLOCKS; i++)
		blocks[i] = mews_lease(deep_pool);
	CHECK(blocks[BLOCKS - 1] && !mews_lease(deep_pool), "not at the limit");
}

static void return_all(void)
{
	size_t i;

	for (i = 0; i < BLOCKS; i++)
		mews_return(deep_pool, blocks[i]);
	mews_return(deep_pool, &deep_pool);
}

/* So far below the caller a call has written. */
static __attribute__((noinline)) void check_depth(const char *what, void (*call)(void))
{
	char *here = (char *)__builtin_frame_address(0) - 512, *low = stack + STACK / 4, *at = low;

	memset(low, STACK_UNUSED, (size_t)(here - low));
	call();
	while (*at == STACK_UNUSED)
		at++;
	CHECK(here - at < 8192, "%s: %td bytes of stack", what, here - at);
}

static void *check_depths(void *unused)
{
	check_depth("lease", lease_all);
	check_depth("return", return_all);
	return unused;
}

/* mews(7) says how much stack an operation needs that misses: most where nodes are asked for memory. */
static void run_small_stack(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS,
					   .on_report = on_report };
	pthread_attr_t attributes;
	pthread_t thread;

	if (mews_tsan_active() || mews_asan_active()) {
		printf("skip: frames are larger under sanitizers\n");
		return;
	}
	setenv("HWLOC_SYNTHETIC", "node:2 pu:1", 1);
	CHECK(mews_pool_create(&config, &deep_pool) == 0, "create");
	stack = mmap(NULL, STACK + sizeof(storage), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED, "a stack");
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, stack, STACK + sizeof(storage));
	pthread_create(&thread, &attributes, check_depths, NULL);
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attributes);
	close_pool(deep_pool);
}

static struct mews_pool *pinned_pool;

static void *create_in_haste(void *done)
{
	const struct sched_param urgent = { .sched_priority = 1 };

	threads_pin(0);
	*(int *)done = sched_setscheduler(0, SCHED_FIFO, &urgent) == 0;
	pinned_pool = open_pool(NULL);
	return NULL;
}

/* The keeper works for all: neither the pin nor the priority of who creates the first pool are for it. */
static void run_urgent_creator(void)
{
	cpu_set_t ours, keepers;
	int urgent = 0, keeper;
	pthread_t thread;

	CHECK(sched_getaffinity(0, sizeof(ours), &ours) == 0, "affinity");
	pthread_create(&thread, NULL, create_in_haste, &urgent);
	pthread_join(thread, NULL);
	keeper = find_keeper();
	CHECK(keeper > 0, "no keeper");
	if (!urgent)
		printf("skip: SCHED_FIFO is refused\n");
	CHECK(sched_getscheduler(keeper) == SCHED_OTHER, "policy %d", sched_getscheduler(keeper));
	CHECK(sched_getaffinity(keeper, sizeof(keepers), &keepers) == 0 &&
	      CPU_EQUAL(&ours, &keepers), "the keeper is pinned");
	close_pool(pinned_pool);
}

/* Tables are mapped for 8,192 CPUs and the largest pool: a process that locks them must not pay for it. */
static void run_locked_memory(void)
{
	struct mews_pool *pool;

	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		printf("skip: mlockall: %s\n", strerror(errno));
		return;
	}
	pool = open_pool(NULL);
	burst(pool);
	CHECK(stats_of(pool).metadata_bytes < 8 << 20, "%llu bytes of tables",
	      (unsigned long long)stats_of(pool).metadata_bytes);
	close_pool(pool);
	munlockall();
}

/* Many pools, and large ones, take address space until they are refused; the program has some left. */
static void run_address_space(void)
{
	struct mews_pool_config large = { .size = sizeof(large), .keeper = MEWS_KEEPER_CALLER,
					  .block_size = 64 << 20, .max_blocks = 16000 };
	struct mews_pool_config usual = { .size = sizeof(usual), .keeper = MEWS_KEEPER_CALLER };
	struct mews_pool *pool;
	int i;

	if (mews_tsan_active()) {
		printf("skip: ThreadSanitizer leaves no address space\n");
		return;
	}
	for (i = 0; i < 200 && mews_pool_create(&large, &pool) == 0; i++)
		;
	CHECK(i >= 8, "%d large pools", i);
	for (i = 0; i < 1000 && mews_pool_create(&usual, &pool) == 0; i++)
		;
	CHECK(mmap(NULL, (size_t)1 << 40, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0) != MAP_FAILED, "no address space is left after %d pools", i);
}

static int checked_open(const char *path, int flags)
{
	CHECK(flags & O_CLOEXEC, "%s would be left open in who is executed", path);
	return mews_kernel_real.open(path, flags);
}

static void run_close_on_exec(void)
{
	static struct mews_kernel table;
	struct mews_pool *pool;
	bool before[FILES];
	int fd, flags;

	for (fd = 0; fd < FILES; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	table = mews_kernel_real;
	table.open = checked_open;
	mews_kernel = &table;
	pool = open_pool(NULL);
	burst(pool);
	CHECK(mews_pool_pressure_fd(pool) >= 0, "eventfd");
	wait_until_given_back(pool);
	for (fd = 0; fd < FILES; fd++) {
		flags = fcntl(fd, F_GETFD);
		CHECK(before[fd] || flags < 0 || flags & FD_CLOEXEC, "descriptor %d", fd);
	}
	close_pool(pool);
}

/* What the program has at a number that was ours. */
struct thing {
	int fd, other;
	struct stat stat;
};

static void take_number(struct thing *thing, bool socket)
{
	int pair[2];

	if (!socket) {
		thing->fd = memfd_create("host", MFD_CLOEXEC);
	} else {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "pair");
		thing->fd = pair[0];
		thing->other = pair[1];
		CHECK(write(thing->other, "ours", 4) == 4, "write");
	}
	CHECK(thing->fd >= 0 && fstat(thing->fd, &thing->stat) == 0, "file");
}

static void check_untouched(const struct thing *thing, bool socket)
{
	struct stat now;
	char text[8];

	CHECK(fstat(thing->fd, &now) == 0 && now.st_ino == thing->stat.st_ino &&
	      now.st_dev == thing->stat.st_dev, "%d was closed", thing->fd);
	if (socket) {
		CHECK(recv(thing->fd, text, sizeof(text), MSG_DONTWAIT) == 4,
		      "%d: what was sent to it is gone", thing->fd);
		CHECK(recv(thing->other, text, sizeof(text), MSG_DONTWAIT) < 0 && errno == EAGAIN,
		      "%d was written to", thing->fd);
	} else {
		CHECK(now.st_size == 0, "%lld bytes were written to %d", (long long)now.st_size,
		      thing->fd);
	}
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A program that becomes a daemon closes all that it does not know, and opens files of its own. */
static void close_all_but(struct thing *things, bool sockets)
{
	int fd;

	if (mews_tsan_active()) {
		printf("skip: ThreadSanitizer sees races in it, and is right\n");
		exit(0);
	}
	for (fd = 3; fd < 1024; fd++)
		close(fd);
	for (fd = 0; things && fd < FILES / 2; fd++)
		take_number(&things[fd], sockets);
}

static void run_closed(bool reused, bool sockets)
{
	struct mews_pool *pool = open_pool(NULL);
	struct thing things[FILES / 2];
	double before;
	int i;

	burst(pool);
	wait_until_given_back(pool);
	threads_sleep(0.1);
	close_all_but(reused ? things : NULL, sockets);
	burst(pool);
	wait_until_given_back(pool); /* the keeper wakes, and works */
	before = cpu_seconds();
	threads_sleep(0.5);
	CHECK(cpu_seconds() - before < 0.25, "it spins: %f s", cpu_seconds() - before);
	burst(pool);
	wait_until_given_back(pool);
	for (i = 0; reused && i < FILES / 2; i++)
		check_untouched(&things[i], sockets);
	close_pool(pool);
}

static void run_descriptors_closed(void)
{
	run_closed(false, false);
}

static void run_descriptors_are_files(void)
{
	run_closed(true, false);
}

static void run_descriptors_are_sockets(void)
{
	run_closed(true, true);
}

/* The child of a process whose descriptors are others' by now must not close them either. */
static void run_descriptors_in_child(void)
{
	struct mews_pool *pool = open_pool(NULL);
	struct thing things[FILES / 2];
	int i, status;
	pid_t child;

	burst(pool);
	wait_until_given_back(pool);
	close_all_but(things, false);
	child = fork();
	if (child == 0) {
		for (i = 0; i < FILES / 2; i++)
			check_untouched(&things[i], false);
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child");
	close_pool(pool);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "file size", run_file_size },
	{ "cancelled report", run_cancelled_report },
	{ "small stack", run_small_stack },
	{ "urgent creator", run_urgent_creator },
	{ "locked memory", run_locked_memory },
	{ "address space", run_address_space },
	{ "close on exec", run_close_on_exec },
	{ "descriptors closed", run_descriptors_closed },
	{ "descriptors are files", run_descriptors_are_files },
	{ "descriptors are sockets", run_descriptors_are_sockets },
	{ "descriptors in the child", run_descriptors_in_child },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))

static bool run_case(unsigned i)
{
	char number[12];
	int status = 0;
	pid_t child;

	snprintf(number, sizeof(number), "%u", i);
	child = fork();
	if (child == 0) {
		execl("/proc/self/exe", "host", number, (char *)NULL);
		_exit(127);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork");
	if (status)
		printf("%s: %s %d\n", cases[i].name, WIFSIGNALED(status) ? "killed by signal" : "exit",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return status == 0;
}

int main(int count, char **arguments)
{
	unsigned i, failed = 0;

	if (count > 1) {
		i = (unsigned)atoi(arguments[1]) % CASES;
		alarm(250);
		check_context(cases[i].name, 0);
		cases[i].run();
		return 0;
	}
	for (i = 0; i < CASES; i++)
		failed += !run_case(i);
	return failed ? CHECK_EXIT : 0;
}
