/* SPDX-License-Identifier: MIT */
/*
 * The kinds of pool that every suite runs on: which path, which mode, which checks, and whether the
 * calls are functions or inlined. (Shared or static library is chosen at link time.) A suite makes
 * its pools from kind_config() and calls through kind_calls, so that it need not know its kind.
 */
#ifndef TESTS_SUPPORT_KINDS_H
#define TESTS_SUPPORT_KINDS_H

#include <stdbool.h>
#include <stdio.h>
#include <mews/mews.h>

struct kind {
	const char *name;
	const char *what;
	bool rseq_off;                  /* glibc is told not to register */
	bool inline_calls;
	enum mews_checks checks;
	enum mews_mode mode;
	enum mews_path path;            /* what mews_pool_stats must say */
};

struct kind_calls {
	void *(*lease)(struct mews_pool *pool);
	void (*give)(struct mews_pool *pool, void *block);
};

extern const struct kind *kind;         /* the kind in use */
extern struct kind_calls kind_calls;

/*
 * Chooses the kind by name (NULL: the first). Where it needs rseq off, the program executes itself
 * again with GLIBC_TUNABLES set, and this call does not return. Exits with a message on a bad name.
 */
void kind_choose(const char *name, char **argv);

/*
 * The path that mews_pool_stats must tell: the kind's, as far as glibc registered sequences; or
 * 0.
 */
enum mews_path kind_path(void);

/* Prints a line a kind. */
void kind_list(FILE *out);

/* A configuration of this kind, everything else default. */
struct mews_pool_config kind_config(void);

/*
 * A pool of this kind with so many blocks; block_size 0: the default. Ends the process on
 * failure.
 */
struct mews_pool *kind_pool(size_t block_size, size_t max_blocks);

/* A pool of this configuration. Ends the process on failure. */
struct mews_pool *kind_pool_from(const struct mews_pool_config *config);

#endif
