/* SPDX-License-Identifier: MIT */
/*
 * Creation (layer 5): from a configuration to a pool: check, plan, choose the path, lay out the one
 * region that everything but the blocks lies in. Invariant: what fails leaves nothing behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../numa/fence.h"
#include "cache.h"
#include "environment.h"
#include "keeper.h"
#include "ledger.h"
#include "limit.h"
#include "owned.h"
#include "owner.h"
#include "pressure.h"
#include "process.h"
#include "sites.h"

/* Milliseconds: what a server does not use for two seconds is somebody else's; see architecture.md. */
#define DECAY_SERVER 1500
#define DECAY_WORKSTATION 250

/* Where the tables lie behind the caches, in bytes from the region's start; the last is the end. */
struct layout {
	size_t slabs, depots, oversize, sides, link, waiters, leased, dropped, plan, words, end;
};

static size_t round_page(size_t bytes)
{
	return (bytes + 4095) & ~(size_t)4095;
}

static size_t plan_bytes(const struct mews_plan *plan)
{
	return sizeof(uint32_t) * ((size_t)plan->cpu_ids * 2 + plan->depots + plan->nodes +
				   (size_t)plan->nodes * plan->nodes);
}

/* Where a lease must get blocks of its own node, each node has waiters of its own. */
static uint32_t waiter_queues(const struct mews_plan *plan)
{
	return plan->node_policy == MEWS_NODE_STRICT ? plan->nodes : 1;
}

static struct layout lay_out(const struct mews_plan *plan, uint32_t caches, bool checked, bool owners)
{
	size_t numbers = mews_plan_numbers(plan);
	struct layout l;

	l.slabs = MEWS_CONTROL_BYTES + (size_t)(MEWS_DUMMIES + caches) * MEWS_CACHE_STRIDE;
	l.depots = l.slabs + round_page(mews_slabs_table_bytes(plan));
	l.oversize = l.depots + round_page(mews_depots_table_bytes(plan));
	l.sides = l.oversize + round_page(MEWS_OVERSIZE_ENTRIES * sizeof(struct mews_oversize_entry));
	l.link = l.sides + round_page(plan->cpu_ids * sizeof(struct mews_side));
	l.waiters = l.link + round_page(numbers * sizeof(mews_word));
	l.leased = l.waiters + round_page(mews_waiters_bytes(waiter_queues(plan)));
	l.dropped = l.leased + (checked ? round_page(numbers / 8) : 0);
	l.plan = l.dropped + round_page(numbers / 8);
	l.words = l.plan + round_page(plan_bytes(plan));
	l.end = l.words + (owners ? round_page(mews_owned_table_bytes(plan)) : 0);
	return l;
}

/* Reads as much of the caller's struct as it has; members that it does not know are zero. */
static int read_config(const struct mews_pool_config *from, struct mews_pool_config *config)
{
	static const struct mews_pool_config zero;
	const char *bytes = (const char *)from;
	size_t i;

	*config = zero;
	if (!from)
		return 0;
	if (from->size < offsetof(struct mews_pool_config, block_size) || from->size > 4096)
		return -EINVAL;
	for (i = sizeof(*config); i < from->size; i++)
		if (bytes[i])
			return -EINVAL;
	memcpy(config, from, from->size < sizeof(*config) ? from->size : sizeof(*config));
	return (unsigned)config->checks > MEWS_CHECKS_FULL || config->owners > 1 ||
	       (unsigned)config->keeper > MEWS_KEEPER_CALLER ? -EINVAL : 0;
}

static int make_plan(const struct mews_pool_config *config,
		     const struct mews_environment *environment, struct mews_plan *plan)
{
	struct mews_plan_request request = {
		.block_size = config->block_size,
		.alignment = config->alignment,
		.initial_blocks = config->initial_blocks,
		.max_blocks = config->max_blocks,
		.growth_blocks = config->growth_blocks,
		.oversize_limit = config->oversize_limit,
		.mode = config->mode,
		.node_policy = config->node_policy,
		.page_policy = config->page_policy,
	};
	const struct mews_topology *topology;
	struct mews_limits limits;
	int error = mews_process_topology(&topology);

	if (error)
		return error;
	mews_environment_apply(environment, &request);
	mews_limits_read("", 0, &limits);
	error = mews_plan_make(topology, &limits, &request, plan, NULL);
	mews_process_topology_release();
	return error;
}

static enum mews_path choose_path(enum mews_checks checks, char *reason, size_t length)
{
	bool tools = mews_asan_active() || mews_valgrind_active();

