/* SPDX-License-Identifier: MIT */
/*
 * The keeper, by a clock that the test moves: idle pools end empty within their decay, loads that come
 * and go keep what they need, orphaned caches come back, nothing is looked at that sleeps. And its
 * thread: one for all pools, named, deaf to signals, gone with the last pool.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <mews/mews.h>
#include "../../lib/keeper.h"
#include "../../numa/kernel.h"
#include "../support/pool.h"
#include "../support/threads.h"

#define DECAY 800               /* ms; a look is every 100 */
#define MANY 20000

static struct mews_kernel table;
static int64_t clock_ns, tick_ns;
static bool no_cpus;
static int reports;
static void *block[MANY];

static int fake_clock(clockid_t which, struct timespec *now)
{
	(void)which;
	clock_ns += tick_ns;
	*now = (struct timespec) { clock_ns / 1000000000, clock_ns % 1000000000 };
	return 0;
}

static int fake_affinity(pid_t pid, size_t size, cpu_set_t *set)
{
	int result = mews_kernel_real.sched_getaffinity(pid, size, set);

	if (no_cpus)
		memset(set, 0, size);
	return result;
}

/* This machine's own pressure and limits are not there to be seen: they would hasten the keeper. */
static int no_signs(const char *path, int flags)
{
	if (strncmp(path, "/sys/fs/cgroup", 14) && strncmp(path, "/proc/", 6))
		return mews_kernel_real.open(path, flags);
	errno = ENOENT;
	return -1;
}

static int no_thread(const char *name, void *(*run)(void *))
{
	(void)name;
	(void)run;
	errno = EAGAIN;
	return -1;
}

