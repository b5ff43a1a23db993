/* SPDX-License-Identifier: MIT */
/*
 * mews: a pool of equal memory blocks that any thread leases and returns in a few cycles.
 *
 * Every function here may be called from any thread, with no registration, and concurrently with
 * every other one, unless its contract says otherwise. Control calls return 0 or a negative errno;
 * a lease returns a pointer, or NULL with errno set. The library never prints and never exits.
 *
 * Ordering: what a thread wrote into a block before it returned it happens before whatever the
 * block's next leaser does with it.
 *
 * Signals: lease and return may be called in a signal handler, also in one that interrupted a
 * lease or a return. Growth and oversize leases make system calls that POSIX does not list as
 * async-signal-safe (mmap, madvise), and that Linux allows there. Control calls are not for handlers.
 *
 * fork: the child may lease, return, and dispose. It has a copy of every block, as of all memory.
 */
#ifndef MEWS_H
#define MEWS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <mews/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MEWS_VERSION_MAJOR 0
#define MEWS_VERSION_MINOR 1
#define MEWS_VERSION_PATCH 0

/* The usable length of a block of the default pool: Kestrel's. */
#define MEWS_MAX_POOLED_BLOCK_LENGTH 4032

#if defined(__GNUC__)
#define MEWS_API __attribute__((visibility("default")))
#else
#define MEWS_API
#endif

/* A pool. Opaque: only its address is yours. */
struct mews_pool;

/* How much a pool checks. */
enum mews_checks {
	MEWS_CHECKS_AUTO,       /* FULL under AddressSanitizer and valgrind, else CHEAP */
	MEWS_CHECKS_CHEAP,      /* address range at each return; double and interior returns at the slab */
	MEWS_CHECKS_FULL,       /* every lease and return against a ledger, at ten times the cost */
};

/* What a report is about. */
enum mews_report_kind {
	MEWS_REPORT_DOUBLE_RETURN = 1, /* the block was not leased; the return is ignored */
	MEWS_REPORT_FOREIGN_POINTER,   /* not an address of this pool; the return is ignored */
	MEWS_REPORT_INTERIOR_POINTER,  /* inside a block, not its start; the return is ignored */
	MEWS_REPORT_DEGRADED,          /* the pool works, but not as asked: slower path, smaller pages */
};

struct mews_report {
	size_t size;                   /* of this struct, as the library knows it */
	enum mews_report_kind kind;
	struct mews_pool *pool;
	const void *block;             /* the pointer in question, or NULL */
	const char *message;           /* one line, valid during the call */
};

/*
 * What a pool shall be. Zero everywhere means the default; set size = sizeof(struct
 * mews_pool_config), so that a newer library knows which members an older caller has.
 */
struct mews_pool_config {
	size_t size;            /* sizeof(struct mews_pool_config) */
	const char *name;       /* for reports and statistics; copied, up to 31 characters */
	size_t block_size;      /* usable bytes a block, 1 .. 64 MiB; 0: 4,032 */
	size_t alignment;       /* of each block: a power of two, 8 .. 2 MiB; 0: 64 */
	size_t initial_blocks;  /* backed when the pool is created; 0: none until the first lease */
	size_t max_blocks;      /* hard maximum; 0: what the hard limit of the plan allows */
	size_t growth_blocks;   /* least growth at a time, rounded up to whole slabs; 0: one slab */
	enum mews_mode mode;
	enum mews_node_policy node_policy;
	enum mews_page_policy page_policy;
	enum mews_checks checks;
	size_t oversize_limit;  /* longest oversize lease in bytes; 0: 1 GiB */
	/*
	 * Told of misuse and of degradation, on the thread that met it, maybe inside a lease or a
	 * return. It may lease from and return to other pools; it must not call this one. NULL: the
	 * counters of mews_pool_stats are all that remains.
	 */
	void (*on_report)(void *context, const struct mews_report *report);
	void *context;
};

/*
 * Creates a pool. config: NULL means all defaults. On success *pool is set and 0 is returned.
 * -EINVAL: a member is out of its range, or size is not one that this library knows, or
 *  initial_blocks > max_blocks; *pool is NULL.
 * -ENOMEM: address space or memory for initial_blocks was refused; nothing is kept.
 * What the machine refuses short of that (huge pages, restartable sequences, binding) is not an
 * error: the pool takes the next best way and says so in mews_pool_stats and on_report.
 */
MEWS_API int mews_pool_create(const struct mews_pool_config *config, struct mews_pool **pool);

/*
 * Leases one block of at least block_size bytes; its contents are undefined.
 * NULL and errno: ENOBUFS (the pool is at max_blocks and all are out), ENOMEM (the system refused
 * memory, or the strict node has none), ESHUTDOWN (the pool was disposed).
 * errno is kept where it gets a block. Waits for no other thread, but for a fork under way, and, at
 * max_blocks only, a bounded time for blocks that others are bringing. Async-signal-safe.
 */
MEWS_API void *mews_lease(struct mews_pool *pool);

/*
 * Returns a block, leased by any thread, on any CPU, by any of the lease calls. NULL is ignored.
 * A pointer that is not out on lease is reported (see mews_report_kind) and otherwise ignored as
 * far as the pool's checks go; after a wrong return at CHEAP the pool's contents are undefined only
 * for the block concerned. Waits for no other thread, but for a fork under way; errno is kept.
 * Async-signal-safe.
 */
MEWS_API void mews_return(struct mews_pool *pool, void *block);

/*
 * Leases up to count blocks into blocks[]; returns how many it got. Less than count only where
 * mews_lease would have failed, with errno as there. The order of the blocks is undefined.
 */
MEWS_API size_t mews_lease_many(struct mews_pool *pool, void **blocks, size_t count);

