/* SPDX-License-Identifier: MIT */
/* The refusing kernel table, see faults.h. */
#include "faults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "../../numa/kernel.h"

#define CALLS(each)                                                                              \
	each(mmap) each(munmap) each(mprotect) each(madvise) each(mincore) each(mremap)          \
	each(memfd_create) each(ftruncate) each(mbind) each(move_pages)          \
	each(membarrier) each(getcpu) each(sched_getaffinity) each(getrlimit)                    \
	each(gettid) each(futex_wait) each(futex_wake) each(clock_gettime) each(thread_start)    \
	each(open) each(read) each(write) each(close) each(eventfd) each(fstat) \
	each(ppoll) each(connect_unix) each(socketpair) each(send) each(munlock) \
	each(dup_above)

#define NUMBER(name) CALL_##name,
#define NAME(name) #name,

enum call { CALLS(NUMBER) CALL_COUNT };

static const char *const names[] = { CALLS(NAME) };

static atomic_ulong counted[CALL_COUNT], counted_all, refused;
static atomic_ulong from, until;        /* the range of calls that is refused; 0: none */
static atomic_int which, refusal;

/* Counts a call; true, with errno set, if it is to fail. */
static bool refuse(enum call call)
{
	unsigned long mine = atomic_fetch_add(&counted[call], 1) + 1;
	unsigned long all = atomic_fetch_add(&counted_all, 1) + 1;
	int kind = atomic_load(&which);
	unsigned long number = kind == FAULTS_ANY ? all : mine;

	if ((kind != FAULTS_ANY && kind != (int)call) || number < atomic_load(&from) ||
	    number > atomic_load(&until))
		return false;
	atomic_fetch_add(&refused, 1);
	errno = atomic_load(&refusal);
	return true;
}

static void *fault_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	return refuse(CALL_mmap) ? MAP_FAILED :
		mews_kernel_real.mmap(addr, length, prot, flags, fd, offset);
}

static int fault_munmap(void *addr, size_t length)
{
	return refuse(CALL_munmap) ? -1 : mews_kernel_real.munmap(addr, length);
}

static int fault_mprotect(void *addr, size_t length, int prot)
{
	return refuse(CALL_mprotect) ? -1 : mews_kernel_real.mprotect(addr, length, prot);
}

static int fault_madvise(void *addr, size_t length, int advice)
{
	return refuse(CALL_madvise) ? -1 : mews_kernel_real.madvise(addr, length, advice);
}

static int fault_mincore(void *addr, size_t length, unsigned char *resident)
{
	return refuse(CALL_mincore) ? -1 : mews_kernel_real.mincore(addr, length, resident);
}

static void *fault_mremap(void *old, size_t old_size, size_t new_size, int flags, void *to)
{
	return refuse(CALL_mremap) ? MAP_FAILED :
		mews_kernel_real.mremap(old, old_size, new_size, flags, to);
}

static int fault_memfd_create(const char *name, unsigned flags)
{
	return refuse(CALL_memfd_create) ? -1 : mews_kernel_real.memfd_create(name, flags);
}

static int fault_ftruncate(int fd, off_t length)
{
	return refuse(CALL_ftruncate) ? -1 : mews_kernel_real.ftruncate(fd, length);
}

static long fault_mbind(void *addr, unsigned long length, int mode, const unsigned long *mask,
			unsigned long maxnode, unsigned flags)
{
	return refuse(CALL_mbind) ? -1 :
		mews_kernel_real.mbind(addr, length, mode, mask, maxnode, flags);
}

static long fault_move_pages(int pid, unsigned long count, void **pages, const int *nodes,
			     int *status, int flags)
{
	return refuse(CALL_move_pages) ? -1 :
		mews_kernel_real.move_pages(pid, count, pages, nodes, status, flags);
}

static int fault_membarrier(int cmd, unsigned flags, int cpu)
{
	return refuse(CALL_membarrier) ? -1 : mews_kernel_real.membarrier(cmd, flags, cpu);
}

static int fault_getcpu(unsigned *cpu, unsigned *node)
{
	return refuse(CALL_getcpu) ? -1 : mews_kernel_real.getcpu(cpu, node);
}

static int fault_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	return refuse(CALL_sched_getaffinity) ? -1 :
		mews_kernel_real.sched_getaffinity(pid, size, set);
}

static int fault_getrlimit(int resource, struct rlimit *limit)
{
	return refuse(CALL_getrlimit) ? -1 : mews_kernel_real.getrlimit(resource, limit);
}

