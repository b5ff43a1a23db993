/* SPDX-License-Identifier: MIT */
/*
 * What memory this process holds (layer 6), see memory.h. Invariant: a line that the kernel does
 * not write counts as 0.
 */
#include "memory.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *key;
	size_t member;
} lines[] = {
	{ "Rss:", offsetof(struct perf_memory, rss) },
	{ "Pss:", offsetof(struct perf_memory, pss) },
	{ "AnonHugePages:", offsetof(struct perf_memory, thp) },
	{ "ShmemPmdMapped:", offsetof(struct perf_memory, thp) },
	{ "Private_Hugetlb:", offsetof(struct perf_memory, hugetlb) },
	{ "Shared_Hugetlb:", offsetof(struct perf_memory, hugetlb) },
};

static void take_line(struct perf_memory *memory, const char *line)
{
	unsigned long long kilobytes;
	char key[64];

	if (sscanf(line, "%63s %llu", key, &kilobytes) != 2)
		return;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (!strcmp(key, lines[i].key))
			*(uint64_t *)((char *)memory + lines[i].member) += kilobytes << 10;
}

int perf_memory_read(struct perf_memory *memory)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	char line[256];

	memset(memory, 0, sizeof(*memory));
	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file))
		take_line(memory, line);
	fclose(file);
	return 0;
}

double perf_memory_held(void)
{
	struct perf_memory memory;

	return perf_memory_read(&memory) ? -1 : (double)(memory.pss + memory.hugetlb);
}
