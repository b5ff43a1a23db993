/* SPDX-License-Identifier: MIT */
/*
 * Placement on the real kernel: each rung of the ladder, what is counted, what is given back, and
 * huge pages where root can reserve some. What happens when the kernel refuses: test_place_refused.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../numa/kernel.h"
#include "../../numa/place.h"
#include "../support/faults.h"
#include "../support/maps.h"
#include "../support/pages.h"
#include "../support/suite.h"

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
static const struct mews_place_request base = { .top = MEWS_PAGES_BASE };
static const struct mews_place_request from_top = { .top = MEWS_PAGES_AUTO };
static const struct mews_place_request from_2m = { .top = MEWS_PAGES_2M };
static const struct mews_place_request from_thp = { .top = MEWS_PAGES_THP };

static uint64_t total(const struct mews_backing *got)
{
	return got->pages_1g + got->pages_2m + got->thp + got->base;
}

static void test_reserve(void **state)
{
	struct maps before = maps_read();

	(void)state;
	for (size_t alignment = 8; alignment <= 4 * GIB; alignment *= 8) {
		char *range = mews_place_reserve(3 * MIB, alignment);
		struct maps now = maps_read();

		assert_non_null(range);
		assert_int_equal((uintptr_t)range % alignment, 0);
		assert_false(maps_readable(range));
		assert_false(maps_readable(range + 3 * MIB - 1));
		assert_int_equal(now.bytes - before.bytes, 3 * MIB);
		mews_place_release(range, 3 * MIB);
	}
	assert_int_equal(maps_read().bytes, before.bytes);
}

static void test_reserve_refused(void **state)
{
	static const size_t absurd[] = {
		0, SIZE_MAX, SIZE_MAX - 8191, SIZE_MAX / 2, SIZE_MAX - GIB,
	};
	struct rlimit old, little;
	void *range;

	(void)state;
	for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
		errno = 0;
		assert_null(mews_place_reserve(absurd[i], 2 * GIB));
		assert_int_equal(errno, ENOMEM);
	}
	getrlimit(RLIMIT_AS, &old);
	little = (struct rlimit){ .rlim_cur = maps_read().bytes + GIB, .rlim_max = old.rlim_max };
	if (old.rlim_cur != RLIM_INFINITY || setrlimit(RLIMIT_AS, &little) != 0)
		return;
	range = mews_place_reserve(2 * GIB, 4096);
	setrlimit(RLIMIT_AS, &old);
	assert_null(range);
}

static void test_table(void **state)
{
	char *range = mews_place_reserve(8 * MIB, 4096);

	(void)state;
	assert_int_equal(mews_place_table(range + MIB, 2 * MIB), 0);
	assert_true(maps_readable(range + MIB));
	assert_false(maps_readable(range));
	assert_false(maps_readable(range + 3 * MIB));
	assert_int_equal(range[2 * MIB], 0);
	range[2 * MIB] = 1;
	mews_place_release(range, 8 * MIB);
}

/* Backs the middle of a range and gives it back, twice: the second time it must be zero again. */
static void back_twice(size_t length, const struct mews_place_request *request,
		       struct mews_backing *got)
{
	char *range = mews_place_reserve(3 * length, 2 * MIB), *middle = range + length;

	for (int round = 0; round < 2; round++) {
		*got = (struct mews_backing){ 0 };
		errno = 77;
		assert_int_equal(mews_place_back(middle, length, request, got), 0);
		assert_int_equal(errno, 77);
		assert_int_equal(total(got), length);
		assert_int_equal(got->unbound, 0);
		assert_true(pages_populated_zero(middle, length));
		assert_false(maps_readable(middle - 1));
		assert_false(maps_readable(middle + length));
		memset(middle, 0xa5, length);
		assert_int_equal(mews_place_discard(middle, length), 0);
		assert_false(maps_readable(middle));
	}
	mews_place_release(range, 3 * length);
}

static void test_back(void **state)
{
	struct mews_backing got;

	(void)state;
	back_twice(4 * MIB, &base, &got);
	assert_int_equal(got.base, 4 * MIB);
	back_twice(4 * MIB, &from_thp, &got);
	assert_int_equal(pages_thp() ? got.thp : got.base, 4 * MIB);
	back_twice(4 * MIB, &from_2m, &got);
	assert_int_equal(got.pages_1g, 0);
	back_twice(4 * MIB, &from_top, &got);
	assert_int_equal(got.pages_1g, 0);
}

/* Too short, too long by half a page, and at a wrong address. */
static void test_no_huge_page_divides(void **state)
{
	static const size_t at[] = { 0, 0, MIB }, length[] = { 64 << 10, 3 * MIB, 2 * MIB };
	char *range = mews_place_reserve(8 * MIB, 2 * MIB);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct mews_backing got = { 0 };

		assert_int_equal(mews_place_back(range + at[i], length[i], &from_top, &got), 0);
		assert_int_equal(got.base, length[i]);
		assert_int_equal(mews_place_discard(range + at[i], length[i]), 0);
	}
	mews_place_release(range, 8 * MIB);
}

