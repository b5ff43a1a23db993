/* SPDX-License-Identifier: MIT */
/*
 * The plan (layer 0): every size of a pool, decided in one order, each with its reason. Called by
 * lib/pool.c and tools. Invariant: pure: no system call, no global; equal input, equal plan.
 * Each decide_* below reads what those before it decided, and writes its own members only.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "plan.h"
#include "words.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

#define LINE 64
#define L1_WAY 4096             /* 64 sets of 64 bytes: the same on every CPU this is built for */
#define COLOUR_CELL (16 * KIB)  /* one line more in each 16 KiB: 0.4 % */
#define COLOUR_STRIDE_MAX (128 * KIB)   /* above, a slab would need more than 16 MiB to waste 1 % */

#define KESTREL_USABLE 4032
#define KESTREL_STRIDE 4096
#define WINDOWS_MAX 64          /* as many nodes as struct mews_stats has room for */
#define SLAB_BLOCKS_MAX 65536
#define ADDRESS_SPACE_MAX ((uint64_t)1 << 44)   /* an eighth of 47 bits, for one pool */
#define ASSUMED_L2 MIB
#define ASSUMED_L3 (8 * MIB)
#define SMALL_LIMIT (256 * MIB)
#define OVERSIZE_DEFAULT GIB

struct input {
	const struct mews_topology *topology;
	const struct mews_limits *limits;
	const struct mews_plan_request *request;
};

__attribute__((format(printf, 2, 3)))
static void because(struct mews_plan *plan, const char *format, ...)
{
	va_list list;

	if (plan->reasons == MEWS_PLAN_REASONS)
		return;
	va_start(list, format);
	vsnprintf(plan->reason[plan->reasons++], MEWS_PLAN_REASON_LENGTH, format, list);
	va_end(list);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static size_t round_up(size_t value, size_t to)
{
	return (value + to - 1) & ~(to - 1);
}

static uint64_t power_above(uint64_t value)
{
	uint64_t power = 1;

	while (power < value)
		power <<= 1;
	return power;
}

static uint64_t power_below(uint64_t value)
{
	uint64_t power = 1;

	while (power <= value / 2)
		power <<= 1;
	return power;
}

static int refuse(char *error, const char *sentence)
{
	if (error != NULL)
		snprintf(error, 160, "%s", sentence);
	return -EINVAL;
}

static int check_request(const struct mews_plan_request *r, char *error)
{
	if (r->block_size > MEWS_BLOCK_SIZE_MAX)
		return refuse(error, "block_size: 1 to 67,108,864 bytes (64 MiB), or 0 for 4,032");
	if (r->alignment != 0 && (r->alignment < 8 || r->alignment > MEWS_ALIGNMENT_MAX ||
				  (r->alignment & (r->alignment - 1)) != 0))
		return refuse(error, "alignment: a power of two, 8 to 2,097,152, or 0 for 64");
	if (r->max_blocks != 0 && r->initial_blocks > r->max_blocks)
		return refuse(error, "initial_blocks: at most max_blocks");
	if ((unsigned)r->mode > MEWS_MODE_WORKSTATION)
		return refuse(error, "mode: one of enum mews_mode");
	if ((unsigned)r->node_policy > MEWS_NODE_STRICT)
		return refuse(error, "node_policy: one of enum mews_node_policy");
	if ((unsigned)r->page_policy > MEWS_PAGES_BASE)
		return refuse(error, "page_policy: one of enum mews_page_policy");
	return 0;
}

static void tell_machine(struct mews_plan *plan, const struct input *in)
{
	const struct mews_topology *t = in->topology;

	because(plan, "machine: %s: %u CPUs (ids below %u), %u usable (%.90s), %u nodes", t->source,
		t->cpus, t->cpu_ids, in->limits->usable_cpus, in->limits->usable_source,
		t->node_count);
}

/* Memory of the nodes that this process may take from. */
static uint64_t allowed_memory(const struct mews_topology *t)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < t->node_count; i++)
		sum += t->node[i].allowed ? t->node[i].memory : 0;
	return sum;
}

