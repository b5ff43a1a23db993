/* SPDX-License-Identifier: MIT */
/*
 * Pools in containers: control groups (v2) whose CPUs, nodes, quota and memory are limited, also while
 * the pool works. Each scenario runs in a child within a group of its own; nobody may be killed
 * for memory. Wants to be root, and all controllers: for the machine that run boots.
 * --plant greedy: a pool that was told to take more than its group has; --plant idle: a pool that
 * the keeper leaves alone. These must be found.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../stress.h"
#include "../../lib/control.h"
#include "../support/nodes.h"
#include "../support/options.h"

#define ROOT "/sys/fs/cgroup"
#define MIB ((uint64_t)1 << 20)
#define LARGE 65536

static struct nodes nodes;
static bool greedy, idle;       /* planted */
static const struct stress *settings;

/* Writes a value into a group's file; group is a path below the root, "a" or "a/b". */
static bool try_set(const char *group, const char *file, const char *value)
{
	char path[128];
	int fd;
	bool done;

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	done = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return done;
}

static void set(const char *group, const char *file, const char *value)
{
	CHECK(try_set(group, file, value), "%s of %s to %s: %s", file, group, value,
	      strerror(errno));
}

static void make_group(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s", group);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
}

static void remove_group(const char *group)
{
	char path[128];

	snprintf(path, sizeof(path), ROOT "/%s", group);
	for (int i = 0; i < 200 && rmdir(path) != 0; i++)
		threads_sleep(0.02);    /* its last process is on its way out */
}

/* A number of memory.events and the like; -1 where the key is missing. */
static long event(const char *group, const char *file, const char *key)
{
	char path[128], name[64];
	long number = -1, value;
	FILE *stream;

	snprintf(path, sizeof(path), ROOT "/%s/%s", group, file);
	stream = fopen(path, "r");
	CHECK(stream, "%s: %s", path, strerror(errno));
	while (number < 0 && fscanf(stream, "%63s %ld", name, &value) == 2)
		if (strcmp(name, key) == 0)
			number = value;
	fclose(stream);
	return number;
}

/* Runs body in a child within the group. */
static pid_t start_in(const char *group, void (*body)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		set(group, "cgroup.procs", "0");
		body();
		fflush(stdout);
		_exit(0);
	}
	return child;
}

static void wait_for(pid_t child, const char *group)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child, "waitpid: %s", strerror(errno));
	CHECK(event(group, "memory.events", "oom_kill") == 0 && !WIFSIGNALED(status),
	      "a process in %s was killed by signal %d, %ld for memory", group, WTERMSIG(status),
	      event(group, "memory.events", "oom_kill"));
	CHECK(WEXITSTATUS(status) == 0, "a process in %s ended with %d", group, WEXITSTATUS(status));
}

static void run_in(const char *group, void (*body)(void))
{
	wait_for(start_in(group, body), group);
}

static struct mews_stats stats_of(struct mews_pool *pool)
{
	struct mews_stats stats = { .size = sizeof(stats) };

	CHECK(mews_pool_stats(pool, &stats) == 0, "statistics");
	return stats;
}

/* Threads lease and return; the memory goes back now and then, so that it is asked for anew. */
static void *give_back(void *argument)
{
	struct arena *arena = argument;

	while (arena_running(arena)) {
		mews_pool_trim(arena->pool, 0, 2000);
		threads_sleep(0.03);
	}
	return NULL;
}

static void load(void)
{
	struct arena arena;
	pthread_t trimmer;

	arena_open(&arena, settings, 0);
	CHECK(pthread_create(&trimmer, NULL, give_back, &arena) == 0, "a thread");
	threads_run(6, settings->seed, &arena, hand_worker);
	pthread_join(trimmer, NULL);
	arena_close(&arena);
}

