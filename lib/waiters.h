/* SPDX-License-Identifier: MIT */
/*
 * Waiters (layer 4): who waits for a block, in the order in which they came. A return hands its block to
 * the first, by one compare-and-swap: it waits for nobody, and works in a signal handler. Called by
 * wait.c, which waits, and by pool.c and exchange.c, whose operations bring blocks.
 *
 * A queue is a ring of slots, one a ticket: { lap : 32, value : 32 }. Slot t % N belongs to ticket t
 * while its lap is t / N:
 *
 *   EMPTY --enter--> LOOK <--> WAITING --leave--> EMPTY, lap + 1
 *                      |          |
 *                      +---hand---+--> HANDED + block's number --leave--> EMPTY, lap + 1
 *
 * The first waiter is the one at head, once head has passed those that were handed a block or left.
 *
 * No wake-up is lost, since each block that becomes free while somebody waits has one who answers for
 * it. Who puts a block anywhere but into a waiter's hand looks for waiters after it (mews_notice): the
 * first is told to LOOK. A waiter that enters looks after it entered, unless another is before it, who
 * then entered before and looks or has looked. Who leaves otherwise than with a block from a return
 * tells the next to look; who is handed a block while it is told to look passes that on.
 *
 *             enter   leave   hand    poke
 *   enter     safe    safe    safe    safe       leave: by the thread that entered
 *   hand      safe    safe    safe    safe
 */
#ifndef MEWS_LIB_WAITERS_H
#define MEWS_LIB_WAITERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "tagstack.h"

#define MEWS_WAITERS_SLOTS 65536

enum mews_turn {
	MEWS_TURN_EMPTY,
	MEWS_TURN_WAITING,
	MEWS_TURN_LOOK,         /* a block may be free somewhere */
	MEWS_TURN_HANDED,       /* and above: a block's number plus this */
};

struct mews_waiters {
	_Alignas(64) mews_word head;    /* no ticket before it waits */
	_Alignas(64) mews_word tail;    /* the next ticket */
	mews_word *slot;                /* [MEWS_WAITERS_SLOTS] */
};

/* What a pool has for them. One queue; where nodes are strict, one a window. */
struct mews_waiting {
	struct mews_waiters *queue;
	uint32_t queues;
	_Atomic uint32_t now;           /* waiters */
	_Atomic uint32_t leaky;         /* a cache could not be closed: the first waiter looks by the clock */
	_Atomic uint32_t event;         /* descriptor of the eventfd, plus 1; 0: none */
	_Atomic uint32_t armed;         /* a lease failed: the next block that comes back writes to it */
	mews_word quiet_since;          /* ms: when there was a reason to watch the returns last */
	mews_word waits, handovers, timeouts, nanoseconds, longest;
};

struct mews_control;

/* Bytes of the queues' tables. */
size_t mews_waiters_bytes(uint32_t queues);
void mews_waiters_init(struct mews_waiting *waiting, uint32_t queues, void *tables);

/* In the child of a fork: nobody waits here. */
void mews_waiters_reset(struct mews_waiting *waiting);

/* Enters with LOOK. False: a waiter of the lap before has the slot still; try again later. */
bool mews_waiters_enter(struct mews_waiters *queue, uint64_t *ticket);

bool mews_waiters_is_first(struct mews_waiters *queue, uint64_t ticket);

/* Whether anybody waits. */
bool mews_waiters_any(struct mews_waiters *queue);

/* The value of a ticket that has not left; and the word to wait on while it is WAITING. */
uint32_t mews_waiters_value(const struct mews_waiters *queue, uint64_t ticket);
uint32_t *mews_waiters_word(const struct mews_waiters *queue, uint64_t ticket);

/* Between WAITING and LOOK. False where the value is not `from` any more. */
bool mews_waiters_change(struct mews_waiters *queue, uint64_t ticket, enum mews_turn from,
			 enum mews_turn to);

/* Leaves; returns the last value: whoever was handed a block has it now. */
uint32_t mews_waiters_leave(struct mews_waiters *queue, uint64_t ticket);

/* Gives a block to the first waiter and wakes it. False where nobody waits. */
bool mews_waiters_hand(struct mews_waiters *queue, uint32_t number);

/* Tells the first waiter to look. False where nobody waits. */
bool mews_waiters_poke(struct mews_waiters *queue);

/* The queue for blocks of a window, or for waiters on a CPU of it. */
static inline struct mews_waiters *mews_waiters_of(const struct mews_waiting *waiting,
						   uint32_t window)
{
	return &waiting->queue[waiting->queues > 1 ? window : 0];
}

/* For mews_notice of control.h. */
void mews_waiters_notice(struct mews_control *control);

/* There is a reason to watch the returns. */
void mews_waiters_stir(struct mews_waiting *waiting);

#endif
