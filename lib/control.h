/* SPDX-License-Identifier: MIT */
/*
 * The control block of a pool: everything behind the handle that is not a CPU's cache. Included by
 * layers 4 and 5. It lies in front of the caches, in one mapping with them:
 *
 *   control | dummy -2 | dummy -1 | cache of CPU 0 | CPU 1 | ... | tables
 *                                            ^ its header, at its end: the handle
 *
 * Invariant: all of it is one piece of memory and the windows another, so that the last return of a
 * disposed pool frees it by two unmappings, in whatever context that return runs.
 */
#ifndef MEWS_LIB_CONTROL_H
#define MEWS_LIB_CONTROL_H

#include <urcu/list.h>
#include <mews/inline.h>
#include <mews/owner_inline.h>
#include "../numa/plan.h"
#include "depot.h"
#include "keeping.h"
#include "oversize.h"
#include "sample.h"
#include "side.h"
#include "slab.h"
#include "waiters.h"

#undef mews_pool_create /* the library defines it; only callers are redirected */

#define MEWS_CONTROL_BYTES 16384
#define MEWS_DUMMIES 2
#define MEWS_CACHE_HEADER_AT (MEWS_CACHE_STRIDE - sizeof(struct mews_cpu_cache))
/* No kernel is built for more CPUs: caches up to here are mapped, of zeros, so that no cpu_id is out
 * of bounds, whatever /sys says in a container. */
#define MEWS_CPU_ID_LIMIT 8192

_Static_assert(MEWS_CACHE_STRIDE == 1 << MEWS_CACHE_SHIFT, "the stride is a shift in the sequences");
_Static_assert(sizeof(struct mews_cpu_cache) == 64, "a cache's header is one line");

#define MEWS_HOLDERS_BIAS (UINT64_C(1) << 62)

enum mews_state {
	MEWS_LIVE,
	MEWS_DRAINING,          /* caches stay closed, returns go to the slabs */
	MEWS_DISPOSED,          /* leases fail, returns drop their block */
};

/* A fork is under way. */
enum mews_frozen {
	MEWS_THAWED,
	MEWS_FREEZING,          /* it waits for those inside */
	MEWS_FROZEN,            /* nobody is inside, but for who forks */
};

/* Why caches stay closed: see detour.h. */
enum mews_detour {
	MEWS_DETOUR_WAIT = 1,   /* a return must see who waits */
	MEWS_DETOUR_SAMPLE = 2, /* a lease must be counted */
};

struct mews_control {
	_Atomic uint32_t state;
	enum mews_path path;
	struct mews_pool *pool;
	struct mews_slabs slabs;
	struct mews_depots depots;
	struct mews_oversize oversize;
	struct mews_sides sides;
	struct mews_samples samples;
	struct mews_waiting waiting;
	const struct mews_words *words; /* of owners; NULL: leases of this pool have none */
	uint64_t registered;            /* owner_pool.c: this pool, for its owners */
	mews_word *leased;              /* CHECKED: bit by block number: it is out */
	mews_word *dropped;             /* DISPOSED: bit by block number: it came back */
	/* Holders of a pool that may end: the bias while it lives, then blocks out and drains under way. */
	mews_word holders;
	_Atomic uint32_t frozen;        /* futex: an enum mews_frozen: see process.c */
	_Atomic uint32_t detours;       /* bits: why the caches stay closed: see detour.h */
	_Atomic uint32_t growers;       /* futex: operations that were let in to grow the pool: see exchange.c */
	_Atomic uint32_t crowd;         /* and those that wait for one of these to leave */
	_Atomic uint32_t draining;      /* a drain is under way */
	_Atomic uint32_t drain_leases;  /* operations that leased during a drain */
	_Atomic uint32_t drain_returns; /* futex: returns during a drain */
	mews_word double_returns, foreign_pointers, interior_pointers;
	void (*on_report)(void *context, const struct mews_report *report);
	void *context;
	char name[32];
	char path_reason[128];
	void *region;                   /* of the mapping this stands in */
	size_t region_length;
	struct cds_list_head link;      /* process.c: all live pools */
	struct mews_keeping keeping;
	struct mews_plan plan;
};

_Static_assert(sizeof(struct mews_control) <= MEWS_CONTROL_BYTES, "the control block fits");

static inline struct mews_control *mews_control_of(struct mews_pool *pool)
{
	return (struct mews_control *)((char *)pool - MEWS_CACHE_HEADER_AT -
				       MEWS_DUMMIES * MEWS_CACHE_STRIDE - MEWS_CONTROL_BYTES);
}

static inline struct mews_cpu_cache *mews_cache_of(struct mews_pool *pool, uint32_t cpu)
{
	return (struct mews_cpu_cache *)((char *)pool + ((size_t)cpu << MEWS_CACHE_SHIFT));
}

/* Where a cache with room for capacity blocks begins. */
static inline void **mews_cache_bottom(struct mews_cpu_cache *cache, uint32_t capacity)
{
	return (void **)cache - capacity;
}

/*
 * After a block was put anywhere, or may be had: tells who waits for one. To be called after the last
 * sequentially consistent change that puts it, so that either this sees the waiter's reason to wait, or
 * the waiter's look the block.
 */
static inline void mews_notice(struct mews_control *control)
{
	if (__builtin_expect(atomic_load(&control->detours) & MEWS_DETOUR_WAIT, 0))
		mews_waiters_notice(control);
}

/* Says a report to the caller's callback, if any, and counts it if it is a misuse. */
void mews_report(struct mews_control *control, enum mews_report_kind kind, const void *block,
		 const char *message);

/* Frees everything. Only for the last holder. */
void mews_control_destroy(struct mews_control *control);

/* glibc's __rseq_offset, copied when the library is loaded: one load less than through the GOT. */
extern ptrdiff_t mews_rseq_offset;

#endif
