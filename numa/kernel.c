/* SPDX-License-Identifier: MIT */
/*
 * The kernel table (layer 1): the real calls, and the pointer through which everybody makes them.
 * hwloc, which reads the machine for topology.c, makes its own calls: the one exception.
 * Invariant: an entry behaves as the call of its name, -1 (MAP_FAILED) and errno on failure.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include "kernel.h"

static int real_madvise(void *addr, size_t length, int advice)
{
	return madvise(addr, length, advice);
}

static void *real_mremap(void *old, size_t old_size, size_t new_size, int flags, void *to)
{
	return mremap(old, old_size, new_size, flags, to);
}

/* libnuma would bring these two; the library needs nothing else of it. */
static long real_mbind(void *addr, unsigned long length, int mode, const unsigned long *mask,
		       unsigned long maxnode, unsigned flags)
{
	return syscall(SYS_mbind, addr, length, mode, mask, maxnode, flags);
}

static long real_move_pages(int pid, unsigned long count, void **pages, const int *nodes,
			    int *status, int flags)
{
	return syscall(SYS_move_pages, pid, count, pages, nodes, status, flags);
}

static int real_membarrier(int cmd, unsigned flags, int cpu)
{
	return (int)syscall(SYS_membarrier, cmd, flags, cpu);
}

/* glibc's getcpu: the vDSO, no system call. */
static int real_getcpu(unsigned *cpu, unsigned *node)
{
	return getcpu(cpu, node);
}

static int real_getrlimit(int resource, struct rlimit *limit)
{
	return getrlimit(resource, limit);
}

/* Private futexes: a pool's words are waited for within one process. */
static int real_futex_wait(uint32_t *word, uint32_t expected, const struct timespec *relative)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, relative, NULL, 0);
}

static int real_futex_wake(uint32_t *word, int count)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/*
 * Not by glibc's functions: those are cancellation points, and a lease that backs memory asks a file
 * whether huge pages are on. A thread that ended there would take the slab with it.
 */
static int real_open(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags);
}

static ssize_t real_read(int fd, void *buffer, size_t size)
{
	return syscall(SYS_read, fd, buffer, size);
}

static ssize_t real_write(int fd, const void *buffer, size_t size)
{
	return syscall(SYS_write, fd, buffer, size);
}

static int real_close(int fd)
{
	return (int)syscall(SYS_close, fd);
}

#define THREAD_STACK (256 << 10) /* enough for a report's callback */
#define THREAD_CPUS 8192

static int add_storage(struct dl_phdr_info *info, size_t size, void *sum)
{
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)sum += info->dlpi_phdr[i].p_memsz + info->dlpi_phdr[i].p_align;
	return 0;
}

/* The program's thread-local storage comes out of a thread's stack. */
static size_t stack_size(void)
{
	size_t sum = THREAD_STACK;

	dl_iterate_phdr(add_storage, &sum);
	return (sum + 65535) & ~(size_t)65535;
}

