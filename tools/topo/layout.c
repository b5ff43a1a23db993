/* SPDX-License-Identifier: MIT */
/*
 * Layout (mews-topo): titles, sizes and places of the boxes of a tree, in cells of text. Boxes
 * stand side by side while the width allows it, and go on below. Called by tree.c. Invariant: a box
 * holds its title and its boxes, with a border of one cell and a space left and right.
 */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "tree.h"

#define EVEN_WITHIN 8   /* cells by which the widths of a grid's boxes differ at most */
#define BORDER 4        /* cells of a box's width that are border and space */

static const char *noun(enum topo_kind kind, bool many)
{
	static const char *const one[] = { "machine", "package", "node", "L3", "L2", "core",
		"cpu" };
	static const char *const all[] = { "machines", "packages", "nodes", "L3", "L2", "cores",
		"cpus" };

	return many ? all[kind] : one[kind];
}

/* "node 0", "cores 0-7: 8 alike", "cores 0-63: 8 alike in each". */
static void put_name(struct topo_box *box, char *to, size_t size)
{
	char ids[64];
	int at = snprintf(to, size, "%s %s", noun(box->kind, box->ids.count > 1),
			  topo_ids_text(&box->ids, ids, sizeof(ids)));

	if (box->alike > 1 && at > 0 && (size_t)at < size)
		snprintf(to + at, size - (size_t)at, ", %u alike%s", box->alike,
			 box->ids.count > box->alike ? " in each" : "");
}

__attribute__((format(printf, 2, 3)))
static void append(struct topo_box *box, const char *format, ...)
{
	size_t at = strlen(box->title);
	va_list list;

	va_start(list, format);
	vsnprintf(box->title + at, sizeof(box->title) - at, format, list);
	va_end(list);
}

static void title_node(struct topo_box *box)
{
	if (box->forbidden)
		append(box, " (not allowed)");
	if (box->bytes_most == 0) {
		append(box, ": no memory");
		return;
	}
	append(box, ": %s", mews_bytes(box->bytes).text);
	if (box->bytes_most != box->bytes)
		append(box, " to %s", mews_bytes(box->bytes_most).text);
	if (box->ids.count > 1)
		append(box, " each");
	if (box->free != TOPO_UNKNOWN)
		append(box, ", %s free%s", mews_bytes(box->free).text,
		       box->ids.count > 1 ? " in all" : "");
}

/* Of several caches the topology knows the smallest; only of a single one it is the size. */
static void title(struct topo_box *box, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;

	put_name(box, box->title, sizeof(box->title));
	if (box->kind == KIND_NODE)
		title_node(box);
	if (box->kind == KIND_L3 && t->l3_bytes > 0 && t->l3_domains == 1)
		append(box, ": %s", mews_bytes(t->l3_bytes).text);
	if (box->kind == KIND_L2 && t->l2_bytes > 0 && t->l2_domains == 1)
		append(box, ": %s", mews_bytes(t->l2_bytes).text);
	for (size_t i = 0; i < box->children; i++)
		title(&box->child[i], view);
}