static void test_resident(void **state)
{
	size_t page = (size_t)getpagesize();
	char *range = mews_place_reserve(16 * MIB, 4096);

	(void)state;
	assert_int_equal(mews_place_table(range, 16 * MIB), 0);
	assert_int_equal(mews_place_resident(range, 16 * MIB), 0);
	range[0] = range[9 * MIB] = range[16 * MIB - 1] = 1;
	assert_int_equal(mews_place_resident(range, 16 * MIB), 3 * page);
	assert_int_equal(mews_place_resident(range + MIB, 15 * MIB - 1), 2 * page);
	faults_install();
	faults_refuse(faults_call("mincore"), 1, ENOSYS);
	assert_int_equal(mews_place_resident(range, 16 * MIB), 0);
	faults_remove();
	mews_place_release(range, 16 * MIB);
}

static void test_counts_add_up(void **state)
{
	char *range = mews_place_reserve(4 * MIB, 2 * MIB);
	struct mews_backing got = { .base = 1, .unbound = 2 };

	(void)state;
	assert_int_equal(mews_place_back(range, 64 << 10, &base, &got), 0);
	assert_int_equal(mews_place_back(range + MIB, 64 << 10, &base, &got), 0);
	assert_int_equal(got.base, 1 + (128 << 10));
	assert_int_equal(got.unbound, 2);
	mews_place_release(range, 4 * MIB);
}

/* Node 0 is where all is on this machine; the other numbers are on no machine. */
static void test_binding(void **state)
{
	static const uint32_t absent[] = { 1000, 1023, 1024, UINT32_MAX };
	char *range = mews_place_reserve(4 * MIB, 2 * MIB);

	(void)state;
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		struct mews_place_request request = {
			.node = absent[i], .bind = true, .top = MEWS_PAGES_THP,
		};
		struct mews_backing got = { 0 }, none = { 0 };

		assert_int_equal(mews_place_back(range, 2 * MIB, &request, &got), 0);
		assert_int_equal(got.unbound, 2 * MIB);
		assert_int_equal(mews_place_discard(range, 2 * MIB), 0);
		request.policy = MEWS_NODE_STRICT;
		assert_int_equal(mews_place_back(range, 2 * MIB, &request, &none), -ENOMEM);
		assert_int_equal(total(&none), 0);
		assert_int_equal(none.unbound, 0);
		assert_false(maps_readable(range));
		assert_null(mews_place_map(100, &request));
		assert_int_equal(errno, ENOMEM);
	}
	mews_place_release(range, 4 * MIB);
}

/* The policy that the kernel keeps for an address, or -1. */
static int policy_of(void *addr)
{
	int mode = -1;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0, addr, MPOL_F_ADDR) == 0 ? mode : -1;
}

static void test_policies(void **state)
{
	struct mews_place_request request = { .node = 0, .bind = true, .top = MEWS_PAGES_BASE };
	struct mews_backing got = { 0 };
	char *range = mews_place_reserve(MIB, 4096);
	void *page = range;
	int node = -1;

	(void)state;
	if (mews_place_back(range, MIB, &request, &got) != 0 || got.unbound != 0) {
		print_message("skip: mbind is refused here, or node 0 has no memory\n");
		mews_place_release(range, MIB);
		skip();
	}
	assert_int_equal(got.unbound, 0);
	assert_int_equal(policy_of(range), MPOL_PREFERRED);
	assert_int_equal(mews_place_verify(&page, 1, &node), 0);
	assert_int_equal(node, 0);
	assert_int_equal(mews_place_discard(range, MIB), 0);
	request.policy = MEWS_NODE_STRICT;
	assert_int_equal(mews_place_back(range, MIB, &request, &got), 0);
	assert_int_equal(policy_of(range), MPOL_BIND);
	request.bind = false;
	assert_int_equal(mews_place_discard(range, MIB), 0);
	assert_int_equal(mews_place_back(range, MIB, &request, &got), 0);
	assert_int_equal(policy_of(range), MPOL_DEFAULT);
	mews_place_release(range, MIB);
}

/*
 * More than the node has: refused before the kernel is asked, since that would kill, or, where the
 * node is only preferred, take another's. The limit on data is for the case that it is asked all the
 * same.
 */
