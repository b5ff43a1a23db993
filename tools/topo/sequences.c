/* SPDX-License-Identifier: MIT */
/*
 * Sequences (mews-topo): the restartable sequences of this very process, which membarrier commands
 * the kernel has, and so which path a pool here takes. Called by gather.c; of another machine, or
 * of another process, nothing is known by looking from here.
 */
#define _GNU_SOURCE 1
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include "numa/fence.h"
#include "numa/kernel.h"
#include "topo.h"

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

/* The area of kernels before 6.3, which tell no size; then where later fields end. */
#define ORIGINAL_SIZE 20
#define NODE_ID_END 24
#define MM_CID_END 28

const char *topo_membarrier_name(int bit)
{
	static const char *const name[] = {
		"global", "global-expedited", "register-global-expedited", "private-expedited",
		"register-private-expedited", "private-expedited-sync-core",
		"register-private-expedited-sync-core", "private-expedited-rseq",
		"register-private-expedited-rseq", "get-registrations",
	};

	return bit >= 0 && bit < (int)(sizeof(name) / sizeof(name[0])) ? name[bit] : NULL;
}

static int area_cpu_id(void)
{
	const char *area = (const char *)__builtin_thread_pointer() + __rseq_offset;

	return (int)__atomic_load_n(&((const struct rseq *)area)->cpu_id, __ATOMIC_RELAXED);
}

void topo_sequences_read(struct topo_view *view)
{
	struct topo_sequences *s = &view->sequences;
	unsigned long size = getauxval(AT_RSEQ_FEATURE_SIZE);

	s->known = view->topology->this_machine && view->options->root[0] == 0;
	if (!s->known)
		return;
	s->glibc = __rseq_size != 0;
	s->cpu_id = s->glibc ? area_cpu_id() : -1;
	s->feature_size = s->glibc ? size != 0 ? (unsigned)size : ORIGINAL_SIZE : 0;
	s->node_id = s->feature_size >= NODE_ID_END;
	s->mm_cid = s->feature_size >= MM_CID_END;
	/* membarrier: QUERY is command 0 */
	s->commands = mews_kernel->membarrier(0, 0, 0);
	s->usable = mews_fence_available(s->reason, sizeof(s->reason));
}
