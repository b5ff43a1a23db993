/* SPDX-License-Identifier: MIT */
/*
 * Memory (mews-topo): free memory and huge pages of each node, the mode of transparent huge pages,
 * and which kernel and CPU it is, by /proc and /sys. Called by gather.c. Invariant: a file that is
 * missing leaves TOPO_UNKNOWN or an empty word.
 */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "numa/kernel.h"
#include "topo.h"
#include "words.h"

#define TEXT_SIZE 8192
#define HUGE_ALL "/sys/kernel/mm/hugepages"
#define THP "/sys/kernel/mm/transparent_hugepage"

/* Reads the file of that name below the view's root. */
__attribute__((format(printf, 4, 5)))
static bool read_file(const struct topo_view *view, char *text, size_t size,
		      const char *format, ...)
{
	char path[PATH_MAX], name[PATH_MAX];
	va_list list;

	va_start(list, format);
	vsnprintf(name, sizeof(name), format, list);
	va_end(list);
	text[0] = 0;
	return snprintf(path, sizeof(path), "%s%s", view->options->root, name) < PATH_MAX &&
		mews_kernel_read_text(path, text, size) > 0;
}

/* The number after a key, as in "MemFree:  12 kB"; in bytes. */
static uint64_t kib_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	if (at == NULL)
		return TOPO_UNKNOWN;
	return strtoull(at + strlen(key), NULL, 10) * 1024;
}

static uint64_t huge_count(const struct topo_view *view, const char *where, uint64_t size,
			   const char *name)
{
	char text[64];

	if (!read_file(view, text, sizeof(text), "%s/hugepages-%llukB/%s", where,
		       (unsigned long long)(size / 1024), name))
		return TOPO_UNKNOWN;
	return strtoull(text, NULL, 10);
}

static void read_huge(const struct topo_view *view, const char *where, struct topo_huge *huge)
{
	huge->total = huge_count(view, where, huge->size, "nr_hugepages");
	huge->free = huge_count(view, where, huge->size, "free_hugepages");
	huge->reserved = huge_count(view, where, huge->size, "resv_hugepages");
	huge->surplus = huge_count(view, where, huge->size, "surplus_hugepages");
}

static int by_size(const void *a, const void *b)
{
	const struct topo_huge *x = a, *y = b;

	return (x->size > y->size) - (x->size < y->size);
}

/* The sizes that the kernel has: the names in its directory. */
static void find_sizes(struct topo_view *view)
{
	struct topo_memory *m = &view->memory;
	unsigned long long kib;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "%s%s", view->options->root, HUGE_ALL);
	directory = opendir(path);
	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL && m->huge_sizes < TOPO_HUGE_SIZES)
		if (sscanf(entry->d_name, "hugepages-%llukB", &kib) == 1)
			m->huge[m->huge_sizes++].size = kib * 1024;
	closedir(directory);
	qsort(m->huge, m->huge_sizes, sizeof(m->huge[0]), by_size);
}

/* A kernel without NUMA has no directory of a node: its only node has all there is. */
static void read_node(struct topo_view *view, uint32_t index)
{
	uint32_t os_index = view->topology->node[index].os_index;
	struct topo_memory *m = &view->memory;
	struct topo_node *node = &m->node[index];
	char text[TEXT_SIZE], where[64];
	bool told;

	snprintf(where, sizeof(where), "/sys/devices/system/node/node%u", os_index);
	told = read_file(view, text, sizeof(text), "%s/meminfo", where);
	if (!told && view->topology->node_count == 1)
		read_file(view, text, sizeof(text), "/proc/meminfo");
	node->free = kib_after(text, "MemFree:");
	strcat(where, "/hugepages");
	for (uint32_t i = 0; i < m->huge_sizes; i++) {
		node->huge[i].size = m->huge[i].size;
		read_huge(view, where, &node->huge[i]);
		if (!told && view->topology->node_count == 1)
			node->huge[i] = m->huge[i];
	}
}

/* The word in brackets: "always [madvise] never". */
static void chosen_word(const struct topo_view *view, const char *name, char *word, size_t size)
{
	char text[256], *start, *end;

	word[0] = 0;
	if (!read_file(view, text, sizeof(text), THP "/%s", name))
		return;
	start = strchr(text, '[');
	end = start != NULL ? strchr(start, ']') : NULL;
	if (end != NULL)
		snprintf(word, size, "%.*s", (int)(end - start - 1), start + 1);
}

/* The text after a key of /proc/cpuinfo, "model name\t: ...": of the first CPU. */
static void read_model(struct topo_view *view)
{
	char text[TEXT_SIZE], *at;

	read_file(view, text, sizeof(text), "/proc/cpuinfo");
	at = strstr(text, "model name");
	at = at != NULL ? strchr(at, ':') : NULL;
	if (at == NULL)
		return;
	at += 1 + strspn(at + 1, " ");
	snprintf(view->memory.cpu_model, sizeof(view->memory.cpu_model), "%.*s",
		 (int)strcspn(at, "\n"), at);
}

/* What a report of a fault asks for first. */
static void read_system(struct topo_view *view)
{
	struct topo_memory *m = &view->memory;
	char text[64];

	if (read_file(view, text, sizeof(text), "/proc/sys/kernel/osrelease"))
		snprintf(m->kernel, sizeof(m->kernel), "%.*s", (int)strcspn(text, "\n"), text);
	if (view->options->root[0] == 0)
		snprintf(m->libc, sizeof(m->libc), "%s", gnu_get_libc_version());
	read_model(view);
}

static void forget_nodes(struct topo_view *view)
{
	for (uint32_t i = 0; i < view->topology->node_count; i++) {
		struct topo_node *node = &view->memory.node[i];

		node->free = TOPO_UNKNOWN;
		for (int k = 0; k < TOPO_HUGE_SIZES; k++)
			node->huge[k] = (struct topo_huge){ 0, TOPO_UNKNOWN, TOPO_UNKNOWN,
				TOPO_UNKNOWN, TOPO_UNKNOWN };
	}
}

void topo_memory_read(struct topo_view *view)
{
	const struct topo_options *o = view->options;
	struct topo_memory *m = &view->memory;
	char text[TEXT_SIZE];

	m->node = topo_alloc(view->topology->node_count, sizeof(*m->node));
	m->available = TOPO_UNKNOWN;
	m->known = (o->xml == NULL && o->synthetic == NULL) || o->root[0] != 0;
	forget_nodes(view);
	if (!m->known)
		return;
	if (read_file(view, text, sizeof(text), "/proc/meminfo"))
		m->available = kib_after(text, "MemAvailable:");
	read_system(view);
	find_sizes(view);
	for (uint32_t i = 0; i < m->huge_sizes; i++)
		read_huge(view, HUGE_ALL, &m->huge[i]);
	for (uint32_t i = 0; i < view->topology->node_count; i++)
		read_node(view, i);
	chosen_word(view, "enabled", m->thp, sizeof(m->thp));
	chosen_word(view, "defrag", m->thp_defrag, sizeof(m->thp_defrag));
	chosen_word(view, "shmem_enabled", m->thp_shmem, sizeof(m->thp_shmem));
}

const struct topo_huge *topo_huge_of(const struct topo_huge *huge, uint64_t size)
{
	for (int i = 0; i < TOPO_HUGE_SIZES; i++)
		if (huge[i].size == size && huge[i].total != TOPO_UNKNOWN)
			return &huge[i];
	return NULL;
}