static void decide_hard_limit(struct mews_plan *plan, const struct input *in)
{
	const struct mews_limits *l = in->limits;
	uint64_t whole = allowed_memory(in->topology);
	const char *source = "the memory of the nodes";

	if (whole == 0 || l->memory < whole) {
		whole = l->memory == MEWS_UNLIMITED ? GIB : l->memory;
		source = l->memory == MEWS_UNLIMITED ? "nothing known, assumed" : l->memory_source;
	}
	if (l->memory_high < whole) {
		whole = l->memory_high;
		source = "the cgroup's memory.high";
	}
	plan->hard_limit = in->request->hard_limit ? in->request->hard_limit : whole / 4 * 3;
	if (in->request->hard_limit)
		because(plan, "hard limit %s: MEWS_HARD_LIMIT", mews_bytes(plan->hard_limit).text);
	else
		because(plan, "hard limit %s = 75 %% of %s (%.110s)",
			mews_bytes(plan->hard_limit).text, mews_bytes(whole).text, source);
	if (l->address_space / 2 < plan->hard_limit) {
		plan->hard_limit = l->address_space / 2;
		because(plan, "hard limit lowered to %s = half of RLIMIT_AS %s",
			mews_bytes(plan->hard_limit).text, mews_bytes(l->address_space).text);
	}
}

static void decide_mode(struct mews_plan *plan, const struct input *in)
{
	uint32_t cpus = in->limits->usable_cpus;

	plan->mode = in->request->mode;
	if (plan->mode != MEWS_MODE_AUTO) {
		because(plan, "mode %s: %.40s", plan->mode == MEWS_MODE_SERVER ? "server" :
			"workstation", in->request->mode_source ? in->request->mode_source :
			"asked for");
	} else if (cpus == 1) {
		plan->mode = MEWS_MODE_WORKSTATION;
		because(plan, "mode workstation: 1 usable CPU (%.110s)", in->limits->usable_source);
	} else if (plan->hard_limit < SMALL_LIMIT) {
		plan->mode = MEWS_MODE_WORKSTATION;
		because(plan, "mode workstation: hard limit %s is below 256 MiB",
			mews_bytes(plan->hard_limit).text);
	} else {
		plan->mode = MEWS_MODE_SERVER;
		because(plan, "mode server: %u usable CPUs and at least 256 MiB of hard limit", cpus);
	}
}

/* Where the first lines of neighbours would share an L1 set, one line more every few blocks. */
static void decide_colour(struct mews_plan *plan)
{
	size_t spread = plan->stride & -plan->stride;

	plan->cell_blocks = 1;
	plan->cell_bytes = plan->stride;
	if (spread < L1_WAY / 4 || plan->alignment > LINE || plan->stride > COLOUR_STRIDE_MAX) {
		because(plan, "spacing even: %s", plan->alignment > LINE ?
			"the alignment asked for leaves no room for a colour" :
			spread < L1_WAY / 4 ? "the stride itself spreads over the sets of the L1" :
			"blocks are too large for a colour");
		return;
	}
	plan->cell_blocks = (uint32_t)most(1, COLOUR_CELL / plan->stride);
	plan->cell_bytes = plan->cell_blocks * plan->stride + LINE;
	because(plan, "spacing coloured: 64 B after every %u blocks (%.1f %%), since a stride of "
		"%s puts all first lines into %u of 64 L1 sets", plan->cell_blocks,
		6400.0 / (double)plan->cell_bytes, mews_bytes(plan->stride).text,
		(unsigned)(spread >= L1_WAY ? 1 : L1_WAY / spread));
}

static void decide_block(struct mews_plan *plan, const struct input *in)
{
	const struct mews_plan_request *r = in->request;
	size_t room = r->block_size == 0 ? KESTREL_STRIDE : r->block_size;

	plan->block_size = r->block_size == 0 ? KESTREL_USABLE : r->block_size;
	plan->alignment = r->alignment == 0 ? LINE : r->alignment;
	plan->stride = round_up(room, plan->alignment);
	because(plan, "block %s usable in a stride of %s = %s rounded up to the alignment of %s",
		mews_bytes(plan->block_size).text, mews_bytes(plan->stride).text,
		r->block_size == 0 ? "Kestrel's 4 KiB" : mews_bytes(room).text,
		mews_bytes(plan->alignment).text);
	decide_colour(plan);
}

