/* SPDX-License-Identifier: MIT */
/*
 * One CPU's cache: a thread on that CPU leases and returns by sequences, two others close the cache,
 * one of them opens it too, or lets it rest and wakes it, or changes its size. The sequences are written
 * here, as rseq_*.h has them; each step of one looks whether it was aborted, and the fence aborts it.
 * Loads of the header may be as old as the memory model allows. A block must be in one place, and no slot
 * below or above is ever used.
 */
enum { BLOCKS = 2, CAPACITY = 2, MEWS_CACHE_TAKE = 1 };
enum mews_cache_state { MEWS_CACHE_NEW, MEWS_CACHE_CLOSED, MEWS_CACHE_BUSY, MEWS_CACHE_FROZEN,
			MEWS_CACHE_RESTING, MEWS_CACHE_OPEN };

struct mews_cpu_cache {
	rl::atomic<cell *> cur, base, owned_base;
	rl::atomic<uintptr_t> span, owned_span;
	cell slots[CAPACITY];
};

struct mews_side {
	half_word cache_state, capacity;
};

struct mews_control {
	struct { uint32_t window_bytes; } plan;
	struct { mews_side side[1]; } sides;
	mews_cpu_cache *pool;
};

static mews_cpu_cache *mews_cache_of(mews_cpu_cache *pool, uint32_t cpu)
{
	return pool + cpu;
}

/* The slots lie before the header: there cur stands where the cache is full. */
static cell *mews_cache_bottom(mews_cpu_cache *cache, uint32_t capacity)
{
	return cache->slots + CAPACITY - capacity;
}

/* A pool without owners: its pair of bounds is the first. */
static bool mews_owned(const mews_control *control)
{
	return control == NULL;
}

static void mews_owned_settle(mews_control *control, uintptr_t *blocks, size_t count)
{
}

/* The CPU: what one step of a sequence is, and the abort, exclude each other. */
static struct cpu {
	rl::mutex lock;
	cell aborted;
} *cpu0;

static int mews_fence_cpu(uint32_t cpu)
{
	UNUSED(cpu);
	cpu0->lock.lock($);
	cpu0->aborted($) = 1;
	cpu0->lock.unlock($);
	return 0;
}

/* THE FUNCTIONS */
struct test : body {
	cpu one;
	mews_control control;
	mews_cpu_cache cache;
	cell block[BLOCKS];
	mews_word slab, held;   /* bits: blocks that lie free outside, and in hands at the end */

	void before() override
	{
		cpu0 = &one;
		one.aborted($) = 0;
		control.plan.window_bytes = 1;
		control.sides.side[0].cache_state($) = MEWS_CACHE_NEW;
		control.sides.side[0].capacity($) = 0;
		control.pool = &cache;
		cache.cur($) = (cell *)NULL;
		cache.base($) = (cell *)NULL;
		cache.owned_base($) = (cell *)NULL;
		cache.span($) = 0;
		cache.owned_span($) = 0;
		for (int i = 0; i < CAPACITY; i++)
			cache.slots[i]($) = 0;
		for (int i = 0; i < BLOCKS; i++)
			block[i]($) = 0;
		slab($) = 0;
		held($) = 0;
	}

	void use(uintptr_t number)
	{
		RL_ASSERT(number < BLOCKS);
		block[number]($) = block[number]($) + 1;
	}

	void begin()
	{
		one.lock.lock($);
		one.aborted($) = 0;
		one.lock.unlock($);
	}

	/* True, and the CPU locked, where the sequence was not aborted: for one step. */
	bool step()
	{
		one.lock.lock($);
		if (!one.aborted($))
			return true;
		one.lock.unlock($);
		return false;
	}

	bool commit(cell *cur)
	{
		if (!step())
			return false;
		cache.cur.store(cur, mo_relaxed, $);
		one.lock.unlock($);
		return true;
	}

	bool lease(uintptr_t *number)
	{
		for (;;) {
			begin();
			cell *cur = cache.cur.load(mo_relaxed, $);
			if (cur <= cache.base.load(mo_relaxed, $))
				return false;
			if (!step())
				continue;
			RL_ASSERT(cur > cache.slots && cur <= cache.slots + CAPACITY);
			*number = cur[-1]($);
			one.lock.unlock($);
			if (commit(cur - 1))
				return true;
		}
	}

	bool give(uintptr_t number)
	{
		for (;;) {
			begin();
			if (!cache.span.load(mo_relaxed, $))
				return false;
			cell *cur = cache.cur.load(mo_relaxed, $);
			if (cur == cache.slots + CAPACITY)
				return false;
			if (!step())
				continue;
			RL_ASSERT(cur >= cache.slots && cur < cache.slots + CAPACITY);
			(*cur)($) = number;
			one.lock.unlock($);
			if (commit(cur + 1))
				return true;
		}
	}

	void to_slab(uintptr_t number)
	{
		use(number);
		RL_ASSERT(!(atomic_fetch_or(&slab, (uint64_t)1 << number) >> number & 1));
	}

	void put_back(uintptr_t number)
	{
		if (give(number))
			return;
		mews_cache_open(&control, 0, CAPACITY);
		if (!give(number))
			to_slab(number);
	}

	void close()
	{
		uintptr_t found[MEWS_CACHE_TAKE];
		bool left = false;

		do {
			size_t count = mews_cache_close(&control, 0, found, &left);

			RL_ASSERT(count <= MEWS_CACHE_TAKE);
			for (size_t i = 0; i < count; i++)
				to_slab(found[i]);
		} while (left);
	}

	void on_the_cpu()
	{
		uintptr_t number;

		/* Sometimes at first of a cache that another thread may just open. */
		for (int i = rl::ctx().rand(2, rl::sched_type_user); i > 0; i--)
			RL_ASSERT(!lease(&number));
		put_back(0);
		put_back(1);
		for (int i = 0; i < 2; i++)
			if (lease(&number)) {
				use(number);
				put_back(number);
			}
		if (lease(&number)) {
			use(number);
			atomic_fetch_or(&held, (uint64_t)1 << number);
		}
	}

	/* Lets the CPU go ahead by some steps, so that there is something to close. */
	void come_late()
	{
		for (unsigned i = rl::ctx().rand(40, rl::sched_type_user); i > 0; i--)
			slab.load(mo_relaxed, $);
	}

	void thread(unsigned index) override
	{
		if (index == 0) {
			on_the_cpu();
			return;
		}
		come_late();
		if (index == 2)
			switch (rl::ctx().rand(4, rl::sched_type_user)) {
			case 0:
				mews_cache_rest(&control, 0);
				mews_cache_wake(&control, 0);
				return;
			case 1:
				close();
				mews_cache_open(&control, 0, CAPACITY - 1);
				return;
			}
		close();
		if (index == 2)
			mews_cache_open(&control, 0, CAPACITY);
	}

	void after() override
	{
		uint64_t all = slab($), hands = held($);
		cell *cur = cache.cur($);
		cell *bottom = mews_cache_bottom(&cache, control.sides.side[0].capacity($));

		RL_ASSERT(!(all & hands));
		all |= hands;
		for (cell *slot = bottom; cur && slot < cur; slot++) {
			uintptr_t number = (*slot)($);

			RL_ASSERT(number < BLOCKS && !(all >> number & 1));
			all |= (uint64_t)1 << number;
		}
		RL_ASSERT(all == (1 << BLOCKS) - 1);
	}
};
