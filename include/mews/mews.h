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
 * A handler that interrupted a call of the library must come back to it. One that leaves by longjmp, or
 * ends its thread, in a lease or return that hits loses at most the blocks of that call, which stay out;
 * in any other call also what was in its hands, and whoever waits for operations to end (a drain, a
 * dispose, a fork) then waits for ever. Leases with owners promise more: see mews/owner.h.
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
	/* Every lease and return against a ledger, each lease with its call: a debugging aid. */
	MEWS_CHECKS_FULL,
};

/* What a report is about. */
enum mews_report_kind {
	MEWS_REPORT_DOUBLE_RETURN = 1, /* the block was not leased; the return is ignored */
	MEWS_REPORT_FOREIGN_POINTER,   /* not an address of this pool; the return is ignored */
	MEWS_REPORT_INTERIOR_POINTER,  /* inside a block, not its start; the return is ignored */
	MEWS_REPORT_DEGRADED,          /* the pool works, but not as asked: slower path, smaller pages */
	MEWS_REPORT_OUTSTANDING,       /* a drain ended by its deadline, or the pool was disposed of, with
					  blocks out; block and site: the oldest of the commonest site */
	MEWS_REPORT_OWNER_ENDED,       /* the block came back when its owner ended; the return is ignored */
};

/* Return addresses that are kept of a stack. */
#define MEWS_SITE_DEPTH 8

/*
 * Leases that one stack made, as far as they were sampled: see mews_pool_sample_leases. Ages are those
 * of leases that are still out; block and thread are those of the oldest.
 */
struct mews_lease_site {
	size_t size;                   /* of this struct, as the library knows it */
	struct mews_pool *pool;
	uint64_t leases;               /* sampled ones */
	uint64_t bytes;                /* usable, in them */
	uint64_t estimate;             /* leases that they stand for: as many times one in n */
	uint64_t oldest_ns, youngest_ns; /* ages in nanoseconds */
	const void *block;
	int32_t thread;                /* the kernel's number of it, as gettid(2) says; 0: not known */
	uint32_t depth;                /* of the stack; 0: it is not known */
	void *stack[MEWS_SITE_DEPTH];  /* return addresses, [0] of the call of the library */
	char owner[32];                /* whose lease block is, see mews/owner.h; empty: nobody's */
};

struct mews_report {
	size_t size;                   /* of this struct, as the library knows it */
	enum mews_report_kind kind;
	struct mews_pool *pool;
	const void *block;             /* the pointer in question, or NULL */
	const char *message;           /* one line, valid during the call */
	/* The last lease of the block, or of the one around it, where it was sampled, else NULL. */
	const struct mews_lease_site *site;
};

/* Who gives back what a pool does not use any more. */
enum mews_keeper {
	MEWS_KEEPER_THREAD,     /* one thread of the library, for all pools that decay */
	MEWS_KEEPER_CALLER,     /* the caller, by mews_keeper_step */
};

#define MEWS_DECAY_NEVER 0xffffffffu

/*
 * What a pool shall be. Zero everywhere means the default; set size = sizeof(struct
 * mews_pool_config), so that a newer library knows which members an older caller has.
 */
struct mews_pool_config {
	size_t size;            /* sizeof(struct mews_pool_config) */
	const char *name;       /* for reports and statistics; copied, up to 31 characters */
	size_t block_size;      /* usable bytes a block, 1 .. 64 MiB; 0: 4,032 */
	size_t alignment;       /* of each block: a power of two, 8 .. 2 MiB; 0: 64 */
	size_t initial_blocks;  /* backed when the pool is created, kept by the keeper; 0: none yet */
	size_t max_blocks;      /* hard maximum; 0: what the hard limit of the plan allows */
	size_t growth_blocks;   /* least growth at a time, rounded up to extents; 0: one extent */
	enum mews_mode mode;
	enum mews_node_policy node_policy;
	enum mews_page_policy page_policy;
	enum mews_checks checks;
	size_t oversize_limit;  /* longest oversize lease in bytes; 0: 1 GiB */
	/*
	 * Told of misuse, of degradation, and of what is out at the end, on the thread that met it, maybe
	 * inside a lease or a return: it must come back, and the thread is not cancelled meanwhile. It may
	 * lease from and return to other pools; it must not call this one. NULL: the counters of
	 * mews_pool_stats are all that remains.
	 */
	void (*on_report)(void *context, const struct mews_report *report);
	void *context;
	unsigned owners;        /* 1: leases may have owners: see mews/owner.h; 1,024 such pools a process */
	enum mews_keeper keeper;
	/*
	 * Milliseconds after which memory that was not needed goes back to the system; 0: as MEWS_DECAY
	 * says, else 1,500 in server and 250 in workstation mode. MEWS_DECAY_NEVER: it stays, under
	 * memory pressure too.
	 */
	unsigned decay_ms;
};

