/* SPDX-License-Identifier: MIT */
/* Adds up the counts of all lenders, asks the pool for its own, prints both. */
#include "ledger.h"

#include "count_malloc.h"
#include "loop.h"
#include "server.h"

#include <inttypes.h>
#include <string.h>

/* The members of struct counts are words of one kind: adding them up needs no list of them. */
#define COUNTS (sizeof(struct counts) / sizeof(tally))

struct totals {
	uint64_t connections, requests, refused, bytes_in, bytes_out;
	uint64_t leases, oversize, returns, returns_elsewhere, lease_failures, malloc_calls;
};
_Static_assert(sizeof(struct totals) == sizeof(struct counts), "the same members, in one order");

static void add(uint64_t *sums, struct lender *lender)
{
	tally *counts = (tally *)&lender->counts;

	for (size_t i = 0; i < COUNTS; i++)
		sums[i] += atomic_load_explicit(&counts[i], memory_order_relaxed);
}

static struct totals total(struct server *server)
{
	union {
		struct totals totals;
		uint64_t sums[COUNTS];
	} all = { .sums = { 0 } };

	for (unsigned i = 0; i < server->options.threads; i++) {
		add(all.sums, &server->workers[i].lender);
		add(all.sums, &server->workers[i].cook_lender);
	}
	return all.totals;
}

static struct mews_stats pool_stats(struct server *server)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	if (server->pool)
		mews_pool_stats(server->pool, &stats);
	return stats;
}

/* Pages behind the blocks, by kind, over all nodes. */
static struct mews_node_stats backing(const struct mews_stats *stats)
{
	struct mews_node_stats sum = { 0 };

	for (unsigned i = 0; i < stats->nodes; i++) {
		sum.backed_1g += stats->node[i].backed_1g;
		sum.backed_2m += stats->node[i].backed_2m;
		sum.backed_thp += stats->node[i].backed_thp;
		sum.backed_base += stats->node[i].backed_base;
	}
	return sum;
}

static int pool_json(struct server *server, char *text, size_t room)
{
	struct mews_stats s = pool_stats(server);
	struct mews_node_stats b = backing(&s);

	if (!server->pool)
		return snprintf(text, room, "null");
	return snprintf(text, room,
		"{\"carved\":%" PRIu64 ",\"leased\":%" PRIu64 ",\"cached\":%" PRIu64
		",\"side\":%" PRIu64 ",\"depot\":%" PRIu64 ",\"slab\":%" PRIu64
		",\"oversize_leased\":%" PRIu64 ",\"max_blocks\":%" PRIu64 ",\"stride\":%" PRIu64
		",\"lease_misses\":%" PRIu64 ",\"depot_hits\":%" PRIu64
		",\"slab_hits\":%" PRIu64 ",\"growths\":%" PRIu64 ",\"reclaims\":%" PRIu64
		",\"return_misses\":%" PRIu64 ",\"failures\":%" PRIu64
		",\"double_returns\":%" PRIu64 ",\"foreign_pointers\":%" PRIu64
		",\"backed_bytes\":%" PRIu64 ",\"metadata_bytes\":%" PRIu64
		",\"backed_1g\":%" PRIu64 ",\"backed_2m\":%" PRIu64 ",\"backed_thp\":%" PRIu64
		",\"backed_base\":%" PRIu64 ",\"cache_capacity\":%u,\"magazine\":%u,\"path\":%d}",
		s.carved, s.leased, s.cached, s.side, s.depot, s.slab, s.oversize_leased,
		s.max_blocks, s.stride, s.lease_misses, s.depot_hits, s.slab_hits,
		s.growths, s.reclaims, s.return_misses, s.failures, s.double_returns,
		s.foreign_pointers, s.backed_bytes, s.metadata_bytes, b.backed_1g, b.backed_2m,
		b.backed_thp, b.backed_base, s.cache_capacity, s.magazine, (int)s.path);
}

