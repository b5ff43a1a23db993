/* SPDX-License-Identifier: MIT */
/*
 * JSON (mews-topo): a view as a document of docs/topo-json.md, by cJSON. Invariant: every member is
 * always there; null is what is unknown or unlimited, as that page says of each.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <mews/mews.h>
#include "json.h"
#include "words.h"

static void put_number(cJSON *to, const char *name, double value)
{
	cJSON_AddNumberToObject(to, name, value);
}

/* UINT64_MAX is unknown, or unlimited. Whole up to 2^53, which no size here passes. */
static void put_known(cJSON *to, const char *name, uint64_t value)
{
	if (value == UINT64_MAX)
		cJSON_AddNullToObject(to, name);
	else
		put_number(to, name, (double)value);
}

static void put_index(cJSON *to, const char *name, uint32_t index)
{
	put_known(to, name, index == MEWS_NO_INDEX ? UINT64_MAX : index);
}

static void put_word(cJSON *to, const char *name, const char *word)
{
	if (word[0] == 0)
		cJSON_AddNullToObject(to, name);
	else
		cJSON_AddStringToObject(to, name, word);
}

static void put_cpus(cJSON *root, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	cJSON *cpus = cJSON_AddArrayToObject(root, "cpus");

	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		const struct mews_topology_cpu *cpu = &t->cpu[i];
		cJSON *one;

		if (!cpu->possible)
			continue;
		one = cJSON_CreateObject();
		put_number(one, "id", i);
		cJSON_AddBoolToObject(one, "online", cpu->online);
		cJSON_AddBoolToObject(one, "allowed", cpu->allowed);
		put_index(one, "package", cpu->package);
		put_index(one, "node", cpu->node == MEWS_NO_INDEX ? MEWS_NO_INDEX :
			  t->node[cpu->node].os_index);
		put_index(one, "core", cpu->core);
		put_index(one, "l2", cpu->l2);
		put_index(one, "l3", cpu->l3);
		put_number(one, "home_node", view->plan.window_node[view->plan.cpu_window[i]]);
		put_number(one, "depot", view->plan.cpu_depot[i]);
		cJSON_AddItemToArray(cpus, one);
	}
}

static void put_huge(cJSON *to, const struct topo_huge *huge, uint32_t sizes, bool reserved)
{
	cJSON *list = cJSON_AddArrayToObject(to, "huge_pages");

	for (uint32_t i = 0; i < sizes; i++) {
		cJSON *one = cJSON_CreateObject();

		put_number(one, "bytes", (double)huge[i].size);
		put_known(one, "total", huge[i].total);
		put_known(one, "free", huge[i].free);
		if (reserved)
			put_known(one, "reserved", huge[i].reserved);
		put_known(one, "surplus", huge[i].surplus);
		cJSON_AddItemToArray(list, one);
	}
}

static void put_nodes(cJSON *root, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	cJSON *nodes = cJSON_AddArrayToObject(root, "nodes");

	for (uint32_t i = 0; i < t->node_count; i++) {
		const struct mews_topology_node *node = &t->node[i];
		cJSON *one = cJSON_CreateObject(), *distances;

		put_number(one, "id", node->os_index);
		cJSON_AddBoolToObject(one, "allowed", node->allowed);
		put_number(one, "cpus", node->cpus);
		put_number(one, "memory_bytes", (double)node->memory);
		put_known(one, "free_bytes", view->memory.node[i].free);
		put_huge(one, view->memory.node[i].huge, view->memory.huge_sizes, false);
		distances = cJSON_AddArrayToObject(one, "distances");
		for (uint32_t k = 0; k < t->node_count; k++)
			cJSON_AddItemToArray(distances, cJSON_CreateNumber(
				t->distance[(size_t)i * t->node_count + k]));
		cJSON_AddItemToArray(nodes, one);
	}
}