/* Blocks in a slab of so many bytes: whole cells, and the blocks that fit behind the last. */
static uint64_t blocks_in(const struct mews_plan *plan, uint64_t slab)
{
	return slab / plan->cell_bytes * plan->cell_blocks + slab % plan->cell_bytes / plan->stride;
}

static uint64_t unused_in(const struct mews_plan *plan, uint64_t slab)
{
	uint64_t blocks = blocks_in(plan, slab);

	return slab - blocks / plan->cell_blocks * plan->cell_bytes -
		blocks % plan->cell_blocks * plan->stride;
}

/* The least power of two in [low, high] that wastes 1/share of it at most; else the thriftiest. */
static uint64_t thrifty_slab(const struct mews_plan *plan, uint64_t low, uint64_t high,
			     unsigned share)
{
	uint64_t best = 0;

	for (uint64_t slab = low; slab <= high; slab <<= 1) {
		if (blocks_in(plan, slab) == 0)
			continue;
		if (unused_in(plan, slab) * share <= slab)
			return slab;
		if (best == 0 || unused_in(plan, slab) < unused_in(plan, best) * (slab / best))
			best = slab;
	}
	return best;
}

/* Before the pool's size is known to bound it. */
static uint64_t slab_by_mode(const struct mews_plan *plan)
{
	uint64_t low = 2 * MIB, slab;

	while (blocks_in(plan, low) > SLAB_BLOCKS_MAX)
		low >>= 1;
	if (plan->mode == MEWS_MODE_WORKSTATION) {
		uint64_t small = most(64 * KIB, power_above(64 * plan->stride));

		low = least(low, small);
		slab = thrifty_slab(plan, low, 2 * MIB, 32);
		if (slab == 0 || unused_in(plan, slab) * 16 > slab)
			slab = thrifty_slab(plan, low, 128 * MIB, 16);
		return slab;
	}
	slab = thrifty_slab(plan, low, 32 * MIB, 128);
	if (slab == 0 || unused_in(plan, slab) * 32 > slab)
		slab = thrifty_slab(plan, low, 128 * MIB, 128);
	return slab;
}

static void decide_slab(struct mews_plan *plan, const struct input *in)
{
	uint64_t wanted = in->request->max_blocks, slab = slab_by_mode(plan);
	uint64_t small = most(in->topology->page_size, power_above(plan->stride));
	const char *why = plan->mode == MEWS_MODE_SERVER ?
		"whole huge pages with the least unused tail" : "small steps for a small pool";

	if (wanted == 0)
		wanted = most(1, plan->hard_limit / plan->cell_bytes * plan->cell_blocks);
	while (small < slab && blocks_in(plan, small) < wanted)
		small <<= 1;
	if (small < slab) {
		slab = small;
		why = "the whole pool fits";
	} else if (slab < 2 * MIB && plan->mode == MEWS_MODE_SERVER) {
		why = "at most 65,536 blocks a slab";
	}
	plan->slab_bytes = slab;
	plan->slab_blocks = (uint32_t)blocks_in(plan, slab);
	plan->extent_bytes = least(slab, most(2 * MIB, power_above(plan->stride)));
	because(plan, "slab %s of %s blocks, %s unused (%.2f %%): %s", mews_bytes(slab).text,
		mews_number(plan->slab_blocks).text, mews_bytes(unused_in(plan, slab)).text,
		100.0 * (double)unused_in(plan, slab) / (double)slab, why);
}

static uint64_t slabs_for(const struct mews_plan *plan, uint64_t blocks)
{
	return blocks / plan->slab_blocks + (blocks % plan->slab_blocks != 0);
}

/* What one window may take of the address space: a power of two. */
static uint64_t window_bound(const struct mews_plan *plan, const struct input *in)
{
	uint64_t all = least(ADDRESS_SPACE_MAX, in->limits->address_space / 4);

	return most(power_below(all / plan->nodes), plan->slab_bytes);
}

static void tell_max_blocks(struct mews_plan *plan, const struct input *in)
{
	uint64_t size = slabs_for(plan, plan->max_blocks) * plan->slab_bytes;

	if (in->request->max_blocks == 0)
		because(plan, "at most %s blocks = %s of whole slabs in the hard limit",
			mews_number(plan->max_blocks).text, mews_bytes(size).text);
	else
		because(plan, "at most %s blocks (%s): asked for%s", mews_number(plan->max_blocks).text,
			mews_bytes(size).text, size > plan->hard_limit ?
			"; more than the hard limit, which then will not hold them" : "");
}

