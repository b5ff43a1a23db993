/* SPDX-License-Identifier: MIT */
/*
 * Screen (mews-topo): what the output can show, by terminfo and the locale. Called by text.c and
 * picture.c.
 */
#define _GNU_SOURCE 1
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <curses.h>
#include <term.h>       /* it makes macros of lines, columns and the like */
#include "screen.h"

#define WIDTH_USUAL 80
#define WIDTH_LEAST 76          /* what the table of nodes takes */

static int find_width(FILE *out, int asked)
{
	struct winsize size;
	const char *told = getenv("COLUMNS");
	int width = WIDTH_USUAL;

	if (asked > 0)
		width = asked;
	else if (isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0 &&
		 size.ws_col > 0)
		width = size.ws_col;
	else if (told != NULL && atoi(told) > 0)
		width = atoi(told);
	return width < WIDTH_LEAST ? WIDTH_LEAST : width > 1000 ? 1000 : width;
}

static void take_capability(char *to, size_t size, const char *capability)
{
	if (capability != NULL && strlen(capability) < size)
		memcpy(to, capability, strlen(capability) + 1);
}

/* Colours as terminfo writes them; a terminal that has none, or is not known, gets none. */
static void find_colours(struct topo_term *term)
{
	static const int colour[INK_COUNT] = {
		[INK_PLAIN] = -1, [INK_PACKAGE] = COLOR_BLUE, [INK_NODE] = COLOR_MAGENTA,
		[INK_CACHE] = COLOR_CYAN, [INK_CORE] = -1, [INK_CPU] = COLOR_GREEN,
		[INK_OFF] = COLOR_RED, [INK_HEAD] = COLOR_YELLOW, [INK_WARN] = COLOR_RED,
	};
	const char *no_colour = getenv("NO_COLOR"), *set;
	int error;

	if (!isatty(fileno(term->out)) || (no_colour != NULL && no_colour[0] != 0) ||
	    setupterm(NULL, fileno(term->out), &error) != OK || tigetnum("colors") < 8)
		return;
	set = tigetstr("setaf");
	if (set == NULL || set == (char *)-1)
		return;
	term->colour = true;
	for (int i = 0; i < INK_COUNT; i++)
		if (colour[i] >= 0)
			take_capability(term->start[i], sizeof(term->start[i]),
					tiparm(set, colour[i]));
	take_capability(term->stop, sizeof(term->stop), tigetstr("sgr0"));
}

void topo_term_open(struct topo_term *term, FILE *out, int width)
{
	*term = (struct topo_term){ .out = out, .width = find_width(out, width) };
	term->boxes = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	find_colours(term);
}

void topo_ink_on(const struct topo_term *term, enum topo_ink ink)
{
	if (term->colour)
		fputs(term->start[ink], term->out);
}

void topo_ink_off(const struct topo_term *term, enum topo_ink ink)
{
	if (term->colour && term->start[ink][0] != 0)
		fputs(term->stop, term->out);
}

void topo_wrap(const struct topo_term *term, int column, int indent, const char *text)
{
	while (*text != 0) {
		int word = (int)strcspn(text, " ");

		if (column + word > term->width && column > indent) {
			fprintf(term->out, "\n%*s", indent, "");
			column = indent;
		}
		fwrite(text, 1, (size_t)word, term->out);
		column += word;
		text += word;
		if (*text == ' ') {
			text++;
			if (column + 1 + (int)strcspn(text, " ") <= term->width) {
				fputc(' ', term->out);
				column++;
			} else if (*text != 0) {
				fprintf(term->out, "\n%*s", indent, "");
				column = indent;
			}
		}
	}
	fputc('\n', term->out);
}
