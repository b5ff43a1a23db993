/* SPDX-License-Identifier: MIT */
/*
 * The words in which a caller says what it wants of a pool. They stand apart from mews.h because
 * the plan (layer 0) speaks them too, and a layer includes only downwards.
 */
#ifndef MEWS_POLICY_H
#define MEWS_POLICY_H

/*
 * What the pool is tuned for. AUTO: as MEWS_MODE of the environment says, else workstation where one CPU
 * is usable or the hard limit is below 256 MiB, else server.
 */
enum mews_mode {
	MEWS_MODE_AUTO,
	MEWS_MODE_SERVER,       /* caches sized from L2, huge pages, memory kept for the next burst */
	MEWS_MODE_WORKSTATION,  /* a small working set: small caches, base pages */
};

/* What happens when the CPU's own node has no memory left. */
enum mews_node_policy {
	MEWS_NODE_PREFERRED,    /* the next nearest node serves, and the statistics say so */
	MEWS_NODE_STRICT,       /* the lease fails with ENOMEM; memory is bound, never moved */
};

/* The page size at which the backing ladder starts; it goes down from there, never up. */
enum mews_page_policy {
	MEWS_PAGES_AUTO,        /* the mode decides: server 2M, or 1G where initial_blocks fill one; else BASE */
	MEWS_PAGES_1G,          /* 1 GiB hugetlb for initial_blocks, then as 2M */
	MEWS_PAGES_2M,          /* 2 MiB hugetlb, then as THP */
	MEWS_PAGES_THP,         /* transparent huge pages, then base pages */
	MEWS_PAGES_BASE,        /* base pages only */
};

#endif
