/* SPDX-License-Identifier: MIT */
/* The kinds of pool, see kinds.h. */
#include "kinds.h"

#include <stdlib.h>
#include <string.h>
#include <sys/rseq.h>
#include <unistd.h>
#include <mews/inline.h>
#include "check.h"

#define TUNABLE "glibc.pthread.rseq=0"

static const struct kind kinds[] = {
	{ "rseq", "restartable sequences, called as functions", false, false,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_SERVER, MEWS_PATH_RSEQ },
	{ "inline", "restartable sequences, inlined", false, true,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_SERVER, MEWS_PATH_RSEQ },
	{ "fallback", "glibc told not to register restartable sequences", true, false,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_SERVER, MEWS_PATH_FALLBACK },
	{ "fallback-inline", "as fallback, inlined calls", true, true,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_SERVER, MEWS_PATH_FALLBACK },
	{ "checked", "every lease and return against the ledger", false, false,
	  MEWS_CHECKS_FULL, MEWS_MODE_SERVER, MEWS_PATH_CHECKED },
	{ "checked-inline", "as checked, inlined calls", false, true,
	  MEWS_CHECKS_FULL, MEWS_MODE_SERVER, MEWS_PATH_CHECKED },
	{ "workstation", "small working set", false, false,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_WORKSTATION, MEWS_PATH_RSEQ },
	{ "workstation-fallback", "small working set, without restartable sequences", true, false,
	  MEWS_CHECKS_CHEAP, MEWS_MODE_WORKSTATION, MEWS_PATH_FALLBACK },
	{ "default", "what the library chooses itself", false, false,
	  MEWS_CHECKS_AUTO, MEWS_MODE_AUTO, 0 },
};

const struct kind *kind = &kinds[0];
struct kind_calls kind_calls = { mews_lease, mews_return };

/* Both, so many at a time that the lease in a row finds itself armed as well. */
static void *lease_inline(struct mews_pool *pool)
{
	static __thread unsigned turn;

	return turn++ / 64 % 2 ? mews_lease_row_inline(pool) : mews_lease_inline(pool);
}

static void return_inline(struct mews_pool *pool, void *block)
{
	mews_return_inline(pool, block);
}

static void execute_without_rseq(char **argv)
{
	const char *set = getenv("GLIBC_TUNABLES");

	if (set && strstr(set, TUNABLE))
		return;
	setenv("GLIBC_TUNABLES", TUNABLE, 1);
	execv("/proc/self/exe", argv);
	perror("execv");
	exit(1);
}

enum mews_path kind_path(void)
{
	return kind->path == MEWS_PATH_RSEQ && __rseq_size == 0 ? MEWS_PATH_FALLBACK : kind->path;
}

void kind_list(FILE *out)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		fprintf(out, "kind %-22s %s\n", kinds[i].name, kinds[i].what);
}

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	fprintf(stderr, "no kind of pool is named %s\n", name);
	kind_list(stderr);
	exit(1);
}

void kind_choose(const char *name, char **argv)
{
	kind = name ? find(name) : &kinds[0];
	if (kind->rseq_off)
		execute_without_rseq(argv);
	if (kind->inline_calls)
		kind_calls = (struct kind_calls){ lease_inline, return_inline };
}

struct mews_pool_config kind_config(void)
{
	return (struct mews_pool_config){
		.size = sizeof(struct mews_pool_config),
		.name = kind->name,
		.mode = kind->mode,
		.checks = kind->checks,
		.decay_ms = MEWS_DECAY_NEVER, /* what a test sees shall not depend on its speed */
	};
}

struct mews_pool *kind_pool_from(const struct mews_pool_config *config)
{
	struct mews_pool *pool;
	int error = mews_pool_create(config, &pool);

	CHECK(error == 0, "a pool of kind %s: %s", kind->name, strerror(-error));
	return pool;
}

struct mews_pool *kind_pool(size_t block_size, size_t max_blocks)
{
	struct mews_pool_config config = kind_config();

	config.block_size = block_size;
	config.max_blocks = max_blocks;
	return kind_pool_from(&config);
}
