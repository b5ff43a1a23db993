/* SPDX-License-Identifier: MIT */
/*
 * A drain's look beside operations. There is always a block out: the first thread leases one, or
 * grows the pool, and only then the second returns its own. So the look must never say that none is.
 */
enum { MEWS_LIVE, MEWS_DRAINING, MEWS_DISPOSED, WORDS = 4 };

struct mews_window {
	mews_word free[WORDS], summary[1];
	half_word frontier;
};

struct mews_slabs {
	uint32_t windows, slab_words;
	mews_word carved;
	half_word growing, grown, trimmed;
	mews_window window[1];
};

struct mews_control {
	half_word state, drain_leases;
	mews_slabs slabs;
	struct { mews_word count; } oversize;
};

struct mews_pass {
	int unused;
};

static mews_pass mews_pass_gate(mews_control *control, unsigned cpu)
{
	UNUSED(control);
	UNUSED(cpu);
	return mews_pass();
}

static void mews_pass_end(mews_pass *pass)
{
	UNUSED(pass);
}

static unsigned mews_fence_current_cpu(void)
{
	return 0;
}

/* All lies in slabs already. */
static void mews_collect(mews_control *control)
{
	UNUSED(control);
}

/* THE FUNCTIONS */
struct test : body {
	mews_control control;
	half_word go;

	/* Words 0 and 1 in one slab: block 0 is free, block 64 is out. Words 2 and 3 are the next slab. */
	void before() override
	{
		mews_slabs *s = &control.slabs;

		control.state($) = MEWS_DRAINING;
		control.drain_leases($) = 0;
		control.oversize.count($) = 0;
		s->windows = 1;
		s->slab_words = 2;
		s->carved($) = 2;
		s->growing($) = 0;
		s->grown($) = 0;
		s->trimmed($) = 0;
		for (int i = 0; i < WORDS; i++)
			s->window[0].free[i]($) = i == 0;
		s->window[0].summary[0]($) = 1;
		s->window[0].frontier($) = 1;
		go($) = 0;
	}

	/* As lease_within does it. */
	void lease()
	{
		RL_ASSERT(take_word(&control.slabs.window[0], 0, 1) == 1);
		atomic_fetch_add(&control.drain_leases, 1);
	}

	/* As grow_slab and publish do it: two blocks, one for the caller and one free. */
	void grow()
	{
		mews_slabs *s = &control.slabs;

		atomic_fetch_add(&s->growing, 1);
		atomic_fetch_add_explicit(&s->carved, 2, memory_order_relaxed);
		atomic_fetch_add(&s->window[0].frontier, 1);
		put_word(&s->window[0], 2, 1);
		atomic_fetch_add(&s->grown, 1);
		atomic_fetch_sub(&s->growing, 1);
		atomic_fetch_add(&control.drain_leases, 1);
	}

	void thread(unsigned index) override
	{
		if (index == 0) {
			RL_ASSERT(look(&control) != 0);
		} else if (index == 1) {
			if (rl::ctx().rand(2, rl::sched_type_user))
				grow();
			else
				lease();
			atomic_store_explicit(&go, 1, memory_order_release);
		} else if (atomic_load_explicit(&go, memory_order_acquire)) {
			put_word(&control.slabs.window[0], 1, 1);
		}
	}

	void after() override {}
};
