/* SPDX-License-Identifier: MIT */
/*
 * The C++ side of shim.h: turns C benches into Google Benchmark's. Layer 6, the only file that
 * includes benchmark.h. Invariant: manual time only; the clock is the bench's own.
 */
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "shim.h"

struct perf_run {
	benchmark::State &state;
	bool skipped;
};

static void run_bench(benchmark::State &state, const struct perf_bench bench)
{
	struct perf_run run = { state, false };

	bench.body(&run, bench.closure);
}

static std::vector<int64_t> values_of(const struct perf_arg &arg)
{
	std::vector<int64_t> values;

	for (int i = 0; i < PERF_POINTS && arg.value[i]; i++)
		values.push_back(arg.value[i]);
	if (values.empty())
		for (int64_t v = arg.low; v <= arg.high; v *= arg.factor > 1 ? arg.factor : 2)
			values.push_back(v);
	return values;
}

void perf_register(const struct perf_bench *bench)
{
	auto *b = benchmark::RegisterBenchmark(bench->name, run_bench, *bench);
	std::vector<std::vector<int64_t>> lists;
	std::vector<std::string> names;

	for (int i = 0; i < PERF_ARGS && bench->arg[i].name; i++) {
		names.push_back(bench->arg[i].name);
		lists.push_back(values_of(bench->arg[i]));
	}
	if (!lists.empty())
		b->ArgNames(names)->ArgsProduct(lists);
	b->Iterations(bench->iterations ? bench->iterations : 1);
	b->Threads(bench->threads ? bench->threads : 1);
	b->UseManualTime();
}

bool perf_next(struct perf_run *run)
{
	return !run->skipped && run->state.KeepRunning();
}

void perf_seconds(struct perf_run *run, double seconds)
{
	run->state.SetIterationTime(seconds);
}

int64_t perf_argument(const struct perf_run *run, int i)
{
	return run->state.range(i);
}

int perf_thread(const struct perf_run *run, int *threads)
{
	*threads = run->state.threads();
	return run->state.thread_index();
}

void perf_counter(struct perf_run *run, const char *name, double value)
{
	run->state.counters[name] = benchmark::Counter(value, benchmark::Counter::kAvgThreads);
}

void perf_skip(struct perf_run *run, const char *reason)
{
	run->skipped = true;
	run->state.SkipWithError(reason);
}

void perf_context(const char *key, const char *value)
{
	benchmark::AddCustomContext(key, value);
}

int perf_main(int argc, char **argv)
{
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 2;
	benchmark::RunSpecifiedBenchmarks();
	benchmark::Shutdown();
	return 0;
}
