/* SPDX-License-Identifier: MIT */
/*
 * Config (mews-topo): a snippet of C that pins what of the plan a caller can say; what follows from
 * the machine alone, or may still come from the environment, stands in the comment.
 */
#include "topo.h"
#include "words.h"

static const char *mode_word(enum mews_mode mode)
{
	return mode == MEWS_MODE_SERVER ? "MEWS_MODE_SERVER" : "MEWS_MODE_WORKSTATION";
}

static const char *pages_word(enum mews_page_policy pages)
{
	static const char *const word[] = { "MEWS_PAGES_AUTO", "MEWS_PAGES_1G", "MEWS_PAGES_2M",
		"MEWS_PAGES_THP", "MEWS_PAGES_BASE" };

	return word[pages];
}

/* A comment must not end early, whatever a file is called. */
static void put_comment(const char *text, FILE *out)
{
	for (char before = ' '; *text != 0; before = *text++)
		fputc(*text == '/' && before == '*' ? '|' : *text, out);
}

/* The default block of 4,032 bytes has a stride of its own, which only 0 asks for. */
static void put_block(const struct topo_view *view, FILE *out)
{
	if (view->options->request.block_size == 0)
		fprintf(out,
			"\t.block_size = 0,                /* the default: %zu usable bytes */\n",
			view->plan.block_size);
	else
		fprintf(out, "\t.block_size = %zu,\n", view->plan.block_size);
}

void topo_write_config(const struct topo_view *view, FILE *out)
{
	const struct mews_plan *p = &view->plan;

	fputs("/*\n * Pins what mews-topo planned for: ", out);
	put_comment(view->source, out);
	fprintf(out,
		".\n * By the machine: caches of %u blocks, in long bursts %u, %u depots of %u magazines, slabs of "
		"%s.\n * Beside it hold MEWS_HARD_LIMIT and MEWS_DECAY of the environment: see mews(7).\n */\n",
		p->cache_capacity, p->cache_most, p->depots, p->depot_magazines, mews_bytes(p->slab_bytes).text);
	fputs("static const struct mews_pool_config config = {\n"
	      "\t.size = sizeof(struct mews_pool_config),\n", out);
	put_block(view, out);
	fprintf(out, "\t.alignment = %zu,\n\t.initial_blocks = %llu,\n\t.max_blocks = %llu,\n",
		p->alignment, (unsigned long long)p->initial_blocks,
		(unsigned long long)p->max_blocks);
	fprintf(out, "\t.growth_blocks = %llu,\n\t.mode = %s,\n",
		(unsigned long long)p->growth_extents * (p->slab_blocks / (p->slab_bytes / p->extent_bytes)),
		mode_word(p->mode));
	fprintf(out, "\t.node_policy = %s,\n\t.page_policy = %s,\n\t.oversize_limit = %zu,\n};\n",
		p->node_policy == MEWS_NODE_STRICT ? "MEWS_NODE_STRICT" : "MEWS_NODE_PREFERRED",
		pages_word(p->page_top), p->oversize_limit);
}