int ledger_json(struct server *server, char text[LEDGER_JSON_MAX])
{
	struct totals t = total(server);
	char pool[LEDGER_JSON_MAX / 2];

	pool_json(server, pool, sizeof(pool));
	return snprintf(text, LEDGER_JSON_MAX,
		"{\"allocator\":\"%s\",\"loop\":\"%s\",\"threads\":%u,\"connections\":%" PRIu64
		",\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"bytes_in\":%" PRIu64
		",\"bytes_out\":%" PRIu64 ",\"leases\":%" PRIu64 ",\"oversize\":%" PRIu64
		",\"returns\":%" PRIu64 ",\"returns_elsewhere\":%" PRIu64
		",\"lease_failures\":%" PRIu64 ",\"malloc_counted\":%s,\"malloc_calls\":%" PRIu64
		",\"pool\":%s}\n",
		server->pool ? "mews" : "malloc", server->loop->name, server->options.threads,
		t.connections, t.requests, t.refused, t.bytes_in, t.bytes_out, t.leases,
		t.oversize, t.returns, t.returns_elsewhere, t.lease_failures,
		malloc_is_counted ? "true" : "false", t.malloc_calls, pool);
}

bool ledger_balances(struct server *server)
{
	struct totals t = total(server);
	struct mews_stats s = pool_stats(server);

	return t.leases == t.returns && s.leased == 0 && s.oversize_leased == 0 &&
	       s.carved == s.cached + s.side + s.depot + s.slab &&
	       s.double_returns + s.foreign_pointers + s.interior_pointers == 0;
}

void ledger_print(struct server *server, FILE *out)
{
	struct totals t = total(server);
	struct mews_stats s = pool_stats(server);

	fprintf(out, "served    %" PRIu64 " requests on %" PRIu64 " connections, %" PRIu64
		" refused with 503\n", t.requests, t.connections, t.refused);
	fprintf(out, "buffers   %" PRIu64 " leases - %" PRIu64 " returns = %" PRIu64
		" out; %" PRIu64 " returned by another thread, %" PRIu64 " oversize\n",
		t.leases, t.returns, t.leases - t.returns, t.returns_elsewhere, t.oversize);
	if (server->pool)
		fprintf(out, "blocks    carved %" PRIu64 " = leased %" PRIu64 " + cached %" PRIu64
			" + side %" PRIu64 " + depot %" PRIu64 " + slab %" PRIu64 "\n",
			s.carved, s.leased, s.cached, s.side, s.depot, s.slab);
	if (malloc_is_counted)
		fprintf(out, "malloc    %" PRIu64 " calls during requests\n", t.malloc_calls);
	else
		fprintf(out, "malloc    not counted: a sanitizer owns it in this build\n");
	fprintf(out, "ledger    %s\n", ledger_balances(server) ? "balances" : "DOES NOT BALANCE");
}

static void print_site(void *context, const struct mews_lease_site *site)
{
	FILE *out = context;
	char name[256];

	fprintf(out, "%" PRIu64 " out, %" PRIu64 " bytes", site->leases, site->bytes);
	if (!site->depth)
		fprintf(out, ": leased before");
	else
		fprintf(out, ", the oldest %.1f s ago by thread %d:", site->oldest_ns / 1e9,
			(int)site->thread);
	for (unsigned i = 0; i < site->depth; i++) {
		mews_address_name(site->stack[i], name, sizeof(name));
		fprintf(out, "\n    %s", name);
	}
	fputc('\n', out);
}

void ledger_leases(struct mews_pool *pool, FILE *out)
{
	static bool recording;

	recording = !recording;
	if (recording) {
		fprintf(out, "leases are recorded: %s\n",
			mews_pool_sample_leases(pool, 1) ? "REFUSED" : "ask again to see them");
	} else {
		mews_pool_report_leases(pool, print_site, out);
		mews_pool_sample_leases(pool, 0);
		fprintf(out, "leases are not recorded any more\n");
	}
	fflush(out);
}
