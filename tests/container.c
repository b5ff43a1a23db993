/* SPDX-License-Identifier: MIT */
/*
 * No OOM kill in a container with a limit: a real control group, of version 1 or 2, with 128 MiB, in
 * which a child takes and touches all that the pools give. It must come to the hard limit, alive, and be
 * told of the pressure. With the hard limit taken away the same child must be killed, or the group would
 * be no test.
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
#include <mews/mews.h>
#include "support/check.h"

#define MIB ((size_t)1 << 20)
#define LIMIT (128 * MIB)
#define BLOCKS 65536
#define OTHER 16                /* MiB that the child has beside its pools */

static char group[128];
static bool v2;

static bool write_file(const char *name, const char *text)
{
	char path[192];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_group(const char *mount, bool second)
{
	char bytes[32];

	v2 = second;
	snprintf(group, sizeof(group), "%s/mews-test-%d", mount, (int)getpid());
	if (mkdir(group, 0755))
		return false;
	snprintf(bytes, sizeof(bytes), "%zu", LIMIT);
	if (write_file(v2 ? "memory.max" : "memory.limit_in_bytes", bytes))
		return true;
	rmdir(group);
	return false;
}

/* Two pools and oversize leases, until nothing more comes; all of it written. */
static size_t take_all(struct mews_pool *pool)
{
	size_t bytes = 0, got;
	void *block;

	while ((block = mews_lease(pool))) {
		memset(block, 1, MEWS_MAX_POOLED_BLOCK_LENGTH);
		bytes += 4096;
	}
	CHECK(errno == ENOBUFS, "a lease at the limit: %s", strerror(errno));
	for (got = 4 * MIB; got > 65536; got /= 2)
		while ((block = mews_lease_sized(pool, got))) {
			memset(block, 1, got);
			bytes += got;
		}
	return bytes;
}

static _Atomic int level;
static _Atomic uint64_t wanted;

static void on_pressure(void *context, enum mews_pressure now, uint64_t bytes)
{
	(void)context;
	wanted = bytes;
	level = now;
}

/* What is used is above 80 % of the limit: the keeper tells so, within a second or two. */
static void await_pressure(void)
{
	for (int tries = 0; level == 0 && tries < 3000; tries++)
		usleep(10000);
	printf("told of pressure: level %d, %llu MiB wanted back\n", (int)level,
	       (unsigned long long)wanted / MIB);
	CHECK(level > 0 && wanted > 0, "nobody was told");
}

static int live_in_group(bool limited)
{
	struct mews_pool_config config = { .size = sizeof(config), .max_blocks = BLOCKS };
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_pool *pool[2];
	char *other = malloc(OTHER * MIB);
	size_t bytes = 0;

	CHECK(other && write_file("cgroup.procs", "0"), "into %s: %s", group, strerror(errno));
	memset(other, 1, OTHER * MIB);
	CHECK(mews_on_pressure(on_pressure, NULL) == 0, "on_pressure");
	for (int i = 0; i < 2; i++)
		CHECK(mews_pool_create(&config, &pool[i]) == 0, "create");
	if (!limited)
		mews_set_hard_limit((size_t)1 << 40);
	for (int i = 0; i < 2; i++)
		bytes += take_all(pool[i]);
	CHECK(mews_pool_stats(pool[0], &stats) == 0, "statistics");
	printf("%zu MiB leased and touched, hard limit %llu MiB, used %llu MiB, beside %d MiB of "
	       "others, of %zu MiB\n", bytes / MIB, (unsigned long long)stats.hard_limit / MIB,
	       (unsigned long long)stats.hard_used / MIB, other[1] * OTHER, LIMIT / MIB);
	CHECK(stats.hard_limit == LIMIT / 4 * 3, "the hard limit is 75 %%");
	CHECK(bytes > LIMIT / 2 && stats.hard_used <= stats.hard_limit, "what was leased");
	await_pressure();
	fflush(stdout);
	return 0;
}

static int run(bool limited)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(live_in_group(limited));
	CHECK(child > 0 && waitpid(child, &status, 0) == child, "fork");
	return status;
}

int main(void)
{
	int with, without;

	check_context("container", 0);
	if (getuid() != 0)
		check_skip("not root: no control group is made");
	if (!make_group("/sys/fs/cgroup", true) && !make_group("/sys/fs/cgroup/memory", false))
		check_skip("no control group with a memory limit can be made in /sys/fs/cgroup");
	with = run(true);
	without = run(false);
	rmdir(group);
	printf("control group version %d; without the hard limit the child was %s\n", v2 ? 2 : 1,
	       WIFSIGNALED(without) && WTERMSIG(without) == SIGKILL ? "killed" : "not killed");
	CHECK(WIFEXITED(with) && WEXITSTATUS(with) == 0, "status %#x: killed for memory", with);
	CHECK(WIFSIGNALED(without) && WTERMSIG(without) == SIGKILL, "status %#x: the group kills nobody",
	      without);
	return 0;
}
