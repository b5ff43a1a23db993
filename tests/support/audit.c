/* SPDX-License-Identifier: MIT */
/*
 * The audit, see audit.h. Every carved block has an entry that says where it was met first; a
 * second meeting, or none, is an error. Errors end the walk: the first one is told.
 */
#include "audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../lib/control.h"

enum place { NOT_CARVED, NOWHERE, LEASED, CACHE, SIDE, DEPOT, SLAB };

struct where {
	uint8_t place;
	uint16_t index;         /* CPU, depot or window */
};

struct walk {
	struct mews_control *control;
	const struct mews_plan *plan;
	const struct mews_slabs *slabs;
	struct where *where;    /* [numbers] */
	struct audit *result;
	size_t free, bare;      /* bits met */
	jmp_buf wrong;
};

static void wrong(struct walk *walk, const char *format, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

static void wrong(struct walk *walk, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(walk->result->message, AUDIT_MESSAGE, format, arguments);
	va_end(arguments);
	longjmp(walk->wrong, 1);
}

/* Numbers a block may have: dense but for the ends of slabs. */
static uint64_t numbers_of(const struct mews_slabs *slabs)
{
	return (uint64_t)slabs->windows * slabs->slabs * slabs->slab_words * 64;
}

static const char *name_of(struct where where, char *text, size_t length)
{
	static const char *const names[] = { "not carved", "nowhere", "leased", "the cache of CPU",
		"a side stack of CPU", "depot", "the free bits of window" };

	snprintf(text, length, "%s %u", names[where.place], where.index);
	return text;
}

static void *address_of(struct walk *walk, uint64_t number)
{
	const struct mews_plan *plan = walk->plan;
	uint64_t bits = (uint64_t)walk->slabs->slab_words * 64;
	uint64_t slab = number / bits, index = number % bits;
	uint64_t per_window = plan->window_bytes / plan->slab_bytes;

	return walk->slabs->start + slab / per_window * plan->window_bytes +
		slab % per_window * plan->slab_bytes +
		index / plan->cell_blocks * plan->cell_bytes +
		index % plan->cell_blocks * plan->stride;
}

/* The number of the block that starts at an address; anything else is an error. */
static uint64_t number_of(struct walk *walk, const void *block, struct where where)
{
	const struct mews_plan *plan = walk->plan;
	uint64_t offset = (uint64_t)((uintptr_t)block - (uintptr_t)walk->slabs->start);
	uint64_t in_slab = offset % plan->slab_bytes, number;
	char text[64];

	if (offset >= plan->nodes * plan->window_bytes)
		wrong(walk, "%p, in %s, is outside the slabs", block,
		      name_of(where, text, sizeof(text)));
	number = offset / plan->slab_bytes * walk->slabs->slab_words * 64 +
		in_slab / plan->cell_bytes * plan->cell_blocks +
		in_slab % plan->cell_bytes / plan->stride;
	if (address_of(walk, number) != block)
		wrong(walk, "%p, in %s, is not the start of a block", block,
		      name_of(where, text, sizeof(text)));
	return number;
}

/* Meets a block in a place. */
static void meet(struct walk *walk, uint64_t number, struct where where)
{
	struct where *entry = &walk->where[number];
	char here[64], there[64];

	if (entry->place == NOT_CARVED)
		wrong(walk, "block %p, in %s, was never carved", address_of(walk, number),
		      name_of(where, here, sizeof(here)));
	if (entry->place != NOWHERE)
		wrong(walk, "block %p is in %s and in %s", address_of(walk, number),
		      name_of(*entry, there, sizeof(there)), name_of(where, here, sizeof(here)));
	*entry = where;
}

static void meet_pointer(struct walk *walk, const void *block, struct where where)
{
	meet(walk, number_of(walk, block, where), where);
}

static void mark_carved(struct walk *walk)
{
	uint64_t bits = (uint64_t)walk->slabs->slab_words * 64;

	for (uint32_t w = 0; w < walk->slabs->windows; w++) {
		struct mews_window *window = &walk->slabs->window[w];
		uint64_t carved = 0;

		for (uint32_t s = 0; s < atomic_load(&window->frontier); s++) {
			uint32_t blocks = atomic_load(&window->blocks[s]);
			struct where *first = walk->where + (w * (uint64_t)walk->slabs->slabs + s) * bits;

			for (uint32_t i = 0; i < blocks; i++)
				first[i].place = NOWHERE;
			carved += blocks;
		}
		if (carved != atomic_load(&window->carved))
			wrong(walk, "window %u: %llu blocks in its slabs, %llu counted", w,
			      (unsigned long long)carved,
			      (unsigned long long)atomic_load(&window->carved));
		walk->result->carved += carved;
	}
}

static void walk_cache(struct walk *walk, uint32_t cpu)
{
	struct mews_cpu_cache *cache = mews_cache_of(walk->control->pool, cpu);
	uint32_t state = atomic_load(&walk->control->sides.side[cpu].cache_state);
	uint32_t capacity = atomic_load(&walk->control->sides.side[cpu].capacity);
	void **bottom = mews_cache_bottom(cache, capacity);
	size_t count = cache->cur ? (size_t)(cache->cur - bottom) : 0;
	bool owned = walk->control->words != NULL;

	if (count > capacity) {
		wrong(walk, "cache of CPU %u: cur stands at slot %zd of %u", cpu, (ssize_t)count, capacity);
		return;
	}
	if (state == MEWS_CACHE_BUSY || (state == MEWS_CACHE_CLOSED && count))
		wrong(walk, "cache of CPU %u: %zu blocks in state %u", cpu, count, state);
	if (state == MEWS_CACHE_OPEN && (capacity < walk->plan->cache_capacity ||
	    capacity > walk->plan->cache_most))
		wrong(walk, "cache of CPU %u has room for %u blocks", cpu, capacity);
	if (state == MEWS_CACHE_OPEN && ((owned ? cache->owned_base : cache->base) != bottom ||
	    (owned ? cache->owned_span : cache->span) != walk->plan->window_bytes))
		wrong(walk, "cache of CPU %u is open with wrong bounds", cpu);
	if (state == MEWS_CACHE_OPEN && atomic_load(&walk->control->detours))
		wrong(walk, "cache of CPU %u is open, though each operation must be seen", cpu);
	for (size_t i = 0; i < count; i++) {
		if ((uintptr_t)bottom[i] - cache->lo >= walk->plan->window_bytes)
			wrong(walk, "cache of CPU %u holds %p of another node", cpu, bottom[i]);
		meet_pointer(walk, bottom[i], (struct where){ CACHE, (uint16_t)cpu });
	}
	walk->result->cached += count;
}

/* Calls visit for each number on a tagged stack, after checking that the depths count down. */
static size_t walk_stack(struct walk *walk, const struct mews_tagstack *stack,
			 const mews_word *link, uint64_t numbers, struct where where,
			 void (*visit)(struct walk *walk, uint32_t number, struct where where))
{
	uint32_t depth = mews_tagstack_depth(stack, link), left = depth;
	uint32_t number = mews_tagstack_top(atomic_load(&stack->head));
	char text[64];

	for (; number != MEWS_NONE; left--) {
		uint64_t entry = number < numbers ? atomic_load(&link[number]) : 0;

		if (number >= numbers || left == 0 || entry >> 32 != left)
			wrong(walk, "a stack of %s: number %u says depth %llu, walked %u",
			      name_of(where, text, sizeof(text)), number,
			      (unsigned long long)(entry >> 32), left);
		visit(walk, number, where);
		number = (uint32_t)entry - 1;
	}
	if (left)
		wrong(walk, "a stack of %s ends %u early", name_of(where, text, sizeof(text)), left);
	return depth;
}

static void visit_block(struct walk *walk, uint32_t number, struct where where)
{
	meet(walk, number, where);
}

static void walk_side(struct walk *walk, uint32_t cpu)
{
	const struct mews_sides *sides = &walk->control->sides;
	struct mews_side *side = &sides->side[cpu];
	struct where where = { SIDE, (uint16_t)cpu };
	uint64_t numbers = numbers_of(walk->slabs);
	uint32_t first = mews_gate_inside(atomic_load(&side->gate[0]));
	uint32_t second = mews_gate_inside(atomic_load(&side->gate[1]));

	if (first || second)
		wrong(walk, "gate of CPU %u: %u and %u operations are still inside", cpu, first,
		      second);
	walk->result->side += walk_stack(walk, &side->local, sides->link, numbers, where, visit_block);
	walk->result->side += walk_stack(walk, &side->away, sides->link, numbers, where, visit_block);
}

static void visit_magazine(struct walk *walk, uint32_t number, struct where where)
{
	const struct mews_depots *depots = &walk->control->depots;
	void **slots = depots->depot[where.index].slots + (size_t)number * depots->magazine;

	for (uint32_t i = 0; i < depots->magazine; i++)
		meet_pointer(walk, slots[i], where);
	walk->result->depot += depots->magazine;
}

static void visit_empty(struct walk *walk, uint32_t number, struct where where)
{
	(void)walk;
	(void)number;
	(void)where;
}

static void walk_depot(struct walk *walk, uint32_t d)
{
	const struct mews_depots *depots = &walk->control->depots;
	struct mews_depot *depot = &depots->depot[d];
	struct where where = { DEPOT, (uint16_t)d };
	size_t magazines;

	magazines = walk_stack(walk, &depot->full, depot->link, depots->capacity, where,
			       visit_magazine);
	magazines += walk_stack(walk, &depot->empty, depot->link, depots->capacity, where,
				visit_empty);
	if (magazines != atomic_load(&depot->fresh))
		wrong(walk, "depot %u: %zu magazines on its stacks, %u in use", d, magazines,
		      atomic_load(&depot->fresh));
}

static size_t walk_bits(struct walk *walk, uint32_t w, const mews_word *words,
			const mews_word *summary)
{
	uint64_t count = (uint64_t)walk->slabs->slabs * walk->slabs->slab_words;
	size_t before = walk->result->slab;

	for (uint64_t word = 0; word < count; word++) {
		uint64_t bits = atomic_load(&words[word]);

		if (bits && !(atomic_load(&summary[word / 64]) >> word % 64 & 1))
			wrong(walk, "window %u: word %llu has free blocks that the summary hides", w,
			      (unsigned long long)word);
		for (; bits; bits &= bits - 1) {
			uint64_t bit = word * 64 + (uint64_t)__builtin_ctzll(bits);

			meet(walk, w * count * 64 + bit, (struct where){ SLAB, (uint16_t)w });
			walk->result->slab++;
		}
	}
	return walk->result->slab - before;
}

/* The pages that a slab's first blocks have: up to an extent's end where the next block ends behind it. */
static uint64_t pages_behind(struct walk *walk, uint64_t first, uint32_t blocks)
{
	const struct mews_plan *plan = walk->plan;
	char *start = address_of(walk, first);
	uint64_t end = (uint64_t)((char *)address_of(walk, first + blocks - 1) - start) + plan->stride;
	uint64_t next = (uint64_t)((char *)address_of(walk, first + blocks) - start) + plan->stride;
	bool full = plan->page_top != MEWS_PAGES_BASE && (blocks == plan->slab_blocks ||
		(end - 1) / plan->extent_bytes < (next - 1) / plan->extent_bytes);
	uint64_t unit = full ? plan->extent_bytes : walk->slabs->page;

	return (end + unit - 1) / unit * unit / walk->slabs->page;
}

/* Each block on a page without memory is bare, and the pages without memory are not counted. */
static void walk_pages(struct walk *walk, uint32_t w)
{
	const struct mews_slabs *s = walk->slabs;
	struct mews_window *window = &s->window[w];
	uint64_t first = w * (uint64_t)s->slabs * s->slab_words * 64, bits = s->slab_words * 64;
	uint64_t gone = 0, backed = atomic_load(&window->backed_1g) +
		atomic_load(&window->backed_2m) + atomic_load(&window->backed_thp) +
		atomic_load(&window->backed_base), pages = 0;
	char *start = s->start + w * walk->plan->window_bytes;

	for (uint32_t slab = 0; slab < atomic_load(&window->frontier); slab++) {
		uint32_t blocks = atomic_load(&window->blocks[slab]);

		for (uint32_t i = 0; i < blocks; i++) {
			uint64_t number = first + slab * bits + i, at = number - first;
			uint64_t from = (uint64_t)((char *)address_of(walk, number) - start);

			for (uint64_t page = from / s->page;
			     page <= (from + s->stride - 1) / s->page; page++)
				if (atomic_load(&window->gone[page / 64]) >> page % 64 & 1 &&
				    !(atomic_load(&window->bare[at / 64]) >> at % 64 & 1))
					wrong(walk, "block %p has a page without memory and is not bare",
					      address_of(walk, number));
		}
		if (blocks)
			pages += pages_behind(walk, first + slab * bits, blocks);
	}
	for (uint64_t word = 0; word < walk->plan->window_bytes / s->page / 64 + 1; word++)
		gone += (uint64_t)__builtin_popcountll(atomic_load(&window->gone[word]));
	if (backed != (pages - gone) * s->page)
		wrong(walk, "window %u: %llu pages backed, %llu without memory, %llu bytes counted", w,
		      (unsigned long long)pages, (unsigned long long)gone, (unsigned long long)backed);
}

static void walk_window(struct walk *walk, uint32_t w)
{
	struct mews_window *window = &walk->slabs->window[w];


	walk->free += walk_bits(walk, w, window->free, window->summary);
	walk->bare += walk_bits(walk, w, window->bare, window->bare_summary);
	walk_pages(walk, w);
}

static bool bit_of(const mews_word *words, uint64_t bit)
{
	return atomic_load(&words[bit / 64]) >> bit % 64 & 1;
}

/* A sampled lease's record says «out» until the block is back. */
static bool recorded(const struct walk *walk, uint64_t number)
{
	const struct mews_samples *samples = &walk->control->samples;

	return atomic_load(&samples->one_in) && atomic_load(&samples->record[number].lease) >> 63;
}

/*
 * Every carved block was met; with full checks the library's ledger says the same as ours, and what
 * records of leases there are say nothing else.
 */
static void check_all_met(struct walk *walk)
{
	uint64_t numbers = numbers_of(walk->slabs);
	const mews_word *ledger = walk->control->path == MEWS_PATH_CHECKED ?
		walk->control->leased : NULL;

	for (uint64_t i = 0; i < numbers; i++) {
		if (walk->where[i].place == NOWHERE)
			wrong(walk, "block %p (number %llu) is lost: it was carved and is nowhere",
			      address_of(walk, i), (unsigned long long)i);
		if (ledger && bit_of(ledger, i) != (walk->where[i].place == LEASED))
			wrong(walk, "block %p: the library's ledger says %s", address_of(walk, i),
			      bit_of(ledger, i) ? "leased" : "free");
		if (recorded(walk, i) && walk->where[i].place != LEASED)
			wrong(walk, "block %p is free, and recorded as a lease that is out",
			      address_of(walk, i));
	}
}

/* What the windows count of their bits is what was met; of the maximum so much is claimed. */
static void check_counts(struct walk *walk)
{
	int64_t free = 0, bare = 0;

	for (uint32_t w = 0; w < walk->slabs->windows; w++) {
		free += (int64_t)atomic_load(&walk->slabs->window[w].free_blocks);
		bare += (int64_t)atomic_load(&walk->slabs->window[w].bare_blocks);
	}
	if (free != (int64_t)walk->free || bare != (int64_t)walk->bare)
		wrong(walk, "%zu free and %zu bare blocks, counted are %lld and %lld", walk->free,
		      walk->bare, (long long)free, (long long)bare);
	if (walk->result->carved - walk->bare != atomic_load(&walk->slabs->claimed))
		wrong(walk, "%zu blocks with memory in all slabs, %llu claimed",
		      walk->result->carved - walk->bare,
		      (unsigned long long)atomic_load(&walk->slabs->claimed));
}

/* Not inlined: its locals shall not live in the frame that longjmp returns to. */
static __attribute__((noinline)) void walk_all(struct walk *walk, void *const *leased, size_t count)
{
	mark_carved(walk);
	for (size_t i = 0; i < count; i++)
		meet_pointer(walk, leased[i], (struct where){ LEASED, 0 });
	walk->result->leased = count;
	for (uint32_t cpu = 0; cpu < walk->control->sides.count; cpu++) {
		walk_cache(walk, cpu);
		walk_side(walk, cpu);
	}
	for (uint32_t d = 0; d < walk->control->depots.count; d++)
		walk_depot(walk, d);
	for (uint32_t w = 0; w < walk->slabs->windows; w++)
		walk_window(walk, w);
	check_all_met(walk);
	check_counts(walk);
}

bool audit_pool(struct mews_pool *pool, void *const *leased, size_t count, struct audit *audit)
{
	struct walk walk = { .control = mews_control_of(pool), .result = audit };
	struct where *where;
	uint64_t numbers;

	memset(audit, 0, sizeof(*audit));
	walk.plan = &walk.control->plan;
	walk.slabs = &walk.control->slabs;
	numbers = numbers_of(walk.slabs);
	where = calloc(numbers, sizeof(*where));
	if (!where) {
		snprintf(audit->message, AUDIT_MESSAGE, "no memory for %llu entries",
			 (unsigned long long)numbers);
		return false;
	}
	walk.where = where;
	while (atomic_exchange(&walk.control->keeping.busy, 1))
		usleep(100); /* the keeper may be at it: not beside us */
	if (setjmp(walk.wrong) == 0)
		walk_all(&walk, leased, count);
	atomic_store(&walk.control->keeping.busy, 0);
	free(where);
	return audit->message[0] == 0;
}

bool audit_contains(struct mews_pool *pool, const void *block)
{
	return mews_slabs_contain(&mews_control_of(pool)->slabs, block);
}