static void put_machine(cJSON *root, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	cJSON *machine = cJSON_AddObjectToObject(root, "machine");
	uint32_t online = 0;

	for (uint32_t i = 0; i < t->cpu_ids; i++)
		online += t->cpu[i].online;
	put_number(machine, "cpu_ids", t->cpu_ids);
	put_number(machine, "cpus_possible", t->cpus);
	put_number(machine, "cpus_online", online);
	put_number(machine, "cpus_allowed", t->cpus_allowed);
	put_number(machine, "packages", t->packages);
	put_number(machine, "cores", t->cores);
	put_number(machine, "l2_domains", t->l2_domains);
	put_number(machine, "l3_domains", t->l3_domains);
	put_known(machine, "l1_bytes", t->l1_bytes ? t->l1_bytes : UINT64_MAX);
	put_known(machine, "l2_bytes", t->l2_bytes ? t->l2_bytes : UINT64_MAX);
	put_known(machine, "l3_bytes", t->l3_bytes ? t->l3_bytes : UINT64_MAX);
	put_number(machine, "page_bytes", (double)t->page_size);
	put_number(machine, "memory_bytes", (double)t->memory);
	put_known(machine, "available_bytes", view->memory.available);
	put_huge(machine, view->memory.huge, view->memory.huge_sizes, true);
	put_word(machine, "kernel", view->memory.kernel);
	put_word(machine, "libc", view->memory.libc);
	put_word(machine, "cpu_model", view->memory.cpu_model);
	put_word(machine, "thp", view->memory.thp);
	put_word(machine, "thp_defrag", view->memory.thp_defrag);
	put_word(machine, "thp_shmem", view->memory.thp_shmem);
}

static void put_limits(cJSON *root, const struct topo_view *view)
{
	const struct mews_limits *l = &view->limits;
	cJSON *limits;

	if (!view->limits_known) {
		cJSON_AddNullToObject(root, "limits");
		return;
	}
	limits = cJSON_AddObjectToObject(root, "limits");
	cJSON_AddStringToObject(limits, "of", view->view_of);
	put_number(limits, "allowed_cpus", l->affinity_cpus);
	cJSON_AddStringToObject(limits, "allowed_source", view->allowed_source);
	if (l->quota_cpus > 0)
		put_number(limits, "quota_cpus", l->quota_cpus);
	else
		cJSON_AddNullToObject(limits, "quota_cpus");
	cJSON_AddStringToObject(limits, "quota_source", l->quota_source);
	put_number(limits, "usable_cpus", l->usable_cpus);
	cJSON_AddStringToObject(limits, "usable_source", l->usable_source);
	put_known(limits, "memory_bytes", l->memory);
	cJSON_AddStringToObject(limits, "memory_source", l->memory_source);
	put_known(limits, "memory_high_bytes", l->memory_high);
	put_known(limits, "address_space_bytes", l->address_space);
	put_number(limits, "cgroup_version", l->cgroup_version);
}

static void put_sequences(cJSON *root, const struct topo_view *view)
{
	const struct topo_sequences *s = &view->sequences;
	cJSON *sequences, *commands;

	if (!s->known) {
		cJSON_AddNullToObject(root, "sequences");
		return;
	}
	sequences = cJSON_AddObjectToObject(root, "sequences");
	put_word(sequences, "registered_by", s->glibc && s->cpu_id >= 0 ? "glibc" : "");
	put_number(sequences, "feature_size", s->feature_size);
	cJSON_AddBoolToObject(sequences, "node_id", s->node_id);
	cJSON_AddBoolToObject(sequences, "mm_cid", s->mm_cid);
	commands = cJSON_AddArrayToObject(sequences, "membarrier");
	for (int bit = 0; s->commands > 0 && topo_membarrier_name(bit) != NULL; bit++)
		if (s->commands & 1 << bit)
			cJSON_AddItemToArray(commands,
					     cJSON_CreateString(topo_membarrier_name(bit)));
	cJSON_AddStringToObject(sequences, "path", s->usable ? "rseq" : "fallback");
	cJSON_AddStringToObject(sequences, "reason", s->reason);
}

