/* SPDX-License-Identifier: MIT */
/*
 * The groups an owner knows (layer 5): see owner.h. A hash table of {pool, group}, which a lease
 * enters before it writes a word of the group, so that the end of the owner finds the word. A group is
 * forgotten, when the table is full or the owner ends, if no lease of the owner is in it: the table is
 * as large as what was held at its peak, and who fills it has paid for sweeping it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include "../numa/kernel.h"
#include "owner.h"
#include "process.h"

#define MAPPED_LEAST 256        /* entries: a page */

/* Fibonacci hashing (Knuth, volume 3, 6.4). Pools are few, groups of one lie side by side. */
static uint32_t home_of(const struct mews_owner *owner, uint64_t pool, uint64_t number)
{
	return (uint32_t)((number + (pool << 40)) * UINT64_C(0x9e3779b97f4a7c15) >> 40) &
	       (owner->capacity - 1);
}

/* Where the group stands, or a free entry for it: the table is never full. */
static struct mews_group *find(struct mews_owner *owner, uint64_t pool, uint64_t number)
{
	uint32_t i = home_of(owner, pool, number);

	while (owner->group[i].pool &&
	       (owner->group[i].pool != pool || owner->group[i].number != number))
		i = (i + 1) & (owner->capacity - 1);
	return &owner->group[i];
}

static void enter(struct mews_owner *owner, uint64_t pool, uint64_t number)
{
	struct mews_group *group = find(owner, pool, number);

	owner->count += !group->pool;
	*group = (struct mews_group) { pool, number };
}

static void unmap_groups(struct mews_group *group, uint32_t capacity)
{
	if (capacity > MEWS_GROUPS_AT_FIRST)
		mews_kernel->munmap(group, capacity * sizeof(*group));
}

