/* SPDX-License-Identifier: MIT */
/*
 * Placement (layer 1): memory on a node, or an error, never a SIGBUS later. Called by lib/slab.c
 * and lib/pool.c. Invariant: what can fail for lack of memory is done before the reserved range is
 * replaced (hugetlb), or without replacing it (anonymous memory, by mprotect): mmap over a range
 * may leave a hole in it when it fails, which another thread's mmap would fill.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "kernel.h"
#include "place.h"

#define SIZE_2M ((size_t)2 << 20)
#define SIZE_1G ((size_t)1 << 30)
#define NODES_MAX 1024          /* as the largest kernel is built */
#define WORD_BITS (8 * sizeof(unsigned long))
#define STRICT_REFUSED (-EPERM) /* within this file: no lower rung would do better */

static size_t page_size(void)
{
	return (size_t)getpagesize();   /* from the auxiliary vector: no system call */
}

static size_t round_up(size_t bytes, size_t to)
{
	return (bytes + to - 1) & ~(to - 1);
}

static bool multiple_of(const void *addr, size_t length, size_t size)
{
	return (((uintptr_t)addr | length) & (size - 1)) == 0;
}

/* Unmaps what lies beside [keep, keep + length) in [all, all + total), or, refused, all of it. */
static void *trim(char *all, size_t total, char *keep, size_t length)
{
	size_t head = (size_t)(keep - all), tail = total - head - length;

	if (head != 0 && mews_kernel->munmap(all, head) != 0) {
		mews_place_release(all, total);
		return NULL;
	}
	if (tail != 0 && mews_kernel->munmap(keep + length, tail) != 0) {
		mews_place_release(keep, length + tail);
		return NULL;
	}
	return keep;
}

void *mews_place_reserve(size_t length, size_t alignment)
{
	size_t page = page_size(), slack = alignment > page ? alignment - page : 0;
	size_t bytes = round_up(length, page), total = bytes + slack;
	char *all = MAP_FAILED, *keep = NULL;

	if (bytes != 0 && bytes >= length && total >= bytes)
		all = mews_kernel->mmap(NULL, total, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all != MAP_FAILED)
		keep = trim(all, total, slack == 0 ? all :
			    (char *)round_up((uintptr_t)all, alignment), bytes);
	if (keep == NULL)
		errno = ENOMEM;
	return keep;
}

void mews_place_release(void *addr, size_t length)
{
	int saved = errno;

	mews_kernel->munmap(addr, length);
	errno = saved;
}

bool mews_place_advise(void *addr, size_t length)
{
	int saved = errno;
	bool advised = mews_kernel->madvise(addr, length, MADV_HUGEPAGE) == 0;

	errno = saved;
	return advised;
}

int mews_place_table(void *addr, size_t length)
{
	int saved = errno, error = 0;

	/* A process that locks what it maps (MCL_FUTURE) would get all of it populated. */
	mews_kernel->munlock(addr, length);
	if (mews_kernel->mprotect(addr, length, PROT_READ | PROT_WRITE) != 0)
		error = -ENOMEM;
	else    /* a sparse table would grow by huge pages; refused where there are none */
		mews_kernel->madvise(addr, length, MADV_NOHUGEPAGE);
	errno = saved;
	return error;
}

/*
 * Asks for the node; mode: what of it the kernel shall do. Returns 0, 1 (refused, and that is
 * allowed), or STRICT_REFUSED.
 */
static int bind_to_node(void *addr, size_t length, int mode,
			const struct mews_place_request *request)
{
	unsigned long mask[NODES_MAX / WORD_BITS] = { 0 };

	if (!request->bind)
		return 0;
	if (request->node < NODES_MAX) {
		mask[request->node / WORD_BITS] = 1UL << (request->node % WORD_BITS);
		/* The kernel takes one from the number of bits that it is told. */
		if (mews_kernel->mbind(addr, length, mode, mask, NODES_MAX + 1, 0) == 0)
			return 0;
	}
	return request->policy == MEWS_NODE_STRICT ? STRICT_REFUSED : 1;
}

/* 0, -ENOMEM, or -EINVAL: the kernel does not know the advice. */
static int populate(void *addr, size_t length)
{
	if (mews_kernel->madvise(addr, length, MADV_POPULATE_WRITE) == 0)
		return 0;
	return errno == EINVAL ? -EINVAL : -ENOMEM;
}

/*
 * Kernels before 5.14 do not know the advice: there each page is touched, and a memory cgroup that
 * is full kills instead of refusing. Nothing better exists there. Touched, and not changed: a page that
 * is backed again may be another thread's already; free blocks on it are poisoned.
 */
