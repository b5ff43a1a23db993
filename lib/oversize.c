/* SPDX-License-Identifier: MIT */
/*
 * Oversize leases (layer 3): see oversize.h. An entry's life: 0 -> 1 (claimed, length written) ->
 * address (out) -> 1 (claimed by the one return that wins) -> 0. A second return of the same address
 * finds no entry, unless the kernel gave the address out again in between: then it is that lease's.
 */
#include <errno.h>
#include <unistd.h>
#include "budget.h"
#include "oversize.h"

#define PROBES 64
#define CLAIMED 1

void mews_oversize_init(struct mews_oversize *o, void *tables)
{
	*o = (struct mews_oversize) { .entry = tables };
}

/* Fibonacci hashing of the page number (Knuth, volume 3, 6.4). */
static uint32_t home_of(uint64_t address)
{
	return (uint32_t)((address >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> 48);
}

static struct mews_oversize_entry *probe(const struct mews_oversize *o, uint64_t address, unsigned step)
{
	return &o->entry[(home_of(address) + step) % MEWS_OVERSIZE_ENTRIES];
}

/* Finds an entry near address's home that holds `from`, and changes it to CLAIMED. */
static struct mews_oversize_entry *claim(struct mews_oversize *o, uint64_t address, uint64_t from)
{
	struct mews_oversize_entry *entry;
	uint64_t expected;
	unsigned step;

	for (step = 0; step < PROBES; step++) {
		entry = probe(o, address, step);
		expected = from;
		/* O1: acquires the length that O2 released. */
		if (atomic_compare_exchange_strong_explicit(&entry->address, &expected, CLAIMED,
				memory_order_acquire, memory_order_relaxed))
			return entry;
	}
	return NULL;
}

/* O2: releases the length to O1, and an entry's end to its next claim. */
static void settle(struct mews_oversize_entry *entry, uint64_t address)
{
	atomic_store_explicit(&entry->address, address, memory_order_release);
}

/* Relaxed: counts, they publish nothing. */
static bool claim_bytes(struct mews_oversize *o, uint64_t length)
{
	if (!mews_budget_claim(&mews_process_budget, length))
		return false;
	atomic_fetch_add_explicit(&o->bytes, length, memory_order_relaxed);
	return true;
}

static void release_bytes(struct mews_oversize *o, uint64_t length)
{
	atomic_fetch_sub_explicit(&o->bytes, length, memory_order_relaxed);
	mews_budget_release(&mews_process_budget, length);
}

void *mews_oversize_lease(struct mews_oversize *o, size_t bytes,
			  const struct mews_place_request *request)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t length = (bytes + page - 1) / page * page;
	struct mews_oversize_entry *entry;
	void *address;

	if (!claim_bytes(o, length)) {
		errno = ENOBUFS;
		return NULL;
	}
	address = mews_place_map(length, request);
	entry = address ? claim(o, (uintptr_t)address, 0) : NULL;
	if (!entry) {
		release_bytes(o, length);
		if (address)
			mews_place_release(address, length);
		errno = address ? ENOBUFS : ENOMEM;
		return NULL;
	}
	/* Relaxed, as below: O2 publishes it; a report may read it at any time. */
	atomic_store_explicit(&entry->length, length, memory_order_relaxed);
	atomic_fetch_add_explicit(&o->count, 1, memory_order_relaxed);
	settle(entry, (uintptr_t)address);
	return address;
}

size_t mews_oversize_index(const struct mews_oversize *o, const void *address)
{
	const struct mews_oversize_entry *entry;
	unsigned step;

	for (step = 0; (uintptr_t)address > CLAIMED && step < PROBES; step++) {
		entry = probe(o, (uintptr_t)address, step);
		/* Relaxed: the caller has the address, and so what led to it. */
		if (atomic_load_explicit(&entry->address, memory_order_relaxed) ==
		    (uintptr_t)address)
			return (size_t)(entry - o->entry);
	}
	return MEWS_OVERSIZE_ENTRIES;
}

bool mews_oversize_return(struct mews_oversize *o, void *address)
{
	struct mews_oversize_entry *entry;
	size_t length;

	if ((uintptr_t)address <= CLAIMED)
		return false;
	entry = claim(o, (uintptr_t)address, (uintptr_t)address);
	if (!entry)
		return false;
	length = atomic_load_explicit(&entry->length, memory_order_relaxed);
	settle(entry, 0);
	mews_place_release(address, length);
	release_bytes(o, length);
	return true;
}

void mews_oversize_uncount(struct mews_oversize *o)
{
	/* O3: release: a drain that sees the count fall sees the mapping gone. */
	atomic_fetch_sub_explicit(&o->count, 1, memory_order_release);
}