static int set_up(void **state)
{
	(void)state;
	table = mews_kernel_real;
	table.clock_gettime = fake_clock;
	table.sched_getaffinity = fake_affinity;
	table.open = no_signs;
	mews_kernel = &table;
	clock_ns = 1000000000;
	tick_ns = 0;
	no_cpus = false;
	threads_pin(0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (mews_kernel != &mews_kernel_real) /* a keeper that is on its way out may read it still */
		mews_kernel = &mews_kernel_real;
	threads_unpin();
	return 0;
}

static void on_report(void *context, const struct mews_report *report)
{
	(void)context;
	reports += report->kind == MEWS_REPORT_DEGRADED && strstr(report->message, "keeper");
}

static struct mews_pool *pool_on(enum mews_page_policy pages, enum mews_keeper keeper, size_t initial)
{
	struct mews_pool_config config = {
		.size = sizeof(config), .max_blocks = 2 * MANY, .initial_blocks = initial,
		.mode = MEWS_MODE_SERVER, .checks = MEWS_CHECKS_CHEAP, .keeper = keeper,
		.page_policy = pages,
		.decay_ms = DECAY, .on_report = on_report,
	};
	struct mews_pool *pool;

	assert_int_equal(mews_pool_create(&config, &pool), 0);
	return pool;
}

static struct mews_pool *pool_of(enum mews_keeper keeper, size_t initial)
{
	return pool_on(MEWS_PAGES_THP, keeper, initial); /* reserved ones cannot be parted */
}

/* The time passes; a step. Returns when the next is due. */
static long step(int ms)
{
	clock_ns += ms * INT64_C(1000000);
	return mews_keeper_step(0);
}

static void use(struct mews_pool *pool, size_t count)
{
	assert_int_equal(mews_lease_many(pool, block, count), count);
	for (size_t i = 0; i < count; i++)
		mews_return(pool, block[i]);
}

/* The same, each lease and each return by itself. */
static void use_singly(struct mews_pool *pool, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_non_null(block[i] = mews_lease(pool));
	for (size_t i = 0; i < count; i++)
		mews_return(pool, block[i]);
}

static void test_idle(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	struct mews_stats stats;
	uint64_t peak;
	int looks;

	(void)state;
	assert_int_equal(step(0), INT_MAX); /* nothing to keep yet */
	use(pool, MANY);
	peak = stats_of(pool).backed_bytes;
	for (looks = 0; looks < DECAY / 100; looks++) {
		assert_int_equal(stats_of(pool).leased, 0);
		step(100);
	}
	stats = stats_of(pool);
	printf("idle for a decay period: %llu KiB of %llu KiB, %.2f %%\n",
	       (unsigned long long)stats.backed_bytes / 1024, (unsigned long long)peak / 1024,
	       100.0 * (double)stats.backed_bytes / (double)peak);
	assert_in_range(stats.backed_bytes, 0, peak / 50);
	assert_true(stats.reclaimed_idle > 0 && stats.reclaimed_depot > 0);
	assert_int_equal(stats.reclaimed_by_hand + stats.reclaimed_orphaned, 0);
	assert_true(stats.trimmed_slabs >= peak - stats.backed_bytes - stats.trimmed_parts);
	assert_int_equal(stats.keeper_steps, 1 + DECAY / 100);
	assert_int_equal(stats.decay_ms, DECAY);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void be_told(void *context, enum mews_pressure level, uint64_t bytes)
{
	(void)context;
	(void)level;
	(void)bytes;
}

/* With nothing to do it sleeps until an operation misses, but for callbacks that only it looks for. */
static void test_sleep(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	int looks = 0;
	uint64_t steps;

	(void)state;
	use(pool, 1000);
	while (step(100) != INT_MAX)
		assert_in_range(looks++, 0, 20);
	steps = stats_of(pool).keeper_steps;
	assert_int_equal(step(1000000), INT_MAX);
	assert_int_equal(mews_on_pressure(be_told, NULL), 0);
	assert_int_equal(step(100), 1000);
	assert_int_equal(mews_off_pressure(be_told, NULL), 0);
	assert_int_equal(step(100), INT_MAX);
	assert_int_equal(stats_of(pool).keeper_steps, steps);
	use(pool, 10);
	assert_in_range(step(0), 1, 100);
	assert_int_equal(stats_of(pool).keeper_steps, steps + 1);
	assert_int_equal(mews_pool_dispose(pool), 0);
	assert_int_equal(step(0), INT_MAX);
}

/*
 * Bursts between the looks, and a load that swings: both find at each look what they needed before.
 * Returns the leases in a million that were misses.
 */
static double steady(size_t high, bool looks, bool planted)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	struct mews_stats before, after;
	int rounds = planted ? 3 : getenv("MEWS_TEST_LONG") ? 120 : 42, round;
	double leases = 0;
	void *held[3000];

	for (round = 0; round < 16; round++) {
		use(pool, round % 3 ? 10000 : 14000);
		step(100);
	}
	before = stats_of(pool);
	for (round = 0; round < rounds; round++) {
		assert_int_equal(mews_lease_many(pool, held, 3000), 3000);
		(high > 7000 ? use : use_singly)(pool, round % 3 ? 7000 : high);
		leases += (double)(round % 3 ? 7000 : high);
		mews_return_many(pool, held, 3000);
		if (looks)
			step(100);
		if (planted)
			mews_pool_trim(pool, 0, 0);
	}
	after = stats_of(pool);
	assert_int_equal(after.growths - before.growths == 0, !planted);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
	return 1e6 * (double)(after.lease_misses - before.lease_misses) / leases;
}

static void test_steady(void **state)
{
	double kept = steady(7000, true, false), alone = steady(7000, false, false);

	(void)state;
	printf("leases in a million that miss: %.0f of a steady load with the keeper, %.0f without\n", kept,
	       alone);
	assert_true(kept <= alone * 1.01 + 10);
	steady(11000, true, false);
	steady(11000, true, true); /* the same load notices a trim */
}

#define NEED 8000

/*
 * After a peak, a use that fell and stays, and one that goes up and down to the same height. What is behind
 * the pool beyond that, in percent of the peak, after so many looks.
 */
static double beyond_need(bool moves, int looks)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	double peak, left;
	struct mews_stats stats;

	use(pool, MANY);
	step(100);
	stats = stats_of(pool);
	peak = (double)stats.backed_bytes;
	for (int look = 0; look < looks; look++) {
		use(pool, moves && look % 2 ? NEED / 2 : NEED);
		step(100);
	}
	stats = stats_of(pool);
	left = (double)stats.backed_bytes - NEED * (double)stats.stride;
	assert_int_equal(mews_pool_dispose(pool), 0);
	return 100 * left / peak;
}

