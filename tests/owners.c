/* SPDX-License-Identifier: MIT */
/*
 * Owners: what the contract in mews/owner.h says, tried on one kind of pool, chosen by --kind. Each
 * test ends in the audit of every block.
 */
#include "owners.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "support/audit.h"
#include "support/check.h"
#include "support/options.h"

struct mews_report reported;
char report_text[256];
size_t reports;

static void *lease_inline(struct mews_pool *pool, struct mews_owner *owner)
{
	return mews_owner_lease_inline(mews_bind_inline(pool, owner));
}

static void give_inline(struct mews_pool *pool, struct mews_owner *owner, void *block)
{
	mews_owner_return_inline(mews_bind_inline(pool, owner), block);
}

void *(*owner_lease)(struct mews_pool *pool, struct mews_owner *owner) = mews_owner_lease;
void (*owner_give)(struct mews_pool *pool, struct mews_owner *owner, void *block) =
	mews_owner_return;

static void keep_report(void *context, const struct mews_report *report)
{
	(void)context;
	if (report->kind == MEWS_REPORT_DEGRADED)
		return;
	reported = *report;
	snprintf(report_text, sizeof(report_text), "%s", report->message);
	reports++;
}

struct mews_pool *owner_pool(size_t max_blocks)
{
	struct mews_pool_config config = kind_config();

	config.owners = 1;
	config.max_blocks = max_blocks;
	config.on_report = keep_report;
	reports = 0;
	return kind_pool_from(&config);
}

struct mews_owner *new_owner(const char *name)
{
	struct mews_owner *owner;
	int error = mews_owner_create(name, &owner);

	if (error)
		fail_msg("owner %s: %s", name, strerror(-error));
	return owner;
}

void audit_out(struct mews_pool *pool, void *const *blocks, size_t count)
{
	struct audit audit;

	if (!audit_pool(pool, blocks, count, &audit))
		fail_msg("%s", audit.message);
}

void end_owner_pool(struct mews_pool *pool, size_t owner_returns)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	audit_out(pool, NULL, 0);
	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.leased, 0);
	assert_int_equal(stats.owner_returns, owner_returns);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static int run(const struct CMUnitTest *tests, size_t count, const char *part)
{
	char name[96];

	snprintf(name, sizeof(name), "owners, %s, of a pool of kind %s", part, kind->name);
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
	struct options options;
	int failed = 0;

	options_parse(&options, "The contract of mews/owner.h on one kind of pool. "
		      "Parts: life, thread.", argc, argv);
	kind_choose(options.kind, argv);
	if (kind->inline_calls) {
		owner_lease = lease_inline;
		owner_give = give_inline;
	}
	check_context("owners", options.seed);
	if (options_chosen(&options, "life"))
		failed += run(owners_life, owners_life_count, "life");
	if (options_chosen(&options, "thread"))
		failed += run(owners_thread, owners_thread_count, "thread");
	return failed ? 1 : 0;
}
