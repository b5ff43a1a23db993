/* SPDX-License-Identifier: MIT */
/*
 * A drain's look beside operations. There is always a block out: the first thread leases one, or
 * grows the pool, and only then the second returns its own. So the look must never say that none is.
 */
enum { MEWS_LIVE, MEWS_DRAINING, MEWS_DISPOSED, WORDS = 4 };

struct mews_window {
	mews_word free[WORDS], summary[1], bare[WORDS], bare_summary[1], bare_blocks, carved;
	half_word frontier;
};

struct mews_slabs {
	uint32_t windows, slab_words;
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
		s->window[0].carved($) = 2;
		s->growing($) = 0;
		s->grown($) = 0;
		s->trimmed($) = 0;
		for (int i = 0; i < WORDS; i++) {
			s->window[0].free[i]($) = i == 0;
			s->window[0].bare[i]($) = 0;
		}
		s->window[0].bare_blocks($) = 0;
		s->window[0].bare_summary[0]($) = 0;
		s->window[0].summary[0]($) = 1;
		s->window[0].frontier($) = 1;
		go($) = 0;
	}

	uint64_t take(uint64_t word)
	{
		return take_bits(control.slabs.window[0].free, control.slabs.window[0].summary, word, 1);
	}

	/* As take_free and settle_word do it: the memory of a free block goes, the block stays carved. */
	void give_memory_back()
	{
		mews_window *w = &control.slabs.window[0];

		RL_ASSERT(take(0) == 1);
		atomic_fetch_add_explicit(&w->bare_blocks, 1, memory_order_relaxed);
		put_bits(w->bare, w->bare_summary, 0, 1);
	}

	/* As lease_within does it. */
	void lease()
	{
		RL_ASSERT(take(0) == 1);
		atomic_fetch_add(&control.drain_leases, 1);
	}

	/* As grow_slab and publish do it: two blocks, one for the caller and one free. */
	void grow()
	{
		mews_slabs *s = &control.slabs;

		atomic_fetch_add(&s->growing, 1);
		atomic_fetch_add_explicit(&s->window[0].carved, 2, memory_order_relaxed);
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
			switch (rl::ctx().rand(3, rl::sched_type_user)) {
			case 0:
				give_memory_back();
				return; /* the second thread keeps its block */
			case 1:
				grow();
				break;
			default:
				lease();
			}
			atomic_store_explicit(&go, 1, memory_order_release);
		} else if (atomic_load_explicit(&go, memory_order_acquire)) {
			put_word(&control.slabs.window[0], 1, 1);
		}
	}

	void after() override {}
};