/* A pool in a group of one node has one window, and all that it leases lies there. */
static void on_last_node(void)
{
	unsigned last = nodes.count - 1;
	struct mews_pool *pool = kind_pool(4096, 5000);
	struct mews_stats stats;
	void *block[200];

	CHECK(mews_lease_many(pool, block, 200) == 200, "leases: %s", strerror(errno));
	stats = stats_of(pool);
	CHECK(stats.nodes == 1 && stats.node[0].node == nodes.node[last].id,
	      "%u windows, the first on node %u", stats.nodes, stats.node[0].node);
	for (int i = 0; i < 200; i++) {
		size_t pages[NODES_MOST] = { 0 }, absent = 0;

		nodes_of_range(&nodes, block[i], 4096, pages, &absent);
		CHECK(absent == 0 && pages[last], "block %d is not on node %u", i,
		      nodes.node[last].id);
	}
	mews_return_many(pool, block, 200);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static void list_of_cpus(unsigned index, char *text, size_t size)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist",
		 nodes.node[index].id);
	file = fopen(path, "r");
	CHECK(file && fgets(text, (int)size, file), "%s: %s", path, strerror(errno));
	fclose(file);
	text[strcspn(text, "\n")] = 0;
}

/* To one node's CPUs and memory, or to all. */
static void confine(const char *group, unsigned index)
{
	char mems[16], cpus[256];

	if (index == nodes.count) {
		set(group, "cpuset.cpus", "");
		set(group, "cpuset.mems", "");
		return;
	}
	snprintf(mems, sizeof(mems), "%u", nodes.node[index].id);
	list_of_cpus(index, cpus, sizeof(cpus));
	set(group, "cpuset.mems", mems);
	set(group, "cpuset.cpus", cpus);
}

static void cpuset(void)
{
	double end = threads_now() + settings->seconds;
	struct rng rng = { settings->seed };
	unsigned changes = 0;
	pid_t child;

	make_group("cpuset");
	child = start_in("cpuset", load);
	while (threads_now() < end) {
		confine("cpuset", rng_below(&rng, nodes.count + 1));
		changes++;
		threads_sleep(rng_below(&rng, 100) * 1e-3);
	}
	wait_for(child, "cpuset");
	confine("cpuset", nodes.count - 1);
	run_in("cpuset", on_last_node);
	remove_group("cpuset");
	printf("cpuset: %u changes under load\n", changes);
}

static void one_usable_cpu(void)
{
	struct mews_pool *pool = NULL;

	CHECK(mews_pool_create(NULL, &pool) == 0, "a pool");
	CHECK(stats_of(pool).mode == MEWS_MODE_WORKSTATION, "half a CPU makes no server");
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static void load_on_one_cpu(void)
{
	one_usable_cpu();
	load();
}

static void quota(void)
{
	make_group("quota");
	set("quota", "cpu.max", "50000 100000");
	run_in("quota", load_on_one_cpu);
	CHECK(event("quota", "cpu.stat", "nr_throttled") > 0, "the quota was never felt");
	remove_group("quota");
}

/* Leases until the pool has no more; what it holds is at most so much. Returns bytes leased. */
static uint64_t lease_all(const struct mews_pool_config *config, struct mews_pool **pool)
{
	uint64_t bytes = 0;
	void *block;

	CHECK(mews_pool_create(config, pool) == 0, "a pool");
	while ((block = mews_lease(*pool))) {
		memset(block, 1, LARGE);
		bytes += LARGE;
	}
	CHECK(errno == ENOBUFS || errno == ENOMEM, "a lease: %s", strerror(errno));
	return bytes;
}

static void within_200(void)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .block_size = LARGE, .max_blocks = greedy ? 10000 : 0,
	};
	struct mews_pool *pool;
	uint64_t bytes;

	mews_set_hard_limit(greedy ? 1024 * MIB : 0);
	bytes = lease_all(&config, &pool);
	CHECK(bytes <= 150 * MIB && bytes >= 100 * MIB, "%llu MiB of 75 %% of 200",
	      (unsigned long long)(bytes / MIB));
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

struct churn {
	struct mews_pool *pool;
	double end;
	atomic_uint refused;
};