static __attribute__((no_sanitize("address"))) int populate_base(void *addr, size_t length)
{
	int error = populate(addr, length);

	if (error != -EINVAL)
		return error;
	for (size_t offset = 0; offset < length; offset += page_size())
		__atomic_fetch_or((char *)addr + offset, 0, __ATOMIC_RELAXED);
	return 0;
}

/* Back to a bare reservation; one that merges with its neighbours, if the kernel lets us. */
static void restore(void *addr, size_t length)
{
	if (mews_place_discard(addr, length) == 0)
		return;
	mews_kernel->madvise(addr, length, MADV_DONTNEED);
	mews_kernel->mprotect(addr, length, PROT_NONE);
}

/* Were a file made longer than RLIMIT_FSIZE, the kernel would send SIGXFSZ, which kills. */
static bool file_may_have(size_t length)
{
	struct rlimit most;

	return mews_kernel->getrlimit(RLIMIT_FSIZE, &most) != 0 || most.rlim_cur >= length;
}

static int hugetlb_file(size_t length, unsigned size_flag)
{
	int fd = file_may_have(length) ?
		mews_kernel->memfd_create("mews", MFD_CLOEXEC | MFD_HUGETLB | size_flag) : -1;

	if (fd < 0)
		return -1;
	if (mews_kernel->ftruncate(fd, (off_t)length) == 0)
		return fd;
	mews_kernel->close(fd);
	return -1;
}

/* Only once it is bound: where the process locks its memory (mlockall), this is what populates it. */
static int open_range(void *addr, size_t length)
{
	return mews_kernel->mprotect(addr, length, PROT_READ | PROT_WRITE) == 0 ? 0 : -ENOMEM;
}

/*
 * The draft, a second mapping of the file, takes all the blame: there the pages are reserved, bound
 * and populated. Then they are in the file, and mapping it in place needs no page any more.
 */
