/* SPDX-License-Identifier: MIT */
/*
 * Limits: trees of /proc and /sys in a temporary directory (cgroup v1, v2, both at once, nested,
 * in a namespace, damaged), the running process, and every call refused.
 */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../numa/limits.h"
#include "../support/faults.h"
#include "../support/suite.h"
#include "../support/temporary.h"

#define MIB ((uint64_t)1 << 20)
#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_CPU "32 31 0:29 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
#define V1_MEMORY "35 31 0:32 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory\n"
#define V1_NONE "9223372036854771712\n"

static char root[64];
static struct mews_limits limits;

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(temporary_name(root, sizeof(root), "limits")) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Writes root/path, with the directories it needs. */
static void put(const char *path, const char *text)
{
	char full[4096], *slash;
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	slash = full + strlen(root);
	while ((slash = strchr(slash + 1, '/')) != NULL) {
		*slash = 0;
		mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void read_tree(void)
{
	put("proc/self/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n");
	mews_limits_read(root, 0, &limits);
}

static void expect_none(void)
{
	assert_true(limits.quota_cpus == 0);
	assert_string_equal(limits.quota_source, "none");
	assert_true(limits.memory == MEWS_UNLIMITED);
	assert_string_equal(limits.memory_source, "none");
	assert_true(limits.memory_high == MEWS_UNLIMITED);
	assert_true(limits.address_space == MEWS_UNLIMITED);
	assert_string_equal(limits.usable_source, "sched_getaffinity");
}

static void expect_quota(double cpus, uint32_t usable, const char *file)
{
	assert_true(limits.quota_cpus == cpus);
	assert_string_equal(limits.quota_source, file);
	assert_int_equal(limits.usable_cpus, usable);
}

static void expect_bytes(uint64_t bytes, const char *file)
{
	assert_true(limits.memory == bytes);
	assert_string_equal(limits.memory_source, file);
}

static void test_nothing_there(void **state)
{
	(void)state;
	mews_limits_read(root, 0, &limits);
	expect_none();
	assert_int_equal(limits.affinity_cpus, 1);
	assert_int_equal(limits.usable_cpus, 1);
	assert_int_equal(limits.cgroup_version, 0);
}

static void test_process(void **state)
{
	(void)state;
	put("proc/77/status", "Cpus_allowed_list:\t0-3,8,16-17\n");
	put("proc/77/limits", "Limit                     Soft Limit           Hard Limit   Units\n"
	    "Max cpu time              unlimited            unlimited    seconds\n"
	    "Max address space         1073741824           unlimited    bytes\n");
	mews_limits_read(root, 77, &limits);
	assert_int_equal(limits.affinity_cpus, 7);
	assert_true(limits.address_space == 1024 * MIB);
	put("proc/77/limits", "Max address space         unlimited         unlimited    bytes\n");
	mews_limits_read(root, 77, &limits);
	assert_true(limits.address_space == MEWS_UNLIMITED);
}

static void test_v2(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/a/b\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/a/b/cpu.max", "250000 100000\n");
	put("sys/fs/cgroup/a/b/memory.max", "536870912\n");
	put("sys/fs/cgroup/a/b/memory.high", "268435456\n");
	read_tree();
	assert_int_equal(limits.cgroup_version, 2);
	assert_int_equal(limits.affinity_cpus, 8);
	expect_quota(2.5, 3, "/sys/fs/cgroup/a/b/cpu.max");
	assert_string_equal(limits.usable_source, "/sys/fs/cgroup/a/b/cpu.max");
	expect_bytes(512 * MIB, "/sys/fs/cgroup/a/b/memory.max");
	assert_true(limits.memory_high == 256 * MIB);
}

static void test_v2_without_limits(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/a\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/a/cpu.max", "max 100000\n");
	put("sys/fs/cgroup/a/memory.max", "max\n");
	put("sys/fs/cgroup/a/memory.high", "max\n");
	read_tree();
	expect_none();
	assert_int_equal(limits.usable_cpus, 8);
	assert_int_equal(limits.cgroup_version, 2);
}

/* Each limit is set by another ancestor; the mount point's own files count too. */
static void test_v2_ancestors(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/a/b/c\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
	put("sys/fs/cgroup/a/b/c/memory.max", "4294967296\n");
	put("sys/fs/cgroup/a/b/memory.max", "1073741824\n");
	put("sys/fs/cgroup/a/b/memory.high", "2147483648\n");
	put("sys/fs/cgroup/a/cpu.max", "100000 50000\n");
	put("sys/fs/cgroup/a/memory.max", "2147483648\n");
	put("sys/fs/cgroup/cpu.max", "300000 100000\n");
	put("sys/fs/cgroup/memory.high", "1048576\n");
	read_tree();
	expect_quota(2, 2, "/sys/fs/cgroup/a/cpu.max");
	expect_bytes(1024 * MIB, "/sys/fs/cgroup/a/b/memory.max");
	assert_true(limits.memory_high == MIB);
	put("sys/fs/cgroup/memory.max", "3145728\n");
	read_tree();
	expect_bytes(3 * MIB, "/sys/fs/cgroup/memory.max");
}

static void test_v1(void **state)
{
	(void)state;
	put("proc/self/cgroup", "5:memory:/m/n\n4:cpuset:/elsewhere\n3:cpu,cpuacct:/p\n");
	put("proc/self/mountinfo", V1_CPU V1_MEMORY);
	put("sys/fs/cgroup/cpu/p/cpu.cfs_quota_us", "50000\n");
	put("sys/fs/cgroup/cpu/p/cpu.cfs_period_us", "100000\n");
	put("sys/fs/cgroup/cpu/elsewhere/cpu.cfs_quota_us", "1000\n");
	put("sys/fs/cgroup/cpu/elsewhere/cpu.cfs_period_us", "100000\n");
	put("sys/fs/cgroup/memory/m/n/memory.limit_in_bytes", V1_NONE);
	put("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "104857600\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_NONE);
	read_tree();
	assert_int_equal(limits.cgroup_version, 1);
	expect_quota(0.5, 1, "/sys/fs/cgroup/cpu/p/cpu.cfs_quota_us");
	expect_bytes(100 * MIB, "/sys/fs/cgroup/memory/m/memory.limit_in_bytes");
}

static void test_v1_without_limits(void **state)
{
	static const char *const none[] = {
		V1_NONE, "9223372036854710272\n", "9223372036854775807\n", "18446744073709551615\n",
	};

	(void)state;
	put("proc/self/cgroup", "5:memory:/\n3:cpu,cpuacct:/\n");
	put("proc/self/mountinfo", V1_CPU V1_MEMORY);
	put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		put("sys/fs/cgroup/memory/memory.limit_in_bytes", none[i]);
		read_tree();
		expect_none();
		assert_int_equal(limits.cgroup_version, 1);
	}
}

/* Both versions are mounted: the controllers are with v1, and v2 has none. */
static void test_hybrid(void **state)
{
	(void)state;
	put("proc/self/cgroup", "4:memory:/job\n1:cpu:/\n0::/\n");
	put("proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	    V1_MEMORY "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
	    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
	put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "209715200\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	put("sys/fs/cgroup/unified/cgroup.procs", "1\n");
	read_tree();
	assert_int_equal(limits.cgroup_version, 1);
	expect_bytes(200 * MIB, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes");
	assert_true(limits.quota_cpus == 0);
}

/* Or memory has moved to v2, and cpu has not. */
static void test_hybrid_split(void **state)
{
	(void)state;
	put("proc/self/cgroup", "1:cpu:/\n0::/job\n");
	put("proc/self/mountinfo", V1_CPU
	    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	put("sys/fs/cgroup/unified/job/memory.max", "209715200\n");
	read_tree();
	assert_int_equal(limits.cgroup_version, 2);
	expect_quota(4, 4, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
	expect_bytes(200 * MIB, "/sys/fs/cgroup/unified/job/memory.max");
}

/* A container without a cgroup namespace: its own cgroup is mounted, the path is the host's. */
static void test_mounted_part(void **state)
{
	(void)state;
	put("proc/self/cgroup", "5:memory:/docker/abc/sub\n0::/\n");
	put("proc/self/mountinfo",
	    "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
	put("sys/fs/cgroup/memory/sub/memory.limit_in_bytes", "52428800\n");
	read_tree();
	expect_bytes(50 * MIB, "/sys/fs/cgroup/memory/sub/memory.limit_in_bytes");
	/* A name that only begins alike is another cgroup. */
	put("proc/self/cgroup", "5:memory:/docker/abcdef/sub\n");
	read_tree();
	expect_bytes(100 * MIB, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
}

/* In a cgroup namespace our own cgroup is "/"; a mount made outside shows a root above it. */
static void test_namespace(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/memory.max", "104857600\n");
	put("sys/fs/cgroup/cpu.max", "150000 100000\n");
	read_tree();
	expect_bytes(100 * MIB, "/sys/fs/cgroup/memory.max");
	expect_quota(1.5, 2, "/sys/fs/cgroup/cpu.max");
	put("proc/self/mountinfo", "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	read_tree();
	expect_bytes(100 * MIB, "/sys/fs/cgroup/memory.max");
	put("proc/self/mountinfo", V2_MOUNT);
	put("proc/self/cgroup", "0::/../other\n");
	put("sys/fs/other/memory.max", "1048576\n");
	read_tree();
	expect_bytes(100 * MIB, "/sys/fs/cgroup/memory.max");
}

static void test_mount_with_a_space(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/a\n");
	put("proc/self/mountinfo", "30 23 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n");
	put("mnt/my groups/a/memory.max", "1048576\n");
	read_tree();
	expect_bytes(MIB, "/mnt/my groups/a/memory.max");
}

static void test_long_name(void **state)
{
	char path[512] = "sys/fs/cgroup/", group[512];

	(void)state;
	memset(path + strlen(path), 'k', 200);
	snprintf(group, sizeof(group), "0::/%s\n", path + strlen("sys/fs/cgroup/"));
	strcat(path, "/memory.max");
	put("proc/self/cgroup", group);
	put("proc/self/mountinfo", V2_MOUNT);
	put(path, "1048576\n");
	read_tree();
	assert_true(limits.memory == MIB);
	assert_int_equal(strlen(limits.memory_source), sizeof(limits.memory_source) - 1);
	assert_memory_equal(limits.memory_source, "...kkk", 6);
	assert_non_null(strstr(limits.memory_source, "k/memory.max"));
}

/* A process has many mounts, and lines can be long: the one that matters is found among them. */
static void test_many_mounts(void **state)
{
	size_t size = 400000, at = 0;
	char *text = calloc(1, size);

	(void)state;
	for (int i = 0; i < 900; i++)
		at += (size_t)snprintf(text + at, size - at, "%d 1 0:9 / /m/%0*d rw - tmpfs x rw\n",
				       i, i == 450 ? 20000 : 300, i);
	snprintf(text + at, size - at, V2_MOUNT);
	put("proc/self/cgroup", "0::/\n");
	put("proc/self/mountinfo", text);
	put("sys/fs/cgroup/memory.max", "1048576\n");
	read_tree();
	expect_bytes(MIB, "/sys/fs/cgroup/memory.max");
	free(text);
}

/* Wherever the line is cut by the size of what is read at once. */
static void test_line_across_reads(void **state)
{
	char text[16384];

	(void)state;
	put("proc/self/cgroup", "0::/\n");
	put("sys/fs/cgroup/memory.max", "1048576\n");
	for (int before = 8192 - 80; before <= 8192; before += 5) {
		snprintf(text, sizeof(text), "1 1 0:9 / /%0*d rw - tmpfs x rw\n%s", before - 28, 0,
			 V2_MOUNT);
		put("proc/self/mountinfo", text);
		read_tree();
		expect_bytes(MIB, "/sys/fs/cgroup/memory.max");
	}
}

static void test_damaged(void **state)
{
	static const char *const memory[] = {
		"", "\n", "lots\n", "-1\n", "12x\n", "0x10\n", " 7\n",
	};
	static const char *const cpu[] = {
		"", "max\n", "100000\n", "0 100000\n", "5 0\n", "x y\n",
	};
	static const char *const mounts[] = { "", "\n", " - cgroup2\n", "1 2 3 / - cgroup2 x\n",
					      "- - -\n", " - cgroup2 a b\n", "1 2 3 4 5" };
	static const char *const groups[] = { "", ":", "::", "0:", "0::\n", "x\n\n", "0::/a" };

	(void)state;
	put("proc/self/cgroup", "0::/a\n");
	put("proc/self/mountinfo", V2_MOUNT);
	for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
		put("sys/fs/cgroup/a/memory.max", memory[i]);
		put("sys/fs/cgroup/a/cpu.max", cpu[i % (sizeof(cpu) / sizeof(cpu[0]))]);
		read_tree();
		expect_none();
	}
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		put("proc/self/mountinfo", mounts[i]);
		put("proc/self/cgroup", groups[i]);
		put("sys/fs/cgroup/a/memory.max", "1048576\n");
		read_tree();
		expect_none();
		assert_int_equal(limits.cgroup_version, 0);
	}
}

static void test_quota_above_affinity(void **state)
{
	(void)state;
	put("proc/self/cgroup", "0::/\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/cpu.max", "6400000 100000\n");
	read_tree();
	expect_quota(64, 8, "/sys/fs/cgroup/cpu.max");
	assert_string_equal(limits.usable_source, "sched_getaffinity");
}

/* The running process: bound to one CPU, then with a limit of address space. */
static void test_this_process(void **state)
{
	struct rlimit old, now;
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	errno = 77;
	mews_limits_read("", 0, &limits);
	assert_int_equal(errno, 77);
	assert_int_equal(limits.affinity_cpus, CPU_COUNT(&all));
	assert_true(limits.usable_cpus >= 1 && limits.usable_cpus <= limits.affinity_cpus);
	CPU_ZERO(&one);
	for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
		if (CPU_ISSET(cpu, &all))
			CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	mews_limits_read("", 0, &limits);
	sched_setaffinity(0, sizeof(all), &all);
	assert_int_equal(limits.affinity_cpus, 1);
	assert_int_equal(limits.usable_cpus, 1);
	getrlimit(RLIMIT_AS, &old);
	now = (struct rlimit){ .rlim_cur = (rlim_t)1 << 46, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
	mews_limits_read("", 0, &limits);
	assert_true(limits.address_space == (uint64_t)1 << 46);
	mews_limits_read("", getpid(), &limits);
	setrlimit(RLIMIT_AS, &old);
	assert_true(limits.address_space == (uint64_t)1 << 46);
	assert_int_equal(limits.affinity_cpus, CPU_COUNT(&all));
}

static void test_every_call_refused(void **state)
{
	struct mews_limits full;
	unsigned long nth = 0, refused;

	(void)state;
	mews_limits_read("", 0, &full);
	do {
		faults_install();
		faults_refuse(FAULTS_ANY, ++nth, EACCES);
		mews_limits_read("", 0, &limits);
		refused = faults_refused();
		faults_remove();
		assert_true(limits.usable_cpus >= 1 && limits.usable_cpus <= full.affinity_cpus);
		assert_true(limits.memory >= full.memory);
		assert_true(limits.address_space >= full.address_space);
	} while (refused != 0);
	print_message("%lu calls, each refused once\n", nth - 1);
	assert_true(nth > 8);
	faults_install();
	faults_refuse_from(FAULTS_ANY, 1, EACCES);
	mews_limits_read("", 0, &limits);
	faults_remove();
	expect_none();
	assert_int_equal(limits.affinity_cpus, 1);
}

#define TREE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(test_nothing_there),
		TREE_TEST(test_process),
		TREE_TEST(test_v2),
		TREE_TEST(test_v2_without_limits),
		TREE_TEST(test_v2_ancestors),
		TREE_TEST(test_v1),
		TREE_TEST(test_v1_without_limits),
		TREE_TEST(test_hybrid),
		TREE_TEST(test_hybrid_split),
		TREE_TEST(test_mounted_part),
		TREE_TEST(test_namespace),
		TREE_TEST(test_mount_with_a_space),
		TREE_TEST(test_long_name),
		TREE_TEST(test_many_mounts),
		TREE_TEST(test_line_across_reads),
		TREE_TEST(test_damaged),
		TREE_TEST(test_quota_above_affinity),
		cmocka_unit_test(test_this_process),
		cmocka_unit_test(test_every_call_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
