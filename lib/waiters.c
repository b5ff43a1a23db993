/* SPDX-License-Identifier: MIT */
/* Waiters (layer 4): see waiters.h. All atomics here are sequentially consistent. */
#include <errno.h>
#include <time.h>
#include "../numa/kernel.h"
#include "control.h"

#define LINGER_MS 20    /* returns are watched so long after the last waiter: closing caches is dear */

size_t mews_waiters_bytes(uint32_t queues)
{
	return queues * (sizeof(struct mews_waiters) + MEWS_WAITERS_SLOTS * sizeof(mews_word));
}

void mews_waiters_init(struct mews_waiting *waiting, uint32_t queues, void *tables)
{
	char *at = (char *)tables + queues * sizeof(struct mews_waiters);
	uint32_t i;

	waiting->queue = tables;
	waiting->queues = queues;
	for (i = 0; i < queues; i++)
		waiting->queue[i].slot = (mews_word *)at + (size_t)i * MEWS_WAITERS_SLOTS;
}

void mews_waiters_reset(struct mews_waiting *waiting)
{
	struct mews_waiters *q;
	uint64_t used, i;

	for (q = waiting->queue; q < waiting->queue + waiting->queues; q++) {
		used = atomic_load(&q->tail);
		for (i = 0; i < used && i < MEWS_WAITERS_SLOTS; i++)
			atomic_store(&q->slot[i], 0);
		atomic_store(&q->head, 0);
		atomic_store(&q->tail, 0);
	}
	atomic_store(&waiting->now, 0);
	atomic_store(&waiting->armed, 0);
}

static mews_word *slot_of(const struct mews_waiters *q, uint64_t ticket)
{
	return &q->slot[ticket % MEWS_WAITERS_SLOTS];
}

static uint32_t lap_of(uint64_t ticket)
{
	return (uint32_t)(ticket / MEWS_WAITERS_SLOTS);
}

static uint64_t word_of(uint64_t ticket, uint32_t value)
{
	return (uint64_t)lap_of(ticket) << 32 | value;
}

/* Laps between a slot's word and a ticket: 1: it has left; -1: the slot is not its own yet. */
static int32_t laps_after(uint64_t word, uint64_t ticket)
{
	return (int32_t)((uint32_t)(word >> 32) - lap_of(ticket));
}

/* A ticket that has left, or has a block, needs nothing any more. */
static bool is_over(uint64_t word, uint64_t ticket)
{
	return laps_after(word, ticket) > 0 ||
	       (laps_after(word, ticket) == 0 && (uint32_t)word >= MEWS_TURN_HANDED);
}

/*
 * Entering is one compare-and-swap of the slot at the tail; the tail follows, and anybody moves it on,
 * so that nobody waits for a thread that is preempted between the two.
 */
bool mews_waiters_enter(struct mews_waiters *q, uint64_t *ticket)
{
	uint64_t tail = atomic_load(&q->tail), next, word;

	for (;;) {
		word = word_of(tail, MEWS_TURN_EMPTY);
		if (atomic_compare_exchange_strong(slot_of(q, tail), &word,
						   word_of(tail, MEWS_TURN_LOOK)))
			break;
		next = atomic_load(&q->tail);
		if (next == tail && laps_after(word, tail) < 0)
			return false;
		if (next == tail && atomic_compare_exchange_strong(&q->tail, &next, tail + 1))
			next = tail + 1;
		tail = next;
	}
	*ticket = next = tail;
	atomic_compare_exchange_strong(&q->tail, &next, tail + 1);
	return true;
}

/* Moves the head to the first who waits. False where nobody does. */
static bool find_first(struct mews_waiters *q, uint64_t *first, uint64_t *word)
{
	uint64_t head = atomic_load(&q->head);

	for (;;) {
		*word = atomic_load(slot_of(q, head));
		if (!is_over(*word, head))
			break;
		if (atomic_compare_exchange_strong(&q->head, &head, head + 1))
			head++;
	}
	*first = head;
	return laps_after(*word, head) == 0 && (uint32_t)*word != MEWS_TURN_EMPTY;
}