	if (checks == MEWS_CHECKS_FULL || (checks == MEWS_CHECKS_AUTO && tools)) {
		snprintf(reason, length, "every lease and return is checked: %s",
			 checks == MEWS_CHECKS_FULL ? "the configuration asks for it" :
			 mews_asan_active() ? "built with AddressSanitizer" : "valgrind runs us");
		return MEWS_PATH_CHECKED;
	}
	return mews_fence_available(reason, length) ? MEWS_PATH_RSEQ : MEWS_PATH_FALLBACK;
}

/* Address space for the region, with a cache for each id a kernel may have, or at least its own. */
static char *map_region(const struct mews_plan *plan, bool checked, bool owners,
			struct layout *layout)
{
	uint32_t caches[] = { MEWS_CPU_ID_LIMIT, plan->cpu_ids }, i;
	char *region;

	for (i = plan->cpu_ids >= MEWS_CPU_ID_LIMIT; i < 2; i++) {
		*layout = lay_out(plan, caches[i], checked, owners);
		region = mews_place_reserve(layout->end, MEWS_CACHE_STRIDE);
		if (region && !mews_place_table(region, layout->end))
			return region;
		if (region)
			mews_place_release(region, layout->end);
	}
	return NULL;
}

static uint32_t *move_array(uint32_t **array, size_t count, uint32_t *to)
{
	memcpy(to, *array, count * sizeof(*to));
	*array = to;
	return to + count;
}

/* The plan's arrays move into the region, so that the pool's end needs no free(). */
static void adopt_plan(struct mews_control *control, struct mews_plan *plan, char *region,
		       const struct layout *layout)
{
	uint32_t *at = (uint32_t *)(region + layout->plan);
	struct mews_plan *own = &control->plan;

	*own = *plan;
	at = move_array(&own->cpu_window, plan->cpu_ids, at);
	at = move_array(&own->cpu_depot, plan->cpu_ids, at);
	at = move_array(&own->depot_window, plan->depots, at);
	at = move_array(&own->window_node, plan->nodes, at);
	move_array(&own->window_order, (size_t)plan->nodes * plan->nodes, at);
	mews_plan_free(plan);
}

static void wire(struct mews_control *control, char *region, const struct layout *layout)
{
	const struct mews_plan *plan = &control->plan;

	control->region = region;
	control->region_length = layout->end;
	control->pool = (struct mews_pool *)(region + MEWS_CONTROL_BYTES +
					     MEWS_DUMMIES * MEWS_CACHE_STRIDE + MEWS_CACHE_HEADER_AT);
	mews_depots_init(&control->depots, plan, region + layout->depots);
	mews_oversize_init(&control->oversize, region + layout->oversize);
	control->sides = (struct mews_sides) {
		.count = plan->cpu_ids,
		.side = (struct mews_side *)(region + layout->sides),
		.link = (mews_word *)(region + layout->link),
		.slabs = &control->slabs,
	};
	mews_waiters_init(&control->waiting, waiter_queues(plan), region + layout->waiters);
	control->leased = (mews_word *)(region + layout->leased);
	control->dropped = (mews_word *)(region + layout->dropped);
	atomic_store(&control->holders, MEWS_HOLDERS_BIAS);
}

/* config: as the caller gave it; first_maximum: blocks of the first plan made from it. */
static void tell_degraded(struct mews_control *control, const struct mews_pool_config *config,
			  uint64_t first_maximum)
{
	uint64_t huge = 0;
	uint32_t i;

	if (control->path == MEWS_PATH_FALLBACK)
		mews_report(control, MEWS_REPORT_DEGRADED, NULL, control->path_reason);
	if (!config->max_blocks && control->plan.max_blocks < first_maximum)
		mews_report(control, MEWS_REPORT_DEGRADED, NULL,
			    "address space was refused: the default maximum is lowered");
	for (i = 0; i < control->slabs.windows; i++)
		huge += control->slabs.window[i].backed_1g + control->slabs.window[i].backed_2m;
	if ((config->page_policy == MEWS_PAGES_1G || config->page_policy == MEWS_PAGES_2M) &&
	    control->slabs.claimed && !huge)
		mews_report(control, MEWS_REPORT_DEGRADED, NULL,
			    "no hugetlb page was to be had; transparent huge or base pages serve");
}

static int build(const struct mews_pool_config *config, struct mews_plan *plan,
		 struct mews_control **out)
{
	char reason[sizeof(((struct mews_control *)0)->path_reason)];
	enum mews_path path = choose_path(config->checks, reason, sizeof(reason));
	struct mews_control *control;
	struct layout layout;
	char *region;
	int error;

