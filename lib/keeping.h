/* SPDX-License-Identifier: MIT */
/*
 * What a pool knows of its keeper (layer 4): part of the control block. The words are anybody's; what is
 * not atomic belongs to who has claimed busy. Called by keeper.c, trim.c, stats.c; pool.c asks asleep.
 */
#ifndef MEWS_LIB_KEEPING_H
#define MEWS_LIB_KEEPING_H

#include <stdbool.h>
#include <stdint.h>
#include "tagstack.h"

struct mews_keeping {
	bool by_caller;                 /* no thread: steps are the caller's */
	unsigned decay_ms;
	_Atomic uint32_t busy;          /* a step is under way: one at a time */
	_Atomic uint32_t asleep;        /* nothing to give back: the next miss says that there is */
	_Atomic uint32_t trim_cpu;      /* where a trim by hand ran out of time in collecting */
	_Atomic int64_t look, due;      /* when to look again; when to take a step */
	_Atomic uint32_t hastened;      /* the call of mews_keeper_hasten that was last obeyed */
	/* Statistics. */
	mews_word steps, longest_ns;
	mews_word idle, orphaned, depot, by_hand, for_others; /* blocks, by cause */
	mews_word slab_bytes, part_bytes, by_hand_bytes;
};

#endif
