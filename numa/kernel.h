/* SPDX-License-Identifier: MIT */
/*
 * The kernel table (layer 1, used by layer 0 for reading files): every system call that mews makes,
 * in one struct that a test replaces. Called by everything in numa/, and by lib/ through place.h and
 * fence.h. Invariant: no other file of the library makes a system call.
 */
#ifndef MEWS_NUMA_KERNEL_H
#define MEWS_NUMA_KERNEL_H

#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

/* Each entry behaves as the call of its name: -1 and errno (mmap: MAP_FAILED) on failure. */
struct mews_kernel {
	void *(*mmap)(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t length);
	int (*mprotect)(void *addr, size_t length, int prot);
	int (*madvise)(void *addr, size_t length, int advice);
	int (*mincore)(void *addr, size_t length, unsigned char *resident);
	void *(*mremap)(void *old, size_t old_size, size_t new_size, int flags, void *to);
	int (*memfd_create)(const char *name, unsigned flags);
	int (*ftruncate)(int fd, off_t length);
	long (*mbind)(void *addr, unsigned long length, int mode, const unsigned long *mask,
		      unsigned long maxnode, unsigned flags);
	long (*move_pages)(int pid, unsigned long count, void **pages, const int *nodes,
			   int *status, int flags);
	int (*membarrier)(int cmd, unsigned flags, int cpu);
	int (*getcpu)(unsigned *cpu, unsigned *node);
	int (*sched_getaffinity)(pid_t pid, size_t size, cpu_set_t *set);
	int (*getrlimit)(int resource, struct rlimit *limit);
	pid_t (*gettid)(void);
	int (*futex_wait)(uint32_t *word, uint32_t expected, const struct timespec *relative);
	int (*futex_wake)(uint32_t *word, int count);
	int (*clock_gettime)(clockid_t clock, struct timespec *now);
	/*
	 * A detached thread of this name (15 characters) with all signals blocked and a small stack, scheduled
	 * as ordinary threads are, on the CPUs of the caller and the first thread, whatever the caller is.
	 */
	int (*thread_start)(const char *name, void *(*run)(void *));
	int (*open)(const char *path, int flags);
	ssize_t (*read)(int fd, void *buffer, size_t size);
	ssize_t (*write)(int fd, const void *buffer, size_t size);
	int (*close)(int fd);
	int (*eventfd)(unsigned value, int flags);
	int (*fstat)(int fd, struct stat *stat);
	int (*ppoll)(struct pollfd *fds, unsigned count, const struct timespec *relative);
	/* A stream socket, connected to the one of this name, not blocking from then on. */
	int (*connect_unix)(const char *path);
	/* Two stream sockets, connected to each other, that do not block. */
	int (*socketpair)(int pair[2]);
	/* To a socket, without SIGPIPE. */
	ssize_t (*send)(int fd, const void *buffer, size_t size);
	int (*munlock)(const void *addr, size_t length);
	/* A duplicate, close-on-exec, of a number from `least` on. */
	int (*dup_above)(int fd, int least);
};

/* The table in use. Tests point it at their own before they create a pool, and back after. */
extern const struct mews_kernel *mews_kernel;

/* The real calls. */
extern const struct mews_kernel mews_kernel_real;

/* CLOCK_MONOTONIC in nanoseconds, by the table in use; 0 where it refuses. errno is kept. */
int64_t mews_kernel_now(void);

/*
 * Reads a small text file whole, by the table in use, and ends it with a NUL. Its length, cut at
 * size - 1, or -errno. errno is kept.
 */
ssize_t mews_kernel_read_text(const char *path, char *text, size_t size);

#endif