	region = mews_plan_numbers(plan) < MEWS_NONE ?
		 map_region(plan, path == MEWS_PATH_CHECKED, config->owners, &layout) : NULL;
	if (!region) {
		mews_plan_free(plan);
		return -ENOMEM;
	}
	control = (struct mews_control *)region;
	adopt_plan(control, plan, region, &layout);
	wire(control, region, &layout);
	control->path = path;
	control->on_report = config->on_report;
	control->context = config->context;
	control->keeping.by_caller = config->keeper == MEWS_KEEPER_CALLER;
	control->keeping.decay_ms = config->decay_ms ? config->decay_ms :
		control->plan.mode == MEWS_MODE_SERVER ? DECAY_SERVER : DECAY_WORKSTATION;
	snprintf(control->name, sizeof(control->name), "%s", config->name ? config->name : "mews");
	memcpy(control->path_reason, reason, sizeof(reason));
	mews_limit_default(control->plan.hard_limit);
	error = mews_slabs_init(&control->slabs, &control->plan, region + layout.slabs);
	if (!error) {
		if (config->owners)
			error = mews_owned_init(control, region + layout.words);
		if (!error)
			error = mews_slabs_reserve(&control->slabs, control->plan.initial_blocks);
		if (!error && config->owners)
			error = mews_owner_pool_enter(control);
		if (error)
			mews_slabs_fini(&control->slabs);
	}
	if (error) {
		mews_place_release(region, layout.end);
		return error;
	}
	mews_valgrind_create(control->pool);
	*out = control;
	return 0;
}

/*
 * Plans and builds. A caller who sets no maximum gets half as much, and half again, where address
 * space is refused (valgrind, RLIMIT_AS, strict overcommit): down to 1/1024 of the first plan.
 */
static int plan_and_build(struct mews_pool_config config,
			  const struct mews_environment *environment,
			  struct mews_control **control, uint64_t *first_maximum)
{
	bool may_shrink = config.max_blocks == 0;
	struct mews_plan plan;
	int error;

	for (*first_maximum = 0;; config.max_blocks /= 2) {
		error = make_plan(&config, environment, &plan);
		if (error)
			return error;
		config.max_blocks = plan.max_blocks;
		*first_maximum = *first_maximum ? *first_maximum : plan.max_blocks;
		error = build(&config, &plan, control);
		if (error != -ENOMEM || !may_shrink || config.max_blocks / 2 == 0 ||
		    config.max_blocks / 2 < *first_maximum / 1024 ||
		    config.max_blocks / 2 < config.initial_blocks)
			return error;
	}
}

/* What the first pool is told holds: the service manager has said it before the program began. */
static void watch_pressure(const struct mews_environment *environment)
{
	static bool named;

	mews_process_lock();
	if (!named)
		mews_pressure_watch(environment->watch, environment->trigger);
	named = true;
	mews_process_unlock();
}

static void tell_environment(struct mews_control *control,
			     const struct mews_environment *environment)
{
	int i;

	for (i = 0; i < MEWS_ENVIRONMENT_VARIABLES; i++)
		if (environment->bad[i])
			mews_report(control, MEWS_REPORT_DEGRADED, NULL, environment->bad[i]);
}

static int create(const struct mews_pool_config *given, struct mews_pool **pool)
{
	const struct mews_topology *topology;
	struct mews_pool_config config;
	struct mews_environment environment;
	struct mews_control *control;
	uint64_t first_maximum;
	int error;

	if (!pool)
		return -EINVAL;
	*pool = NULL;
	error = read_config(given, &config);
	if (!error) /* held while the pool lives, so that the next one need not load it again */
		error = mews_process_topology(&topology);
	if (error)
		return error;
	mews_environment_read(&environment);
	watch_pressure(&environment);
	config.decay_ms = config.decay_ms ? config.decay_ms : environment.decay_ms;
	error = plan_and_build(config, &environment, &control, &first_maximum);
	if (error) {
		mews_process_topology_release();
		return error;
	}
	mews_process_enter(control);
	if (config.checks == MEWS_CHECKS_FULL && mews_sites_record_callers(control))
		mews_report(control, MEWS_REPORT_DEGRADED, NULL,
			    "no memory for the sites of leases: they are not recorded");
	tell_degraded(control, &config, first_maximum);
	tell_environment(control, &environment);
	if (mews_keeper_ensure() && !control->keeping.by_caller)
		mews_report(control, MEWS_REPORT_DEGRADED, NULL,
			    "the keeper's thread was refused: memory goes back by hand only");
	*pool = control->pool;
	return 0;
}

/* hwloc reads files, which are cancellation points, under a mutex. */
MEWS_API int mews_pool_create(const struct mews_pool_config *config, struct mews_pool **pool)
{
	int error, state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	error = create(config, pool);
	pthread_setcancelstate(state, NULL);
	return error;
}

MEWS_API int mews_pool_create_layout(const struct mews_pool_config *config,
				     struct mews_pool **pool, int layout)
{
	if (layout == MEWS_INLINE_LAYOUT)
		return mews_pool_create(config, pool);
	if (pool)
		*pool = NULL;
	return -EPROTO;
}
