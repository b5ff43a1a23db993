/* SPDX-License-Identifier: MIT */
/*
 * Owner words beside one CPU's cache: a thread on that CPU leases and returns as owner B, another ends
 * owner A, a third closes the cache or returns a lease of A's. A block of A's lies in the cache, or is out of B's
 * too; one of A's is out, leased from the slot above or, in the other case, from the first; one of B's is out.
 * Each block is in one place at the end.
 *
 * What matters here is in which order a thread's stores arrive, which relacy does not change. So they
 * queue up: a plain one may overtake all before it, one with release none. A fence ends the queue.
 */
enum { BLOCKS = 3, CAPACITY = 2, MEWS_CACHE_TAKE = 1, IN_CACHE = 0, OUT_OF_B = 1, OUT_OF_A = 2,
       MEWS_GROUP_WORDS = BLOCKS, MEWS_CACHE_HEADER_AT = 0 };
enum mews_cache_state { MEWS_CACHE_NEW, MEWS_CACHE_CLOSED, MEWS_CACHE_BUSY, MEWS_CACHE_FROZEN,
			MEWS_CACHE_RESTING, MEWS_CACHE_OPEN };

static const uint64_t NOTHING = BLOCKS; /* in a slot; 0 is a block here */
static const uint64_t MEWS_WORD_ENDED = 1, MEWS_WORD_SETTLED = UINT64_C(1) << 32;
static const uint64_t MEWS_WORD_SLOT = MEWS_WORD_SETTLED - 8, MEWS_WORD_KEY = ~UINT64_C(0) << 33;
static const uint64_t KEY_A = UINT64_C(2) << 33, KEY_B = UINT64_C(3) << 33;

typedef mews_word slot_word;

struct mews_cpu_cache {
	rl::atomic<slot_word *> cur, owned_base;
	rl::atomic<uintptr_t> owned_span;
	slot_word slots[CAPACITY];
};

struct mews_control {
	struct { uint32_t window_bytes; } plan;
	struct { struct { half_word cache_state, capacity; } side[1]; } sides;
	mews_cpu_cache *pool;
	mews_word word[BLOCKS];
};

struct mews_owner {
	uint64_t key;
};

struct walk {
	mews_owner *owner;
	mews_control *control;
	bool end;
	size_t leases;
};

/* A store that has not arrived yet: of a word or a slot, or of a cur. */
struct late {
	mews_word *word;
	rl::atomic<slot_word *> *cur;
	uint64_t value;
	memory_order order;
};

/* Those of each thread, the oldest first; of the thread on the CPU, whose fence others wait for, locked. */
enum { LATE_MOST = 4 };
static struct queue {
	struct late late[LATE_MOST];
	unsigned count;
} queues[3];

static unsigned chance(unsigned of)
{
	return rl::ctx().rand(of, rl::sched_type_user);
}

static void let_arrive(queue *q, unsigned i)
{
	late *one = &q->late[i];

	if (one->word)
		one->word->store(one->value, one->order, $);
	else
		one->cur->store((slot_word *)one->value, one->order, $);
	memmove(one, one + 1, (--q->count - i) * sizeof(*one));
}

static void flush(unsigned thread)
{
	while (queues[thread].count)
		let_arrive(&queues[thread], 0);
}

static bool may_overtake(const queue *q, unsigned i)
{
	bool may = q->late[i].order != mo_release;

	for (unsigned j = 0; j < i; j++)
		may &= q->late[j].word != q->late[i].word || q->late[j].cur != q->late[i].cur;
	return may;
}

static void store(late one)
{
	queue *q = &queues[rl::thread_index()];

	if (q->count == LATE_MOST)
		let_arrive(q, 0);
	q->late[q->count++] = one;
	while (q->count && chance(2)) {
		unsigned i = chance(q->count);

		let_arrive(q, may_overtake(q, i) ? i : 0);
	}
}

static void store_word(mews_word *word, uint64_t value, memory_order order)
{
	store({ word, NULL, value, order });
}

static void store_cur(rl::atomic<slot_word *> *cur, slot_word *value, memory_order order)
{
	store({ NULL, cur, (uint64_t)value, order });
}

