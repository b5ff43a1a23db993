/* SPDX-License-Identifier: MIT */
/*
 * Tree (mews-topo): a machine as boxes in boxes: packages, nodes, L3 and L2 domains, cores, CPUs.
 * Equal neighbours can be folded into one box that names them all. layout.c gives each box its
 * place, in cells of text; picture.c and svg.c draw the same layout.
 */
#ifndef TOPO_TREE_H
#define TOPO_TREE_H

#include "screen.h"
#include "topo.h"
#include "words.h"

enum topo_kind { KIND_MACHINE, KIND_PACKAGE, KIND_NODE, KIND_L3, KIND_L2, KIND_CORE, KIND_CPU };

struct topo_box {
	enum topo_kind kind;
	struct topo_ids ids;            /* of all that are folded in here */
	uint32_t alike;                 /* folded neighbours, 1: none */
	bool allowed;                   /* a CPU that may be used */
	bool forbidden;                 /* a node whose memory may not */
	uint64_t bytes, bytes_most;     /* memory of a node, of the least and the largest folded */
	uint64_t free;                  /* of all of them; TOPO_UNKNOWN */
	struct topo_box *child;
	size_t children;
	char title[128], text[128];     /* text: inside of a box that has no boxes */
	int x, y, width, height;        /* in cells, from the machine's corner */
};

/* The whole machine, nothing folded. topo_tree_free ends it. */
struct topo_box *topo_tree_make(const struct topo_view *view);
void topo_tree_free(struct topo_box *root);

/* Folds equal neighbours of that kind, at any depth. */
void topo_tree_fold(struct topo_box *box, enum topo_kind kind);

/* Names each box and gives it its place in columns; the height is root->height. */
void topo_layout(struct topo_box *root, const struct topo_view *view, int columns);

/* A tree folded, from the cores outwards, until it fits into lines, and laid out. */
struct topo_box *topo_tree_fit(const struct topo_view *view, int columns, int lines);

/* Draws the tree by lines of text. */
void topo_picture(const struct topo_term *term, const struct topo_box *root);

/* Lists of CPUs that the picture cannot show or shows in parentheses. */
void topo_ids_where(const struct topo_view *view, bool (*which)(const struct mews_topology_cpu *),
		    struct topo_ids *ids);

#endif