/*
 * A window can hold the whole pool and a slab more, which stands in for one that is being given back for
 * however long; unless address space is short: then all of them together hold the pool.
 */
static void decide_max_blocks(struct mews_plan *plan, const struct input *in)
{
	uint64_t bound = window_bound(plan, in);
	uint64_t room = bound / plan->slab_bytes * plan->slab_blocks * plan->nodes;
	uint64_t asked = in->request->max_blocks;

	plan->max_blocks = asked;
	if (asked == 0)
		plan->max_blocks = plan->hard_limit / plan->slab_bytes * plan->slab_blocks;
	plan->max_blocks = most(1, plan->max_blocks);
	tell_max_blocks(plan, in);
	if (plan->max_blocks > room) {
		because(plan, "lowered to %s blocks: %u windows of %s are what the address space "
			"gives (%s)", mews_number(room).text, plan->nodes, mews_bytes(bound).text,
			in->limits->address_space / 4 < ADDRESS_SPACE_MAX ?
			"a quarter of RLIMIT_AS" : "an eighth of 47 bits");
		plan->max_blocks = room;
	}
	plan->window_bytes = least(bound, power_above(slabs_for(plan, plan->max_blocks) + 1) *
				   plan->slab_bytes);
	plan->window_shift = (uint32_t)__builtin_ctzll(plan->window_bytes);
	because(plan, "%u window%s of %s address space: one a node that gives memory", plan->nodes,
		plan->nodes == 1 ? "" : "s", mews_bytes(plan->window_bytes).text);
}

static bool gives_memory(const struct mews_topology_node *node)
{
	return node->memory != 0 && node->allowed;
}

/* Where no node qualifies, memory still has to come from somewhere: the first. */
static int choose_windows(struct mews_plan *plan, const struct mews_topology *t, uint32_t *node)
{
	for (uint32_t i = 0; i < t->node_count && plan->nodes < WINDOWS_MAX; i++)
		if (gives_memory(&t->node[i]))
			node[plan->nodes++] = i;
	if (plan->nodes == 0)
		node[plan->nodes++] = 0;
	plan->window_node = calloc(plan->nodes, sizeof(*plan->window_node));
	plan->window_order = calloc((size_t)plan->nodes * plan->nodes, sizeof(*plan->window_order));
	if (plan->window_node == NULL || plan->window_order == NULL)
		return -ENOMEM;
	for (uint32_t w = 0; w < plan->nodes; w++)
		plan->window_node[w] = t->node[node[w]].os_index;
	return 0;
}

static uint32_t distance(const struct mews_topology *t, uint32_t from, uint32_t to)
{
	return from == to ? 0 : t->distance[(size_t)from * t->node_count + to];
}

/* Row w: the windows by rising distance, equal ones by number, w itself first. */
static void order_windows(struct mews_plan *plan, const struct mews_topology *t,
			  const uint32_t *node)
{
	for (uint32_t w = 0; w < plan->nodes; w++) {
		uint32_t *row = plan->window_order + (size_t)w * plan->nodes;

		for (uint32_t i = 0; i < plan->nodes; i++) {
			uint32_t at = i;

			for (; at > 0 && distance(t, node[w], node[row[at - 1]]) >
			     distance(t, node[w], node[i]); at--)
				row[at] = row[at - 1];
			row[at] = i;
		}
	}
}

static uint32_t nearest_window(const struct mews_plan *plan, const struct mews_topology *t,
			       const uint32_t *node, uint32_t from)
{
	uint32_t best = 0;

	if (from == MEWS_NO_INDEX)
		return 0;
	for (uint32_t w = 1; w < plan->nodes; w++)
		if (distance(t, from, node[w]) < distance(t, from, node[best]))
			best = w;
	return best;
}