static void test_falling(void **state)
{
	double falling, moving, most = 0;

	(void)state;
	for (int looks = 4; looks <= 8; looks++) {
		falling = beyond_need(false, looks);
		moving = beyond_need(true, looks);
		printf("%d looks after the peak, beyond the need: %.1f %% of it where use falls, %.1f %% "
		       "where it moves\n", looks, falling, moving);
		assert_true(falling <= moving + 1);
		most = moving - falling > most ? moving - falling : most;
	}
	assert_true(falling < 5);
	assert_true(most > 0 || !getenv("HWLOC_SYNTHETIC")); /* within a slab of each other on one node */
}

/* A CPU whose cache looks the same at each look, in use: it is tried, and loses no block. */
static void test_hot_cache(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	struct mews_stats before, after;
	void *one;

	(void)state;
	use(pool, 200);
	step(100);
	before = stats_of(pool);
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 100; i++) {
			one = mews_lease(pool);
			mews_return(pool, one);
		}
		step(100);
	}
	after = stats_of(pool);
	if (after.path == MEWS_PATH_RSEQ) {
		assert_int_equal(after.lease_misses, before.lease_misses);
		assert_int_equal(after.return_misses, before.return_misses);
		assert_int_equal(after.cached, before.cached);
	}
	assert_int_equal(after.growths, before.growths);
	assert_int_equal(after.reclaimed_idle, before.reclaimed_idle);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/*
 * One that grows each time just after it was trimmed is left alone for longer and longer. Of 20 peaks the last 15
 * grow it by less than 12 whole ones: 6 to 10, or 16 and more where nobody leaves it alone.
 */
static void test_thrash(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	int peak, first, whole, looks;

	(void)state;
	use(pool, 10000);
	first = whole = (int)stats_of(pool).growths;
	for (peak = 0; peak < 20; peak++) {
		if (peak == 5)
			first = (int)stats_of(pool).growths;
		use(pool, 10000);
		step(100);
		for (looks = 1; looks < 12; looks++) {
			use(pool, 300); /* or the pool would be idle */
			step(100);
		}
	}
	printf("growths: %d of the first peak, %d of the next 5, %d of the last 15\n", whole, first - whole,
	       (int)stats_of(pool).growths - first);
	assert_true(first > whole); /* it does thrash */
	assert_in_range(stats_of(pool).growths - first, 0, 12 * whole);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* What the caller wants to be there stays, also where memory is scarce. */
static void stays(bool hasty)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 5000);
	struct mews_stats stats;

	for (int round = 0; round < 3; round++) {
		use(pool, MANY - 5000 * (size_t)round);
		for (int look = 0; look < 20; look++) {
			if (hasty)
				mews_keeper_hasten();
			step(100);
		}
		stats = stats_of(pool);
		assert_in_range(stats.carved - stats.bare, 5000, 6100);
	}
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_initial(void **state)
{
	(void)state;
	stays(false);
	stays(true);
}

