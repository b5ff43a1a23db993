/* SPDX-License-Identifier: MIT */
/*
 * The environment's wishes (layer 5): MEWS_MODE, MEWS_HARD_LIMIT, MEWS_DECAY fill in what a
 * configuration leaves open: the program that set a member knows its pool, while the environment speaks
 * to all pools of all libraries in the process. Only a call of the program reads it, never a thread of
 * ours: the program may set variables meanwhile. Called by create.c and mews-topo.
 */
#ifndef MEWS_LIB_ENVIRONMENT_H
#define MEWS_LIB_ENVIRONMENT_H

#include "../numa/plan.h"

#define MEWS_ENVIRONMENT_VARIABLES 3

struct mews_environment {
	enum mews_mode mode;            /* AUTO: not said */
	uint64_t hard_limit;            /* bytes; 0: not said */
	unsigned decay_ms;              /* 0: not said */
	const char *watch, *trigger;    /* of memory pressure, as systemd says them; NULL: not said */
	/* What can't be understood, and is left out: a sentence each. */
	const char *bad[MEWS_ENVIRONMENT_VARIABLES];
};

/* Reads the variables now; a program that runs with more rights than its caller has none. */
void mews_environment_read(struct mews_environment *environment);

/* Fills in what a request leaves open. */
void mews_environment_apply(const struct mews_environment *environment,
			    struct mews_plan_request *request);

#endif
