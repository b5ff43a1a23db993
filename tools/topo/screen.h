/* SPDX-License-Identifier: MIT */
/*
 * Screen (mews-topo): what the output can show: its width, whether it takes colours (by terminfo;
 * never into a pipe, nor where NO_COLOR is set), and whether it takes box-drawing letters.
 */
#ifndef TOPO_SCREEN_H
#define TOPO_SCREEN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum topo_ink { INK_PLAIN, INK_PACKAGE, INK_NODE, INK_CACHE, INK_CORE, INK_CPU, INK_OFF, INK_HEAD,
	INK_WARN, INK_COUNT };

struct topo_term {
	FILE *out;
	int width;
	bool colour, boxes;
	char start[INK_COUNT][24];      /* what switches an ink on; empty without colours */
	char stop[24];
};

/* width: columns asked for, or 0. */
void topo_term_open(struct topo_term *term, FILE *out, int width);
void topo_ink_on(const struct topo_term *term, enum topo_ink ink);
void topo_ink_off(const struct topo_term *term, enum topo_ink ink);

/* Writes text, wrapped at words to the width; lines after the first begin with indent spaces. */
void topo_wrap(const struct topo_term *term, int column, int indent, const char *text);

#endif
