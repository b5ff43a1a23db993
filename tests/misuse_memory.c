/* SPDX-License-Identifier: MIT */
/*
 * Misuse of a block's memory: use after return, overrun, use of a block never leased. Under
 * AddressSanitizer each is committed in a child, which must die of it; under valgrind the count of
 * errors must rise. A proper use must do neither.
 */
#include "misuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../lib/ledger.h"
#include "support/check.h"
#include "support/kinds.h"

#define SIZE 100        /* of a stride of 128: the rest of it is out of bounds */

static struct mews_pool *pool;

static void proper(volatile char *block)
{
	block[0] = block[SIZE - 1] = 1;
	mews_return(pool, (void *)block);
}

static void write_after_return(volatile char *block)
{
	mews_return(pool, (void *)block);
	block[0] = 1;
}

static void read_after_return(volatile char *block)
{
	block[50] = 1;
	mews_return(pool, (void *)block);
	if (block[50] == 3)
		abort();
}

static void overrun(volatile char *block)
{
	block[SIZE] = 1;
	mews_return(pool, (void *)block);
}

static void underrun(volatile char *block)
{
	block[-1] = 1;
	mews_return(pool, (void *)block);
}

static void after_a_bulk_return(volatile char *block)
{
	void *blocks[1] = { (void *)block };

	mews_return_many(pool, blocks, 1);
	block[SIZE - 1] = 1;
}

static const struct misuse {
	const char *name;
	void (*commit)(volatile char *block);
	bool wrong;
} matrix[] = {
	{ "proper use", proper, false },
	{ "write after return", write_after_return, true },
	{ "read after return", read_after_return, true },
	{ "overrun", overrun, true },
	{ "underrun", underrun, true },
	{ "write after bulk return", after_a_bulk_return, true },
};

static void *lease_in_the_middle(void)
{
	void *blocks[5];

	CHECK(mews_lease_many(pool, blocks, 5) == 5, "5 blocks");
	return blocks[2];
}

/* In a child: true if it died of AddressSanitizer, whose exit code is 1. */
static bool child_dies(const struct misuse *misuse)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0, "fork");
	if (pid == 0) {
		if (misuse->wrong && !freopen("/dev/null", "w", stderr))
			_exit(0);
		misuse->commit(lease_in_the_middle());
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "wait");
	return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

#if defined(VALGRIND_COUNT_ERRORS)
static unsigned valgrind_errors(void)
{
	return (unsigned)VALGRIND_COUNT_ERRORS;
}
#else
static unsigned valgrind_errors(void)
{
	return 0; /* built without its headers: mews_valgrind_active() is false */
}
#endif

static bool valgrind_counts(const struct misuse *misuse)
{
	unsigned before = valgrind_errors();

	misuse->commit(lease_in_the_middle());
	return valgrind_errors() > before;
}

int misuse_of_memory(void)
{
	bool (*found)(const struct misuse *misuse) =
		mews_valgrind_active() ? valgrind_counts : child_dies;

	if (!mews_valgrind_active() && !mews_asan_active())
		check_skip("neither AddressSanitizer nor valgrind");
	pool = kind_pool(SIZE, 1000);
	for (size_t i = 0; i < sizeof(matrix) / sizeof(matrix[0]); i++) {
		bool seen = found(&matrix[i]);

		printf("%-26s %s\n", matrix[i].name, seen ? "was seen" : "was not seen");
		check_context(matrix[i].name, 0);
		CHECK(seen == matrix[i].wrong, "it should%s", matrix[i].wrong ? "" : " not");
	}
	return 0;
}
