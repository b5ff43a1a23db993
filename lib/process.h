/* SPDX-License-Identifier: MIT */
/*
 * What a process has once (layer 5): the list of its pools, the topology while there is a pool, and
 * the fork handlers. Called by pool.c and drain.c. Synchronization: one mutex, taken by control
 * calls and around fork; never by a lease or a return, but for a disposed pool's registration, which
 * ends in mews_pool_dispose and not in the last return.
 */
#ifndef MEWS_LIB_PROCESS_H
#define MEWS_LIB_PROCESS_H

#include "control.h"

/* The topology of this machine, loaded at the first call; held until the matching release. */
int mews_process_topology(const struct mews_topology **topology);
void mews_process_topology_release(void);

/*
 * Passes the gate of a pool, after a fork that is under way on another thread: what the child gets a
 * copy of must not change while it is copied.
 */
void mews_pass_enter(struct mews_control *control, uint32_t cpu, struct mews_pass *pass);
static inline struct mews_pass mews_pass_gate(struct mews_control *control, uint32_t cpu)
{
	struct mews_pass pass;

	mews_pass_enter(control, cpu, &pass);
	return pass;
}
void mews_pass_end(struct mews_pass *pass);

/*
 * Between the two this thread may be cancelled at any instruction: so a signal handler that comes then
 * holds that off while it passes a gate, or its operation would be cut short.
 */
void mews_process_cancellable(bool is);

/* The pools of this process; only under the lock, which control calls and forks wait for. */
extern struct cds_list_head mews_process_pools;
void mews_process_lock(void);
void mews_process_unlock(void);

/* Enters a pool that is ready, and takes it out. */
void mews_process_enter(struct mews_control *control);
void mews_process_leave(struct mews_control *control);

#endif
