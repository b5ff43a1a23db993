/* SPDX-License-Identifier: MIT */
/*
 * A depot: three threads store magazines of one block and fetch them. A block must be in one hand at
 * a time, what its last holder wrote must be seen, and none may get lost.
 */
#define MEWS_NONE UINT32_MAX

enum { MAGAZINES = 3, BLOCKS = 3, ROUNDS = 2, MEWS_AT_ONCE = 4 };

struct mews_tagstack {
	mews_word head;
};

struct mews_depot {
	struct mews_tagstack full, empty;
	half_word fresh, low;
	mews_word *link;
	cell *slots;
};

struct mews_depots {
	uint32_t capacity, magazine;
	struct mews_depot *depot;
};

struct mews_magazine {
	cell *slots;
	uint32_t number;
};

/* THE FUNCTIONS */
struct test : body {
	mews_depot depot;
	mews_depots depots;
	mews_word link[MAGAZINES];
	cell slots[MAGAZINES];
	cell block[BLOCKS];     /* the blocks' memory: who holds one may write it */
	mews_word held;         /* bits: blocks in a thread's hand at the end */

	void before()
	{
		depot.full.head($) = 0;
		depot.empty.head($) = 0;
		depot.fresh($) = 0;
		depot.low($) = 0;
		for (int i = 0; i < MAGAZINES; i++)
			link[i]($) = 0;
		for (int i = 0; i < BLOCKS; i++)
			block[i]($) = 0;
		held($) = 0;
		depot.link = link;
		depot.slots = slots;
		depots.capacity = MAGAZINES;
		depots.magazine = 1;
		depots.depot = &depot;
	}

	void use(uintptr_t number)
	{
		RL_ASSERT(number < BLOCKS);
		block[number]($) = block[number]($) + 1;
	}

	void thread(unsigned index)
	{
		uintptr_t mine = index;
		bool have = true;

		for (int i = 0; i < ROUNDS; i++) {
			if (have)
				use(mine);
			have = have && !mews_depot_put(&depots, 0, &mine);
			have = have || mews_depot_take(&depots, 0, &mine);
		}
		if (have) {
			use(mine);
			RL_ASSERT(!(atomic_fetch_or(&held, 1 << mine) >> mine & 1));
		}
	}

	void after()
	{
		uint64_t all = held($);
		uintptr_t mine;

		while (mews_depot_take(&depots, 0, &mine)) {
			RL_ASSERT(!(all >> mine & 1));
			all |= 1 << mine;
		}
		RL_ASSERT(all == (1 << BLOCKS) - 1);
	}
};