static int decide_windows(struct mews_plan *plan, const struct input *in)
{
	const struct mews_topology *t = in->topology;
	uint32_t node[WINDOWS_MAX];

	if (choose_windows(plan, t, node) != 0)
		return -ENOMEM;
	order_windows(plan, t, node);
	plan->cpu_ids = t->cpu_ids;
	plan->cpu_window = calloc(t->cpu_ids, sizeof(*plan->cpu_window));
	if (plan->cpu_window == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		plan->cpu_window[i] = nearest_window(plan, t, node, t->cpu[i].node);
		if (t->cpu[i].possible && t->cpu[i].allowed)
			plan->home_windows |= (uint64_t)1 << plan->cpu_window[i];
	}
	if (plan->home_windows == 0)    /* no CPU is known to be allowed: any may be */
		plan->home_windows = UINT64_MAX;
	return 0;
}

/*
 * Blocks that are too large to stay in L2 are cached for what their leases cost otherwise: a burst
 * that does not fit goes to the slabs for each few of them. Half as many again as bursts of 64 need: one
 * that is as long as the cache meets an end of it each time, unless it began with all of it full.
 */
#define CACHE_LEAST 96
#define CACHE_LEAST_BYTES ((size_t)16 << 20)

/*
 * Where an L2 is smaller, its CPU caches as many blocks all the same: what two CPUs that hand over pay is
 * by the exchange, and what circulates is pointers and first lines.
 */
#define CACHE_L2_LEAST (2 * MIB)

/*
 * In bursts that are longer than a cache, its CPU caches twice as many, as far as 16 MiB go: what a burst
 * touches is its blocks' first lines, and the way to the depot and back costs more than these from L2.
 */
static void decide_cache_most(struct mews_plan *plan, uint64_t pool)
{
	uint64_t twice = least(2 * plan->cache_capacity, CACHE_LEAST_BYTES / plan->stride);

	plan->cache_most = plan->cache_capacity;
	if (plan->mode == MEWS_MODE_SERVER)
		plan->cache_most = (uint32_t)most(plan->cache_capacity, least(twice, pool));
}

static void decide_cache(struct mews_plan *plan, const struct input *in)
{
	bool small = plan->mode == MEWS_MODE_WORKSTATION;
	size_t l2 = in->topology->l2_bytes == 0 ? ASSUMED_L2 : in->topology->l2_bytes;
	size_t l2_share = small ? l2 : (size_t)most(l2, CACHE_L2_LEAST);
	uint64_t share = least(l2_share / plan->stride, 4 * MEWS_MAGAZINE_MAX);
	uint64_t burst = least(CACHE_LEAST, CACHE_LEAST_BYTES / plan->stride), pool;
	const char *why = l2 < l2_share ? ", as if it were 2 MiB" : "";

	plan->cpus = (uint32_t)most(1, in->limits->affinity_cpus);
	pool = plan->max_blocks / 4 / plan->cpus;
	if (small) {
		share = least(share / 8, 32);
		why = ", an eighth of it and at most 32 in workstation mode";
	} else if (share < burst) {
		share = burst;
		why = ", raised for bursts of 64 blocks as far as 16 MiB go";
	}
	if (pool < share) {
		share = pool;
		why = ", bounded so that all CPUs' caches hold a quarter of the pool at most";
	}
	plan->magazine = (uint32_t)least(most(share / 4, 1), MEWS_MAGAZINE_MAX);
	if (plan->magazine >= 8)
		plan->magazine -= plan->magazine % 4;
	plan->cache_capacity = 4 * plan->magazine;
	decide_cache_most(plan, pool);
	because(plan, "cache of %u blocks a CPU = L2 %s%s / %s%s; four magazines of %u; in long bursts %u",
		plan->cache_capacity, mews_bytes(l2).text,
		in->topology->l2_bytes == 0 ? " (assumed)" : "", mews_bytes(plan->stride).text, why,
		plan->magazine, plan->cache_most);
}

/* The depot of a window and an L3, a new one where there is none yet. */
static uint32_t depot_for(struct mews_plan *plan, uint32_t *l3, uint32_t window, uint32_t domain)
{
	uint32_t depot = plan->depots;

	while (depot > 0 && (plan->depot_window[depot - 1] != window || l3[depot - 1] != domain))
		depot--;
	if (depot > 0)
		return depot - 1;
	plan->depot_window[plan->depots] = window;
	l3[plan->depots] = domain;
	return plan->depots++;
}

static uint32_t first_depot(const struct mews_plan *plan, uint32_t window)
{
	uint32_t depot = 0;

	while (depot < plan->depots && plan->depot_window[depot] != window)
		depot++;
	return depot;
}

