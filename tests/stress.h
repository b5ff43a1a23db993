/* SPDX-License-Identifier: MIT */
/*
 * The stress scenarios: what they share. An arena is a pool with the tests' own ledger beside it;
 * every lease and return of a scenario goes through arena_*, so that a double lease is found when
 * it happens and a lost block at the end. Scenarios stand in stress_*.c, stress.c runs them.
 */
#ifndef TESTS_STRESS_H
#define TESTS_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <mews/mews.h>
#include "support/check.h"
#include "support/kinds.h"
#include "support/ledger.h"
#include "support/threads.h"

#define ARENA_BLOCKS 20000
#define ARENA_BLOCK_SIZE 256
#define ARENA_MAILBOXES 256
#define ARENA_DECAY_MS 8                        /* the keeper looks every millisecond */

enum plant { PLANT_NONE, PLANT_DOUBLE, PLANT_LOST, PLANT_LATE_WRITE };

struct arena {
	struct mews_pool *pool;
	struct ledger *ledger;
	size_t max_blocks;
	double end;                             /* when workers stop */
	unsigned rounds;                        /* that arena_again asked for */
	atomic_bool stop;
	atomic_ullong operations;
	atomic_ullong failures;                 /* leases refused */
	_Atomic(void *) mailbox[ARENA_MAILBOXES]; /* blocks on their way to another thread */
	enum plant plant;
};

/* How a run goes: from the command line. */
struct stress {
	double seconds;                         /* of each scenario */
	unsigned threads;                       /* 0: the scenario's own number */
	uint64_t seed;
	bool long_run;
	enum plant plant;
	unsigned decay_ms;                      /* of the arena's pool; 0: ARENA_DECAY_MS */
	bool built;                             /* the library has a bug, which must be found */
};

/* What the machine refuses: the scenario is left out, or the whole run, where it is to find something. */
void stress_refused(const struct stress *stress, const char *what);

struct scenario {
	const char *name;
	const char *what;
	void (*run)(const struct stress *stress);
};

extern const struct scenario stress_mix[], stress_life[], stress_signal[], stress_wait[],
	stress_keeper[], stress_stopped[]; /* end: name NULL */

/* A pool of the kind in use; max_blocks 0: ARENA_BLOCKS. Workers run until the time is over. */
void arena_open(struct arena *arena, const struct stress *stress, size_t max_blocks);
/* Empties the mailboxes, checks that all is back, audits, disposes. */
void arena_close(struct arena *arena);
/* The law at rest, with whatever the ledger says is out. */
void arena_audit(struct arena *arena);
bool arena_running(struct arena *arena);
/* True, and as much time again, where what is to be counted did not come on a machine that is busy. */
bool arena_again(struct arena *arena, const atomic_ullong *counted);
void arena_empty_mail(struct arena *arena);

void *arena_lease(struct arena *arena);         /* NULL only where errno is ENOBUFS */
void arena_give(struct arena *arena, void *block);
size_t arena_lease_many(struct arena *arena, void **blocks, size_t count);
void arena_give_many(struct arena *arena, void **blocks, size_t count);
/* Leaves block (or NULL) in a mailbox, and takes out what lay there (or NULL). */
void *arena_mail(struct arena *arena, struct rng *rng, void *block);

/* A worker's own blocks. */
struct hand {
	void *block[64];
	unsigned count;
};

/* One step: leases or returns, one or many, by chance. */
void hand_step(struct arena *arena, struct hand *hand, struct rng *rng);
void hand_empty(struct arena *arena, struct hand *hand);
/* A worker's body: steps until the arena stops. worker->shared is the arena. */
void *hand_worker(void *worker);

/* A worker that switches the sampling of leases, and has the leases reported. */
void *sample_worker(void *worker);

unsigned stress_threads(const struct stress *stress, unsigned own);

#endif