/*
 * Creates a pool. config: NULL means all defaults. On success *pool is set and 0 is returned.
 * -EINVAL: a member is out of its range, or size is not one that this library knows, or
 *  initial_blocks > max_blocks, or pool is NULL; *pool is NULL.
 * -ENOMEM: address space or memory for initial_blocks was refused, or there are 1,024 pools with owners;
 *  nothing is kept.
 * What the machine refuses short of that (huge pages, restartable sequences, binding) is not an
 * error: the pool takes the next best way and says so in mews_pool_stats. on_report is told of the
 * fallback path, and of refused hugetlb pages where page_policy asks for them and initial_blocks for memory.
 */
MEWS_API int mews_pool_create(const struct mews_pool_config *config, struct mews_pool **pool);

/*
 * Leases one block of at least block_size bytes; its contents are undefined.
 * NULL and errno: ENOBUFS (a limit is reached and all blocks are out), ENOMEM (the system refused
 * memory, or the strict node has none), ESHUTDOWN (the pool was disposed).
 * errno is kept where it gets a block. Waits for no other thread, but for a fork under way, and a
 * bounded time for blocks that others are bringing: at a limit, and where as many threads as there are
 * CPUs are getting memory from the system, as long as that takes, up to about a second. Async-signal-safe.
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
 * As mews_lease, but that at the limit it waits, in the order in which waiters came, until a block is
 * there for it or until deadline (CLOCK_MONOTONIC, absolute; NULL: for ever; one that is past: as
 * mews_lease, unless others wait). A return on any CPU hands its block to the first waiter.
 * NULL and errno as mews_lease but ENOBUFS, and: ETIMEDOUT, EINVAL (deadline).
 * A cancellation point: a thread that is cancelled leaves the queue and takes no block along. Not for
 * signal handlers, nor to be left by longjmp from one. The child of a fork has no waiters.
 */
MEWS_API void *mews_lease_wait(struct mews_pool *pool, const struct timespec *deadline);

/*
 * Leases at least bytes bytes. Up to block_size: a block of the pool, as mews_lease. Above: a
 * mapping of its own, page aligned, zeroed, populated, on the caller's node, released to the system
 * when it is returned by mews_return.
 * NULL and errno as mews_lease, and: EMSGSIZE (above oversize_limit), ENOBUFS (too many oversize
 * leases at once, or the process's hard limit has no room).
 */
MEWS_API void *mews_lease_sized(struct mews_pool *pool, size_t bytes);

/*
 * Waits until every block and every oversize lease is back, or until deadline (CLOCK_MONOTONIC,
 * absolute; NULL: for ever). 0, or -ETIMEDOUT, -EINVAL, -EBUSY (another drain is under way),
 * -ESHUTDOWN (disposed). The pool goes on to work meanwhile, on a slower path; leases made during
 * the drain count as out. When it returns 0, all free blocks lie in their slabs; when it gives up,
 * on_report is told what is out (MEWS_REPORT_OUTSTANDING).
 */
MEWS_API int mews_pool_drain(struct mews_pool *pool, const struct timespec *deadline);

/*
 * Gives memory that is free back to the system until target_bytes are behind the blocks at most, or
 * budget_us microseconds have passed (0: no bound; it looks at the clock between steps of tens of
 * them), or nothing more is free: slabs whose blocks are all free first, then the pages of other slabs
 * on which no block is in use. Huge pages are split for it where at least an eighth of the blocks on them
 * is free; those of hugetlbfs never. Empties the caches and depots for it: call it when load has fallen,
 * not under load. Safe beside everything; nobody waits for it.
 * 0: the target is reached or nothing more is free; -EAGAIN: the budget came first, the next call
 * goes on; -EINVAL (NULL); -ESHUTDOWN (disposed).
 */
MEWS_API int mews_pool_trim(struct mews_pool *pool, size_t target_bytes, unsigned budget_us);

/*
 * Gives back everything that is free, now, whatever it costs: for investigations and for moments of
 * silence. As mews_pool_trim with no target and no bound, and it splits every huge page. 0, -EINVAL,
 * -ESHUTDOWN.
 */
MEWS_API int mews_pool_collect(struct mews_pool *pool);

