/* SPDX-License-Identifier: MIT */
/*
 * What a pool tells (layer 5): misuse, with the site of the last lease; where leases that are out were
 * made; and what is out when a drain gives up or the pool is disposed of. What others call of it.
 */
#ifndef MEWS_LIB_SITES_H
#define MEWS_LIB_SITES_H

#include "control.h"

/*
 * Reports that out of total blocks and oversize leases did not come back, if there is anybody to tell.
 * Not inside the gate.
 */
void mews_report_outstanding(struct mews_control *control, uint64_t out, uint64_t total);

/*
 * Of a pool that nobody uses yet: records each lease by the address of its call, which costs a fraction of
 * a stack. 0 or -ENOMEM.
 */
int mews_sites_record_callers(struct mews_control *control);

/* In the child of a fork: a thread that switched the sampling is not here. */
void mews_sites_in_child(struct mews_control *control);

/* The number of an oversize lease's record: behind those of the blocks. */
static inline size_t mews_oversize_number(const struct mews_control *control, const void *address)
{
	return mews_slabs_numbers(&control->slabs) + mews_oversize_index(&control->oversize, address);
}

#endif
