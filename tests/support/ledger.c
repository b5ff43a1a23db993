/* SPDX-License-Identifier: MIT */
/*
 * The tests' ledger, see ledger.h: an open-addressed table of addresses that only grows, beside
 * each address the stamp of its present lease (0: not held).
 */
#include "ledger.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "check.h"

struct entry {
	_Atomic uintptr_t block;
	_Atomic uint64_t stamp;
};

struct ledger {
	size_t mask;
	size_t block_size;
	atomic_uint_fast64_t next_stamp;
	atomic_size_t held;
	struct entry entry[];
};

struct ledger *ledger_new(size_t max_blocks, size_t block_size)
{
	size_t size = 64;
	struct ledger *ledger;

	while (size < max_blocks * 2)
		size *= 2;
	ledger = calloc(1, sizeof(*ledger) + size * sizeof(struct entry));
	CHECK(ledger != NULL, "a ledger of %zu blocks", max_blocks);
	ledger->mask = size - 1;
	ledger->block_size = block_size;
	return ledger;
}

void ledger_free(struct ledger *ledger)
{
	free(ledger);
}

/* Finds the block's entry, or claims a free one. An entry keeps its address for ever. */
static struct entry *entry_of(struct ledger *ledger, void *block)
{
	uintptr_t address = (uintptr_t)block;
	size_t at = (size_t)((address >> 3) * 0x9e3779b97f4a7c15u >> 20);

	for (size_t i = 0; i <= ledger->mask; i++) {
		struct entry *entry = &ledger->entry[(at + i) & ledger->mask];
		uintptr_t seen = atomic_load(&entry->block);

		if (seen == 0 && atomic_compare_exchange_strong(&entry->block, &seen, address))
			return entry;
		if (seen == address)
			return entry;
	}
	check_failed(__FILE__, __LINE__, "table full", "more addresses than blocks were carved");
}

/* Blocks of less than two words carry no stamps; double leases are found all the same. */
static bool stamped(const struct ledger *ledger)
{
	return ledger->block_size >= 2 * sizeof(uint64_t);
}

static char *last_word(const struct ledger *ledger, void *block)
{
	return (char *)block + ledger->block_size - sizeof(uint64_t);
}

void ledger_take(struct ledger *ledger, void *block)
{
	struct entry *entry = entry_of(ledger, block);
	uint64_t stamp = atomic_fetch_add(&ledger->next_stamp, 1) + 1, none = 0;

	CHECK(atomic_compare_exchange_strong(&entry->stamp, &none, stamp),
	      "block %p was leased twice: it is out as lease %llu, now again as %llu", block,
	      (unsigned long long)none, (unsigned long long)stamp);
	atomic_fetch_add(&ledger->held, 1);
	if (!stamped(ledger))
		return;
	memcpy(block, &stamp, sizeof(stamp));
	memcpy(last_word(ledger, block), &stamp, sizeof(stamp));
}

static void check_word(void *block, const char *which, const void *at, uint64_t stamp)
{
	uint64_t found;

	memcpy(&found, at, sizeof(found));
	CHECK(found == stamp, "block %p: its %s word is %llx, written was %llx", block, which,
	      (unsigned long long)found, (unsigned long long)stamp);
}

void ledger_look(struct ledger *ledger, void *block)
{
	uint64_t stamp = atomic_load(&entry_of(ledger, block)->stamp);

	CHECK(stamp != 0, "block %p is not out", block);
	if (!stamped(ledger))
		return;
	check_word(block, "first", block, stamp);
	check_word(block, "last", last_word(ledger, block), stamp);
}

void ledger_give(struct ledger *ledger, void *block)
{
	ledger_look(ledger, block);
	atomic_fetch_sub(&ledger->held, 1);
	CHECK(atomic_exchange(&entry_of(ledger, block)->stamp, 0) != 0,
	      "block %p was given back twice by the test", block);
}

bool ledger_holds(struct ledger *ledger, void *block)
{
	return atomic_load(&entry_of(ledger, block)->stamp) != 0;
}

size_t ledger_count(struct ledger *ledger)
{
	return atomic_load(&ledger->held);
}

void ledger_each(struct ledger *ledger, void (*visit)(void *block, void *context), void *context)
{
	for (size_t i = 0; i <= ledger->mask; i++)
		if (atomic_load(&ledger->entry[i].stamp) != 0)
			visit((void *)atomic_load(&ledger->entry[i].block), context);
}
