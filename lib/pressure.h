/* SPDX-License-Identifier: MIT */
/*
 * Memory pressure (layer 5): what the kernel, the control group and the service manager tell of it, made
 * one of four levels, and told to the user's own caches. Called by the keeper, whose thread sleeps on
 * the descriptors of this, and by mews_keeper_step.
 *
 *   source                                                    read              level
 *   PSI trigger, of the cgroup or of the machine              poll              LOW
 *   memory.events of the cgroup: high, or max, was reached    poll, file        MEDIUM, CRITICAL
 *   use of the cgroup: 80, 90, 97 % of the least limit        file, each look   LOW, MEDIUM, CRITICAL
 *
 * A level rises at once, and falls by one after two seconds in which nothing asked for it; for use that
 * is five points below what raises it. The file pages that a cgroup reads are counted as its use, fill any
 * limit, and have it reached again and again: hence those that nobody uses are taken off, and an event
 * counts where three quarters of the limit are used without them.
 */
#ifndef MEWS_LIB_PRESSURE_H
#define MEWS_LIB_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <mews/mews.h>

/* What a look has seen. */
struct mews_pressure_signs {
	bool stalled;                   /* a trigger fired */
	uint64_t high, max;             /* times that the limit was reached: counters */
	uint64_t use, limit;            /* bytes, without unused file pages; limit UINT64_MAX: none */
};

struct mews_pressure_state {
	enum mews_pressure level;
	int64_t since;                  /* of the last sign of this level */
	uint64_t high, max;             /* as of the last look */
};

/* The level at time now (ns), and true where there is a new sign of it. A pure function. */
bool mews_pressure_decide(struct mews_pressure_state *state, const struct mews_pressure_signs *signs,
			  int64_t now);

/*
 * What the environment said to watch, MEMORY_PRESSURE_WATCH and _WRITE, or NULL: looks open nothing before.
 * Called once, by the thread that creates the first pool: getenv beside the program's setenv is a race, and
 * no thread of ours may run it.
 */
void mews_pressure_watch(const char *path, const char *encoded);

/*
 * Reads all sources, and tells the callbacks. True where memory is wanted back now. False where another
 * thread looks, or sleeps on the sources.
 */
bool mews_pressure_look(void);

/* Whether there are callbacks: who keeps pools without a thread looks for them. */
bool mews_pressure_told(void);

/*
 * Sleeps while *word == seen, until mews_pressure_wake, a sign of pressure, or step (NULL: for ever) is
 * over. False where the kernel refuses to.
 */
bool mews_pressure_sleep(uint32_t *word, uint32_t seen, const struct timespec *step);

/* Ends a sleep, after *word was changed. Async-signal-safe. */
void mews_pressure_wake(uint32_t *word);

/* In the child of a fork: opens its own. */
void mews_pressure_child(void);

#endif
