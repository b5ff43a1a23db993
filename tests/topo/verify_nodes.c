/* SPDX-License-Identifier: MIT */
/*
 * --verify on two nodes, which this machine need not have: a real pool, a synthetic topology with
 * CPU 0 on node 0 and CPU 1 on node 1, and a kernel whose move_pages is the test's own. Each page
 * must be counted under the node of the CPU that leased it and the node that the kernel tells.
 */
#define _GNU_SOURCE 1
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../numa/kernel.h"
#include "../../tools/topo/topo.h"
#include "../support/suite.h"

static struct mews_kernel kernel;
static unsigned told;           /* pages so far */
static unsigned stray;          /* each so many lies on the other node; 0: none */

static long two_nodes(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		      int flags)
{
	int home = sched_getcpu() == 1;

	(void)pid;
	(void)pages;
	(void)nodes;
	(void)flags;
	for (unsigned long i = 0; i < count; i++)
		status[i] = stray > 0 && ++told % stray == 0 ? !home : home;
	return 0;
}

/* Runs --verify; its output is in text. */
static int verify(char *text, size_t size)
{
	struct topo_options options = {
		.root = "", .synthetic = "numa:2(memory=8GiB) core:1 pu:1",
		.request = { .block_size = 4096, .alignment = 4096,     /* a page a block */
			     .page_policy = MEWS_PAGES_BASE },
	};
	struct topo_view view;
	FILE *out = fmemopen(text, size, "w");
	int status;

	assert_non_null(out);
	assert_int_equal(topo_view_make(&options, &view), 0);
	told = 0;
	status = topo_verify(&view, out);
	fclose(out);
	topo_view_free(&view);
	return status;
}

static void has_line(const char *text, const char *line)
{
	if (strstr(text, line) == NULL)
		fail_msg("no \"%s\" in:\n%s", line, text);
}

static void at_home(void **state)
{
	char text[8192] = "";

	(void)state;
	stray = 0;
	verify(text, sizeof(text));
	has_line(text, "         0       256         0\n         1         0       256\n");
	has_line(text, "\nlocal: 100 %\n");
	assert_null(strstr(text, "another node"));
}

static void astray(void **state)
{
	char text[8192] = "";

	(void)state;
	stray = 8;
	assert_int_equal(verify(text, sizeof(text)), 1);
	has_line(text, "         0       224        32\n         1        32       224\n");
	has_line(text, "not as planned: pages on another node than the CPU's: 64\n");
	has_line(text, "\nlocal: 87.5 %\n");
}

/* One page of 512: nearly all is not all. */
static void one_astray(void **state)
{
	char text[8192] = "";

	(void)state;
	stray = 512;
	assert_int_equal(verify(text, sizeof(text)), 1);
	has_line(text, "not as planned: pages on another node than the CPU's: 1\n");
	has_line(text, "\nlocal: 99.8 %\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_home), cmocka_unit_test(astray), cmocka_unit_test(one_astray),
	};
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || !CPU_ISSET(0, &allowed) ||
	    !CPU_ISSET(1, &allowed)) {
		puts("skip: CPUs 0 and 1 are not both allowed");
		return 77;
	}
	kernel = mews_kernel_real;
	kernel.move_pages = two_nodes;
	mews_kernel = &kernel;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