bool mews_waiters_is_first(struct mews_waiters *q, uint64_t ticket)
{
	uint64_t first, word;

	/* Over, and so not found, where it was handed a block meanwhile. */
	return !find_first(q, &first, &word) || first >= ticket;
}

bool mews_waiters_any(struct mews_waiters *q)
{
	uint64_t first, word;

	return find_first(q, &first, &word);
}

uint32_t mews_waiters_value(const struct mews_waiters *q, uint64_t ticket)
{
	return (uint32_t)atomic_load(slot_of(q, ticket));
}

/* The low half of the slot, on both machines that this is built for. */
uint32_t *mews_waiters_word(const struct mews_waiters *q, uint64_t ticket)
{
	return (uint32_t *)slot_of(q, ticket);
}

bool mews_waiters_change(struct mews_waiters *q, uint64_t ticket, enum mews_turn from,
			 enum mews_turn to)
{
	uint64_t word = word_of(ticket, from);

	return atomic_compare_exchange_strong(slot_of(q, ticket), &word, word_of(ticket, to));
}

uint32_t mews_waiters_leave(struct mews_waiters *q, uint64_t ticket)
{
	return (uint32_t)atomic_exchange(slot_of(q, ticket),
					 word_of(ticket + MEWS_WAITERS_SLOTS, MEWS_TURN_EMPTY));
}

/* Changes the first waiter's value, and wakes it. Returns the old one; EMPTY where nobody waits. */
static uint32_t change_first(struct mews_waiters *q, uint32_t value)
{
	uint64_t first, word;
	int saved = errno;

	do {
		if (!find_first(q, &first, &word))
			return MEWS_TURN_EMPTY;
		if ((uint32_t)word == value)
			return value; /* LOOK already: its look is still to come */
	} while (!atomic_compare_exchange_strong(slot_of(q, first), &word, word_of(first, value)));
	mews_kernel->futex_wake(mews_waiters_word(q, first), 1);
	errno = saved;
	return (uint32_t)word;
}

bool mews_waiters_poke(struct mews_waiters *q)
{
	return change_first(q, MEWS_TURN_LOOK) != MEWS_TURN_EMPTY;
}

bool mews_waiters_hand(struct mews_waiters *q, uint32_t number)
{
	uint32_t old = change_first(q, MEWS_TURN_HANDED + number);

	if (old == MEWS_TURN_LOOK)
		mews_waiters_poke(q);
	return old != MEWS_TURN_EMPTY;
}

static uint64_t now_ms(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void mews_waiters_stir(struct mews_waiting *waiting)
{
	atomic_store(&waiting->quiet_since, now_ms());
}

static bool poke_all(struct mews_waiting *waiting)
{
	bool any = false;
	uint32_t i;

	for (i = 0; i < waiting->queues; i++)
		any |= mews_waiters_poke(&waiting->queue[i]);
	return any;
}

/* Makes the eventfd readable, if a lease failed since it was last. True where one did. */
static bool signal_event(struct mews_waiting *waiting)
{
	uint64_t one = 1;
	uint32_t event;
	int saved = errno;

	if (!atomic_load(&waiting->armed) || !atomic_exchange(&waiting->armed, 0))
		return false;
	mews_waiters_stir(waiting);
	event = atomic_load(&waiting->event);
	/* Refused only where it is readable already, by 2^64 - 2 signals. */
	if (event && mews_kernel->write((int)event - 1, &one, sizeof(one)) < 0)
		errno = saved;
	return true;
}

/*
 * A block is free, or may be. Where nobody has waited for a while, this also ends the detour; who came
 * meanwhile, and took it for being under way still, is told to look, and begins it again.
 */
void mews_waiters_notice(struct mews_control *control)
{
	struct mews_waiting *waiting = &control->waiting;
	bool told = poke_all(waiting);

	/* Of several queues those who were told may be those who can't have this block. */
	if (!told || waiting->queues > 1)
		told |= signal_event(waiting);
	if (told || now_ms() - atomic_load(&waiting->quiet_since) <= LINGER_MS)
		return;
	atomic_fetch_and(&control->detours, ~(uint32_t)MEWS_DETOUR_WAIT);
	poke_all(waiting);
	signal_event(waiting);
}
