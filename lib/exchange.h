/* SPDX-License-Identifier: MIT */
/*
 * Exchange (layer 4): what a miss fetches and an overflow gives away; moves blocks between a CPU's
 * cache, the depots, the slabs and the system. Called by pool.c and drain.c, inside the gate.
 * Invariant: a block in the hands of a function here is nowhere else; every function puts each block
 * it was given somewhere, and cannot fail to.
 */
#ifndef MEWS_LIB_EXCHANGE_H
#define MEWS_LIB_EXCHANGE_H

#include "control.h"

/*
 * Fetches blocks that the depot of pass's CPU does not have: up to `batch` of its own node, or, where only
 * another node or another CPU's cache has any, up to `direct`, which the caller hands out at once.
 * 1 <= direct <= batch. Returns how many; 0 and *error: ENOBUFS, ENOMEM.
 */
size_t mews_fetch(struct mews_control *control, const struct mews_pass *pass, void **blocks,
		  size_t direct, size_t batch, int *error);

/* Reports a block that the slabs or a side stack left out; context is the pool's control block. */
mews_bad_block mews_report_bad;

/* Gives blocks back to their slabs; wrong ones are reported. */
void mews_give_to_slabs(struct mews_control *control, void *const *blocks, size_t count);

/* Gives blocks, all of one window, to a depot of it, magazine by magazine, the rest to the slabs. */
void mews_give(struct mews_control *control, uint32_t cpu, uint32_t window, void *const *blocks,
	       size_t count);

/* Puts blocks on this CPU's cache as far as they fit and belong there, the rest to the slabs. */
void mews_stash(struct mews_control *control, void *const *blocks, size_t count);

/*
 * Makes room in this CPU's full cache: by a higher bound, or by magazines that leave from below its top one,
 * which is hot. Says in *sent which of them others will read.
 */
void mews_overflow(struct mews_control *control, const struct mews_pass *pass, struct mews_sent *sent);

/* Puts a block of another node on the CPU's away stack, and sends a magazine's worth home. */
void mews_send_home(struct mews_control *control, const struct mews_pass *pass, void *block);

/* Opens a CPU's cache, as mews_cache_open, unless there is a detour: pool.c's way to do it. */
void mews_open_cache(struct mews_control *control, uint32_t cpu);

/* Wakes a CPU's cache, or rests it, in the same way. */
bool mews_wake_cache(struct mews_control *control, uint32_t cpu);
bool mews_rest_cache(struct mews_control *control, uint32_t cpu);

/*
 * Each takes blocks to the slabs from where it says, and returns how many: a CPU's cache, which stays
 * closed; a side stack; both; up to so many magazines of a depot; the caches and side stacks of all.
 */
size_t mews_collect_cache(struct mews_control *control, uint32_t cpu);
size_t mews_collect_stack(struct mews_control *control, struct mews_tagstack *stack);
size_t mews_collect_cpu(struct mews_control *control, uint32_t cpu);
size_t mews_collect_depot(struct mews_control *control, uint32_t depot, uint32_t magazines);
size_t mews_collect_cpus(struct mews_control *control);

/* After a trim: adds what it gave back to the pool's statistics. */
void mews_trim_note(struct mews_control *control, const struct mews_trim *trim);

/* The same with the depots: afterwards every free block that no operation holds lies in its slab. */
void mews_collect(struct mews_control *control);

#endif