/*
 * A step of the keeper, for all pools of the process, for callers who run it themselves (from an event
 * loop's timer): takes what caches and depots did not use to the slabs, and gives what the slabs did
 * not need back. budget_us bounds it, as in mews_pool_trim (0: no bound); beside that, a look at a
 * pool takes up to 10 us for each CPU whose cache is closed.
 * Returns in how many milliseconds the next step is due: more than there is to do at once is due
 * soon; at most 2,147,483,647, which says that nothing is to be done until the pools are used again.
 * While mews_on_pressure has callbacks at most 1,000: no one else may look for them.
 */
MEWS_API long mews_keeper_step(unsigned budget_us);

/*
 * Switches the sampling of leases: one lease in one_in is recorded, with the stack, the thread and the
 * time of the call, until the block is returned; 1: each, 0: off, which is free. It says who holds the
 * blocks that do not come back. At run time, in a pool under load.
 *
 * Which ones is counted and not left to chance: of each one_in successive leases on a CPU exactly one,
 * at a place that changes. While it is on, lease and return take the slow path, so that each is seen;
 * a recorded lease costs a microsecond or two more. Switching off forgets the records, since from
 * then on nobody sees a return: report first. Another one_in keeps them.
 *
 * A pool with MEWS_CHECKS_FULL records each lease from the start, by the address of the call alone: a
 * stack is unwound once this was called.
 * 0; -EINVAL (NULL); -ENOMEM: no address space for the records; -EBUSY: another thread switches;
 * -ESHUTDOWN (disposed). Not from on_report.
 */
MEWS_API int mews_pool_sample_leases(struct mews_pool *pool, unsigned one_in);

/*
 * Tells the leases that are out, by site: a call of tell() for each stack, the one with most leases
 * first; at last, with depth 0 and leases and bytes only, what is out of which nothing is known: not
 * sampled, or leased before. Blocks that come and go meanwhile may be in it or not. tell() may call
 * anything, and must come back. 0; -EINVAL (NULL); -ENOMEM: no memory to add up in.
 */
MEWS_API int mews_pool_report_leases(struct mews_pool *pool,
				     void (*tell)(void *context, const struct mews_lease_site *site),
				     void *context);

/*
 * Tells the leases whose owner is gone without having ended, so that nothing will bring them back: in
 * the child of a fork, those of the threads that are not in it. A call of tell() for each: leases is 1,
 * block and owner say which; stack, thread and ages, where it was sampled. mews_return brings one back,
 * mews_owner_adopt gives it to another owner; tell() may call anything. 0, or -EINVAL (NULL).
 */
MEWS_API int mews_pool_report_orphans(struct mews_pool *pool,
				      void (*tell)(void *context, const struct mews_lease_site *site),
				      void *context);

/*
 * Names the call before a return address as "function+0x2a (/usr/bin/server+0x1b2c)" into buffer,
 * always terminated if length > 0; the function only where the dynamic symbol table has it. The last
 * part is what addr2line -e /usr/bin/server 0x1b2c makes a file and a line of. Returns the length of
 * the whole text, as snprintf does. Not for signal handlers.
 */
MEWS_API int mews_address_name(const void *address, char *buffer, size_t length);

/*
 * The most that all pools and oversize leases of this process have behind them together, in bytes; it
 * counts the memory of blocks, not the pools' own tables (see metadata_bytes). 0: back to the default,
 * what MEWS_HARD_LIMIT says, else three quarters of what the control group allows (parents' limits
 * included), or of the memory of the nodes, and no more than half of RLIMIT_AS, as the last pool that was
 * created found them. Below what is used now nothing is taken away from who has it: what is free is given
 * back to the system at once, and growth fails until use has fallen. Always 0.
 */
MEWS_API int mews_set_hard_limit(size_t bytes);

/*
 * The same for the blocks of one pool: its max_blocks from now on. It may rise to its max_blocks when it
 * was created, rounded up to whole slabs, and beyond that as far as address space happens to be there. A
 * pool above its new limit keeps blocks that lie in one slab with one that is out, and may lease them.
 * 0, or -EINVAL (NULL, 0 blocks), -ERANGE (more than is reserved), -ESHUTDOWN (disposed).
 */
MEWS_API int mews_pool_set_limit(struct mews_pool *pool, size_t max_blocks);

/*
 * The same for the bytes behind a pool's blocks on one NUMA node (the kernel's number); 0: no limit of
 * its own. Growth goes on to other nodes then, unless the pool is strict.
 * 0, or -EINVAL (NULL), -ENOENT (the pool takes no memory of that node), -ESHUTDOWN (disposed).
 */
MEWS_API int mews_pool_set_node_limit(struct mews_pool *pool, unsigned node, size_t bytes);