static void put_sizes(cJSON *plan, const struct mews_plan *p)
{
	put_number(plan, "block_bytes", (double)p->block_size);
	put_number(plan, "alignment", (double)p->alignment);
	put_number(plan, "stride", (double)p->stride);
	put_number(plan, "cell_blocks", p->cell_blocks);
	put_number(plan, "cell_bytes", (double)p->cell_bytes);
	put_number(plan, "slab_bytes", (double)p->slab_bytes);
	put_number(plan, "slab_blocks", p->slab_blocks);
	put_number(plan, "extent_bytes", (double)p->extent_bytes);
	put_number(plan, "max_blocks", (double)p->max_blocks);
	put_number(plan, "initial_blocks", (double)p->initial_blocks);
	put_number(plan, "growth_extents", p->growth_extents);
	put_number(plan, "windows", p->nodes);
	put_number(plan, "window_bytes", (double)p->window_bytes);
	put_number(plan, "cache_blocks", p->cache_capacity);
	put_number(plan, "cache_most_blocks", p->cache_most);
	put_number(plan, "magazine_blocks", p->magazine);
	put_number(plan, "depots", p->depots);
	put_number(plan, "depot_magazines", p->depot_magazines);
	put_number(plan, "hard_limit_bytes", (double)p->hard_limit);
	put_number(plan, "oversize_limit_bytes", (double)p->oversize_limit);
	put_number(plan, "idle_bytes", (double)p->idle_bytes);
}

static void put_plan(cJSON *root, const struct topo_view *view)
{
	const struct mews_plan *p = &view->plan;
	cJSON *plan = cJSON_AddObjectToObject(root, "plan"), *reasons;

	cJSON_AddStringToObject(plan, "mode", topo_mode_name(p->mode));
	cJSON_AddStringToObject(plan, "first_pages", topo_pages_name(p->page_top));
	cJSON_AddStringToObject(plan, "node_policy", topo_policy_name(p->node_policy));
	put_sizes(plan, p);
	reasons = cJSON_AddArrayToObject(plan, "reasons");
	for (uint32_t i = 0; i < p->reasons; i++)
		cJSON_AddItemToArray(reasons, cJSON_CreateString(p->reason[i]));
}

static void put_findings(cJSON *root, const struct topo_view *view)
{
	cJSON *list = cJSON_AddArrayToObject(root, "findings");

	for (size_t i = 0; i < view->findings; i++) {
		cJSON *one = cJSON_CreateObject();

		cJSON_AddStringToObject(one, "severity", view->finding[i].severity == TOPO_WARNING ?
					"warning" : "note");
		cJSON_AddStringToObject(one, "code", view->finding[i].code);
		cJSON_AddStringToObject(one, "text", view->finding[i].text);
		cJSON_AddItemToArray(list, one);
	}
}

cJSON *topo_json_make(const struct topo_view *view)
{
	cJSON *root = cJSON_CreateObject();

	cJSON_AddStringToObject(root, "schema", TOPO_SCHEMA);
	put_number(root, "schema_version", TOPO_SCHEMA_VERSION);
	cJSON_AddStringToObject(root, "mews_version", mews_version());
	cJSON_AddStringToObject(root, "source", view->source);
	cJSON_AddBoolToObject(root, "this_machine", view->topology->this_machine);
	put_machine(root, view);
	put_cpus(root, view);
	put_nodes(root, view);
	put_limits(root, view);
	put_sequences(root, view);
	put_plan(root, view);
	put_findings(root, view);
	return root;
}

void topo_write_json(const struct topo_view *view, FILE *out)
{
	cJSON *root = topo_json_make(view);
	char *text = cJSON_Print(root);

	fprintf(out, "%s\n", text != NULL ? text : "");
	free(text);
	cJSON_Delete(root);
}
