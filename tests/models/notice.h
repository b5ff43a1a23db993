/* SPDX-License-Identifier: MIT */
/*
 * A waiter and a block that comes to a stack: whoever comes second must see the other. As in waiters.h:
 * the waiter says that it waits, and looks; who has put a block looks for a waiter, and tells it.
 */
#define MEWS_NONE UINT32_MAX

enum { LOOK, WAITING };

struct mews_tagstack {
	mews_word head;
};

/* THE FUNCTIONS */
struct test : body {
	mews_tagstack stack;
	mews_word link[1];
	half_word turn;
	bool found;

	void before() override
	{
		stack.head($) = 0;
		link[0]($) = 0;
		turn($) = LOOK;
		found = false;
	}

	void thread(unsigned index) override
	{
		if (index == 0) {
			mews_tagstack_push(&stack, link, 0);
			if (atomic_load(&turn) == WAITING)
				atomic_exchange(&turn, LOOK);
		} else if (index == 1) {
			atomic_exchange(&turn, WAITING);
			found = mews_tagstack_pop(&stack, link) == 0;
		}
	}

	void after() override
	{
		RL_ASSERT(found || turn($) == LOOK);
	}
};
