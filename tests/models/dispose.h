/* SPDX-License-Identifier: MIT */
/*
 * The end of a pool: one thread disposes of it while two others return their blocks. A third block lies
 * in a cache. Who comes last frees the pool: once, after everybody's last look at it, with no block out.
 */
enum { MEWS_LIVE, MEWS_DRAINING, MEWS_DISPOSED, OUT = 2, CACHED = 4, CARVED = 3 };
enum mews_report_kind { MEWS_REPORT_DOUBLE_RETURN };
#define MEWS_HOLDERS_BIAS (UINT64_C(1) << 62)

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

struct mews_window {
	mews_word free[1], summary[1], bare[1], bare_blocks;
	half_word frontier;
};

struct mews_slabs {
	uint32_t windows, slab_words, window_bits_shift;
	mews_window window[1];
};

struct mews_control {
	half_word state;
	mews_word holders, dropped[1];
	mews_slabs slabs;
	mews_sides sides;
	cell memory;            /* all of the pool's: read by who uses it, written by who frees it */
};

static uint32_t mews_gate_inside(uint64_t gate);

static void mews_pause(unsigned turn)
{
	UNUSED(turn);
	rl::yield(1, $);
}

static uint32_t mews_slabs_bit(const mews_slabs *slabs, uint32_t number)
{
	UNUSED(slabs);
	return number;
}

static void mews_report(mews_control *control, mews_report_kind kind, void *block, const char *message)
{
	UNUSED(control);
	UNUSED(kind);
	UNUSED(block);
	UNUSED(message);
	RL_ASSERT(!"a block that was out is taken for returned");
}

static void mews_control_destroy(mews_control *control)
{
	RL_ASSERT((uintptr_t)control->memory($) == 1);
	control->memory($) = 0;
	RL_ASSERT((control->slabs.window[0].free[0]($) | control->dropped[0]($)) == (1 << CARVED) - 1);
}

/* A pool without owners. */
static bool mews_owner_pool_leave(mews_control *control)
{
	return true;
}

/* THE FUNCTIONS */
struct test : body {
	mews_control control;
	mews_side side[1];

	void before() override
	{
		control.state($) = MEWS_LIVE;
		control.holders($) = MEWS_HOLDERS_BIAS;
		control.dropped[0]($) = 0;
		control.slabs.windows = 1;
		control.slabs.slab_words = 1;
		control.slabs.window_bits_shift = 6;
		control.slabs.window[0].free[0]($) = 0;
		control.slabs.window[0].summary[0]($) = 0;
		control.slabs.window[0].bare[0]($) = 0;
		control.slabs.window[0].bare_blocks($) = 0;
		control.slabs.window[0].frontier($) = 1;
		control.sides.count = 1;
		control.sides.side = side;
		control.sides.epoch($) = 0;
		control.sides.waiting($) = 0;
		side[0].gate[0]($) = side[0].gate[1]($) = 0;
		control.memory($) = 1;
	}

	/* As mews_pool_dispose, with count_holders within. */
	void dispose()
	{
		uint64_t out;

		RL_ASSERT(atomic_exchange(&control.state, MEWS_DISPOSED) == MEWS_LIVE);
		mews_gate_wait(&control.sides);
		put_word(&control.slabs.window[0], 0, CACHED);
		mews_gate_wait(&control.sides);
		out = CARVED - __builtin_popcountll(atomic_load(&control.slabs.window[0].free[0])) +
			wrongly_dropped(&control);
		RL_ASSERT((uintptr_t)control.memory($) == 1);
		mews_release_holders(&control, MEWS_HOLDERS_BIAS - out);
	}

	/* As return_slow. */
	void give_back(uint32_t number)
	{
		mews_pass pass = mews_gate_enter(&control.sides, 0);
		bool disposed = atomic_load(&control.state) == MEWS_DISPOSED;

		if (disposed)
			RL_ASSERT(mews_drop(&control, NULL, number));
		else
			put_word(&control.slabs.window[0], 0, (uint64_t)1 << number);
		RL_ASSERT((uintptr_t)control.memory($) == 1);
		mews_gate_leave(&pass);
		if (disposed)
			mews_release_holders(&control, 1);
	}

	void thread(unsigned index) override
	{
		if (index == OUT)
			dispose();
		else
			give_back(index);
	}

	void after() override
	{
		RL_ASSERT((uintptr_t)control.memory($) == 0);
	}
};
