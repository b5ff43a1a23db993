/* SPDX-License-Identifier: MIT */
/*
 * Text (mews-topo): the report that a person reads: the picture, then what may be used and who
 * decided, memory, sequences, the plan, and what to do. Called by main.c. Invariant: no line of it
 * is longer than the width, but for a word that is.
 */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "tree.h"

#define PICTURE_LINES 32        /* a higher picture is folded */
#define LABEL 14                /* columns of a label and the space before what it names */

static void heading(const struct topo_term *term, const char *text)
{
	fputc('\n', term->out);
	topo_ink_on(term, INK_HEAD);
	fputs(text, term->out);
	topo_ink_off(term, INK_HEAD);
	fputc('\n', term->out);
}

/* "  label       text", wrapped. */
__attribute__((format(printf, 3, 4)))
static void line(const struct topo_term *term, const char *label, const char *format, ...)
{
	char text[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	fprintf(term->out, "  %-*s", LABEL - 2, label);
	topo_wrap(term, LABEL, LABEL, text);
}

static bool is_online(const struct mews_topology_cpu *cpu)
{
	return cpu->online;
}

static bool is_possible(const struct mews_topology_cpu *cpu)
{
	return cpu->possible;
}

static bool is_allowed(const struct mews_topology_cpu *cpu)
{
	return cpu->possible && cpu->allowed;
}

static bool is_offline(const struct mews_topology_cpu *cpu)
{
	return cpu->possible && !cpu->online;
}

/* Returns how many there are; their list is in text. */
static size_t list_of(const struct topo_view *view, bool (*which)(const struct mews_topology_cpu *),
		      char *text, size_t size)
{
	struct topo_ids ids = { 0 };
	size_t count;

	topo_ids_where(view, which, &ids);
	topo_ids_text(&ids, text, size);
	count = ids.count;
	topo_ids_free(&ids);
	return count;
}

/* "1 node", "2 nodes" */
static struct mews_words some(uint32_t count, const char *noun)
{
	struct mews_words words;

	snprintf(words.text, sizeof(words.text), "%u %s%s", count, noun, count == 1 ? "" : "s");
	return words;
}

static void write_title(const struct topo_term *term, const struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	const struct topo_memory *m = &view->memory;
	char text[1024];

	snprintf(text, sizeof(text), "mews-topo %s: %s: %s, %s, %s, %s, %s", mews_version(),
		 view->source, some(t->packages, "package").text, some(t->cores, "core").text,
		 some(t->cpus, "CPU").text, some(t->node_count, "node").text,
		 mews_bytes(t->memory).text);
	topo_wrap(term, 0, 2, text);
	if (m->kernel[0] != 0) {
		snprintf(text, sizeof(text), "Linux %s%s%s%s%s", m->kernel,
			 m->libc[0] ? ", glibc " : "", m->libc, m->cpu_model[0] ? ", " : "",
			 m->cpu_model);
		topo_wrap(term, 0, 2, text);
	}
	fputc('\n', term->out);
}

static struct mews_words cache_size(size_t bytes)
{
	struct mews_words unknown = { "unknown" };

	return bytes == 0 ? unknown : mews_bytes(bytes);
}

static void write_picture(const struct topo_term *term, const struct topo_view *view)
{
	struct topo_box *root = topo_tree_fit(view, term->width, PICTURE_LINES);
	const struct mews_topology *t = view->topology;
	char list[512];

	topo_picture(term, root);
	topo_tree_free(root);
	snprintf(list, sizeof(list), "L1d %s, L2 %s, L3 %s%s%s", cache_size(t->l1_bytes).text,
		 cache_size(t->l2_bytes).text, cache_size(t->l3_bytes).text,
		 t->cores > 1 ? " (the smallest of each, which the plan takes)" : "",
		 t->cpus_allowed < t->cpus ? "; (0): not allowed" : "");
	topo_wrap(term, 0, 2, list);
	if (list_of(view, is_offline, list, sizeof(list)) > 0) {
		fputs("offline: ", term->out);
		topo_wrap(term, 9, 9, list);
	}
}

static void write_cpus(const struct topo_term *term, const struct topo_view *view)
{
	const struct mews_limits *l = &view->limits;
	char list[512];
	size_t count;

	heading(term, "CPUs");
	if (view->limits_known)
		line(term, "seen by", "%s", view->view_of);
	count = list_of(view, is_possible, list, sizeof(list));
	line(term, "possible", "%zu: %s", count, list);
	count = list_of(view, is_online, list, sizeof(list));
	line(term, "online", "%zu: %s", count, list);
	count = list_of(view, is_allowed, list, sizeof(list));
	line(term, "allowed", "%zu: %s [%s]", count, list, view->allowed_source);
	if (l->quota_cpus > 0)
		line(term, "under quota", "%.4g CPUs [%s]", l->quota_cpus, l->quota_source);
	else
		line(term, "under quota", "%s", view->limits_known ? "none" : "unknown");
	line(term, "usable", "%u [%s]", l->usable_cpus, l->usable_source);
}

static void put_known(char *to, size_t size, uint64_t value, bool bytes)
{
	if (value == TOPO_UNKNOWN)
		snprintf(to, size, "-");
	else
		snprintf(to, size, "%s", bytes ? mews_bytes(value).text : mews_number(value).text);
}

static struct mews_words size_title(uint64_t size)
{
	struct mews_words title;

	snprintf(title.text, sizeof(title.text), "%.12s pages", mews_bytes(size).text);
	return title;
}

static void write_huge(const struct topo_term *term, const struct topo_huge *huge)
{
	char total[64], free_pages[64], both[140];

	put_known(total, sizeof(total), huge->total, false);
	put_known(free_pages, sizeof(free_pages), huge->free, false);
	snprintf(both, sizeof(both), "%s of %s", free_pages, total);
	fprintf(term->out, "  %14s", huge->total == TOPO_UNKNOWN ? "-" : both);
}

static void write_node(const struct topo_term *term, const struct topo_view *view, uint32_t index)
{
	const struct mews_topology_node *node = &view->topology->node[index];
	const struct topo_node *more = &view->memory.node[index];
	char free_bytes[64];

	put_known(free_bytes, sizeof(free_bytes), more->free, true);
	fprintf(term->out, "  %-5u %4u  %-7s %10s %10s", node->os_index, node->cpus,
		node->allowed ? "yes" : "no",
		node->memory == 0 ? "none" : mews_bytes(node->memory).text, free_bytes);
	for (uint32_t i = 0; i < view->memory.huge_sizes && i < 2; i++)
		write_huge(term, &more->huge[i]);
	fputc('\n', term->out);
}

static void write_nodes(const struct topo_term *term, const struct topo_view *view)
{
	const struct topo_memory *m = &view->memory;

	fprintf(term->out, "  %-5s %4s  %-7s %10s %10s", "node", "cpus", "allowed", "memory",
		"free");
	for (uint32_t i = 0; i < m->huge_sizes && i < 2; i++)
		fprintf(term->out, "  %14s", size_title(m->huge[i].size).text);
	fputs(m->huge_sizes > 0 && term->width >= 90 ? " (free of all)\n" : "\n", term->out);
	for (uint32_t i = 0; i < view->topology->node_count; i++)
		write_node(term, view, i);
}

static void write_distances(const struct topo_term *term, const struct mews_topology *t)
{
	uint32_t shown = t->node_count < 16 ? t->node_count : 16;

	if (t->node_count < 2)
		return;
	fputs("\n  distance ", term->out);
	for (uint32_t to = 0; to < shown; to++)
		fprintf(term->out, "%4u", t->node[to].os_index);
	fputc('\n', term->out);
	for (uint32_t from = 0; from < shown; from++) {
		fprintf(term->out, "  %8u ", t->node[from].os_index);
		for (uint32_t to = 0; to < shown; to++)
			fprintf(term->out, "%4u", t->distance[(size_t)from * t->node_count + to]);
		fputc('\n', term->out);
	}
	if (shown < t->node_count)
		fprintf(term->out, "  and of %u nodes more: --format json\n",
			t->node_count - shown);
	fputc('\n', term->out);
}

static void write_huge_sizes(const struct topo_term *term, const struct topo_memory *m)
{
	for (uint32_t i = 0; i < m->huge_sizes; i++) {
		char total[64], free_pages[64], reserved[64], surplus[64];

		put_known(total, sizeof(total), m->huge[i].total, false);
		put_known(free_pages, sizeof(free_pages), m->huge[i].free, false);
		put_known(reserved, sizeof(reserved), m->huge[i].reserved, false);
		put_known(surplus, sizeof(surplus), m->huge[i].surplus, false);
		line(term, size_title(m->huge[i].size).text,
		     "%s in all, %s free, %s of them promised, %s surplus", total,
		     free_pages, reserved, surplus);
	}
}

static const char *word_or_unknown(const char *word)
{
	return word[0] != 0 ? word : "unknown";
}

static void write_memory(const struct topo_term *term, const struct topo_view *view)
{
	const struct topo_memory *m = &view->memory;
	const struct mews_limits *l = &view->limits;

	heading(term, "Memory");
	write_nodes(term, view);
	write_distances(term, view->topology);
	write_huge_sizes(term, m);
	if (m->known)
		line(term, "THP", "%s (defrag %s, shmem %s)", word_or_unknown(m->thp),
		     word_or_unknown(m->thp_defrag), word_or_unknown(m->thp_shmem));
	if (m->available != TOPO_UNKNOWN)
		line(term, "available", "%s", mews_bytes(m->available).text);
	if (!view->limits_known) {
		line(term, "limit", "unknown");
		return;
	}
	if (l->memory == MEWS_UNLIMITED)
		line(term, "limit", "none%s", l->cgroup_version == 0 ? " (no cgroup found)" :
		     l->cgroup_version == 1 ? " (cgroup v1)" : " (cgroup v2)");
	else
		line(term, "limit", "%s [%s]", mews_bytes(l->memory).text, l->memory_source);
	if (l->memory_high != MEWS_UNLIMITED)
		line(term, "memory.high", "%s", mews_bytes(l->memory_high).text);
	if (l->address_space != MEWS_UNLIMITED)
		line(term, "RLIMIT_AS", "%s", mews_bytes(l->address_space).text);
}

static void write_membarrier(const struct topo_term *term, int commands)
{
	char text[512] = "";
	size_t at = 0;

	for (int bit = 0; commands > 0 && topo_membarrier_name(bit) != NULL; bit++)
		if (commands & 1 << bit && at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? ", " : "",
					       topo_membarrier_name(bit));
	line(term, "membarrier", "%s", commands < 0 ? "refused" : text);
}

static void write_sequences(const struct topo_term *term, const struct topo_view *view)
{
	const struct topo_sequences *s = &view->sequences;

	heading(term, "Restartable sequences");
	if (!s->known) {
		line(term, "unknown", "a machine tells them by running, not by its topology");
		return;
	}
	if (view->options->pid != 0)
		line(term, "of", "mews-topo itself; process %d may have been started otherwise",
		     view->options->pid);
	line(term, "registered", "%s", s->glibc && s->cpu_id >= 0 ? "by glibc" : "by nobody");
	line(term, "features", "%u bytes kept by the kernel; node_id %s, mm_cid %s",
	     s->feature_size, s->node_id ? "live" : "absent", s->mm_cid ? "live" : "absent");
	write_membarrier(term, s->commands);
	line(term, "path here", "%s: %s", s->usable ? "rseq" : "fallback", s->reason);
}

static void write_plan(const struct topo_term *term, const struct topo_view *view)
{
	const struct mews_plan *p = &view->plan;
	char text[256];

	snprintf(text, sizeof(text), "Plan of a pool of %s blocks", mews_bytes(p->block_size).text);
	heading(term, text);
	/* The first reason names the machine, as the title does. */
	for (uint32_t i = 1; i < p->reasons; i++) {
		fputs("  - ", term->out);
		topo_wrap(term, 4, 4, p->reason[i]);
	}
}

static void write_findings(const struct topo_term *term, const struct topo_view *view)
{
	if (view->findings == 0)
		return;
	heading(term, "What to do");
	for (size_t i = 0; i < view->findings; i++) {
		bool warning = view->finding[i].severity == TOPO_WARNING;

		topo_ink_on(term, warning ? INK_WARN : INK_PLAIN);
		fputs(warning ? "  ! " : "  - ", term->out);
		topo_ink_off(term, warning ? INK_WARN : INK_PLAIN);
		topo_wrap(term, 4, 4, view->finding[i].text);
	}
}

void topo_write_text(const struct topo_view *view, FILE *out)
{
	struct topo_term term;

	topo_term_open(&term, out, view->options->width);
	write_title(&term, view);
	write_picture(&term, view);
	write_cpus(&term, view);
	write_memory(&term, view);
	write_sequences(&term, view);
	write_plan(&term, view);
	write_findings(&term, view);
}
