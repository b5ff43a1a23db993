/* SPDX-License-Identifier: MIT */
/*
 * Owners: leases that return by themselves when what they were made for is over: a request, a scope,
 * a thread. For pools whose configuration says `owners`; every other pool refuses them.
 *
 * An owner is used by one thread at a time, as a FILE without its lock: it may be handed to another
 * thread by whatever orders the two. Returning its leases is free: any thread may, by mews_return too,
 * also while the owner's thread uses it. A signal handler that interrupts a use counts as another
 * thread.
 *
 * A thread may die, by pthread_exit in a signal handler or by asynchronous cancellation, or leave by
 * siglongjmp, at any instruction of a lease or return that hits (one that finds its block in, or room
 * for it in, the cache of its CPU): when its owner ends, nothing is lost and nothing comes back twice.
 * On all other ways through these functions cancellation is held off, and a signal handler must come
 * back.
 */
#ifndef MEWS_OWNER_H
#define MEWS_OWNER_H

#include <mews/mews.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What leases are made for. Opaque. */
struct mews_owner;

/*
 * Creates an owner. name: for reports, copied, up to 31 characters; NULL: "owner". 0 and *owner, or
 * -EINVAL, -ENOMEM, -EAGAIN (131,070 are there already). Costs no system call once as many were there.
 */
MEWS_API int mews_owner_create(const char *name, struct mews_owner **owner);

/*
 * The calling thread's own owner, created at the first call; it ends when the thread exits or is
 * cancelled, after other destructors of thread-specific data had two rounds. NULL and errno as above.
 */
MEWS_API struct mews_owner *mews_owner_thread(void);

/*
 * As mews_lease, under owner. NULL and errno as there, and: EINVAL (no owner, or a pool without
 * owners), ENOMEM also where the owner's own table cannot grow, EBUSY (in a signal handler that
 * interrupted this owner's use). A pair of hits costs a cycle or two more than one without an owner.
 */
MEWS_API void *mews_owner_lease(struct mews_pool *pool, struct mews_owner *owner);

/*
 * Returns a block as mews_return does; fastest for a lease of this owner, by the thread that uses it.
 * Of any other block this owner need not know.
 */
MEWS_API void mews_owner_return(struct mews_pool *pool, struct mews_owner *owner, void *block);

/*
 * Makes a lease, of another owner or of none, one of owner, whose user the caller is. Nobody else may
 * return it meanwhile. So the blocks of mews_lease_many and mews_lease_wait get an owner. 0, or -EINVAL
 * (as above; or block is no block that is out; oversize leases have no owner), -ENOMEM.
 */
MEWS_API int mews_owner_adopt(struct mews_pool *pool, struct mews_owner *owner, void *block);

/* Makes a lease nobody's: it stays out until it is returned. 0, or -EINVAL as above. Any thread. */
MEWS_API int mews_owner_disown(struct mews_pool *pool, void *block);

/*
 * What the owner was for is over: returns all its leases, in all pools. Costs as much as there are. It
 * may be used again. Returns how many came back. A block among them that is still in use elsewhere is
 * a bug of the caller's; its later return is reported (MEWS_REPORT_OWNER_ENDED), with the owner's name.
 */
MEWS_API size_t mews_owner_end(struct mews_owner *owner);

/* Ends the owner and is rid of it. NULL is ignored. Not for a thread's own. */
MEWS_API void mews_owner_destroy(struct mews_owner *owner);

/*
 * struct mews_owner *MEWS_OWNER_SCOPE(request, "request");
 * An owner that is destroyed at the end of the block it is declared in; NULL and errno as
 * mews_owner_create. Where the block is left by longjmp, or by the death of the thread in code that was
 * compiled without -fexceptions, the owner ends with the scope around it, or with the thread.
 */
#define MEWS_OWNER_SCOPE(variable, name)					\
	variable __attribute__((cleanup(mews_owner_leave))) = mews_owner_enter(name)

/* What MEWS_OWNER_SCOPE calls: by itself for languages that have scopes of their own. */
MEWS_API struct mews_owner *mews_owner_enter(const char *name);
MEWS_API void mews_owner_leave(struct mews_owner **owner);

#ifdef __cplusplus
}
#endif

#endif
