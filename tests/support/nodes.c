/* SPDX-License-Identifier: MIT */
/* Nodes as the kernel tells them, see nodes.h. */
#include "nodes.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

#define SYS "/sys/devices/system/node"
#define BATCH 1024              /* pages asked for at once */

static int by_id(const void *a, const void *b)
{
	const struct node *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static void read_distances(struct nodes *nodes, struct node *node)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), SYS "/node%u/distance", node->id);
	file = fopen(path, "r");
	CHECK(file, "%s: %s", path, strerror(errno));
	for (unsigned i = 0; i < nodes->count; i++)
		CHECK(fscanf(file, "%u", &node->distance[i]) == 1, "%s is short", path);
	fclose(file);
}

void nodes_read(struct nodes *nodes)
{
	DIR *folder = opendir(SYS);
	struct dirent *entry;

	memset(nodes, 0, sizeof(*nodes));
	while (folder && (entry = readdir(folder)) && nodes->count < NODES_MOST)
		nodes->count += sscanf(entry->d_name, "node%u", &nodes->node[nodes->count].id) == 1;
	if (folder)
		closedir(folder);
	qsort(nodes->node, nodes->count, sizeof(nodes->node[0]), by_id);
	for (unsigned i = 0; i < nodes->count; i++) {
		int64_t memory = nodes_meminfo(nodes, i, "MemTotal");

		nodes->node[i].memory = memory > 0 ? (uint64_t)memory : 0;
		read_distances(nodes, &nodes->node[i]);
	}
}

unsigned nodes_index(const struct nodes *nodes, unsigned id)
{
	unsigned i = 0;

	while (i < nodes->count && nodes->node[i].id != id)
		i++;
	CHECK(i < nodes->count, "there is no node %u", id);
	return i;
}

unsigned nodes_of_cpu(const struct nodes *nodes, unsigned cpu)
{
	char path[96];
	unsigned i;

	for (i = 0; i < nodes->count; i++) {
		snprintf(path, sizeof(path), SYS "/node%u/cpu%u", nodes->node[i].id, cpu);
		if (access(path, F_OK) == 0)
			return i;
	}
	CHECK(false, "CPU %u is on no node", cpu);
}

static bool nearer(const struct node *from, unsigned a, unsigned b)
{
	return from->distance[a] < from->distance[b] ||
	       (from->distance[a] == from->distance[b] && a < b);
}

unsigned nodes_nearest(const struct nodes *nodes, unsigned from, unsigned rank)
{
	const struct node *node = &nodes->node[from];

	for (unsigned i = 0; i < nodes->count; i++) {
		unsigned before = 0;

		for (unsigned j = 0; j < nodes->count; j++)
			before += nodes->node[j].memory && nearer(node, j, i);
		if (nodes->node[i].memory && before == rank)
			return i;
	}
	return NODES_MOST;
}

int64_t nodes_meminfo(const struct nodes *nodes, unsigned index, const char *key)
{
	char path[96], line[128], wanted[64];
	long long kib = -1;
	FILE *file;

	snprintf(path, sizeof(path), SYS "/node%u/meminfo", nodes->node[index].id);
	snprintf(wanted, sizeof(wanted), " %s: ", key);
	file = fopen(path, "r");
	CHECK(file, "%s: %s", path, strerror(errno));
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		char *found = strstr(line, wanted);

		if (found)
			kib = atoll(found + strlen(wanted));
	}
	fclose(file);
	return kib < 0 ? -1 : kib * 1024;
}

uint64_t nodes_hugepages(const struct nodes *nodes, unsigned index, unsigned kib, const char *which)
{
	unsigned long long pages = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), SYS "/node%u/hugepages/hugepages-%ukB/%s",
		 nodes->node[index].id, kib, which);
	file = fopen(path, "r");
	if (!file)
		return 0;
	CHECK(fscanf(file, "%llu", &pages) == 1, "%s is no number", path);
	fclose(file);
	return pages;
}

void nodes_of_range(const struct nodes *nodes, const void *addr, size_t length, size_t *pages,
		    size_t *absent)
{
	uintptr_t page = (uintptr_t)getpagesize(), at = (uintptr_t)addr & ~(page - 1);
	uintptr_t end = (uintptr_t)addr + length;
	void *asked[BATCH];
	int status[BATCH];

	while (at < end) {
		unsigned long count = 0;

		for (; count < BATCH && at < end; at += page)
			asked[count++] = (void *)at;
		CHECK(syscall(SYS_move_pages, 0, count, asked, NULL, status, 0) == 0,
		      "move_pages: %s", strerror(errno));
		for (unsigned long i = 0; i < count; i++)
			if (status[i] >= 0)
				pages[nodes_index(nodes, (unsigned)status[i])]++;
			else
				++*absent;
	}
}

/* "N1=12 kernelpagesize_kB=4": the sizes come last. */
static void read_map(const struct nodes *nodes, char *line, uint64_t *bytes)
{
	uint64_t pages[NODES_MOST] = { 0 }, size = 4;
	char *rest = NULL;

	for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
		unsigned long long count;
		unsigned id;

		if (sscanf(word, "N%u=%llu", &id, &count) == 2)
			pages[nodes_index(nodes, id)] += count;
		else if (sscanf(word, "kernelpagesize_kB=%llu", &count) == 1)
			size = count;
	}
	for (unsigned i = 0; i < nodes->count; i++)
		bytes[i] += pages[i] * size * 1024;
}

void nodes_of_maps(const struct nodes *nodes, const void *addr, size_t length, uint64_t *bytes)
{
	FILE *file = fopen("/proc/self/numa_maps", "r");
	char *line = NULL;
	size_t size = 0;

	CHECK(file, "/proc/self/numa_maps: %s", strerror(errno));
	while (getline(&line, &size, file) > 0) {
		uintptr_t start = strtoull(line, NULL, 16);

		if (start - (uintptr_t)addr < length)
			read_map(nodes, line, bytes);
	}
	free(line);
	fclose(file);
}