/*
 * Disposes of the pool. Leases fail with ESHUTDOWN from now on. Blocks that are out stay valid; each
 * is dropped at its return, and the last one frees the pool, or this call does if none is out. If any
 * is, on_report is told so (MEWS_REPORT_OUTSTANDING).
 * May be called again while blocks are out: it returns 0 and does nothing. 0, or -EINVAL (NULL).
 * The caller sees to it that no thread without a leased block uses the pool from now on.
 */
MEWS_API int mews_pool_dispose(struct mews_pool *pool);

/*
 * An eventfd for an event loop, which has blocks to lease besides other things: once a lease of this
 * pool failed with ENOBUFS, it becomes readable as soon as a block is free again, or may be, that no
 * waiter of mews_lease_wait got. Once, until the next lease fails. Those before the first call of this
 * do not count, nor do oversize ones. Read it (8 bytes) when it is readable, then lease. Non-blocking,
 * close-on-exec, the same at each call, the pool's: closed with it. The child of a fork has none until it
 * asks for its own.
 * Returns the descriptor, or -EINVAL (NULL), -ESHUTDOWN (disposed), -EMFILE, -ENFILE, -ENOMEM.
 */
MEWS_API int mews_pool_pressure_fd(struct mews_pool *pool);

/* How scarce memory is. */
enum mews_pressure {
	MEWS_PRESSURE_NONE,
	MEWS_PRESSURE_LOW,      /* threads wait for memory at times: drop what is cheap to get again */
	MEWS_PRESSURE_MEDIUM,   /* a limit was reached, or is near: drop what is not in use */
	MEWS_PRESSURE_CRITICAL, /* the last limit: drop all that can be dropped */
};

/*
 * Has tell called when the level of memory pressure changes, and once a second at most while signs of
 * it go on: so that the user's own caches shrink as pools do. bytes: how much use is above three
 * quarters of the control group's limit; 0 where that is not known. Called in the keeper's thread, or in
 * mews_keeper_step, with no lock that a lease or a return takes; it may lease and return, and must not
 * call these two. Up to 16.
 * 0, or -EINVAL (NULL), -ENOSPC (16 are there).
 */
MEWS_API int mews_on_pressure(void (*tell)(void *context, enum mews_pressure level, uint64_t bytes),
			      void *context);

/* Ends that; tell is not running any more when this returns. 0, or -ENOENT. */
MEWS_API int mews_off_pressure(void (*tell)(void *context, enum mews_pressure level, uint64_t bytes),
			       void *context);

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
	uint64_t unbound;       /* bytes whose binding to the node was refused, ever */
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
	uint64_t failures;      /* lease calls that got fewer than they wanted, but for mews_lease_wait's */
	uint64_t double_returns, foreign_pointers, interior_pointers;
	uint32_t cache_capacity, magazine;  /* blocks */
	enum mews_mode mode;
	enum mews_path path;
	char path_reason[128];  /* why this path: one sentence */
	uint32_t nodes;         /* entries used below */
	uint32_t cache_most;    /* blocks: what cache_capacity grows to on a CPU of long bursts */
	struct mews_node_stats node[MEWS_STATS_NODES];
	/* Calls of mews_lease_wait that had to wait: now, ever, in vain, handed a block by its return. */
	uint64_t waiting, waits, wait_timeouts, handovers;
	uint64_t wait_ns, wait_longest_ns; /* in sum, and the longest */
	uint64_t owner_returns; /* blocks that came back because their owner ended */
	uint64_t hard_limit, hard_used; /* bytes: of the process, as mews_set_hard_limit */
	/* What went back: blocks from caches and depots to their slabs, by cause. */
	uint64_t reclaimed_idle;        /* the CPU had not used its cache or side stacks for a while */
	uint64_t reclaimed_orphaned;    /* its CPU is offline, or not for this process any more */
	uint64_t reclaimed_depot;       /* magazines that nobody had needed */
	uint64_t reclaimed_by_hand;     /* all that mews_pool_trim and mews_pool_collect took */
	/* Bytes from slabs to the system, and how many of both were given by hand. */
	uint64_t trimmed_slabs, trimmed_parts, trimmed_by_hand;
	uint64_t bare;                  /* of slab: no memory behind them; max_blocks is without these */
	uint64_t keeper_steps;          /* that the keeper took at this pool, and the longest of them */
	uint64_t keeper_longest_ns;
	uint32_t decay_ms;
	uint32_t keeper_thread;         /* 1: the library's thread keeps this pool */
	/* The fifth cause: a lease at the limit, a waiter, a drain, a limit that fell, sampling. */
	uint64_t reclaimed_for_others;
};

/*
 * Fills *stats, whose size member the caller has set. Walks over all caches and slabs, and keeps the keeper
 * off the pool meanwhile: it waits for a step that is under way, some 15 ms at most. 0, or -EINVAL.
 */
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
