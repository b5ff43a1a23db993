/* SPDX-License-Identifier: MIT */
/*
 * Words (mews-topo): lists of ids as people read them, and small growing arrays of ids; numbers and
 * sizes are in numa/words.h. Called by every part that writes.
 */
#ifndef TOPO_WORDS_H
#define TOPO_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include "numa/words.h"

struct topo_ids {
	uint32_t *id;
	size_t count, room;
};

/* Adds an id. Memory for ids is little: the program ends where there is none. */
void topo_ids_add(struct topo_ids *ids, uint32_t id);
void topo_ids_add_all(struct topo_ids *to, const struct topo_ids *from);
void topo_ids_free(struct topo_ids *ids);

/*
 * Writes the ids, sorted, as "0-3,8" into text, "none" where there are none; a list that is too
 * long ends in "...". Sorts *ids. Returns text.
 */
char *topo_ids_text(struct topo_ids *ids, char *text, size_t size);

/* Adds the ids of a list "0-3,8"; ids of limit and above are left out. */
void topo_ids_parse(struct topo_ids *ids, const char *list, uint32_t limit);

/* calloc, or the program's end with a message. */
void *topo_alloc(size_t count, size_t size);

#endif