static int back_from_file(int fd, void *addr, size_t length,
			  const struct mews_place_request *request)
{
	int prot = PROT_READ | PROT_WRITE, bound, error;
	void *draft = mews_kernel->mmap(NULL, length, PROT_NONE, MAP_SHARED, fd, 0);

	if (draft == MAP_FAILED)
		return -ENOMEM;
	/* Bound in any case: where only preferred, other nodes' pages would be taken for this one's. */
	bound = bind_to_node(draft, length, MPOL_BIND, request);
	/* Touching instead would risk a SIGBUS: before 5.14 this rung is not taken. */
	error = bound < 0 ? bound : open_range(draft, length);
	if (error == 0)
		error = populate(draft, length);
	if (error == 0 &&
	    mews_kernel->mmap(addr, length, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		restore(addr, length);
		error = -ENOMEM;
	}
	mews_place_release(draft, length);
	if (error != 0)
		return error;
	populate(addr, length);         /* the page tables; a refusal costs a minor fault later */
	return bound;
}

/* One rung of hugetlb pages. 0, 1 (not bound), or a negative error; the range is then as it was. */
static int back_hugetlb(void *addr, size_t length, size_t size, unsigned size_flag,
			const struct mews_place_request *request)
{
	int fd, result;

	if (!multiple_of(addr, length, size))
		return -ENOMEM;
	fd = hugetlb_file(length, size_flag);
	if (fd < 0)
		return -ENOMEM;
	result = back_from_file(fd, addr, length, request);
	mews_kernel->close(fd);
	return result;
}

/* Whether transparent huge pages can be had: "always [madvise] never" says no with the last. */
static bool thp_enabled(void)
{
	char text[64];

	return mews_kernel_read_text("/sys/kernel/mm/transparent_hugepage/enabled", text,
				     sizeof(text)) > 0 && strstr(text, "[never]") == NULL;
}

/* The KiB behind a key of a node's meminfo; 0 where it is missing. */
static uint64_t node_kib(const char *text, const char *key)
{
	const char *found = strstr(text, key);

	return found == NULL ? 0 : strtoull(found + strlen(key), NULL, 10);
}

/*
 * KiB that the kernel does not give to programs: this node's share of min_free_kbytes, up to the high
 * watermark (one and a half of it), and 1/64 of the node for those who take memory at the same time.
 */
static uint64_t kept_kib(uint64_t node_total)
{
	char text[256]; /* the total is the first line; and a lease's stack may be small */
	uint64_t kept = node_total / 64, total = 0;

	if (mews_kernel_read_text("/proc/meminfo", text, sizeof(text)) > 0)
		total = node_kib(text, "MemTotal:");
	if (total != 0 &&
	    mews_kernel_read_text("/proc/sys/vm/min_free_kbytes", text, sizeof(text)) > 0)
		kept += strtoull(text, NULL, 10) * node_total / total * 3 / 2;
	return kept;
}

/*
 * Whether the node has the memory. The kernel does not refuse a page that a node cannot give: where
 * the node is only preferred it takes another's, without a word, and where it is bound it kills a
 * process. So we ask before; who takes memory at the same moment can still prove us wrong. File
 * pages count where the kernel would reclaim them before it does either. An unreadable file proves
 * nothing.
 */
static bool node_can_give(size_t length, const struct mews_place_request *request)
{
	bool strict = request->policy == MEWS_NODE_STRICT;
	char path[64], text[1024]; /* the file's first half: see kept_kib */
	uint64_t room, kept;

	if (!request->bind || (!strict && !request->local))
		return true;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", request->node);
	if (mews_kernel_read_text(path, text, sizeof(text)) <= 0)
		return true;
	room = node_kib(text, "MemFree:");
	if (strict)
		room += node_kib(text, "Active(file):") + node_kib(text, "Inactive(file):");
	kept = kept_kib(node_kib(text, "MemTotal:"));
	return room >= kept && (room - kept) * 1024 >= length;
}

/* One rung of anonymous memory, on the mapping that is there. Results as back_hugetlb. */
static int back_anonymous(void *addr, size_t length, int advice,
			  const struct mews_place_request *request)
{
	int bound, error;
	int mode = request->policy == MEWS_NODE_STRICT ? MPOL_BIND : MPOL_PREFERRED;
	bool told = request->advised && advice == MADV_HUGEPAGE;

	/* A kernel without huge pages refuses to be told not to use them: no harm. */
	if (!node_can_give(length, request) ||
	    (!told && mews_kernel->madvise(addr, length, advice) != 0 && advice == MADV_HUGEPAGE))
		return -ENOMEM;
	bound = bind_to_node(addr, length, mode, request);
	error = bound < 0 ? bound : open_range(addr, length);
	if (error == 0)
		error = populate_base(addr, length);
	if (error == 0)
		return bound;
	restore(addr, length);
	return error;
}

/* Whether a huge page of the range is another node's. What the kernel does not tell is none. */
static bool some_is_remote(char *addr, size_t length, uint32_t node)
{
	void *page;
	int on;

	for (size_t offset = 0; offset < length; offset += SIZE_2M) {
		page = addr + offset;
		if (mews_place_verify(&page, 1, &on) == 0 && on >= 0 && (uint32_t)on != node)
			return true;
	}
	return false;
}

/*
 * A node that has the memory, but in pieces, gives no huge page: where it is only preferred, the kernel
 * takes another node's then. Small pages of this one are the better.
 */
static int back_thp(void *addr, size_t length, const struct mews_place_request *request)
{
	int result;

	if (!multiple_of(addr, length, SIZE_2M) || !(request->thp || thp_enabled()))
		return -ENOMEM;
	result = back_anonymous(addr, length, MADV_HUGEPAGE, request);
	if (result == 0 && request->bind && request->local &&
	    request->policy != MEWS_NODE_STRICT && some_is_remote(addr, length, request->node)) {
		restore(addr, length);
		return -ENOMEM;
	}
	return result;
}

/* Tries one rung and counts its pages. Results as back_hugetlb. */
static int back_rung(enum mews_page_policy rung, void *addr, size_t length,
		     const struct mews_place_request *request, struct mews_backing *got)
{
	uint64_t *count;
	int result;

	switch (rung) {
	case MEWS_PAGES_AUTO:
	case MEWS_PAGES_1G:
		count = &got->pages_1g;
		result = back_hugetlb(addr, length, SIZE_1G, MFD_HUGE_1GB, request);
		break;
	case MEWS_PAGES_2M:
		count = &got->pages_2m;
		result = back_hugetlb(addr, length, SIZE_2M, MFD_HUGE_2MB, request);
		break;
	case MEWS_PAGES_THP:
		count = &got->thp;
		result = back_thp(addr, length, request);
		break;
	default:
		count = &got->base;
		result = back_anonymous(addr, length, MADV_NOHUGEPAGE, request);
		break;
	}
	*count += result >= 0 ? length : 0;
	got->unbound += result > 0 ? length : 0;
	return result;
}

int mews_place_back(void *addr, size_t length, const struct mews_place_request *request,
		    struct mews_backing *got)
{
	int rung = request->top == MEWS_PAGES_AUTO ? MEWS_PAGES_1G : (int)request->top;
	int saved = errno, result = -ENOMEM;

	for (; rung <= MEWS_PAGES_BASE && result < 0 && result != STRICT_REFUSED; rung++)
		result = back_rung(rung, addr, length, request, got);
	errno = saved;
	return result >= 0 ? 0 : -ENOMEM;
}

int mews_place_discard(void *addr, size_t length)
{
	int saved = errno, error = 0;

	if (mews_kernel->mmap(addr, length, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
			      -1, 0) == MAP_FAILED)
		error = -errno;
	errno = saved;
	return error;
}

/*
 * MADV_COLD on a page of a huge one splits the page itself; MADV_DONTNEED would split the mapping
 * only, and the memory would come back when the system is short of it. Pages of zeros are dropped in
 * a split: hence the populating. A kernel that knows neither advice still unmaps parts.
 */
void mews_place_split(void *addr, size_t length)
{
	size_t page = page_size();
	int saved = errno;

	mews_kernel->madvise(addr, length, MADV_NOHUGEPAGE);
	for (size_t offset = 0; offset < length; offset += SIZE_2M)
		mews_kernel->madvise((char *)addr + offset, page, MADV_COLD);
	populate(addr, length);
	errno = saved;
}

int mews_place_discard_part(void *addr, size_t length)
{
	int saved = errno, error = 0;

	if (mews_kernel->madvise(addr, length, MADV_DONTNEED) != 0)
		error = -errno;
	errno = saved;
	return error;
}

int mews_place_refill(void *addr, size_t length, const struct mews_place_request *request)
{
	int saved = errno, error = -ENOMEM;

	if (node_can_give(length, request))
		error = populate_base(addr, length);
	errno = saved;
	return error;
}

size_t mews_place_resident(void *addr, size_t length)
{
	unsigned char resident[1024];
	size_t page = page_size(), step = sizeof(resident) * page, bytes = 0;
	int saved = errno;

	for (size_t offset = 0; offset < length; offset += step) {
		size_t part = length - offset < step ? length - offset : step;

		if (mews_kernel->mincore((char *)addr + offset, part, resident) != 0)
			break;
		for (size_t i = 0; i < round_up(part, page) / page; i++)
			bytes += resident[i] & 1 ? page : 0;
	}
	errno = saved;
	return bytes;
}

/* Whole huge pages first, then the rest: an oversize length is seldom a multiple of one. */
static int back_oversize(char *addr, size_t length, const struct mews_place_request *request)
{
	struct mews_place_request rung = *request;
	struct mews_backing got = { 0 };
	size_t head = request->top == MEWS_PAGES_BASE ? 0 : length & ~(SIZE_2M - 1);

	/* Never hugetlb: it would be shared with the child of a fork. */
	rung.top = MEWS_PAGES_THP;
	if (head != 0 && mews_place_back(addr, head, &rung, &got) != 0)
		return -ENOMEM;
	rung.top = MEWS_PAGES_BASE;
	return head == length ? 0 : mews_place_back(addr + head, length - head, &rung, &got);
}

void *mews_place_map(size_t length, const struct mews_place_request *request)
{
	size_t bytes = round_up(length, page_size());
	void *addr = bytes < length ? NULL :
		mews_place_reserve(bytes, bytes >= SIZE_2M ? SIZE_2M : page_size());

	if (addr == NULL || back_oversize(addr, bytes, request) == 0)
		return addr;
	mews_place_release(addr, bytes);
	errno = ENOMEM;
	return NULL;
}

int mews_place_verify(void *const *pages, size_t count, int *node)
{
	int saved = errno, error = 0;

	/* Without nodes to move to, the call only tells; it does not write to pages[]. */
	if (mews_kernel->move_pages(0, count, (void **)pages, NULL, node, 0) < 0)
		error = -errno;
	errno = saved;
	return error;
}

/* The copy grows where copy() writes, page by page: the child pays for what it keeps. */
int mews_place_privatize(void *addr, size_t length,
			 void (*copy)(const void *from, size_t length, void *to, void *context),
			 void *context)
{
	int saved = errno;
	void *to = mews_kernel->mmap(NULL, length, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (to == MAP_FAILED) {
		errno = saved;
		return -ENOMEM;
	}
	mews_kernel->madvise(to, length, MADV_NOHUGEPAGE);
	copy(addr, length, to, context);
	if (mews_kernel->mremap(to, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, addr) ==
	    MAP_FAILED) {
		mews_place_release(to, length);
		errno = saved;
		return -ENOMEM;
	}
	errno = saved;
	return 0;
}
