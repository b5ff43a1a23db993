/* SPDX-License-Identifier: MIT */
/*
 * Picture (mews-topo): draws a tree that was laid out as lines of text: boxes by line-drawing
 * letters, or by plus, minus and bar where the locale has no others. Called by text.c.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include "tree.h"

enum letter { LETTER_ACROSS = 1, LETTER_DOWN, LETTER_TOP_LEFT, LETTER_TOP_RIGHT, LETTER_LOW_LEFT,
	LETTER_LOW_RIGHT };

struct cell {
	char letter;            /* ASCII, or one of enum letter */
	char ink;
};

struct canvas {
	struct cell *cell;
	int width, height;
};

static void put(struct canvas *canvas, int x, int y, char letter, enum topo_ink ink)
{
	if (x >= 0 && x < canvas->width && y >= 0 && y < canvas->height)
		canvas->cell[y * canvas->width + x] = (struct cell){ letter, (char)ink };
}

/* At most room letters; of a longer text the end is dots. */
static void put_text(struct canvas *canvas, int x, int y, const char *text, int room,
		     enum topo_ink ink)
{
	int length = (int)strlen(text);

	for (int i = 0; i < length && i < room; i++)
		put(canvas, x + i, y, length > room && i >= room - 2 ? '.' : text[i], ink);
}

static enum topo_ink ink_of(const struct topo_box *box)
{
	static const enum topo_ink ink[] = { INK_PLAIN, INK_PACKAGE, INK_NODE, INK_CACHE, INK_CACHE,
		INK_CORE, INK_CPU };

	return ink[box->kind];
}

static void put_frame(struct canvas *canvas, const struct topo_box *box)
{
	enum topo_ink ink = ink_of(box);
	int right = box->x + box->width - 1, low = box->y + box->height - 1;

	for (int x = box->x + 1; x < right; x++) {
		put(canvas, x, box->y, LETTER_ACROSS, ink);
		put(canvas, x, low, LETTER_ACROSS, ink);
	}
	for (int y = box->y + 1; y < low; y++) {
		put(canvas, box->x, y, LETTER_DOWN, ink);
		put(canvas, right, y, LETTER_DOWN, ink);
	}
	put(canvas, box->x, box->y, LETTER_TOP_LEFT, ink);
	put(canvas, right, box->y, LETTER_TOP_RIGHT, ink);
	put(canvas, box->x, low, LETTER_LOW_LEFT, ink);
	put(canvas, right, low, LETTER_LOW_RIGHT, ink);
}

/* What stands in parentheses may not be used. */
static void put_inside(struct canvas *canvas, const struct topo_box *box)
{
	int room = box->width - 4, length = (int)strlen(box->text);
	bool off = false;

	put_text(canvas, box->x + 2, box->y + 1, box->text, room, INK_CPU);
	for (int i = 0; i < length && i < room; i++) {
		struct cell *cell = &canvas->cell[(box->y + 1) * canvas->width + box->x + 2 + i];

		off |= box->text[i] == '(';
		if (off)
			cell->ink = INK_OFF;
		off &= box->text[i] != ')';
	}
}

static void draw(struct canvas *canvas, const struct topo_box *box)
{
	bool leaf = box->kind == KIND_CORE || box->children == 0;

	if (box->kind != KIND_MACHINE) {
		char name[sizeof(box->title) + 2];

		put_frame(canvas, box);
		snprintf(name, sizeof(name), " %s ", box->title);
		if ((int)strlen(box->title) > box->width - 4)
			snprintf(name, sizeof(name), "%s", box->title);
		put_text(canvas, box->x + 1, box->y, name, box->width - 2, ink_of(box));
	}
	if (leaf)
		put_inside(canvas, box);
	for (size_t i = 0; !leaf && i < box->children; i++)
		draw(canvas, &box->child[i]);
}

static void write_letter(const struct topo_term *term, char letter)
{
	static const char *const boxes[] = { "", "─", "│", "┌", "┐", "└", "┘" };
	static const char plain[] = " -|++++";

	if (letter == 0)
		fputc(' ', term->out);
	else if (letter > LETTER_LOW_RIGHT)
		fputc(letter, term->out);
	else if (term->boxes)
		fputs(boxes[(int)letter], term->out);
	else
		fputc(plain[(int)letter], term->out);
}

static void write_line(const struct topo_term *term, const struct cell *cell, int width)
{
	enum topo_ink ink = INK_PLAIN;

	while (width > 0 && cell[width - 1].letter == 0)
		width--;
	for (int x = 0; x < width; x++) {
		if (cell[x].letter != 0 && (enum topo_ink)cell[x].ink != ink) {
			topo_ink_off(term, ink);
			ink = (enum topo_ink)cell[x].ink;
			topo_ink_on(term, ink);
		}
		write_letter(term, cell[x].letter);
	}
	topo_ink_off(term, ink);
	fputc('\n', term->out);
}

void topo_picture(const struct topo_term *term, const struct topo_box *root)
{
	struct canvas canvas = { .width = root->width, .height = root->height };

	canvas.cell = topo_alloc((size_t)root->width * (size_t)root->height, sizeof(*canvas.cell));
	draw(&canvas, root);
	for (int y = 0; y < root->height; y++)
		write_line(term, canvas.cell + y * root->width, root->width);
	free(canvas.cell);
}