/* The newest value of a word or slot, or the thread's own. */
static uint64_t load_word(mews_word *word)
{
	const queue *q = &queues[rl::thread_index()];

	for (unsigned i = q->count; i > 0; i--)
		if (q->late[i - 1].word == word)
			return q->late[i - 1].value;
	return word->load(mo_seq_cst, $);
}

static slot_word *load_cur(rl::atomic<slot_word *> *cur)
{
	const queue *q = &queues[rl::thread_index()];

	for (unsigned i = q->count; i > 0; i--)
		if (q->late[i - 1].cur == cur)
			return (slot_word *)q->late[i - 1].value;
	return cur->load(mo_relaxed, $);
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
	flush(0);
	flush(rl::thread_index());
	cpu0->lock.unlock($);
	return 0;
}

static mews_cpu_cache *mews_cache_of(mews_cpu_cache *pool, uint32_t cpu)
{
	return pool + cpu;
}

static slot_word *mews_cache_bottom(mews_cpu_cache *cache, uint32_t capacity)
{
	return cache->slots + CAPACITY - capacity;
}

static void copy_slots(uintptr_t *to, slot_word *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = from[i].load(mo_relaxed, $);
}

static mews_word *mews_owned_word(mews_control *control, uintptr_t block)
{
	return &control->word[block];
}

static mews_word *mews_owned_word_at(mews_control *control, uint64_t group, unsigned i)
{
	return &control->word[group + i];
}

static uintptr_t mews_owned_block_at(const mews_control *control, uint64_t group, unsigned i)
{
	UNUSED(control);
	return group + i;
}

static bool prepare(mews_control *control, uint32_t cpu, mews_cpu_cache *cache)
{
	RL_ASSERT(!"the cache was opened before");
	return false;
}

static void report(mews_control *control, uint64_t word, uintptr_t block)
{
	RL_ASSERT(word & MEWS_WORD_SETTLED || !word);
}

static void mews_owner_take_home(mews_control *control, uintptr_t block);

/* THE FUNCTIONS */
struct test;
static test *running;

struct test : body {
	cpu one;
	mews_control control;
	mews_cpu_cache cache;
	mews_owner a;
	cell block[BLOCKS];
	mews_word slab;         /* bits: blocks that lie free outside */
	uintptr_t hand[BLOCKS];
	unsigned held;

	uint64_t slot_of(slot_word *slot)
	{
		return (uint32_t)(uintptr_t)slot;
	}

	void before() override
	{
		running = this;
		cpu0 = &one;
		one.aborted($) = 0;
		memset(queues, 0, sizeof(queues));
		a.key = KEY_A;
		control.plan.window_bytes = 1;
		control.sides.side[0].cache_state($) = MEWS_CACHE_OPEN;
		control.sides.side[0].capacity($) = CAPACITY;
		control.pool = &cache;
		cache.owned_base($) = cache.slots;
		cache.owned_span($) = 1;
		bool holds = chance(2);
		cache.slots[0]($) = holds ? IN_CACHE : OUT_OF_A;
		cache.slots[1]($) = OUT_OF_A;
		cache.cur($) = cache.slots + holds;
		control.word[IN_CACHE]($) = holds ? KEY_A | slot_of(&cache.slots[0]) : KEY_B;
		control.word[OUT_OF_A]($) = KEY_A | slot_of(&cache.slots[holds]);
		control.word[OUT_OF_B]($) = KEY_B;
		hand[0] = OUT_OF_B;
		hand[1] = IN_CACHE;
		held = holds ? 1 : 2;
		for (int i = 0; i < BLOCKS; i++)
			block[i]($) = 0;
		slab($) = 0;
	}

	void use(uintptr_t number)
	{
		RL_ASSERT(number < BLOCKS);
		block[number]($) = block[number]($) + 1;
	}