/* Together the threads ask for twice what the group may have, and write all that they get. */
static void *churn_worker(void *argument)
{
	struct worker *worker = argument;
	struct churn *churn = worker->shared;
	void *block[800];

	while (threads_now() < churn->end || !atomic_load(&churn->refused)) {
		size_t asked = 1 + rng_below(&worker->rng, 800);
		size_t count = mews_lease_many(churn->pool, block, asked);

		for (size_t i = 0; i < count; i++)
			memset(block[i], 1, LARGE);
		mews_return_many(churn->pool, block, count);
		atomic_fetch_add(&churn->refused, count < asked);
		if (rng_below(&worker->rng, 4) == 0)
			mews_pool_trim(churn->pool, 0, 2000);
	}
	return NULL;
}

static void churn_within_200(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .block_size = LARGE };
	struct churn churn = { .end = threads_now() + settings->seconds };

	CHECK(mews_pool_create(&config, &churn.pool) == 0, "a pool");
	threads_run(6, settings->seed, &churn, churn_worker);
	CHECK(mews_pool_dispose(churn.pool) == 0, "dispose");
}

static void memory_max(void)
{
	make_group("memory");
	set("memory", "memory.max", "200M");
	run_in("memory", within_200);
	run_in("memory", churn_within_200);
	remove_group("memory");
}

/* The parents' limits bind their children, though these say nothing or more. */
static void nested(void)
{
	make_group("outer");
	set("outer", "cgroup.subtree_control", "+memory +cpu");
	set("outer", "memory.max", "200M");
	set("outer", "cpu.max", "50000 100000");
	make_group("outer/inner");
	set("outer/inner", "memory.max", "900M");
	run_in("outer/inner", within_200);
	run_in("outer/inner", one_usable_cpu);
	remove_group("outer/inner");
	remove_group("outer");
}

static atomic_int highest;      /* enum mews_pressure that was told */

static void tell(void *context, enum mews_pressure level, uint64_t bytes)
{
	(void)context;
	(void)bytes;
	if ((int)level > atomic_load(&highest))
		atomic_store(&highest, (int)level);
}

static uint64_t current(const char *group)
{
	char path[128];
	unsigned long long bytes = 0;
	FILE *file;

	snprintf(path, sizeof(path), ROOT "/%s/memory.current", group);
	file = fopen(path, "r");
	CHECK(file && fscanf(file, "%llu", &bytes) == 1, "%s: %s", path, strerror(errno));
	fclose(file);
	return bytes;
}

static void await_pressure(void)
{
	double late = threads_now() + 30;

	while (atomic_load(&highest) < MEWS_PRESSURE_MEDIUM) {
		CHECK(threads_now() < late, "the pressure told is %d", atomic_load(&highest));
		threads_sleep(0.05);
	}
}

/*
 * memory.high refuses nothing; the pressure is told. While it lasts the keeper, with a decay period of an
 * hour, gives back what is returned, long after the last sign of it.
 */
static void give_back_under_pressure(void)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .block_size = LARGE, .max_blocks = 102 * MIB / LARGE,
		.page_policy = MEWS_PAGES_BASE, .decay_ms = idle ? MEWS_DECAY_NEVER : 3600 * 1000,
	};
	static void *block[102 * MIB / LARGE];
	struct mews_pool *pool, *other = NULL;
	double late;

	mews_set_hard_limit(1024 * MIB);
	if (idle) /* the keeper is there for this one */
		CHECK(mews_pool_create(NULL, &other) == 0, "another pool");
	CHECK(mews_on_pressure(tell, NULL) == 0, "on_pressure");
	CHECK(mews_pool_create(&config, &pool) == 0, "a pool");
	CHECK(mews_lease_many(pool, block, config.max_blocks) == config.max_blocks,
	      "memory.high refuses nothing: %s", strerror(errno));
	await_pressure();
	threads_sleep(3);
	CHECK(current("high") > 100 * MIB, "%llu bytes are used", (unsigned long long)current("high"));
	mews_return_many(pool, block, config.max_blocks);
	for (late = threads_now() + (idle ? 10 : 60); current("high") > 50 * MIB;) {
		CHECK(threads_now() < late, "%llu MiB are still used, though all is back",
		      (unsigned long long)(current("high") / MIB));
		threads_sleep(0.05);
	}
	mews_off_pressure(tell, NULL);
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