static void test_orphaned(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	struct mews_stats stats;

	(void)state;
	use(pool, 500);
	no_cpus = true;
	step(100);
	step(100); /* the first look that finds it unused */
	stats = stats_of(pool);
	assert_int_equal(stats.cached + stats.side, 0);
	assert_true(stats.reclaimed_orphaned > 0);
	assert_int_equal(stats.reclaimed_idle, 0);
	use(pool, 500);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* Memory is scarce: at once, what is free goes. */
static void test_hasten(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);
	uint64_t peak;

	(void)state;
	use(pool, MANY);
	step(100);
	peak = stats_of(pool).backed_bytes;
	mews_keeper_hasten();
	step(0);
	assert_in_range(stats_of(pool).backed_bytes, 0, peak / 10);
	check_audit(pool, NULL, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

static void test_budget(void **state)
{
	struct mews_pool *pool = pool_of(MEWS_KEEPER_CALLER, 0);

	(void)state;
	use(pool, MANY);
	for (int look = 0; look < 8; look++)
		step(100);
	use(pool, MANY);
	table.clock_gettime = mews_kernel_real.clock_gettime; /* one that runs while the step does */
	mews_keeper_hasten();
	assert_in_range(mews_keeper_step(1), 0, 10);
	for (int steps = 0; stats_of(pool).backed_bytes > 1 << 20; steps++) {
		assert_in_range(steps, 0, 1000);
		mews_keeper_hasten();
		mews_keeper_step(1);
	}
	assert_int_equal(mews_pool_dispose(pool), 0);
}

#define FEW 400                 /* of one slab: eight chunks */
#define LATE_STEPS 12           /* and all is done */

static void late_steps(struct mews_pool *pool, bool by_hand, int count)
{
	while (count-- > 0)
		if (by_hand) {
			mews_pool_trim(pool, 0, 1);
		} else {
			mews_keeper_hasten();
			mews_keeper_step(1);
		}
}

/* Until it says that nothing more is to be had. */
static bool trim_ends(struct mews_pool *pool)
{
	for (int calls = 0; calls < 1000; calls++)
		if (mews_pool_trim(pool, 0, 1) == 0)
			return true;
	return false;
}

static void return_last(bool by_hand, int before, int after)
{
	struct mews_pool *pool = pool_on(MEWS_PAGES_BASE, MEWS_KEEPER_CALLER, 0);

	assert_int_equal(mews_lease_many(pool, block, FEW), FEW);
	for (int i = 1; i < FEW; i++)
		mews_return(pool, block[i]);
	tick_ns = 1000000; /* whoever looks at the clock finds the time up */
	late_steps(pool, by_hand, before);
	mews_return(pool, block[0]);
	late_steps(pool, by_hand, after);
	if (by_hand) /* a trim that goes on does not look into caches again */
		assert_true(trim_ends(pool) && trim_ends(pool));
	else /* until there is nothing to look at */
		for (long wait = 0, steps = 0; wait < INT_MAX && steps < 1000; steps++) {
			clock_ns += wait * 1000000;
			wait = mews_keeper_step(1);
		}
	assert_int_equal(stats_of(pool).backed_bytes, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/*
 * A slab's last block comes back before, while or after the slab goes in parts, a chunk a step. A page that
 * lies under two chunks stays until the slab goes as a whole.
 */
static void test_late(void **state)
{
	(void)state;
	for (int before = 0; before < LATE_STEPS; before++)
		for (int after = 0; after < LATE_STEPS; after = 3 * after + 1) {
			return_last(false, before, after);
			return_last(true, before, after);
		}
}

static void test_refused_thread(void **state)
{
	struct mews_pool *pool;

	(void)state;
	table.thread_start = no_thread;
	reports = 0;
	pool = pool_of(MEWS_KEEPER_CALLER, 0);
	assert_int_equal(reports, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
	pool = pool_of(MEWS_KEEPER_THREAD, 0);
	assert_int_equal(reports, 1);
	assert_int_equal(stats_of(pool).keeper_thread, 0);
	use(pool, 1000);
	for (int look = 0; look < 8; look++)
		step(100);      /* the caller can do it */
	assert_int_equal(stats_of(pool).backed_bytes, 0);
	assert_int_equal(mews_pool_dispose(pool), 0);
}

/* How many threads are keepers; of the last one the blocked signals. */
static int count_keepers(unsigned long *blocked)
{
	char path[300], line[200];
	struct dirent *entry;
	DIR *tasks = opendir("/proc/self/task");
	int found = 0;
	FILE *file;
	bool keeper;

	while ((entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = fopen(path, "r");
		keeper = false;
		while (file && fgets(line, sizeof(line), file)) {
			keeper |= strcmp(line, "Name:\tmews-keeper\n") == 0;
			if (keeper && sscanf(line, "SigBlk: %lx", blocked) == 1)
				found++;
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return found;
}

#define PATIENCE 6000           /* looks, a hundredth of a second apart */

/* Threads come and go when they are scheduled. */
static bool keepers_become(int count, unsigned long *blocked)
{
	for (int i = 0; i < PATIENCE; i++) {
		if (count_keepers(blocked) == count)
			return true;
		threads_sleep(0.01);
	}
	return false;
}

static void test_thread(void **state)
{
	struct mews_pool *first, *second;
	unsigned long blocked = 0;

	(void)state;
	mews_kernel = &mews_kernel_real;
	assert_true(keepers_become(0, &blocked));
	first = pool_of(MEWS_KEEPER_THREAD, 0);
	second = pool_of(MEWS_KEEPER_THREAD, 0);
	assert_true(keepers_become(1, &blocked));
	assert_int_equal(blocked & 0x7fffffff & ~(1UL << 8 | 1UL << 18), 0x7fffffff & ~(1UL << 8 | 1UL << 18));
	assert_int_equal(stats_of(first).keeper_thread, 1);
	assert_int_equal(mews_pool_dispose(first), 0);
	use(second, MANY);
	for (int i = 0; i < PATIENCE && stats_of(second).backed_bytes; i++)
		threads_sleep(0.01);
	assert_int_equal(stats_of(second).backed_bytes, 0);
	assert_int_equal(count_keepers(&blocked), 1);
	assert_int_equal(mews_pool_dispose(second), 0);
	assert_true(keepers_become(0, &blocked));
	second = pool_of(MEWS_KEEPER_THREAD, 0);
	assert_true(keepers_become(1, &blocked));
	assert_int_equal(mews_pool_dispose(second), 0);
	assert_true(keepers_become(0, &blocked));
}

/* The child has a keeper from its first control call on. */
static void test_fork(void **state)
{
	struct mews_pool *pool;
	unsigned long blocked;
	int status;
	pid_t pid;

	(void)state;
	if (mews_tsan_active())
		skip(); /* it lets no child of a threaded process start a thread */
	mews_kernel = &mews_kernel_real;
	pool = pool_of(MEWS_KEEPER_THREAD, 0);
	use(pool, MANY);
	pid = fork();
	if (pid == 0) {
		if (count_keepers(&blocked) != 0)
			_exit(1);
		for (int i = 0; i < PATIENCE && stats_of(pool).backed_bytes; i++)
			threads_sleep(0.01);
		if (stats_of(pool).backed_bytes || count_keepers(&blocked) != 1)
			_exit(2);
		_exit(mews_pool_dispose(pool) || !keepers_become(0, &blocked) ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(mews_pool_dispose(pool), 0); /* first: test_thread wants no keeper left */
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_idle),
		TEST(test_sleep),
		TEST(test_steady), TEST(test_falling),
		TEST(test_hot_cache),
		TEST(test_thrash),
		TEST(test_initial),
		TEST(test_orphaned),
		TEST(test_hasten),
		TEST(test_budget),
		TEST(test_late),
		TEST(test_refused_thread),
		TEST(test_fork),
		TEST(test_thread),      /* last: who came after it would write what its keeper reads */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
