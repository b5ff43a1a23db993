/* SPDX-License-Identifier: MIT */
/*
 * Statistics (layer 6): walks the tiers and adds up; nothing is counted twice and the rest is
 * leased. Called by users only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "cache.h"
#include "keeper.h"

#define STRING(x) #x
#define VERSION(major, minor, patch) STRING(major) "." STRING(minor) "." STRING(patch)

static uint64_t relaxed(const mews_word *word)
{
	/* Relaxed: a snapshot of figures that may all be changing. */
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint64_t sum_event(const struct mews_control *control, enum mews_event event)
{
	uint64_t sum = 0;
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++)
		sum += relaxed(&control->sides.side[cpu].event[event]);
	return sum;
}

static void count_window(const struct mews_control *control, uint32_t window,
			 struct mews_node_stats *node)
{
	const struct mews_window *w = &control->slabs.window[window];
	uint32_t i;

	node->node = control->plan.window_node[window];
	node->slab = mews_slabs_free(&control->slabs, window);
	for (i = 0; i < control->depots.count; i++)
		if (control->plan.depot_window[i] == window)
			node->depot += mews_depot_blocks(&control->depots, i);
	node->carved = relaxed(&w->carved);
	node->backed_1g = relaxed(&w->backed_1g);
	node->backed_2m = relaxed(&w->backed_2m);
	node->backed_thp = relaxed(&w->backed_thp);
	node->backed_base = relaxed(&w->backed_base);
	node->unbound = relaxed(&w->unbound);
}

/* Blocks of a side stack by window; where it changes meanwhile, a moment's value. */
static void count_stack(const struct mews_control *control, const struct mews_tagstack *stack,
			struct mews_node_stats *node)
{
	const struct mews_slabs *slabs = &control->slabs;
	const mews_word *link = control->sides.link;
	uint64_t head = atomic_load(&stack->head);
	uint32_t depth = mews_tagstack_depth_of(link, head), top;

	for (top = mews_tagstack_top(head); top != MEWS_NONE && depth--;
	     top = (uint32_t)mews_tagstack_link(link, top) - 1)
		if (top >> slabs->window_bits_shift < slabs->windows)
			node[top >> slabs->window_bits_shift].side++;
}

static void count_cpus(const struct mews_control *control, struct mews_node_stats *node)
{
	const struct mews_side *side;
	uint32_t cpu;

	for (cpu = 0; cpu < control->sides.count; cpu++) {
		side = &control->sides.side[cpu];
		node[control->plan.cpu_window[cpu]].cached += mews_cache_count(control, cpu);
		count_stack(control, &side->local, node);
		count_stack(control, &side->away, node);
	}
}

/* Takes up to excess off a tier; returns how much. */
static uint64_t cut(uint64_t *tier, uint64_t excess)
{
	uint64_t off = *tier < excess ? *tier : excess;

	*tier -= off;
	return off;
}

static void add_up(struct mews_stats *stats)
{
	struct mews_node_stats *n;
	uint64_t found, excess;

	for (n = stats->node; n < stats->node + stats->nodes; n++) {
		found = n->cached + n->side + n->depot + n->slab;
		/* Blocks that moved between two looks may be seen twice: then nothing is out. */
		excess = found > n->carved ? found - n->carved : 0;
		n->leased = n->carved + excess - found;
		excess -= cut(&n->slab, excess);
		excess -= cut(&n->depot, excess);
		excess -= cut(&n->side, excess);
		cut(&n->cached, excess);
		stats->carved += n->carved;
		stats->leased += n->leased;
		stats->cached += n->cached;
		stats->side += n->side;
		stats->depot += n->depot;
		stats->slab += n->slab;
		stats->backed_bytes += n->backed_1g + n->backed_2m + n->backed_thp + n->backed_base;
	}
}

static void read_events(const struct mews_control *control, struct mews_stats *stats)
{
	stats->lease_misses = sum_event(control, MEWS_EVENT_LEASE_MISSES);
	stats->depot_hits = sum_event(control, MEWS_EVENT_DEPOT_HITS);
	stats->slab_hits = sum_event(control, MEWS_EVENT_SLAB_HITS);
	stats->growths = sum_event(control, MEWS_EVENT_GROWTHS);
	stats->remote_node = sum_event(control, MEWS_EVENT_REMOTE_NODE);
	stats->reclaims = sum_event(control, MEWS_EVENT_RECLAIMS);
	stats->return_misses = sum_event(control, MEWS_EVENT_RETURN_MISSES);
	stats->foreign_returns = sum_event(control, MEWS_EVENT_FOREIGN_RETURNS);
	stats->failures = sum_event(control, MEWS_EVENT_FAILURES);
	stats->owner_returns = sum_event(control, MEWS_EVENT_OWNER_RETURNS);
	stats->double_returns = relaxed(&control->double_returns);
	stats->foreign_pointers = relaxed(&control->foreign_pointers);
	stats->interior_pointers = relaxed(&control->interior_pointers);
}

