/* SPDX-License-Identifier: MIT */
/*
 * The measured loops (layer 6). Included once by each backend_*.c, which says before what its
 * calls are: BACKEND_NAME and BACKEND_TABLE, BACKEND_CAN; LEASE(), RETURN(block),
 * LEASE_MANY(blocks, n), RETURN_MANY(blocks, n); if they are not these, LEASE_ROW() where several are leased in
 * a row, PRODUCE() and CONSUME(block), LEASE_ANY() and GIVE_ANY(block) where a block may come back on
 * another thread, and TAKE_BACK(block) for that one; GIVE(block) outside of measured loops; PASS_ENTER and
 * BACKEND_ENTER, what a user would keep in a local variable; BACKEND_SET_UP_RESERVED, BACKEND_TRIM,
 * BACKEND_LAUNCH, BACKEND_AT_REST where it has these; and the functions backend_set_up, backend_tear_down,
 * backend_enter, backend_leave. No include guard: it is a body, not an interface. Invariant: the loops of all
 * backends differ in these words only.
 */
#include "backend.h"
#include "ring.h"
#include "tail.h"
#include "tick.h"

#ifndef LEASE_ROW
#define LEASE_ROW() LEASE()
#endif
#ifndef PRODUCE
#define PRODUCE() LEASE_ROW()
#define CONSUME(block) RETURN(block)
#endif
#ifndef PASS_ENTER
#define PASS_ENTER
#endif
#ifndef GIVE
#define GIVE(block) CONSUME(block)
#endif

#ifndef LEASE_ANY
#define LEASE_ANY() LEASE()
#define GIVE_ANY(block) RETURN(block)
#endif
#ifndef TAKE_BACK
#define TAKE_BACK(block) GIVE_ANY(block)
#endif

/* The first line of a block is written, as every user does. */
#define TOUCH(block) (*(volatile uint64_t *)(block) = 1)

static void pair(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER

	(void)local;
	for (; rounds; rounds--) {
		void *block = LEASE();

		TOUCH(block);
		RETURN(block);
	}
}

static void pair_whole(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	const size_t size = local->block_size;

	for (; rounds; rounds--) {
		char *block = LEASE();

		for (size_t at = 0; at < size; at += 64)
			TOUCH(block + at);
		RETURN(block);
	}
}

static void pair_untouched(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER

	(void)local;
	for (; rounds; rounds--) {
		void *block = LEASE();

		RETURN(block);
	}
}

static void burst(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	void **const held = local->block;
	const uint16_t *const order = local->order;
	const uint32_t count = local->count;

	for (; rounds; rounds--) {
		for (uint32_t i = 0; i < count; i++) {
			void *block = LEASE_ROW();

			TOUCH(block);
			held[i] = block;
		}
		for (uint32_t i = 0; i < count; i++)
			RETURN(held[order[i]]);
	}
}

static void bulk(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	void **const held = local->block;
	const uint32_t count = local->count;

	for (; rounds; rounds--) {
		LEASE_MANY(held, count);
		RETURN_MANY(held, count);
	}
}

static void bulk_touch(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	void **const held = local->block;
	const uint32_t count = local->count;

	for (; rounds; rounds--) {
		LEASE_MANY(held, count);
		for (uint32_t i = 0; i < count; i++)
			TOUCH(held[i]);
		RETURN_MANY(held, count);
	}
}

static void replace(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	void **const held = local->block;
	const uint16_t *const order = local->order;
	const uint32_t mask = local->held - 1;
	uint32_t cursor = local->cursor;

	for (; rounds; rounds--) {
		void **slot = &held[order[cursor++ % PERF_ORDER] & mask];
		void *block;

		RETURN(*slot);
		block = LEASE();
		TOUCH(block);
		*slot = block;
	}
	local->cursor = cursor;
}

