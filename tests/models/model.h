/* SPDX-License-Identifier: MIT */
/*
 * The library's C on relacy's atomics: included by the program that `make` writes, in front of the
 * functions that it has copied out of lib/. A word is a history of values here, of which a thread may
 * read any that the C11 memory model allows it to; a cell is plain memory, on which a race is an error.
 */
#ifndef TESTS_MODELS_MODEL_H
#define TESTS_MODELS_MODEL_H

#include <relacy/relacy.hpp>
#undef free
#undef malloc
#undef new
#undef delete
#undef errno

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iostream>

using namespace rl;

typedef rl::atomic<uint64_t> mews_word;
typedef rl::atomic<uint32_t> half_word;
typedef rl::var<uintptr_t> cell;

#define UNUSED(x) ((void)(x))

template <typename T>
T atomic_load_explicit(const rl::atomic<T> *word, memory_order order, debug_info info)
{
	return word->load(order, info);
}

template <typename T, typename V>
void atomic_store_explicit(rl::atomic<T> *word, V value, memory_order order, debug_info info)
{
	word->store((T)value, order, info);
}

#define MODEL_RMW(name)									\
	template <typename T, typename V>						\
	T atomic_##name##_explicit(rl::atomic<T> *word, V value, memory_order order,	\
				   debug_info info)					\
	{										\
		return word->name((T)value, order, info);				\
	}
MODEL_RMW(fetch_add)
MODEL_RMW(fetch_sub)
MODEL_RMW(fetch_or)
MODEL_RMW(fetch_and)
MODEL_RMW(exchange)

template <typename T, typename V>
bool atomic_compare_exchange_strong_explicit(rl::atomic<T> *word, T *expected, V desired,
					     memory_order yes, debug_info info, memory_order no,
					     debug_info)
{
	return word->compare_exchange_strong(*expected, (T)desired, yes, info, no, info);
}

template <typename T, typename V>
bool atomic_compare_exchange_weak_explicit(rl::atomic<T> *word, T *expected, V desired,
					   memory_order yes, debug_info info, memory_order no,
					   debug_info)
{
	return word->compare_exchange_weak(*expected, (T)desired, yes, info, no, info);
}

#define atomic_load(w) atomic_load_explicit((w), memory_order_seq_cst)
#define atomic_store(w, v) atomic_store_explicit((w), (v), memory_order_seq_cst)
#define atomic_fetch_add(w, v) atomic_fetch_add_explicit((w), (v), memory_order_seq_cst)
#define atomic_fetch_sub(w, v) atomic_fetch_sub_explicit((w), (v), memory_order_seq_cst)
#define atomic_fetch_or(w, v) atomic_fetch_or_explicit((w), (v), memory_order_seq_cst)
#define atomic_fetch_and(w, v) atomic_fetch_and_explicit((w), (v), memory_order_seq_cst)
#define atomic_exchange(w, v) atomic_exchange_explicit((w), (v), memory_order_seq_cst)
#define atomic_compare_exchange_strong(w, e, d) \
	atomic_compare_exchange_strong_explicit((w), (e), (d), memory_order_seq_cst, memory_order_seq_cst)
#define atomic_compare_exchange_weak(w, e, d) \
	atomic_compare_exchange_weak_explicit((w), (e), (d), memory_order_seq_cst, memory_order_seq_cst)
/* gcc's builtins on words of the cache's header */
#define MODEL___ATOMIC_RELAXED mo_relaxed
#define MODEL___ATOMIC_ACQUIRE mo_acquire
#define MODEL___ATOMIC_RELEASE mo_release
#define __atomic_load_n(w, order) atomic_load_explicit((w), MODEL_##order, $)
#define __atomic_store_n(w, v, order) atomic_store_explicit((w), (v), MODEL_##order, $)

/* Plain memory copied from cells and to cells. */
static inline void copy_in(cell *to, const uintptr_t *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i]($) = from[i];
}

static inline void copy_out(uintptr_t *to, cell *from, size_t count)
{
	for (size_t i = 0; i < count; i++)
		to[i] = (uintptr_t)from[i]($);
}

/* What a model's `test` is: three threads, once each, between before and after. */
struct body {
	virtual void before() = 0;
	virtual void thread(unsigned index) = 0;
	virtual void after() = 0;
	virtual ~body() {}
};

/* One variant of one model: the first of each is the library's own, the others have a bug. */
struct variant {
	const char *model, *name;
	bool planted;
	uint64_t executions;
	body *(*make)(void *room);
};

template <typename Test>
body *make(void *room)
{
	return ::new (room) Test;
}

static body *(*now)(void *room);

/* What relacy runs: one class for all, since each costs seconds to compile. */
struct harness : test_suite<harness, 3> {
	alignas(64) char room[16384];
	body *test;

	harness() : test(now(room)) {}
	~harness() { test->~body(); }
	void before() { test->before(); }
	void thread(unsigned index) { test->thread(index); }
	void after() { test->after(); }
};

/* The end of what relacy says: its own operator new does not bear a stream that grows. */
struct last_words : std::streambuf {
	char said[65536];
	size_t length = 0;

	int overflow(int c) override
	{
		said[length++ % sizeof(said)] = (char)c;
		return c;
	}
	void show()
	{
		for (size_t i = length > sizeof(said) ? length - sizeof(said) : 0; i < length; i++)
			putchar(said[i % sizeof(said)]);
	}
};

/* True where it went as it must. A planted bug has ten times as long to show itself. */
static inline bool run(const variant *v, uint64_t more)
{
	static last_words history, progress;
	test_params params;
	std::ostream told(&history), unheard(&progress);
	bool good;

	now = v->make;
	params.iteration_count = v->executions * (v->planted ? 10 : more);
	params.output_stream = &told;
	params.progress_stream = &unheard;
	params.execution_depth_limit = 4000;
	good = simulate<harness>(params);
	if (!good && !v->planted)
		history.show();
	printf("%-8s %-28s %s, %llu executions\n", v->model, v->name,
	       good ? "nothing found" : test_result_str(params.test_result),
	       (unsigned long long)params.stop_iteration);
	return good != v->planted;
}

/* models MODEL [FACTOR]: all variants of one, that many times as often. */
static inline int run_all(const variant *variants, size_t count, int argc, char **argv)
{
	int ran = 0, wrong = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < count; i++)
		if (strcmp(variants[i].model, argv[1]) == 0) {
			ran++;
			wrong += !run(&variants[i], argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
		}
	return ran && !wrong ? 0 : 1;
}

#endif