static void refuses_at_once(const struct mews_place_request *request)
{
	struct rlimit old, little;
	struct mews_backing got = { 0 };
	char *range = mews_place_reserve(256 * GIB, 2 * MIB);
	unsigned long asked;
	int result;

	assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
	little = (struct rlimit){ .rlim_cur = 4 * GIB, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_DATA, &little), 0);
	faults_install();
	result = mews_place_back(range, 256 * GIB, request, &got);
	asked = faults_counted(faults_call("mprotect"));
	faults_remove();
	setrlimit(RLIMIT_DATA, &old);
	assert_int_equal(result, -ENOMEM);
	assert_int_equal(asked, 0);
	assert_int_equal(total(&got), 0);
	mews_place_release(range, 256 * GIB);
}

static void test_shortage(void **state)
{
	const struct mews_place_request strict = {
		.node = 0, .bind = true, .policy = MEWS_NODE_STRICT, .top = MEWS_PAGES_THP,
	}, local = {
		.node = 0, .bind = true, .local = true, .top = MEWS_PAGES_THP,
	};

	(void)state;
	if (pages_number("/sys/devices/system/node/node0/meminfo", "MemFree:") < 0) {
		print_message("skip: this kernel tells nothing of its nodes\n");
		skip();
	}
	refuses_at_once(&strict);
	refuses_at_once(&local);
}

static long all_on_node_1(int pid, unsigned long count, void **pages, const int *nodes, int *status,
			  int flags)
{
	(void)pid;
	(void)pages;
	(void)nodes;
	(void)flags;
	for (unsigned long i = 0; i < count; i++)
		status[i] = 1;
	return 0;
}

/* A node whose memory is in pieces: the kernel gives another's huge pages, and these are not kept. */
static void test_remote_huge_pages(void **state)
{
	const struct mews_place_request local = {
		.node = 0, .bind = true, .local = true, .top = MEWS_PAGES_THP,
	};
	struct mews_kernel kernel = mews_kernel_real;
	char *range = mews_place_reserve(4 * MIB, 2 * MIB);
	struct mews_backing got = { 0 };

	(void)state;
	kernel.move_pages = all_on_node_1;
	mews_kernel = &kernel;
	assert_int_equal(mews_place_back(range, 4 * MIB, &local, &got), 0);
	mews_kernel = &mews_kernel_real;
	assert_int_equal(got.thp, 0);
	assert_int_equal(got.base, 4 * MIB);
	mews_place_release(range, 4 * MIB);
}

static void test_verify(void **state)
{
	char *range = mews_place_reserve(MIB, 4096);
	struct mews_backing got = { 0 };
	void *pages[] = { range, range + 512 * 1024, range + 4096 };
	int node[3] = { -1, -1, -1 };

	(void)state;
	assert_int_equal(mews_place_back(range, 64 << 10, &base, &got), 0);
	assert_int_equal(mews_place_table(range + 512 * 1024, 4096), 0);
	if (mews_place_verify(pages, 3, node) != 0) {
		print_message("skip: move_pages is refused here\n");
		mews_place_release(range, MIB);
		skip();
	}
	assert_true(node[0] >= 0);
	assert_true(node[1] == -ENOENT || node[1] == -EFAULT); /* the latter of older kernels */
	assert_int_equal(node[2], node[0]);
	faults_install();
	faults_refuse(faults_call("move_pages"), 1, EPERM);
	assert_int_equal(mews_place_verify(pages, 3, node), -EPERM);
	faults_remove();
	mews_place_release(range, MIB);
}

static void test_map(void **state)
{
	static const size_t lengths[] = { 1, 4096, 4097, 2 * MIB - 1, 2 * MIB, 3 * MIB + 5 };
	struct maps before = maps_read();

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t whole = (lengths[i] + 4095) & ~(size_t)4095;
		char *block = mews_place_map(lengths[i], &from_top);

		assert_non_null(block);
		assert_int_equal((uintptr_t)block % 4096, 0);
		assert_true(pages_populated_zero(block, whole));
		memset(block, 1, lengths[i]);
		mews_place_release(block, lengths[i]);
		assert_int_equal(maps_read().bytes, before.bytes);
	}
	assert_null(mews_place_map(SIZE_MAX, &from_top));
	assert_int_equal(errno, ENOMEM);
	assert_null(mews_place_map(SIZE_MAX / 4, &from_top));
	assert_int_equal(errno, ENOMEM);
}

