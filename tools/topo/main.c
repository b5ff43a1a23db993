/* SPDX-License-Identifier: MIT */
/*
 * mews-topo: the machine as a pool sees it. Layer 6: it links the static library and reads its
 * internals (topology, limits, plan) by the headers of numa/. This file only chooses who works.
 */
#define _GNU_SOURCE 1
#include <locale.h>
#include <stdlib.h>
#include "topo.h"

static void show(const struct topo_view *view, FILE *out)
{
	static void (*const writer[])(const struct topo_view *, FILE *) = {
		[TOPO_TEXT] = topo_write_text, [TOPO_JSON] = topo_write_json,
		[TOPO_CSV] = topo_write_csv, [TOPO_SVG] = topo_write_svg,
	};

	writer[view->options->format](view, out);
}

static int work(const struct topo_view *view, FILE *out)
{
	switch (view->options->action) {
	case TOPO_CHECK:
		return topo_check(view, out);
	case TOPO_VERIFY:
		return topo_verify(view, out);
	case TOPO_CONFIG:
		topo_write_config(view, out);
		return 0;
	case TOPO_SHOW:
	case TOPO_DIFF:
		show(view, out);
		return 0;
	}
	return TOPO_EXIT_ERROR;
}

static int run(const struct topo_options *options)
{
	struct topo_view view;
	int status = TOPO_EXIT_ERROR;

	if (options->action == TOPO_DIFF)
		return topo_diff(options, stdout);
	if (topo_view_make(options, &view) == 0)
		status = work(&view, stdout);
	topo_view_free(&view);
	return status;
}

int main(int argc, char **argv)
{
	struct topo_options options;
	int status;

	setlocale(LC_CTYPE, "");        /* what the terminal can draw; numbers stay as in C */
	topo_options_parse(argc, argv, &options);
	status = run(&options);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		topo_fail("cannot write to standard output");
		return TOPO_EXIT_ERROR;
	}
	return status;
}