	void to_slab(uintptr_t number)
	{
		use(number);
		one.lock.lock($);
		flush(rl::thread_index());
		one.lock.unlock($);
		RL_ASSERT(!(atomic_fetch_or(&slab, (uint64_t)1 << number) >> number & 1));
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

	bool writes(mews_word *word, uint64_t value, memory_order order)
	{
		if (!step())
			return false;
		store_word(word, value, order);
		one.lock.unlock($);
		return true;
	}

	bool commits(slot_word *cur, memory_order order)
	{
		if (!step())
			return false;
		store_cur(&cache.cur, cur, order);
		one.lock.unlock($);
		return true;
	}

	bool is_of_b(uintptr_t number)
	{
		return load_word(&control.word[number]) >> 32 == KEY_B >> 32;
	}

	/* mews_seq_owned_lease, or where the word is another's mews_seq_owned_lease_any. */
	bool lease(uintptr_t *number)
	{
		for (;;) {
			begin();
			slot_word *cur = load_cur(&cache.cur);
			if (cur <= cache.owned_base.load(mo_relaxed, $))
				return false;
			*number = load_word(&cur[-1]);
			if (!is_of_b(*number) &&
			    !writes(&control.word[*number], KEY_B | slot_of(cur - 1), mo_relaxed))
				continue;
			if (commits(cur - 1, mo_release))
				return true;
		}
	}

	/* mews_seq_owned_return. */
	bool give(uintptr_t number)
	{
		for (;;) {
			begin();
			if (!cache.owned_span.load(mo_relaxed, $))
				return false;
			slot_word *cur = load_cur(&cache.cur);
			if (cur == cache.slots + CAPACITY || !is_of_b(number))
				return false;
			if (writes(&control.word[number], KEY_B | slot_of(cur), mo_relaxed) &&
			    writes(cur, number, mo_release) && commits(cur + 1, mo_release))
				return true;
		}
	}

	void put_back(uintptr_t number)
	{
		if (give(number))
			return;
		mews_fence_cpu(0);
		RL_ASSERT(take_back(&control, number));
		mews_owner_take_home(&control, number);
	}

	void on_the_cpu()
	{
		for (int i = 0; i < 4; i++) {
			if (held && chance(2)) {
				std::swap(hand[chance(held)], hand[held - 1]);
				put_back(hand[--held]);
			} else if (lease(&hand[held])) {
				use(hand[held]);
				held++;
			}
		}
		mews_fence_cpu(0);
	}

	void close_and_open()
	{
		uintptr_t found[MEWS_CACHE_TAKE];
		bool left = false;

		do {
			size_t count = mews_cache_close(&control, 0, found, &left);

			for (size_t i = 0; i < count; i++)
				to_slab(found[i]);
		} while (left);
		mews_cache_open(&control, 0, CAPACITY - chance(2));
	}

	/* Lets the others go ahead by some steps. */
	void come_late()
	{
		for (unsigned i = chance(40); i > 0; i--)
			slab.load(mo_relaxed, $);
	}

	void thread(unsigned index) override
	{
		walk walk = { &a, &control, true, 0 };

		if (index)
			come_late();
		if (index == 0)
			on_the_cpu();
		else if (index == 1)
			walk_words(&walk, 0);
		else if (chance(2))
			close_and_open();
		else if (take_back(&control, OUT_OF_A))
			mews_owner_take_home(&control, OUT_OF_A);
	}

	void after() override
	{
		uint64_t all = slab($);
		slot_word *cur = cache.cur($);

		RL_ASSERT(all >> OUT_OF_A & 1);
		for (unsigned i = 0; i < held; i++) {
			RL_ASSERT(!(all >> hand[i] & 1));
			all |= (uint64_t)1 << hand[i];
		}
		slot_word *bottom = mews_cache_bottom(&cache, control.sides.side[0].capacity($));
		for (slot_word *slot = bottom; slot < cur; slot++) {
			uintptr_t number = (*slot)($);

			RL_ASSERT(number < BLOCKS && !(all >> number & 1));
			all |= (uint64_t)1 << number;
		}
		RL_ASSERT(all == (1 << BLOCKS) - 1);
	}
};

static void mews_owner_take_home(mews_control *control, uintptr_t block)
{
	cpu0->lock.lock($);
	mews_owned_settle(control, &block, 1);
	cpu0->lock.unlock($);
	running->to_slab(block);
}