static void serve(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	struct perf_ring *const in = local->in, *const out = local->out;
	const uint16_t *const order = local->order;
	void **const held = local->block;
	const uint32_t mask = local->held - 1;
	uint32_t cursor = local->cursor;
	void *block;

	for (; rounds; rounds--) {
		uint16_t choice = order[cursor++ % PERF_ORDER];
		void **slot = &held[choice & mask];

		/* The next thread may be asleep and its ring full: then nobody waits for it. */
		if (!(choice & PERF_ORDER_REMOTE) || !perf_ring_push(out, *slot))
			GIVE_ANY(*slot);
		block = LEASE_ANY();
		TOUCH(block);
		*slot = block;
		if (cursor % 8)
			continue;
		while ((block = perf_ring_pop(in)))
			TAKE_BACK(block);
	}
	local->cursor = cursor;
}

static void timed(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	void **const held = local->block;
	const uint32_t mask = local->held - 1;
	uint32_t cursor = local->cursor;

	for (; rounds; rounds--) {
		void **slot = &held[local->order[cursor++ % PERF_ORDER] & mask];
		uint64_t start = perf_tick(), middle, end;

		RETURN(*slot);
		middle = perf_tick();
		*slot = LEASE();
		end = perf_tick();
		TOUCH(*slot);
		perf_tail_note(local->tail, middle - start);
		perf_tail_note(local->tail, end - middle);
	}
	local->cursor = cursor;
}

static void fill(struct perf_local *local, uint64_t rounds)
{
	BACKEND_ENTER
	const size_t size = local->block_size;

	for (uint64_t i = 0; i < rounds; i++) {
		char *block = LEASE();

		for (size_t at = 0; block && at < size; at += 4096)
			TOUCH(block + at);
		local->block[i] = block;
	}
}

/* The ring's address stays in a register, whatever an allocator's asm or calls make the compiler forget. */
static uint64_t produce(struct perf_local *local, uint64_t most)
{
	BACKEND_ENTER
	PASS_ENTER
	struct perf_ring *const out = local->out;
	uint64_t done;

	for (done = 0; done < most; done++) {
		void *block = PRODUCE();
		uint32_t spins = 0;

		TOUCH(block);
		while (!perf_ring_push(out, block)) {
			/* relaxed: only the loop's end depends on it */
			if (atomic_load_explicit(local->stop, memory_order_relaxed)) {
				CONSUME(block);
				return done;
			}
			perf_ring_wait(&spins);
		}
	}
	return done;
}

static uint64_t consume(struct perf_local *local, uint64_t most)
{
	BACKEND_ENTER
	PASS_ENTER
	struct perf_ring *const in = local->in;
	uint64_t done;

	for (done = 0; done < most; done++) {
		uint32_t spins = 0;
		void *block;

		while (!(block = perf_ring_pop(in))) {
			/* relaxed: only the loop's end depends on it */
			if (atomic_load_explicit(local->stop, memory_order_relaxed))
				return done;
			perf_ring_wait(&spins);
		}
		CONSUME(block);
	}
	return done;
}

static void *lease_one(void)
{
	BACKEND_ENTER

	return LEASE();
}

static void give_one(void *block)
{
	BACKEND_ENTER

	GIVE(block);
}

#ifndef BACKEND_AT_REST
#define BACKEND_AT_REST NULL
#endif
#ifndef BACKEND_SET_UP_RESERVED
#define BACKEND_SET_UP_RESERVED NULL
#endif
#ifndef BACKEND_TRIM
#define BACKEND_TRIM NULL
#endif
#ifndef BACKEND_LAUNCH
#define BACKEND_LAUNCH NULL
#endif

const struct perf_backend BACKEND_TABLE = {
	.name = BACKEND_NAME, .can = BACKEND_CAN,
	.set_up = backend_set_up, .tear_down = backend_tear_down,
	.enter = backend_enter, .leave = backend_leave,
	.lease = lease_one, .give = give_one,
	.set_up_reserved = BACKEND_SET_UP_RESERVED, .trim = BACKEND_TRIM,
	.launch = BACKEND_LAUNCH, .at_rest = BACKEND_AT_REST,
	.pair = pair, .pair_whole = pair_whole, .pair_untouched = pair_untouched,
	.burst = burst, .bulk = bulk,
	.bulk_touch = bulk_touch, .replace = replace, .serve = serve, .timed = timed, .fill = fill,
	.produce = produce, .consume = consume,
};
