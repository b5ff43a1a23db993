/* SPDX-License-Identifier: MIT */
/*
 * Tree (mews-topo): from the flat list of CPUs to boxes in boxes, and folding of equal neighbours.
 * Called by text.c and svg.c. Invariant: each online CPU is in exactly one box of kind CPU.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include "tree.h"

#define LEVELS 5

/* The CPU's number at each level of boxes, in the order of the levels, and its id. */
struct entry {
	uint32_t key[LEVELS];
	uint32_t id;
};

struct builder {
	const struct topo_view *view;
	enum topo_kind level[LEVELS];
	bool shown[LEVELS];
};

static uint32_t key_of(const struct mews_topology_cpu *cpu, enum topo_kind kind)
{
	switch (kind) {
	case KIND_PACKAGE:
		return cpu->package;
	case KIND_NODE:
		return cpu->node;
	case KIND_L3:
		return cpu->l3;
	case KIND_L2:
		return cpu->l2;
	case KIND_CORE:
	case KIND_CPU:
	case KIND_MACHINE:
		break;
	}
	return cpu->core;
}

static int by_keys(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	for (int i = 0; i < LEVELS; i++)
		if (x->key[i] != y->key[i])
			return x->key[i] > y->key[i] ? 1 : -1;
	return (x->id > y->id) - (x->id < y->id);
}

/* Whether some node has CPUs of several packages: then packages are inside of nodes. */
static bool node_spans_packages(const struct mews_topology *t)
{
	for (uint32_t i = 0; i < t->cpu_ids; i++)
		for (uint32_t k = i + 1; t->cpu[i].online && k < t->cpu_ids; k++)
			if (t->cpu[k].online && t->cpu[k].node == t->cpu[i].node &&
			    t->cpu[k].package != t->cpu[i].package)
				return true;
	return false;
}

/* An L2 of its own for each core needs no box. */
static void choose_levels(struct builder *b)
{
	const struct mews_topology *t = b->view->topology;
	bool inside = node_spans_packages(t);

	b->level[0] = inside ? KIND_NODE : KIND_PACKAGE;
	b->level[1] = inside ? KIND_PACKAGE : KIND_NODE;
	b->level[2] = KIND_L3;
	b->level[3] = KIND_L2;
	b->level[4] = KIND_CORE;
	for (int i = 0; i < LEVELS; i++)
		b->shown[i] = true;
	b->shown[2] = t->l3_domains > 0;
	b->shown[3] = t->l2_domains > 0 && t->l2_domains < t->cores;
}

static void add_memory(const struct topo_view *view, struct topo_box *box, uint32_t index)
{
	box->bytes = box->bytes_most = view->topology->node[index].memory;
	box->free = view->memory.node[index].free;
	box->forbidden = !view->topology->node[index].allowed;
}

static void name_box(const struct builder *b, struct topo_box *box, const struct entry *first,
		     int level)
{
	const struct mews_topology *t = b->view->topology;
	uint32_t key = first->key[level];

	box->kind = b->level[level];
	box->alike = 1;
	if (box->kind == KIND_NODE && key != MEWS_NO_INDEX) {
		add_memory(b->view, box, key);
		key = t->node[key].os_index;
	}
	if (key != MEWS_NO_INDEX)
		topo_ids_add(&box->ids, key);
}

static void add_cpus(const struct builder *b, struct topo_box *core, const struct entry *entry,
		     size_t count)
{
	core->child = topo_alloc(count, sizeof(*core->child));
	core->children = count;
	for (size_t i = 0; i < count; i++) {
		core->child[i].kind = KIND_CPU;
		core->child[i].alike = 1;
		core->child[i].allowed = b->view->topology->cpu[entry[i].id].allowed;
		topo_ids_add(&core->child[i].ids, entry[i].id);
	}
}

/* The entries from the first on that have its key. */
static size_t run_of(const struct entry *entry, size_t count, int level)
{
	size_t run = 1;

	while (run < count && entry[run].key[level] == entry[0].key[level])
		run++;
	return run;
}

static void add_children(const struct builder *b, struct topo_box *box, const struct entry *entry,
			 size_t count, int level)
{
	while (level < LEVELS && !b->shown[level])
		level++;
	if (level == LEVELS) {
		add_cpus(b, box, entry, count);
		return;
	}
	box->child = topo_alloc(count + b->view->topology->node_count, sizeof(*box->child));
	while (count > 0) {
		size_t run = run_of(entry, count, level);
		struct topo_box *child = &box->child[box->children++];

		name_box(b, child, entry, level);
		add_children(b, child, entry, run, level + 1);
		entry += run;
		count -= run;
	}
}