/* An oversize block belongs to the process: the child of a fork writes into its own copy. */
static void test_map_is_private(void **state)
{
	char *block = mews_place_map(4 * MIB, &from_top);
	pid_t child;
	int status;

	(void)state;
	block[0] = 1;
	child = fork();
	if (child == 0) {
		block[0] = 2;
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_int_equal(block[0], 1);
	mews_place_release(block, 4 * MIB);
}

struct intruder {
	char *range;
	size_t length;
	atomic_bool stop;
	unsigned long mapped, inside;
};

/* Maps and unmaps without a hint: where the range had a hole, it would land in it. */
static void *intrude(void *arg)
{
	struct intruder *i = arg;

	while (!atomic_load(&i->stop)) {
		char *at = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (at == MAP_FAILED)
			continue;
		i->mapped++;
		i->inside += at < i->range + i->length && at + 2 * MIB > i->range;
		munmap(at, 2 * MIB);
	}
	return NULL;
}

static void test_no_hole(void **state)
{
	struct intruder intruder = { .range = mews_place_reserve(64 * MIB, 2 * MIB),
				     .length = 64 * MIB };
	struct mews_backing got = { 0 };
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, intrude, &intruder), 0);
	for (int i = 0; i < 200; i++) {
		char *at = intruder.range + (size_t)(i % 32) * 2 * MIB;

		assert_int_equal(mews_place_back(at, 2 * MIB, &from_2m, &got), 0);
		assert_int_equal(mews_place_discard(at, 2 * MIB), 0);
	}
	atomic_store(&intruder.stop, true);
	pthread_join(thread, NULL);
	assert_true(intruder.mapped > 0);
	assert_int_equal(intruder.inside, 0);
	mews_place_release(intruder.range, intruder.length);
}

/* Two huge pages are needed; more, since other programs here may take some. */
static void need_huge(void)
{
	if (pages_reserve(16))
		return;
	print_message("skip: no huge pages can be reserved here (%ld free)\n", pages_huge_free());
	skip();
}

static int unreserve(void **state)
{
	(void)state;
	pages_unreserve();
	return 0;
}

static void test_hugetlb(void **state)
{
	struct mews_backing got;
	long before = pages_held();

	(void)state;
	need_huge();
	back_twice(4 * MIB, &from_2m, &got);
	assert_int_equal(got.pages_2m, 4 * MIB);
	back_twice(4 * MIB, &from_top, &got);
	assert_int_equal(got.pages_2m, 4 * MIB);
	assert_int_equal(pages_held(), before);
}

/* More than there are: down the ladder, and no page of those that are there is kept. */
static void test_hugetlb_shortage(void **state)
{
	struct mews_backing got = { 0 };
	long before = pages_held();
	size_t length;
	char *range;

	(void)state;
	need_huge();
	length = ((size_t)pages_huge() + 1) * 2 * MIB;
	range = mews_place_reserve(length, 2 * MIB);
	assert_int_equal(mews_place_back(range, length, &from_2m, &got), 0);
	assert_int_equal(got.pages_2m, 0);
	assert_int_equal(pages_thp() ? got.thp : got.base, length);
	assert_int_equal(pages_held(), before);
	mews_place_release(range, length);
}

static void copy_all(const void *from, size_t length, void *to, void *context)
{
	(void)context;
	memcpy(to, from, length);
}

/* As test_map_is_private, where huge pages could be had: they would be shared. */
static void test_map_beside_huge(void **state)
{
	(void)state;
	need_huge();
	test_map_is_private(NULL);
}

static void write_in_child(char *addr, char value)
{
	pid_t child = fork();

	if (child == 0) {
		*addr = value;
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

/* In the child: what is shared becomes private, with the content that the parent had. */
static int privatize_in_child(char *range)
{
	if (mews_place_privatize(range, 4 * MIB, copy_all, NULL) != 0)
		return 1;
	if (range[0] != 11 || range[4 * MIB - 1] != 11)
		return 2;
	memset(range, 12, 4 * MIB);
	return 0;
}

static void test_privatize(void **state)
{
	struct mews_backing got = { 0 };
	char *range;
	pid_t child;
	int status;

	(void)state;
	need_huge();
	range = mews_place_reserve(4 * MIB, 2 * MIB);
	assert_int_equal(mews_place_back(range, 4 * MIB, &from_2m, &got), 0);
	assert_int_equal(got.pages_2m, 4 * MIB);
	/* Shared, so that neither side of a fork needs another huge page. */
	write_in_child(range, 13);
	assert_int_equal(range[0], 13);
	memset(range, 11, 4 * MIB);
	child = fork();
	if (child == 0)
		_exit(privatize_in_child(range));
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(range[0], 11);
	assert_int_equal(range[4 * MIB - 1], 11);
	mews_place_release(range, 4 * MIB);
}

#define HUGE_TEST(name) cmocka_unit_test_teardown(name, unreserve)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_reserve_refused),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_no_huge_page_divides),
		cmocka_unit_test(test_resident),
		cmocka_unit_test(test_counts_add_up),
		cmocka_unit_test(test_binding),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_shortage),
		cmocka_unit_test(test_remote_huge_pages),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_is_private),
		cmocka_unit_test(test_no_hole),
		HUGE_TEST(test_hugetlb),
		HUGE_TEST(test_hugetlb_shortage),
		HUGE_TEST(test_map_beside_huge),
		HUGE_TEST(test_privatize),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
