/* SPDX-License-Identifier: MIT */
/*
 * The tests' own ledger of who holds which block, independent of the library: a double lease is
 * found at the lease, a block that somebody else wrote into at its return.
 *
 * Synchronization:
 *           take    give    count   each
 *  take     yes     yes     yes     no
 *  give             yes     yes     no
 * All of them may be called in signal handlers. Blocks are known by address; the table only grows.
 */
#ifndef TESTS_SUPPORT_LEDGER_H
#define TESTS_SUPPORT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* For up to max_blocks different addresses at which block_size bytes (>= 16 to be stamped) lie. */
struct ledger *ledger_new(size_t max_blocks, size_t block_size);
void ledger_free(struct ledger *ledger);

/* block was leased just now: nobody else may hold it. Stamps its first and last words. */
void ledger_take(struct ledger *ledger, void *block);

/* block is about to be returned: somebody must hold it, and its stamps must be as written. */
void ledger_give(struct ledger *ledger, void *block);

/* The stamps of a block that is held are intact (as ledger_give checks, without giving). */
void ledger_look(struct ledger *ledger, void *block);

/* True if block is held, by whomever. */
bool ledger_holds(struct ledger *ledger, void *block);

/* Blocks held now. */
size_t ledger_count(struct ledger *ledger);

/* Calls visit for each block held. */
void ledger_each(struct ledger *ledger, void (*visit)(void *block, void *context), void *context);

#endif