static void read_waiting(const struct mews_waiting *waiting, struct mews_stats *stats)
{
	stats->waiting = atomic_load_explicit(&waiting->now, memory_order_relaxed);
	stats->waits = relaxed(&waiting->waits);
	stats->wait_timeouts = relaxed(&waiting->timeouts);
	stats->handovers = relaxed(&waiting->handovers);
	stats->wait_ns = relaxed(&waiting->nanoseconds);
	stats->wait_longest_ns = relaxed(&waiting->longest);
}

static void read_keeping(const struct mews_control *control, struct mews_stats *stats)
{
	const struct mews_keeping *keeping = &control->keeping;
	uint32_t i;

	stats->reclaimed_idle = relaxed(&keeping->idle);
	stats->reclaimed_orphaned = relaxed(&keeping->orphaned);
	stats->reclaimed_depot = relaxed(&keeping->depot);
	stats->reclaimed_by_hand = relaxed(&keeping->by_hand);
	stats->reclaimed_for_others = relaxed(&keeping->for_others);
	stats->trimmed_slabs = relaxed(&keeping->slab_bytes);
	stats->trimmed_parts = relaxed(&keeping->part_bytes);
	stats->trimmed_by_hand = relaxed(&keeping->by_hand_bytes);
	for (i = 0; i < control->slabs.windows; i++)
		stats->bare += relaxed(&control->slabs.window[i].bare_blocks);
	stats->keeper_steps = relaxed(&keeping->steps);
	stats->keeper_longest_ns = relaxed(&keeping->longest_ns);
	stats->decay_ms = keeping->decay_ms;
	stats->keeper_thread = !keeping->by_caller && keeping->decay_ms != MEWS_DECAY_NEVER &&
		mews_keeper_runs();
}

static void read_plan(const struct mews_control *control, struct mews_stats *stats)
{
	const struct mews_plan *plan = &control->plan;

	snprintf(stats->name, sizeof(stats->name), "%s", control->name);
	snprintf(stats->path_reason, sizeof(stats->path_reason), "%s", control->path_reason);
	stats->block_size = plan->block_size;
	stats->stride = plan->stride;
	stats->max_blocks = relaxed(&control->slabs.max_blocks);
	stats->cache_capacity = plan->cache_capacity;
	stats->cache_most = plan->cache_most;
	stats->magazine = plan->magazine;
	stats->mode = plan->mode;
	stats->path = control->path;
	stats->nodes = plan->nodes;
	stats->oversize_leased = relaxed(&control->oversize.count);
	stats->oversize_bytes = relaxed(&control->oversize.bytes);
	stats->metadata_bytes = mews_place_resident(control->region, control->region_length);
	if (mews_samples_one_in(&control->samples)) /* else they have no memory behind them */
		stats->metadata_bytes += mews_place_resident(control->samples.record,
							     control->samples.length);
}

MEWS_API int mews_pool_stats(struct mews_pool *pool, struct mews_stats *stats)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	struct mews_stats full = { 0 };
	bool held;
	uint32_t i;

	if (!pool || !stats || stats->size < sizeof(stats->size) || stats->size > 1 << 20)
		return -EINVAL;
	mews_keeper_ensure(); /* as in every control call: the child of a fork has none yet */
	read_plan(control, &full);
	held = mews_keeper_hold(control);
	for (i = 0; i < full.nodes; i++)
		count_window(control, i, &full.node[i]);
	count_cpus(control, full.node);
	if (held)
		mews_keeper_resume(control);
	add_up(&full);
	read_events(control, &full);
	read_waiting(&control->waiting, &full);
	full.hard_limit = mews_budget_limit(&mews_process_budget);
	full.hard_used = relaxed(&mews_process_budget.used);
	read_keeping(control, &full);
	full.size = stats->size < sizeof(full) ? stats->size : sizeof(full);
	memcpy(stats, &full, full.size);
	return 0;
}

struct text {
	char *buffer;
	size_t length, at;      /* at: of the whole text, whether it fits or not */
};

static void add_line(struct text *text, const char *head, const char *line)
{
	bool room = text->at < text->length;
	int n = snprintf(room ? text->buffer + text->at : NULL, room ? text->length - text->at : 0,
			 "%s%s\n", head, line);

	text->at += (size_t)(n > 0 ? n : 0);
}

MEWS_API int mews_pool_describe(struct mews_pool *pool, char *buffer, size_t length)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	struct text text = { buffer, length, 0 };
	uint32_t i, one_in;
	char sampled[80];

	if (!pool || (!buffer && length))
		return -EINVAL;
	add_line(&text, "path: ", control->path_reason);
	one_in = mews_samples_one_in(&control->samples);
	snprintf(sampled, sizeof(sampled), "one in %u sampled, so that none is a hit", one_in);
	if (one_in)
		add_line(&text, "leases: ", sampled);
	for (i = 0; i < control->plan.reasons; i++)
		add_line(&text, "", control->plan.reason[i]);
	return (int)text.at;
}

MEWS_API const char *mews_version(void)
{
	return VERSION(MEWS_VERSION_MAJOR, MEWS_VERSION_MINOR, MEWS_VERSION_PATCH);
}