/*
 * CPUs whose L3 is known first; then a depot for each window that has none, so that a CPU of
 * unknown L3 (one that is offline, say) finds one and makes none of its own.
 */
static void place_depots(struct mews_plan *plan, const struct mews_topology *t, uint32_t *l3)
{
	for (uint32_t i = 0; i < t->cpu_ids; i++)
		if (t->cpu[i].l3 != MEWS_NO_INDEX)
			plan->cpu_depot[i] = depot_for(plan, l3, plan->cpu_window[i], t->cpu[i].l3);
	for (uint32_t w = 0; w < plan->nodes; w++)
		if (first_depot(plan, w) == plan->depots)
			depot_for(plan, l3, w, MEWS_NO_INDEX);
	for (uint32_t i = 0; i < t->cpu_ids; i++)
		if (t->cpu[i].l3 == MEWS_NO_INDEX)
			plan->cpu_depot[i] = first_depot(plan, plan->cpu_window[i]);
}

/* The most possible CPUs that share a depot. */
static uint32_t largest_domain(const struct mews_plan *plan, const struct mews_topology *t,
			       uint32_t *cpus)
{
	uint32_t largest = 1;

	memset(cpus, 0, plan->depots * sizeof(*cpus));
	for (uint32_t i = 0; i < t->cpu_ids; i++)
		if (t->cpu[i].possible && ++cpus[plan->cpu_depot[i]] > largest)
			largest = cpus[plan->cpu_depot[i]];
	return largest;
}

static void decide_depot_size(struct mews_plan *plan, const struct input *in, uint32_t cpus)
{
	bool small = plan->mode == MEWS_MODE_WORKSTATION;
	size_t l3 = in->topology->l3_bytes == 0 ? ASSUMED_L3 : in->topology->l3_bytes;
	uint64_t share = l3 / 2 / plan->stride / plan->magazine;
	uint64_t pool = plan->max_blocks / 2 / plan->magazine / plan->depots;
	const char *why = "";

	if (share > (uint64_t)64 * cpus) {
		share = (uint64_t)64 * cpus;
		why = ", at most 64 for each of its CPUs";
	}
	share = small ? most(share / 8, 2) : most(share, 4);
	if (pool < share) {
		share = most(pool, 1);
		why = ", bounded so that all depots hold half of the pool at most";
	}
	plan->depot_magazines = (uint32_t)share;
	because(plan, "%u depot%s, one an L3 of a window; each keeps %u magazines = half of L3 "
		"%s%s / %s / %u blocks%s%s", plan->depots, plan->depots == 1 ? "" : "s",
		plan->depot_magazines, mews_bytes(l3).text,
		in->topology->l3_bytes == 0 ? " (assumed)" : "", mews_bytes(plan->stride).text,
		plan->magazine, small ? ", an eighth" : "", why);
}

static int decide_depots(struct mews_plan *plan, const struct input *in)
{
	const struct mews_topology *t = in->topology;
	size_t bound = (size_t)t->cpu_ids + plan->nodes;
	uint32_t *scratch = calloc(bound, sizeof(*scratch));

	plan->cpu_depot = calloc(t->cpu_ids, sizeof(*plan->cpu_depot));
	plan->depot_window = calloc(bound, sizeof(*plan->depot_window));
	if (scratch == NULL || plan->cpu_depot == NULL || plan->depot_window == NULL) {
		free(scratch);
		return -ENOMEM;
	}
	place_depots(plan, t, scratch);
	decide_depot_size(plan, in, largest_domain(plan, t, scratch));
	free(scratch);
	return 0;
}

