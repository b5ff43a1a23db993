/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite: what the contract in mews/mews.h says, tried on one kind of pool, chosen
 * by --kind. Linked once with the shared and once with the static library.
 */
#include "conformance.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "support/check.h"
#include "support/options.h"

void lease_all(struct mews_pool *pool, void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		blocks[i] = kind_calls.lease(pool);
		if (!blocks[i])
			fail_msg("lease %zu of %zu: %s", i, count, strerror(errno));
	}
}

void return_all(struct mews_pool *pool, void **blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		kind_calls.give(pool, blocks[i]);
}

static void check_node(const struct mews_node_stats *node)
{
	assert_int_equal(node->carved, node->leased + node->cached + node->side + node->depot +
			 node->slab);
}

struct mews_stats stats_of(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	uint64_t carved = 0, leased = 0;

	assert_int_equal(mews_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.carved, stats.leased + stats.cached + stats.side + stats.depot +
			 stats.slab);
	assert_in_range(stats.nodes, 1, MEWS_STATS_NODES);
	for (uint32_t i = 0; i < stats.nodes; i++) {
		check_node(&stats.node[i]);
		carved += stats.node[i].carved;
		leased += stats.node[i].leased;
	}
	assert_int_equal(carved, stats.carved);
	assert_int_equal(leased, stats.leased);
	return stats;
}

void end_pool(struct mews_pool *pool)
{
	struct mews_stats stats = stats_of(pool);

	assert_int_equal(stats.leased, 0);
	assert_int_equal(stats.oversize_leased, 0);
	assert_int_equal(stats.oversize_bytes, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static int run(const struct CMUnitTest *tests, size_t count, const char *part)
{
	char name[96];

	snprintf(name, sizeof(name), "%s of a pool of kind %s", part, kind->name);
	return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}

int main(int argc, char **argv)
{
	struct options options;
	int failed = 0;

	options_parse(&options, "The contract of mews/mews.h on one kind of pool. "
		      "Parts: lease, life, config, wait.", argc, argv);
	if (options.list) {
		kind_list(stdout);
		return 0;
	}
	kind_choose(options.kind, argv);
	check_context("conformance", options.seed);
	if (options_chosen(&options, "lease"))
		failed += run(conformance_lease, conformance_lease_count, "leases");
	if (options_chosen(&options, "life"))
		failed += run(conformance_life, conformance_life_count, "life");
	if (options_chosen(&options, "config"))
		failed += run(conformance_config, conformance_config_count, "configuration");
	if (options_chosen(&options, "wait"))
		failed += run(conformance_wait, conformance_wait_count, "waiting");
	return failed ? 1 : 0;
}
