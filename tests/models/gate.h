/* SPDX-License-Identifier: MIT */
/*
 * The gate: one thread stores a new state, waits, and changes what only operations that saw the old
 * one use; twice, beside an operation that may sleep anywhere, and another thread that waits as well.
 */
enum { CPUS = 1 };

struct mews_side {
	mews_word gate[2];
};

struct mews_sides {
	uint32_t count;
	half_word epoch, waiting;
	mews_side *side;
};

struct mews_pass {
	mews_side *side;
	uint32_t cpu, half;
};

static uint32_t mews_gate_inside(uint64_t gate);

static void mews_pause(unsigned turn)
{
	UNUSED(turn);
	rl::yield(1, $);
}

/* THE FUNCTIONS */
struct test : body {
	mews_sides sides;
	mews_side side[CPUS];
	half_word state;
	cell used;              /* by operations that see a state below 2; then the waiter's alone */

	void before() override
	{
		sides.count = CPUS;
		sides.side = side;
		sides.epoch($) = 0;
		sides.waiting($) = 0;
		for (int i = 0; i < CPUS; i++)
			side[i].gate[0]($) = side[i].gate[1]($) = 0;
		state($) = 0;
		used($) = 0;
	}

	void operate()
	{
		mews_pass pass = mews_gate_enter(&sides, 0);

		if (atomic_load(&state) < 2)
			used($) = used($) + 1;
		mews_gate_leave(&pass);
	}

	void thread(unsigned index) override
	{
		if (index == 1) {
			operate();
			operate();
		} else if (index == 2) {
			mews_gate_wait(&sides);
		} else {
			atomic_store(&state, 1);
			mews_gate_wait(&sides);
			atomic_store(&state, 2);
			mews_gate_wait(&sides);
			used($) = 100;
		}
	}

	void after() override {}
};