static pid_t fault_gettid(void)
{
	return refuse(CALL_gettid) ? -1 : mews_kernel_real.gettid();
}

static int fault_futex_wait(uint32_t *word, uint32_t expected, const struct timespec *relative)
{
	return refuse(CALL_futex_wait) ? -1 :
		mews_kernel_real.futex_wait(word, expected, relative);
}

static int fault_futex_wake(uint32_t *word, int count)
{
	return refuse(CALL_futex_wake) ? -1 : mews_kernel_real.futex_wake(word, count);
}

static int fault_clock_gettime(clockid_t clock, struct timespec *now)
{
	return refuse(CALL_clock_gettime) ? -1 : mews_kernel_real.clock_gettime(clock, now);
}

static int fault_thread_start(const char *name, void *(*run)(void *))
{
	return refuse(CALL_thread_start) ? -1 : mews_kernel_real.thread_start(name, run);
}

static int fault_open(const char *path, int flags)
{
	return refuse(CALL_open) ? -1 : mews_kernel_real.open(path, flags);
}

static ssize_t fault_read(int fd, void *buffer, size_t size)
{
	return refuse(CALL_read) ? -1 : mews_kernel_real.read(fd, buffer, size);
}

static ssize_t fault_write(int fd, const void *buffer, size_t size)
{
	return refuse(CALL_write) ? -1 : mews_kernel_real.write(fd, buffer, size);
}

static int fault_eventfd(unsigned value, int flags)
{
	return refuse(CALL_eventfd) ? -1 : mews_kernel_real.eventfd(value, flags);
}

static int fault_fstat(int fd, struct stat *stat)
{
	return refuse(CALL_fstat) ? -1 : mews_kernel_real.fstat(fd, stat);
}

static int fault_ppoll(struct pollfd *fds, unsigned count, const struct timespec *relative)
{
	return refuse(CALL_ppoll) ? -1 : mews_kernel_real.ppoll(fds, count, relative);
}

static int fault_connect_unix(const char *path)
{
	return refuse(CALL_connect_unix) ? -1 : mews_kernel_real.connect_unix(path);
}

static int fault_socketpair(int pair[2])
{
	return refuse(CALL_socketpair) ? -1 : mews_kernel_real.socketpair(pair);
}

static ssize_t fault_send(int fd, const void *buffer, size_t size)
{
	return refuse(CALL_send) ? -1 : mews_kernel_real.send(fd, buffer, size);
}

static int fault_munlock(const void *addr, size_t length)
{
	return refuse(CALL_munlock) ? -1 : mews_kernel_real.munlock(addr, length);
}

static int fault_dup_above(int fd, int least)
{
	return refuse(CALL_dup_above) ? -1 : mews_kernel_real.dup_above(fd, least);
}

static int fault_close(int fd)
{
	int result = mews_kernel_real.close(fd);

	return refuse(CALL_close) ? -1 : result;
}

#define ENTRY(name) .name = fault_##name,

static const struct mews_kernel table = { CALLS(ENTRY) };

int faults_calls(void)
{
	return CALL_COUNT;
}

const char *faults_name(int call)
{
	return names[call];
}

int faults_call(const char *name)
{
	for (int call = 0; call < CALL_COUNT; call++)
		if (strcmp(names[call], name) == 0)
			return call;
	fprintf(stderr, "faults: no call is named %s\n", name);
	abort();
}

static void plan(int call, unsigned long first, unsigned long last, int error)
{
	atomic_store(&until, 0);
	for (int i = 0; i < CALL_COUNT; i++)
		atomic_store(&counted[i], 0);
	atomic_store(&counted_all, 0);
	atomic_store(&refused, 0);
	atomic_store(&which, call);
	atomic_store(&refusal, error);
	atomic_store(&from, first);
	atomic_store(&until, last);
}

void faults_install(void)
{
	plan(FAULTS_ANY, 1, 0, 0);
	mews_kernel = &table;
}

void faults_remove(void)
{
	mews_kernel = &mews_kernel_real;
}

void faults_refuse(int call, unsigned long nth, int error)
{
	plan(call, nth, nth, error);
}

void faults_refuse_from(int call, unsigned long nth, int error)
{
	plan(call, nth, -1UL, error);
}

unsigned long faults_counted(int call)
{
	return atomic_load(call == FAULTS_ANY ? &counted_all : &counted[call]);
}

unsigned long faults_refused(void)
{
	return atomic_load(&refused);
}
