/* SPDX-License-Identifier: MIT */
/*
 * A word of free bits and its summary: three threads return a block each and take some. At the end each
 * block is in one hand or free, and a word that is not zero has its summary.
 */
enum { BLOCKS = 3 };

struct mews_window {
	mews_word free[1], summary[1];
};

/* THE FUNCTIONS */
struct test : body {
	mews_window w;
	cell block[BLOCKS];
	mews_word held;

	void before() override
	{
		w.free[0]($) = 0;
		w.summary[0]($) = 0;
		held($) = 0;
		for (int i = 0; i < BLOCKS; i++)
			block[i]($) = 0;
	}

	/* Only a word with its summary's bit is looked at, as mews_slabs_take does; the last look mends it. */
	uint64_t take(size_t count)
	{
		if (!(atomic_load(&w.summary[0]) & 1) && !mend(w.free, w.summary, 0))
			return 0;
		return take_bits(w.free, w.summary, 0, count);
	}

	void use(uint64_t mine)
	{
		for (int i = 0; i < BLOCKS; i++)
			if (mine >> i & 1)
				block[i]($) = block[i]($) + 1;
	}

	void keep(uint64_t mine)
	{
		use(mine);
		RL_ASSERT(!(atomic_fetch_or(&held, mine) & mine));
	}

	void thread(unsigned index) override
	{
		uint64_t mine = (uint64_t)1 << index;

		use(mine);
		RL_ASSERT(!put_word(&w, 0, mine));
		mine = take(index + 1);
		if (!mine)
			return;
		use(mine);
		if (index == 0)
			RL_ASSERT(!put_word(&w, 0, mine));
		else
			keep(mine);
	}

	void after() override
	{
		uint64_t free = w.free[0]($), all = held($);

		RL_ASSERT(!(free & all) && (free | all) == 7);
		RL_ASSERT(!free || w.summary[0]($));
	}
};
