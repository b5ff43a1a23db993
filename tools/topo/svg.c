/* SPDX-License-Identifier: MIT */
/*
 * SVG (mews-topo): the picture for a document: the same boxes as in the terminal, wider and less
 * folded, and below them what may be used, memory, the plan's sizes and what to do. Called by
 * main.c. Invariant: well-formed whatever the machine's name holds; no script, no outside font.
 */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "tree.h"

#define COLUMNS 132
#define LINES 60
#define CELL_W 7.7
#define CELL_H 21
#define MARGIN 24
#define HEAD 64                 /* above the picture */
#define ROW 19                  /* from one line of the tables to the next */
#define TABLE_COLUMNS 124       /* letters in a line of the tables */

struct paper {
	FILE *out;
	int width;
	double y;                       /* where the next line of the tables stands */
};

struct paint {
	const char *fill, *line, *text;
};

/* Light fills that print well, dark text of the same hue. */
static const struct paint paints[] = {
	[KIND_MACHINE] = { "#ffffff", "#ffffff", "#1f2933" },
	[KIND_PACKAGE] = { "#f2f5f9", "#8296ab", "#334e68" },
	[KIND_NODE] = { "#fdf3e4", "#d3a250", "#80520f" },
	[KIND_L3] = { "#e5f3f1", "#64aba1", "#1d5c54" },
	[KIND_L2] = { "#f3fbfa", "#8fc7bf", "#1d5c54" },
	[KIND_CORE] = { "#ffffff", "#a3adb8", "#52606d" },
};

static void escaped(FILE *out, const char *text)
{
	for (; *text != 0; text++) {
		if (*text == '&')
			fputs("&amp;", out);
		else if (*text == '<')
			fputs("&lt;", out);
		else if (*text == '>')
			fputs("&gt;", out);
		else if ((unsigned char)*text >= ' ' && (unsigned char)*text < 127)
			fputc(*text, out);
		else
			fputc('?', out);
	}
}

static void text_at(FILE *out, double x, double y, const char *style, const char *text)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, style);
	escaped(out, text);
	fputs("</text>\n", out);
}

static double px(int column)
{
	return MARGIN + column * CELL_W;
}

static double py(int line)
{
	return HEAD + line * CELL_H;
}

/* Text as long as the box has room for; the rest is in its tooltip. */
static void clipped(const struct topo_box *box, const char *text, double y, const char *style,
		    FILE *out)
{
	char cut[160];
	int room = box->width - 2;

	snprintf(cut, sizeof(cut), "%.*s%s", (int)strlen(text) > room ? room - 2 : room, text,
		 (int)strlen(text) > room ? ".." : "");
	text_at(out, px(box->x) + CELL_W, y, style, cut);
}

static void draw_box(const struct topo_box *box, FILE *out)
{
	const struct paint *paint = &paints[box->kind];
	double below = box->kind == KIND_CORE ? 5 : 8;
	char style[64];

	fprintf(out, "<g><title>");
	escaped(out, box->title);
	fprintf(out, "%s", box->text[0] ? ": " : "");
	escaped(out, box->text);
	fprintf(out,
		"</title><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"4\" "
		"fill=\"%s\" stroke=\"%s\"/>\n",
		px(box->x) + 1, py(box->y) + 1, box->width * CELL_W - 2,
		box->height * CELL_H - below, paint->fill, paint->line);
	snprintf(style, sizeof(style), "fill=\"%s\"%s", paint->text,
		 box->kind < KIND_CORE ? " class=\"t\"" : " class=\"c\"");
	clipped(box, box->title, py(box->y) + CELL_H - 4, style, out);
	fputs("</g>\n", out);
}

/* CPUs that may be used are filled; others are outlined and pale. */
static void draw_cpus(const struct topo_box *core, FILE *out)
{
	bool all = strchr(core->text, '(') == NULL, none = core->text[0] == '(';

	fprintf(out,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"3\" fill=\"%s\" "
		"stroke=\"%s\"/>\n",
		px(core->x) + 7, py(core->y) + CELL_H + 5, core->width * CELL_W - 14,
		(core->height - 1) * CELL_H - 13.0,
		all ? "#cfe6fb" : none ? "#ffffff" : "#eaf3fb", all ? "#6fa8dc" : "#c2ccd6");
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"%s\">",
		px(core->x) + core->width * CELL_W / 2, py(core->y) + 2 * CELL_H - 1,
		none ? "#9aa5b1" : "#12395c");
	escaped(out, core->text);
	fputs("</text>\n", out);
}

static void draw(const struct topo_box *box, FILE *out)
{
	if (box->kind != KIND_MACHINE)
		draw_box(box, out);
	if (box->kind == KIND_CORE) {
		draw_cpus(box, out);
		return;
	}
	if (box->children == 0)
		clipped(box, box->text, py(box->y) + 2 * CELL_H - 3, "fill=\"#80520f\"", out);
	for (size_t i = 0; i < box->children; i++)
		draw(&box->child[i], out);
}

static void table_head(struct paper *paper, const char *text)
{
	paper->y += 12;
	text_at(paper->out, MARGIN, paper->y, "class=\"h\"", text);
	paper->y += ROW;
}

