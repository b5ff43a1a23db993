/* SPDX-License-Identifier: MIT */
/*
 * Placement (layer 1): reserve address space, back parts of it with memory of a node, verify where
 * it lies, give it back. Called by lib/slab.c and lib/pool.c. Invariant: memory is populated when
 * it is backed, so that a shortage is an error of the call and not a SIGBUS at the touch.
 * Synchronization: reserve and release of a whole range belong to one thread; back, discard and
 * verify may run concurrently on ranges that do not overlap.
 */
#ifndef MEWS_NUMA_PLACE_H
#define MEWS_NUMA_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <mews/policy.h>

/* What backing got, in bytes by page size; the counts of several calls may be added up. */
struct mews_backing {
	uint64_t pages_1g, pages_2m, thp, base;
	uint64_t unbound;       /* bytes whose binding to the node was refused */
};

struct mews_place_request {
	uint32_t node;                  /* the kernel's number */
	enum mews_node_policy policy;
	enum mews_page_policy top;      /* first rung tried; one that does not divide is skipped */
	bool bind;                      /* false: one node, nothing to bind */
	bool thp;                       /* transparent huge pages are switched on: known, not to be asked */
	bool advised;                   /* with thp and as first rung: mews_place_advise was, of this range */
	bool local;                     /* preferred: refuse, rather than take another node's memory */
};

/*
 * Reserves length bytes of address space, no memory, aligned to alignment (a power of two). NULL and
 * errno ENOMEM. Release with mews_place_release.
 */
void *mews_place_reserve(size_t length, size_t alignment);

/* Releases a range that was reserved, or an oversize mapping, with all that backs it. */
void mews_place_release(void *addr, size_t length);

/*
 * Asks that [addr, addr + length) of a reserved range, nothing of which was ever backed, gets transparent
 * huge pages where it is backed. False where the kernel refuses.
 */
bool mews_place_advise(void *addr, size_t length);

/*
 * Makes [addr, addr + length) of a reserved range readable and writable for tables: zeroed base
 * pages that appear at the first touch. 0 or -ENOMEM.
 */
int mews_place_table(void *addr, size_t length);

/*
 * Backs [addr, addr + length) of a reserved range: zeroed, populated, bound to the node. Goes down
 * the ladder 1 GiB -> 2 MiB -> THP -> base from request->top. hugetlb pages are the node's or none.
 * They are mapped MAP_SHARED (from a memfd), so that a fork can't take them away; see lib/process.c.
 * Other pages are the node's where the policy is strict, and where local is set: huge ones for certain,
 * base pages as far as can be known before; else the kernel looks on. Adds what was got to *got.
 * 0; -ENOMEM: no rung gave memory (or strict binding failed), and the range is as reserved before.
 */
int mews_place_back(void *addr, size_t length, const struct mews_place_request *request,
		    struct mews_backing *got);

/* Gives the memory of [addr, length) back to the system; the range stays reserved. 0 or -errno. */
int mews_place_discard(void *addr, size_t length);

/*
 * Readies [addr, addr + length), backed by transparent huge pages, for giving back parts: splits the
 * pages, now rather than when memory is short, and keeps the kernel from joining them again. All of
 * it stays populated, as far as there is memory. Contents stay; blocks of it may be in use.
 */
void mews_place_split(void *addr, size_t length);

/*
 * Gives the memory of part of a range of base pages, or of one that was split, back to the system; it
 * stays readable and writable. 0 or -errno, and the memory is still there.
 */
int mews_place_discard_part(void *addr, size_t length);

/* Populates such a part again, zeroed. 0 or -ENOMEM: some of it may be populated, what was stays. */
int mews_place_refill(void *addr, size_t length, const struct mews_place_request *request);

/* Bytes of [addr, addr + length), tables, that have memory behind them; 0 where nobody tells. */
size_t mews_place_resident(void *addr, size_t length);

/* A populated mapping of its own, for an oversize lease. NULL and errno ENOMEM. */
void *mews_place_map(size_t length, const struct mews_place_request *request);

/*
 * Asks the kernel on which node each of count pages lies: node[i] is it, or -errno for that page: not
 * populated is -ENOENT, or -EFAULT to kernels as old as 6.1, where none of 2 MiB around it is. 0, or
 * -errno where the kernel does not tell at all.
 */
int mews_place_verify(void *const *pages, size_t count, int *node);

/*
 * Turns [addr, length), hugetlb pages shared with the parent, into private base pages of the same
 * content, in the child of a fork. copy(addr, length, to, context) copies what matters. 0 or -ENOMEM.
 */
int mews_place_privatize(void *addr, size_t length,
			 void (*copy)(const void *from, size_t length, void *to, void *context),
			 void *context);

#endif