/* Moves the groups into a table of another size. 0 or -ENOMEM, and it is as it was. */
static int move(struct mews_owner *owner, uint32_t capacity)
{
	struct mews_group *old = owner->group, own[MEWS_GROUPS_AT_FIRST];
	uint32_t old_capacity = owner->capacity, i;
	void *table = owner->first;

	if (capacity > MEWS_GROUPS_AT_FIRST)
		table = mews_kernel->mmap(NULL, capacity * sizeof(*old), PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return -ENOMEM;
	if (old == owner->first)
		old = memcpy(own, old, sizeof(own));
	if (table == owner->first)
		memset(owner->first, 0, sizeof(owner->first));
	owner->group = table;
	owner->capacity = capacity;
	owner->count = 0;
	for (i = 0; i < old_capacity; i++)
		if (old[i].pool)
			enter(owner, old[i].pool, old[i].number);
	unmap_groups(old, old_capacity);
	return 0;
}

/* What a walk over one group is for. */
struct walk {
	struct mews_owner *owner;
	struct mews_control *control;
	bool end;               /* the owner ends: leases come back */
	bool dead;              /* for good */
	size_t leases;          /* that were found in this group */
};

/* Returns a lease, unless somebody else has just done so. */
static void end_lease(struct walk *walk, mews_word *word, uint64_t seen, void *block)
{
	uint64_t ended = walk->owner->key | MEWS_WORD_SETTLED | MEWS_WORD_ENDED;

	/*
	 * W2: after the look into the slot. Settled, and so until its next lease: a late return must not
	 * find a word that tells a slot in which the block does not lie yet.
	 */
	if (!atomic_compare_exchange_strong(word, &seen, ended))
		return;
	mews_owner_take_home(walk->control, block);
	walk->leases++;
}

/* Settles the words of a group without leases, so that none is a hit. */
static void forget(struct walk *walk, uint64_t number)
{
	mews_word *word = mews_owned_word_at(walk->control, number, 0);
	uint64_t seen;
	unsigned i;

	for (i = 0; i < MEWS_GROUP_WORDS; i++) {
		/* Relaxed: with the owner's key, it was written by the owner's user. */
		seen = atomic_load_explicit(&word[i], memory_order_relaxed);
		if ((seen & MEWS_WORD_KEY) == walk->owner->key && !(seen & MEWS_WORD_SETTLED))
			atomic_compare_exchange_strong(&word[i], &seen, mews_owned_settled(seen));
	}
}

/* Looks at a group's eight words; with `end`, leases come back. Inside the gate. */
static void walk_words(struct walk *walk, uint64_t number)
{
	mews_word *word = mews_owned_word_at(walk->control, number, 0);
	uint64_t seen;
	void *block;
	unsigned i;

	for (i = 0; i < MEWS_GROUP_WORDS; i++) {
		/* Relaxed: with the owner's key, it was written by the owner's user. */
		seen = atomic_load_explicit(&word[i], memory_order_relaxed);
		if ((seen & MEWS_WORD_KEY) != walk->owner->key)
			continue;
		block = mews_owned_block_at(walk->control, number, i);
		if (!mews_owned_out(walk->control, seen, block))
			continue;
		if (walk->end)
			end_lease(walk, &word[i], seen, block);
		else
			walk->leases++;
	}
}

/* True where the owner keeps the group. */
static bool walk_group(struct walk *walk, const struct mews_group *group, bool keep)
{
	struct mews_pass pass;

	walk->leases = 0;
	walk->control = mews_owner_pool_pin(group->pool);
	if (!walk->control)
		return false;
	pass = mews_pass_gate(walk->control, (uint32_t)mews_seq_cpu(mews_rseq_offset));
	walk_words(walk, group->number);
	if (walk->end && walk->leases)
		mews_count(pass.side, MEWS_EVENT_OWNER_RETURNS, walk->leases);
	keep |= walk->leases > 0;
	if (!keep || walk->dead)
		forget(walk, group->number);
	mews_pass_end(&pass);
	mews_owner_pool_unpin(group->pool);
	return keep;
}

/* Walks over all groups, and drops those that the owner does not keep. Returns the leases found. */
static size_t walk_all(struct walk *walk, bool keep)
{
	struct mews_owner *owner = walk->owner;
	struct mews_group *group;
	size_t leases = 0;
	uint32_t i, dropped = 0;

	for (i = 0; i < owner->capacity; i++) {
		group = &owner->group[i];
		if (!group->pool)
			continue;
		if (!walk_group(walk, group, keep) || walk->dead) {
			group->pool = 0;
			dropped++;
		}
		leases += walk->leases;
	}
	owner->count -= dropped;
	return leases;
}

static uint32_t capacity_for(uint32_t count)
{
	uint32_t capacity = count <= MEWS_GROUPS_AT_FIRST / 2 ? MEWS_GROUPS_AT_FIRST : MAPPED_LEAST;

	while (count > capacity / 2)
		capacity *= 2;
	return capacity;
}

bool mews_owner_knows(struct mews_owner *owner, const struct mews_control *control,
		      const void *block)
{
	return find(owner, control->registered, mews_owned_group(control, block))->pool;
}

int mews_owner_know(struct mews_owner *owner, struct mews_control *control, const void *block)
{
	uint64_t number = mews_owned_group(control, block);
	struct walk walk = { .owner = owner };

	if (mews_owner_knows(owner, control, block))
		return 0;
	if (owner->count >= owner->capacity / 4 * 3) {
		walk_all(&walk, false);
		if (move(owner, capacity_for(owner->count + 1)) &&
		    owner->count >= owner->capacity / 4 * 3)
			return -ENOMEM;
	}
	enter(owner, control->registered, number);
	return 0;
}

/*
 * Where few groups are known all stay, for the leases of the next request. Groups that were dropped
 * leave gaps, behind which others are not found: these are then entered twice, until the next move.
 */
size_t mews_owner_return_all(struct mews_owner *owner, bool dead)
{
	struct walk walk = { .owner = owner, .end = true, .dead = dead };
	size_t leases = walk_all(&walk, owner->capacity == MEWS_GROUPS_AT_FIRST);

	if (capacity_for(owner->count) < owner->capacity / 2)
		move(owner, capacity_for(owner->count));
	return leases;
}