/* Returns count blocks; NULL entries are ignored. As count calls of mews_return, cheaper. */
MEWS_API void mews_return_many(struct mews_pool *pool, void *const *blocks, size_t count);

/*
 * Leases at least bytes bytes. Up to block_size: a block of the pool, as mews_lease. Above: a
 * mapping of its own, page aligned, zeroed, populated, on the caller's node, released to the system
 * when it is returned by mews_return.
 * NULL and errno as mews_lease, and: EMSGSIZE (above oversize_limit), ENOBUFS (too many oversize
 * leases at once, or their sum would pass the pool's hard limit).
 */
MEWS_API void *mews_lease_sized(struct mews_pool *pool, size_t bytes);

/*
 * Waits until every block and every oversize lease is back, or until deadline (CLOCK_MONOTONIC,
 * absolute; NULL: for ever). 0, or -ETIMEDOUT, -EINVAL, -EBUSY (another drain is under way),
 * -ESHUTDOWN (disposed). The pool goes on to work meanwhile, on a slower path; leases made during
 * the drain count as out. When it returns 0, all free blocks lie in their slabs.
 */
MEWS_API int mews_pool_drain(struct mews_pool *pool, const struct timespec *deadline);

/*
 * Gives memory that is free back to the system, a slab at a time, until target_bytes are behind the
 * blocks at most, or budget_us microseconds have passed (0: no bound; a step in between takes tens of
 * them), or no slab is wholly free. Empties the caches and depots for it: call it when load has
 * fallen, not under load. Safe beside everything; nobody waits for it.
 * 0: the target is reached or nothing more is free; -EAGAIN: the budget came first; -EINVAL (NULL);
 * -ESHUTDOWN (disposed).
 */
MEWS_API int mews_pool_trim(struct mews_pool *pool, size_t target_bytes, unsigned budget_us);

/*
 * Disposes of the pool. Leases fail with ESHUTDOWN from now on. Blocks that are out stay valid; each
 * is dropped at its return, and the last one frees the pool, or this call does if none is out.
 * May be called again while blocks are out: it returns 0 and does nothing. 0, or -EINVAL (NULL).
 * The caller sees to it that no thread without a leased block uses the pool from now on.
 */
MEWS_API int mews_pool_dispose(struct mews_pool *pool);

/* Which way lease and return take. */
enum mews_path {
	MEWS_PATH_RSEQ = 1,     /* restartable sequences on per-CPU arrays */
	MEWS_PATH_FALLBACK,     /* per-CPU stacks with a tagged head, one compare-and-swap */
	MEWS_PATH_CHECKED,      /* as fallback, with the ledger of MEWS_CHECKS_FULL */
};

#define MEWS_STATS_NODES 64

struct mews_node_stats {
	uint32_t node;          /* the kernel's number of the node */
	uint32_t reserved;
	uint64_t carved;        /* blocks cut from this node's memory */
	uint64_t leased;        /* of them: out (or in the hands of an operation under way) */
	uint64_t cached;        /* in the caches of its CPUs */
	uint64_t side;          /* in per-CPU side stacks: fallback caches, blocks on their way home */
	uint64_t depot;         /* in magazines */
	uint64_t slab;          /* free in slabs */
	uint64_t backed_1g;     /* bytes, by the pages that were got */
	uint64_t backed_2m;
	uint64_t backed_thp;    /* bytes for which huge pages were asked; the kernel may give fewer */
	uint64_t backed_base;
	uint64_t unbound;       /* bytes whose binding to the node was refused */
};

/*
 * A snapshot. carved = leased + cached + side + depot + slab, always, for each node and in sum: the
 * tiers are counted and leased is the rest. It is exact while no operation is under way.
 */
struct mews_stats {
	size_t size;            /* set by the caller: sizeof(struct mews_stats) */
	char name[32];
	uint64_t block_size;    /* bytes usable */
	uint64_t stride;        /* bytes from one block to the next */
	uint64_t max_blocks;
	uint64_t carved, leased, cached, side, depot, slab;
	uint64_t oversize_leased;  /* oversize leases out, and their bytes */
	uint64_t oversize_bytes;
	uint64_t backed_bytes;  /* memory behind the blocks, and of all the pool's own tables */
	uint64_t metadata_bytes;
	/*
	 * Events since creation. Hits are not counted: that would be the dearest part of a hit; who
	 * wants the rate counts in its own code. A thread that is preempted while it counts may lose
	 * a count.
	 */
	uint64_t lease_misses;  /* lease calls that found the CPU's cache empty, and who served them: */
	uint64_t depot_hits, slab_hits, growths, remote_node, reclaims;
	uint64_t return_misses; /* return calls that found the CPU's cache full, closed or foreign */
	uint64_t foreign_returns;  /* blocks returned on a CPU of another node */
	uint64_t failures;      /* leases that failed */
	uint64_t double_returns, foreign_pointers, interior_pointers;
	uint32_t cache_capacity, magazine;  /* blocks */
	enum mews_mode mode;
	enum mews_path path;
	char path_reason[128];  /* why this path: one sentence */
	uint32_t nodes;         /* entries used below */
	uint32_t reserved;
	struct mews_node_stats node[MEWS_STATS_NODES];
};

/* Fills *stats, whose size member the caller has set. 0, or -EINVAL. */
MEWS_API int mews_pool_stats(struct mews_pool *pool, struct mews_stats *stats);

/*
 * Writes what was planned for this pool and why, a line a decision, into buffer, always terminated
 * if length > 0. Returns the length of the whole text, as snprintf does, or -EINVAL.
 */
MEWS_API int mews_pool_describe(struct mews_pool *pool, char *buffer, size_t length);

/* The library's version, "major.minor.patch". */
MEWS_API const char *mews_version(void);

#ifdef __cplusplus
}
#endif

#endif