/* A line of a table; what is too long goes on in the next, at a word. */
static void table_line(struct paper *paper, const char *label, const char *text)
{
	int room = TABLE_COLUMNS - 14;

	text_at(paper->out, MARGIN, paper->y, "class=\"l\"", label);
	do {
		int length = (int)strlen(text), cut = length;
		char part[160];

		while (cut > room)
			do
				cut--;
			while (cut > 1 && text[cut] != ' ');
		snprintf(part, sizeof(part), "%.*s", cut, text);
		text_at(paper->out, MARGIN + 14 * CELL_W, paper->y, "class=\"v\"", part);
		paper->y += ROW;
		text += cut + (text[cut] == ' ');
	} while (*text != 0);
}

__attribute__((format(printf, 3, 4)))
static void entry(struct paper *paper, const char *label, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	table_line(paper, label, text);
}

static void tell_limits(struct paper *paper, const struct topo_view *view)
{
	const struct mews_limits *l = &view->limits;

	table_head(paper, "What may be used");
	entry(paper, "CPUs", "%u possible, %u allowed [%s], %u usable [%s]", view->topology->cpus,
	      l->affinity_cpus, view->allowed_source, l->usable_cpus, l->usable_source);
	if (l->quota_cpus > 0)
		entry(paper, "quota", "%.4g CPUs [%s]", l->quota_cpus, l->quota_source);
	if (l->memory != MEWS_UNLIMITED)
		entry(paper, "memory limit", "%s [%s]", mews_bytes(l->memory).text,
		      l->memory_source);
	if (view->sequences.known)
		entry(paper, "path", "%s: %s", view->sequences.usable ? "rseq" : "fallback",
		      view->sequences.reason);
}

static void tell_huge(struct paper *paper, const struct topo_memory *m)
{
	for (uint32_t i = 0; i < m->huge_sizes; i++)
		if (m->huge[i].total != TOPO_UNKNOWN && m->huge[i].free != TOPO_UNKNOWN)
			entry(paper, "huge pages", "%s: %s, %s free",
			      mews_bytes(m->huge[i].size).text, mews_number(m->huge[i].total).text,
			      mews_number(m->huge[i].free).text);
	if (m->thp[0] != 0)
		entry(paper, "THP", "%s", m->thp);
}

static void tell_plan(struct paper *paper, const struct topo_view *view)
{
	const struct mews_plan *p = &view->plan;
	char text[128];

	snprintf(text, sizeof(text), "Plan of a pool of %s blocks", mews_bytes(p->block_size).text);
	table_head(paper, text);
	for (uint32_t i = 1; i < p->reasons; i++)
		table_line(paper, i == 1 ? "because" : "", p->reason[i]);
}

static void tell_findings(struct paper *paper, const struct topo_view *view)
{
	if (view->findings == 0)
		return;
	table_head(paper, "What to do");
	for (size_t i = 0; i < view->findings; i++)
		table_line(paper, view->finding[i].severity == TOPO_WARNING ? "warning" : "note",
			   view->finding[i].text);
}

static void open_paper(struct paper *paper, const struct topo_view *view, double height)
{
	const struct mews_topology *t = view->topology;
	char text[512];

	fprintf(paper->out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg "
		"xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
		"viewBox=\"0 0 %d %.0f\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, "
		"monospace\" font-size=\"12\">\n<style>.t{font-weight:bold}.c{font-size:11px}"
		".h{font-weight:bold;"
		"font-size:14px;fill:#243b53}.l{fill:#829ab1}.v{fill:#243b53}</style>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
		paper->width, height, paper->width, height);
	text_at(paper->out, MARGIN, 30, "font-size=\"17\" font-weight=\"bold\" fill=\"#102a43\"",
		view->source);
	snprintf(text, sizeof(text),
		 "packages: %u, cores: %u, CPUs: %u, nodes: %u, memory: %s; smallest "
		 "L1d %s, L2 %s, L3 %s; mews-topo %s",
		 t->packages, t->cores, t->cpus, t->node_count, mews_bytes(t->memory).text,
		 t->l1_bytes ? mews_bytes(t->l1_bytes).text : "?",
		 t->l2_bytes ? mews_bytes(t->l2_bytes).text : "?",
		 t->l3_bytes ? mews_bytes(t->l3_bytes).text : "?", mews_version());
	text_at(paper->out, MARGIN, 50, "fill=\"#627d98\"", text);
}

static void tell(struct paper *paper, const struct topo_view *view, int lines)
{
	paper->y = py(lines) + 20;
	tell_limits(paper, view);
	tell_huge(paper, &view->memory);
	tell_plan(paper, view);
	tell_findings(paper, view);
}

/* The tables are written into memory first, to learn how high the paper must be. */
void topo_write_svg(const struct topo_view *view, FILE *out)
{
	struct topo_box *root = topo_tree_fit(view, COLUMNS, LINES);
	struct paper paper = { .out = out, .width = (int)(2 * MARGIN + COLUMNS * CELL_W) };
	char *tables = NULL;
	size_t length = 0;

	paper.out = open_memstream(&tables, &length);
	if (paper.out == NULL) {
		topo_fail("out of memory");
		exit(TOPO_EXIT_ERROR);
	}
	tell(&paper, view, root->height);
	fclose(paper.out);
	paper.out = out;
	open_paper(&paper, view, paper.y + MARGIN / 2.0);
	draw(root, out);
	fwrite(tables, 1, length, out);
	fputs("</svg>\n", out);
	free(tables);
	topo_tree_free(root);
}
