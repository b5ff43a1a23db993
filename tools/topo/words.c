/* SPDX-License-Identifier: MIT */
/*
 * Words (mews-topo): lists of ids and errors as people read them. Called by every part that writes.
 * Keeps no state.
 */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "topo.h"
#include "words.h"

int topo_fail(const char *format, ...)
{
	va_list list;

	fputs("mews-topo: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	return -1;
}

void *topo_alloc(size_t count, size_t size)
{
	void *memory = calloc(count > 0 ? count : 1, size);

	if (memory == NULL) {
		topo_fail("out of memory");
		exit(TOPO_EXIT_ERROR);
	}
	return memory;
}

void topo_ids_add(struct topo_ids *ids, uint32_t id)
{
	if (ids->count == ids->room) {
		size_t room = ids->room > 0 ? 2 * ids->room : 8;
		uint32_t *larger = topo_alloc(room, sizeof(*larger));

		if (ids->count > 0)
			memcpy(larger, ids->id, ids->count * sizeof(*larger));
		free(ids->id);
		ids->id = larger;
		ids->room = room;
	}
	ids->id[ids->count++] = id;
}

void topo_ids_add_all(struct topo_ids *to, const struct topo_ids *from)
{
	for (size_t i = 0; i < from->count; i++)
		topo_ids_add(to, from->id[i]);
}

void topo_ids_free(struct topo_ids *ids)
{
	free(ids->id);
	*ids = (struct topo_ids){ 0 };
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The last of the run of successive ids that begins at i. */
static size_t run_end(const struct topo_ids *ids, size_t i)
{
	while (i + 1 < ids->count && ids->id[i + 1] <= ids->id[i] + 1)
		i++;
	return i;
}

char *topo_ids_text(struct topo_ids *ids, char *text, size_t size)
{
	size_t at = 0;

	snprintf(text, size, "none");
	if (ids->count > 0)
		qsort(ids->id, ids->count, sizeof(*ids->id), by_id);
	for (size_t i = 0; i < ids->count; i++) {
		size_t end = run_end(ids, i);
		char piece[32];
		int length = ids->id[end] == ids->id[i] ?
			snprintf(piece, sizeof(piece), "%s%u", at ? "," : "", ids->id[i]) :
			snprintf(piece, sizeof(piece), "%s%u%s%u", at ? "," : "", ids->id[i],
				 ids->id[end] == ids->id[i] + 1 ? "," : "-", ids->id[end]);

		if (at + (size_t)length + 4 >= size) {
			snprintf(text + at, size - at, "...");
			break;
		}
		memcpy(text + at, piece, (size_t)length + 1);
		at += (size_t)length;
		i = end;
	}
	return text;
}

void topo_ids_parse(struct topo_ids *ids, const char *list, uint32_t limit)
{
	char *end;

	while (*list >= '0' && *list <= '9') {
		unsigned long first = strtoul(list, &end, 10);
		unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		for (unsigned long id = first; id <= last && id < limit; id++)
			topo_ids_add(ids, (uint32_t)id);
		list = *end == ',' ? end + 1 : "";
	}
}
