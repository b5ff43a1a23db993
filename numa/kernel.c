/* SPDX-License-Identifier: MIT */
/*
 * The kernel table (layer 1): the real calls, and the pointer through which everybody makes them.
 * hwloc, which reads the machine for topology.c, makes its own calls: the one exception.
 * Invariant: an entry behaves as the call of its name, -1 (MAP_FAILED) and errno on failure.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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
	.open = real_open,
	.read = real_read,
	.write = real_write,
	.close = real_close,
	.eventfd = eventfd,
};

const struct mews_kernel *mews_kernel = &mews_kernel_real;

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