/* The CPUs of a core: siblings side by side, or all of a folded one in one list. */
static void put_cpus(struct topo_box *core)
{
	struct topo_ids all = { 0 };
	bool same = core->ids.count > 1;
	char list[100];
	size_t at = 0;

	for (size_t i = 0; i < core->children; i++) {
		same &= core->child[i].allowed == core->child[0].allowed;
		topo_ids_add_all(&all, &core->child[i].ids);
	}
	core->text[0] = 0;
	for (size_t i = 0; i < (same ? 1 : core->children); i++) {
		const char *form = core->child[i].allowed ? "%s%s" : "%s(%s)";

		topo_ids_text(same ? &all : &core->child[i].ids, list, sizeof(list));
		at += (size_t)snprintf(core->text + at, sizeof(core->text) - at, form,
				       at > 0 ? " " : same ? "cpus " : "", list);
		at = at < sizeof(core->text) ? at : sizeof(core->text) - 1;
	}
	if (same && core->children > 1)
		snprintf(core->text + at, sizeof(core->text) - at, ", %zu a core", core->children);
	topo_ids_free(&all);
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

static int most(int a, int b)
{
	return a > b ? a : b;
}

/* A box without boxes: its text in one line, cut where it is too long. */
static void measure_leaf(struct topo_box *box, int columns)
{
	if (box->kind == KIND_CORE)
		put_cpus(box);
	else
		snprintf(box->text, sizeof(box->text), "no CPU");
	box->width = most((int)strlen(box->title), (int)strlen(box->text)) + BORDER;
	box->width = least(box->width, columns);
	box->height = 3;
}

static void measure(struct topo_box *box, int columns);

/* A row ends where the next box does not fit: its boxes get the height of the highest. */
static void end_row(struct topo_box *box, size_t first, size_t end, int height)
{
	for (size_t i = first; i < end; i++)
		box->child[i].height = height;
}

/*
 * Neighbours of one kind and of about one width get the same, and rows of equal number: a grid. How
 * many stand in a row; 0: as many as fit.
 */
static size_t even_out(struct topo_box *box, int columns)
{
	int widest = 0, narrowest = columns;
	size_t fit, rows;

	for (size_t i = 0; i < box->children; i++) {
		widest = most(widest, box->child[i].width);
		narrowest = least(narrowest, box->child[i].width);
		if (box->child[i].kind != box->child[0].kind)
			return 0;
	}
	if (widest - narrowest > EVEN_WITHIN || box->children == 0)
		return 0;
	for (size_t i = 0; i < box->children; i++)
		box->child[i].width = widest;
	fit = (size_t)most(1, (columns + 1) / (widest + 1));
	rows = (box->children + fit - 1) / fit;
	return (box->children + rows - 1) / rows;
}

/* Places the boxes inside, from x and y of this box's corner on. */
static void flow(struct topo_box *box, int columns)
{
	int x = 0, y = 0, row = 0, width = 0;
	size_t first = 0, in_a_row;

	for (size_t i = 0; i < box->children; i++)
		measure(&box->child[i], columns);
	in_a_row = even_out(box, columns);
	for (size_t i = 0; i < box->children; i++) {
		struct topo_box *child = &box->child[i];

		if (x > 0 && (x + 1 + child->width > columns || i - first == in_a_row)) {
			end_row(box, first, i, row);
			first = i;
			y += row;
			x = row = 0;
		}
		child->x = x + (x > 0);
		child->y = y;
		x = child->x + child->width;
		width = most(width, x);
		row = most(row, child->height);
	}
	end_row(box, first, box->children, row);
	box->width = width;
	box->height = y + row;
}

static void measure(struct topo_box *box, int columns)
{
	if (box->kind == KIND_CORE || box->children == 0) {
		measure_leaf(box, columns);
		return;
	}
	flow(box, columns - (box->kind == KIND_MACHINE ? 0 : BORDER));
	if (box->kind == KIND_MACHINE)
		return;
	box->width = most(box->width, least((int)strlen(box->title), columns - BORDER)) + BORDER;
	box->height += 2;
}

static bool alone(const struct topo_box *box, size_t i)
{
	return (i == 0 || box->child[i - 1].y != box->child[i].y) &&
		(i + 1 == box->children || box->child[i + 1].y != box->child[i].y);
}

/* From places within the parent to places on the whole; what stands alone fills its row. */
static void settle(struct topo_box *box, int x, int y)
{
	bool machine = box->kind == KIND_MACHINE;

	box->x = x;
	box->y = y;
	for (size_t i = 0; i < box->children && box->kind != KIND_CORE; i++) {
		struct topo_box *child = &box->child[i];

		if (child->kind < KIND_CORE && alone(box, i))
			child->width = box->width - (machine ? 0 : BORDER);
	}
	for (size_t i = 0; i < box->children && box->kind != KIND_CORE; i++)
		settle(&box->child[i], x + box->child[i].x + (machine ? 0 : BORDER / 2),
		       y + box->child[i].y + (machine ? 0 : 1));
}

void topo_layout(struct topo_box *root, const struct topo_view *view, int columns)
{
	title(root, view);
	measure(root, columns);
	settle(root, 0, 0);
}