/* A caller that is pinned, or has a real-time priority, does not mean us. */
static void free_from_caller(pthread_attr_t *attributes)
{
	unsigned long cpus[2][THREAD_CPUS / (8 * sizeof(unsigned long))] = { 0 };
	const struct sched_param ordinary = { .sched_priority = 0 };
	size_t i;

	if (sched_getaffinity(getpid(), sizeof(cpus[0]), (cpu_set_t *)cpus[0]) == 0 &&
	    sched_getaffinity(0, sizeof(cpus[1]), (cpu_set_t *)cpus[1]) == 0) {
		for (i = 0; i < sizeof(cpus[0]) / sizeof(cpus[0][0]); i++)
			cpus[0][i] |= cpus[1][i];
		pthread_attr_setaffinity_np(attributes, sizeof(cpus[0]), (cpu_set_t *)cpus[0]);
	}
	pthread_attr_setinheritsched(attributes, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(attributes, SCHED_OTHER);
	pthread_attr_setschedparam(attributes, &ordinary);
}

static int create_thread(pthread_t *thread, bool as_caller, void *(*run)(void *))
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);

	if (error)
		return error;
	pthread_attr_setstacksize(&attributes, stack_size());
	if (!as_caller)
		free_from_caller(&attributes);
	error = pthread_create(thread, &attributes, run, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

static int real_thread_start(const char *name, void *(*run)(void *))
{
	sigset_t all, before;
	pthread_t thread;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = create_thread(&thread, false, run);
	if (error == EPERM || error == EINVAL) /* a filter refuses to schedule it so */
		error = create_thread(&thread, true, run);
	if (!error) {
		pthread_setname_np(thread, name);
		pthread_detach(thread); /* last: from here on it may be gone */
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return error ? -1 : 0;
}

/* As open and the like: no cancellation point. */
static int real_ppoll(struct pollfd *fds, unsigned count, const struct timespec *relative)
{
	struct timespec step = relative ? *relative : (struct timespec) { 0 };

	return (int)syscall(SYS_ppoll, fds, count, relative ? &step : NULL, NULL, 0);
}

static int real_connect_unix(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd, error;

	if (strlen(path) >= sizeof(name.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(name.sun_path, path);
	fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || syscall(SYS_connect, fd, &name, sizeof(name)) == 0)
		return fd;
	error = errno;
	real_close(fd);
	errno = error;
	return -1;
}

/*
 * ThreadSanitizer follows descriptors, and takes a number that is in use again, in another thread, for a
 * race where it saw how the first was made or looked at, and not that it was closed. So it sees neither.
 */
static int real_socketpair(int pair[2])
{
	return (int)syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			    pair);
}

static int real_eventfd(unsigned value, int flags)
{
	return (int)syscall(SYS_eventfd2, value, flags);
}

static int real_fstat(int fd, struct stat *stat)
{
	return (int)syscall(SYS_fstat, fd, stat);
}

static ssize_t real_send(int fd, const void *buffer, size_t size)
{
	return syscall(SYS_sendto, fd, buffer, size, MSG_NOSIGNAL, NULL, 0);
}

static int real_dup_above(int fd, int least)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, least);
}

const struct mews_kernel mews_kernel_real = {
	.mmap = mmap,
	.munmap = munmap,
	.mprotect = mprotect,
	.madvise = real_madvise,
	.mincore = mincore,
	.mremap = real_mremap,
	.memfd_create = memfd_create,
	.ftruncate = ftruncate,
	.mbind = real_mbind,
	.move_pages = real_move_pages,
	.membarrier = real_membarrier,
	.getcpu = real_getcpu,
	.sched_getaffinity = sched_getaffinity,
	.getrlimit = real_getrlimit,
	.gettid = gettid,
	.futex_wait = real_futex_wait,
	.futex_wake = real_futex_wake,
	.clock_gettime = clock_gettime,
	.thread_start = real_thread_start,
	.open = real_open,
	.read = real_read,
	.write = real_write,
	.close = real_close,
	.eventfd = real_eventfd,
	.fstat = real_fstat,
	.ppoll = real_ppoll,
	.connect_unix = real_connect_unix,
	.socketpair = real_socketpair,
	.send = real_send,
	.munlock = munlock,
	.dup_above = real_dup_above,
};

const struct mews_kernel *mews_kernel = &mews_kernel_real;

int64_t mews_kernel_now(void)
{
	struct timespec now = { 0 };
	int saved = errno;

	mews_kernel->clock_gettime(CLOCK_MONOTONIC, &now);
	errno = saved;
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

ssize_t mews_kernel_read_text(const char *path, char *text, size_t size)
{
	int saved = errno, fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -errno : 1, length = 0;

	/* /proc gives a file in pieces of a page at most. */
	while (fd >= 0 && got > 0 && (size_t)length < size - 1) {
		got = mews_kernel->read(fd, text + length, size - 1 - (size_t)length);
		length += got > 0 ? got : 0;
		got = got < 0 ? -errno : got;
	}
	if (fd >= 0)
		mews_kernel->close(fd);
	text[length] = 0;
	errno = saved;
	return got < 0 ? got : length;
}