static void decide_pages(struct mews_plan *plan, const struct input *in)
{
	static const char *const name[] = { "", "1 GiB", "2 MiB", "transparent huge", "base" };
	const struct mews_topology *t = in->topology;
	uint64_t initial = slabs_for(plan, in->request->initial_blocks) * plan->slab_bytes;
	const char *why = "asked for";

	plan->page_top = in->request->page_policy;
	if (plan->page_top == MEWS_PAGES_AUTO && plan->mode == MEWS_MODE_WORKSTATION) {
		plan->page_top = MEWS_PAGES_BASE;
		why = "workstation mode";
	} else if (plan->page_top == MEWS_PAGES_AUTO && t->huge_1g && initial >= GIB) {
		plan->page_top = MEWS_PAGES_1G;
		why = "the pool begins with 1 GiB or more";
	} else if (plan->page_top == MEWS_PAGES_AUTO) {
		plan->page_top = t->huge_2m ? MEWS_PAGES_2M : MEWS_PAGES_THP;
		why = t->huge_2m ? "the kernel knows them" : "the kernel knows no hugetlb pages";
	}
	because(plan, "pages: %s pages first (%s), then down the ladder%s", name[plan->page_top],
		why, plan->slab_bytes < 2 * MIB && plan->page_top != MEWS_PAGES_BASE ?
		"; a slab below 2 MiB gets base pages" : "");
}

/* Growth by less than a huge page would never get one: small slabs come several at a time. */
static int decide_growth(struct mews_plan *plan, const struct input *in, char *error)
{
	uint64_t each = blocks_in(plan, plan->extent_bytes); /* of an extent, or one less */
	uint64_t asked = least(in->request->growth_blocks, plan->max_blocks);
	uint64_t extents = most(1, asked / each + (asked % each != 0));

	if (plan->mode == MEWS_MODE_SERVER && plan->page_top != MEWS_PAGES_BASE)
		extents = most(extents, 2 * MIB / plan->extent_bytes);
	plan->growth_extents = (uint32_t)least(extents, (plan->max_blocks + each - 1) / each);
	plan->initial_blocks = in->request->initial_blocks;
	because(plan, "starts with %s blocks, grows by %s at least",
		mews_number(plan->initial_blocks).text,
		mews_bytes(plan->growth_extents * (uint64_t)plan->extent_bytes).text);
	if (plan->initial_blocks <= plan->max_blocks)
		return 0;
	refuse(error, "initial_blocks: more than memory or address space can hold here");
	return -ENOMEM;
}

static void decide_rest(struct mews_plan *plan, const struct input *in)
{
	uint64_t caches = (uint64_t)in->limits->affinity_cpus * plan->cache_most;
	uint64_t depots = (uint64_t)plan->depots * plan->depot_magazines * plan->magazine;
	uint64_t idle = least(caches + depots, plan->max_blocks);

	plan->oversize_limit = in->request->oversize_limit == 0 ? OVERSIZE_DEFAULT :
		in->request->oversize_limit;
	plan->node_policy = in->request->node_policy;
	plan->idle_bytes = idle * plan->stride;
	because(plan, "caches and depots keep %s at most when all is free: %s blocks",
		mews_bytes(plan->idle_bytes).text, mews_number(idle).text);
	because(plan, "oversize leases up to %s each: %s", mews_bytes(plan->oversize_limit).text,
		in->request->oversize_limit == 0 ? "the default" : "asked for");
	because(plan, "node policy %s", plan->node_policy == MEWS_NODE_STRICT ?
		"strict: a node without memory refuses" : "preferred: else the next nearest serves");
}

static int decide(struct mews_plan *plan, const struct input *in, char *error)
{
	int result;

	tell_machine(plan, in);
	decide_hard_limit(plan, in);
	decide_mode(plan, in);
	decide_block(plan, in);
	decide_slab(plan, in);
	result = decide_windows(plan, in);
	if (result != 0)
		return result;
	decide_max_blocks(plan, in);
	decide_cache(plan, in);
	result = decide_depots(plan, in);
	if (result != 0)
		return result;
	decide_pages(plan, in);
	decide_rest(plan, in);
	return decide_growth(plan, in, error);
}

int mews_plan_make(const struct mews_topology *topology, const struct mews_limits *limits,
		   const struct mews_plan_request *request, struct mews_plan *plan, char *error)
{
	struct input in = { .topology = topology, .limits = limits, .request = request };
	int result = check_request(request, error);

	memset(plan, 0, sizeof(*plan));
	if (result == 0)
		result = decide(plan, &in, error);
	if (result != 0)
		mews_plan_free(plan);
	return result;
}

void mews_plan_free(struct mews_plan *plan)
{
	free(plan->cpu_window);
	free(plan->cpu_depot);
	free(plan->depot_window);
	free(plan->window_node);
	free(plan->window_order);
	memset(plan, 0, sizeof(*plan));
}