/* Nodes of memory only stand beside the packages. */
static void add_memory_nodes(struct topo_box *root, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;

	for (uint32_t i = 0; i < t->node_count; i++) {
		struct topo_box *box = &root->child[root->children];

		if (t->node[i].cpus != 0)
			continue;
		box->kind = KIND_NODE;
		box->alike = 1;
		topo_ids_add(&box->ids, t->node[i].os_index);
		add_memory(view, box, i);
		root->children++;
	}
}

struct topo_box *topo_tree_make(const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	struct builder b = { .view = view };
	struct topo_box *root = topo_alloc(1, sizeof(*root));
	struct entry *entry = topo_alloc(t->cpu_ids, sizeof(*entry));
	size_t count = 0;

	choose_levels(&b);
	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		if (!t->cpu[i].online)
			continue;
		for (int level = 0; level < LEVELS; level++)
			entry[count].key[level] = key_of(&t->cpu[i], b.level[level]);
		entry[count++].id = i;
	}
	qsort(entry, count, sizeof(*entry), by_keys);
	root->alike = 1;
	add_children(&b, root, entry, count, 0);
	add_memory_nodes(root, view);
	free(entry);
	return root;
}

static void free_inside(struct topo_box *box)
{
	for (size_t i = 0; i < box->children; i++)
		free_inside(&box->child[i]);
	free(box->child);
	topo_ids_free(&box->ids);
}

void topo_tree_free(struct topo_box *root)
{
	free_inside(root);
	free(root);
}

/* Memory of neighbours differs by what the firmware keeps: within an eighth it is the same. */
static bool same_memory(const struct topo_box *a, const struct topo_box *b)
{
	uint64_t least = a->bytes < b->bytes ? a->bytes : b->bytes;
	uint64_t most = a->bytes_most > b->bytes_most ? a->bytes_most : b->bytes_most;

	return most == least || (least > 0 && most - least <= most / 8);
}

static bool same_shape(const struct topo_box *a, const struct topo_box *b)
{
	if (a->kind != b->kind || a->children != b->children || a->alike != b->alike ||
	    a->allowed != b->allowed || a->forbidden != b->forbidden || !same_memory(a, b))
		return false;
	for (size_t i = 0; i < a->children; i++)
		if (!same_shape(&a->child[i], &b->child[i]))
			return false;
	return true;
}

/* What b is is added to a, box by box; b is freed by the caller. */
static void merge(struct topo_box *a, const struct topo_box *b)
{
	topo_ids_add_all(&a->ids, &b->ids);
	a->bytes = b->bytes < a->bytes ? b->bytes : a->bytes;
	a->bytes_most = b->bytes_most > a->bytes_most ? b->bytes_most : a->bytes_most;
	a->free = a->free == TOPO_UNKNOWN || b->free == TOPO_UNKNOWN ? TOPO_UNKNOWN :
		a->free + b->free;
	for (size_t i = 0; i < a->children; i++)
		merge(&a->child[i], &b->child[i]);
}

/* Compares with alike as it was before: only the last of the kept can grow. */
static bool joins(struct topo_box *last, const struct topo_box *next)
{
	uint32_t alike = last->alike;
	bool same;

	last->alike = next->alike;
	same = same_shape(last, next);
	last->alike = alike;
	return same;
}

void topo_tree_fold(struct topo_box *box, enum topo_kind kind)
{
	size_t kept = 0;

	for (size_t i = 0; i < box->children; i++) {
		struct topo_box *next = &box->child[i];

		topo_tree_fold(next, kind);
		if (kept > 0 && next->kind == kind && joins(&box->child[kept - 1], next)) {
			merge(&box->child[kept - 1], next);
			box->child[kept - 1].alike++;
			free_inside(next);
		} else {
			struct topo_box moved = *next;

			box->child[kept++] = moved;
		}
	}
	box->children = kept;
}

struct topo_box *topo_tree_fit(const struct topo_view *view, int columns, int lines)
{
	static const enum topo_kind order[] = { KIND_CORE, KIND_L2, KIND_L3, KIND_NODE,
		KIND_PACKAGE };
	struct topo_box *root = topo_tree_make(view);

	topo_layout(root, view, columns);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && root->height > lines; i++) {
		topo_tree_fold(root, order[i]);
		topo_layout(root, view, columns);
	}
	return root;
}

void topo_ids_where(const struct topo_view *view, bool (*which)(const struct mews_topology_cpu *),
		    struct topo_ids *ids)
{
	for (uint32_t i = 0; i < view->topology->cpu_ids; i++)
		if (which(&view->topology->cpu[i]))
			topo_ids_add(ids, i);
}