/* memory.high slows and does not kill: by default the pool stays below it, told otherwise it works. */
static void memory_high(void)
{
	long before;

	make_group("high");
	set("high", "memory.high", "200M");
	run_in("high", within_200);
	run_in("high", churn_within_200);
	before = event("high", "memory.events", "high");
	CHECK(before == 0, "the default pool passed memory.high %ld times", before);
	set("high", "memory.high", "111M");     /* near it: the kernel says nothing */
	run_in("high", give_back_under_pressure);
	before = event("high", "memory.events", "high");
	set("high", "memory.high", "100M");     /* above it */
	run_in("high", give_back_under_pressure);
	CHECK(event("high", "memory.events", "high") > before, "memory.high was never felt");
	remove_group("high");
}

/* An index for threads_pin: a CPU whose node has 16 free huge pages; UINT32_MAX: there is none. */
static unsigned cpu_of_huge_pages(void)
{
	unsigned found = UINT32_MAX;

	for (unsigned i = 0; i < threads_cpus() && found == UINT32_MAX; i++) {
		unsigned node = nodes_of_cpu(&nodes, threads_pin(i));

		if (nodes_hugepages(&nodes, node, 2048, "free_hugepages") >= 16)
			found = i;
	}
	threads_unpin();
	return found;
}

/* A group may have fewer huge pages than are free: the rest is base pages, and nobody is killed. */
static void few_huge_pages(void)
{
	const struct mews_pool_config config = {
		.size = sizeof(config), .block_size = LARGE, .max_blocks = 30 * MIB / LARGE,
		.page_policy = MEWS_PAGES_2M,
	};
	struct mews_pool *pool;
	struct mews_stats stats;
	uint64_t huge = 0, other = 0;

	threads_pin(cpu_of_huge_pages());
	lease_all(&config, &pool);
	stats = stats_of(pool);
	for (unsigned i = 0; i < stats.nodes; i++) {
		huge += stats.node[i].backed_2m;
		other += stats.node[i].backed_thp + stats.node[i].backed_base;
	}
	CHECK(stats.carved == config.max_blocks, "%llu blocks", (unsigned long long)stats.carved);
	CHECK(huge > 0 && huge <= 16 * MIB && other > 0, "%llu MiB huge, %llu MiB other",
	      (unsigned long long)(huge / MIB), (unsigned long long)(other / MIB));
	CHECK(mews_pool_dispose(pool) == 0, "dispose");
}

static void hugetlb(void)
{
	make_group("huge");
	if (cpu_of_huge_pages() == UINT32_MAX || !try_set("huge", "hugetlb.2MB.max", "16M"))
		puts("skip: huge pages by group: no node has 16, or there is no such controller");
	else
		run_in("huge", few_huge_pages);
	remove_group("huge");
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "cpuset", cpuset }, { "quota", quota }, { "memory", memory_max }, { "nested", nested },
	{ "high", memory_high }, { "hugetlb", hugetlb },
};

static void run_planted(void *argument)
{
	(void)argument;
	if (idle)
		memory_high();
	else
		memory_max();
}

int main(int argc, char **argv)
{
	struct options options;
	struct stress stress;

	options_parse(&options, "Pools in control groups.", argc, argv);
	kind_choose(options.kind, argv);
	nodes_read(&nodes);
	stress = (struct stress){ .seconds = options.seconds ? options.seconds : 3,
				  .seed = options.seed };
	settings = &stress;
	check_context("containers", options.seed);
	if (getuid() != 0 || nodes.count < 2 ||
	    !try_set(".", "cgroup.subtree_control", "+cpuset +cpu +memory"))
		check_skip("no root, one node, or not all controllers of cgroup v2");
	greedy = options.plant && strcmp(options.plant, "greedy") == 0;
	idle = options.plant && strcmp(options.plant, "idle") == 0;
	if (options.plant)
		return !check_finds(run_planted, NULL);
	for (unsigned i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (!options_chosen(&options, scenarios[i].name))
			continue;
		check_context(scenarios[i].name, options.seed);
		scenarios[i].run();
		printf("%s: well\n", scenarios[i].name);
		fflush(stdout);
	}
	return 0;
}
