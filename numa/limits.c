/* SPDX-License-Identifier: MIT */
/*
 * Limits (layer 0): affinity, cgroup quota and memory limits of both versions with all ancestors,
 * and RLIMIT_AS. Called by lib/pool.c and tools. Invariant: reading never fails; a file that is
 * missing, unreadable or not understood sets no limit; the least limit wins, with its file's name.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel.h"
#include "limits.h"

#define LINE_SIZE 8192
#define AFFINITY_BITS 65536
/* cgroup v1 says "no limit" by the largest number of whole pages, whatever the page's size. */
#define V1_NO_LIMIT ((uint64_t)INT64_MAX - ((uint64_t)1 << 24))

/* Where this process is in each hierarchy that matters; empty: in none. */
struct membership {
	char v2[PATH_MAX], v1_cpu[PATH_MAX], v1_memory[PATH_MAX];
};

struct reading {
	const char *root;
	struct mews_limits *limits;
	struct membership member;
	bool v1_memory, v2;             /* such a hierarchy is mounted */
};

/* Splits what was read into lines; the rest of an unfinished line moves to the front. */
static size_t take_lines(char *text, size_t length, void (*line)(char *, struct reading *),
			 struct reading *reading)
{
	char *start = text, *end;

	while ((end = memchr(start, '\n', length - (size_t)(start - text))) != NULL) {
		*end = 0;
		line(start, reading);
		start = end + 1;
	}
	length -= (size_t)(start - text);
	memmove(text, start, length);
	return length == LINE_SIZE ? 0 : length;        /* a line longer than that is dropped */
}

/* Calls line for each line of a file that may be long, as mountinfo is. */
static void each_line(const char *path, void (*line)(char *, struct reading *),
		      struct reading *reading)
{
	char text[LINE_SIZE];
	int fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);
	size_t kept = 0;
	ssize_t got = 0;

	if (fd < 0)
		return;
	while ((got = mews_kernel->read(fd, text + kept, sizeof(text) - kept)) > 0)
		kept = take_lines(text, kept + (size_t)got, line, reading);
	mews_kernel->close(fd);
}

/* Whether word is one of the comma-separated list. */
static bool listed(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; *list != 0; list += strcspn(list, ","), list += *list == ',')
		if (strncmp(list, word, length) == 0 && (list[length] == ',' || list[length] == 0))
			return true;
	return false;
}

static void keep_path(char *to, const char *path)
{
	if (snprintf(to, PATH_MAX, "%s", path) >= PATH_MAX)
		to[0] = 0;
}

/* A line of /proc/self/cgroup: "number:controllers:path". */
static void membership_line(char *line, struct reading *reading)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL)
		return;
	*controllers++ = 0;
	*path++ = 0;
	if (controllers[0] == 0)
		keep_path(reading->member.v2, path);
	if (listed(controllers, "cpu"))
		keep_path(reading->member.v1_cpu, path);
	if (listed(controllers, "memory"))
		keep_path(reading->member.v1_memory, path);
}

/* Names the file that decided; of a long name the end, which tells more. */
static void name_source(char *source, const char *file)
{
	size_t size = sizeof(((struct mews_limits *)0)->quota_source), length = strlen(file);

	if (length < size)
		memcpy(source, file, length + 1);
	else
		snprintf(source, size, "...%s", file + length - (size - 4));
}

/* Reads directory/name; file gets the name without the root before it. */
static bool read_in(const struct reading *reading, const char *directory, const char *name,
		    char *file, char *text, size_t size)
{
	char path[PATH_MAX];

	if (snprintf(file, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX ||
	    snprintf(path, sizeof(path), "%s%s", reading->root, file) >= (int)sizeof(path))
		return false;
	return mews_kernel_read_text(path, text, size) > 0;
}

/* No quota is written as a number below zero, or not as a number. */
static void offer_quota(struct mews_limits *limits, double quota, double period, const char *file)
{
	double cpus = period > 0 ? quota / period : 0;

	if (cpus <= 0 || (limits->quota_cpus > 0 && limits->quota_cpus <= cpus))
		return;
	limits->quota_cpus = cpus;
	name_source(limits->quota_source, file);
}

static void offer_memory(struct mews_limits *limits, uint64_t bytes, const char *file)
{
	if (bytes >= limits->memory)
		return;
	limits->memory = bytes;
	name_source(limits->memory_source, file);
}

/* "max" and what is no number are no limit. */
static uint64_t number(const char *text)
{
	char *end;
	unsigned long long value;

	if (*text < '0' || *text > '9')
		return MEWS_UNLIMITED;
	value = strtoull(text, &end, 10);
	return *end != 0 && *end != '\n' ? MEWS_UNLIMITED : value;
}

/* The first directory that is read is the process's own. */
static void keep_own(char *own, const char *directory)
{
	size_t length = strlen(directory);

	if (own[0] == 0 && length < sizeof(((struct mews_limits *)0)->v2_directory))
		memcpy(own, directory, length + 1);
}

static void read_v2(struct reading *reading, const char *directory)
{
	struct mews_limits *limits = reading->limits;
	char file[PATH_MAX], text[256];
	unsigned long long quota, period;
	uint64_t high;

	keep_own(limits->v2_directory, directory);

	if (read_in(reading, directory, "cpu.max", file, text, sizeof(text)) &&
	    sscanf(text, "%llu %llu", &quota, &period) == 2)
		offer_quota(limits, (double)quota, (double)period, file);
	if (read_in(reading, directory, "memory.max", file, text, sizeof(text)))
		offer_memory(limits, number(text), file);
	if (read_in(reading, directory, "memory.high", file, text, sizeof(text))) {
		high = number(text);
		limits->memory_high = high < limits->memory_high ? high : limits->memory_high;
	}
}

static void read_v1_cpu(struct reading *reading, const char *directory)
{
	char file[PATH_MAX], text[256];
	long long quota, period;

	if (!read_in(reading, directory, "cpu.cfs_period_us", file, text, sizeof(text)) ||
	    sscanf(text, "%lld", &period) != 1)
		return;
	if (read_in(reading, directory, "cpu.cfs_quota_us", file, text, sizeof(text)) &&
	    sscanf(text, "%lld", &quota) == 1)
		offer_quota(reading->limits, (double)quota, (double)period, file);
}

static void read_v1_memory(struct reading *reading, const char *directory)
{
	char file[PATH_MAX], text[256];

	keep_own(reading->limits->v1_memory_directory, directory);
	if (read_in(reading, directory, "memory.limit_in_bytes", file, text, sizeof(text)) &&
	    number(text) < V1_NO_LIMIT)
		offer_memory(reading->limits, number(text), file);
}

/*
 * The directory of a cgroup: its path below the mount's root, where that contains it. Else (a mount
 * from outside of our cgroup namespace) the mount point is all that can be known to concern us.
 */
static bool directory_of(const char *mount, const char *mount_root, const char *path, char *to)
{
	size_t length = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
	bool below = strncmp(path, mount_root, length) == 0 &&
		(path[length] == '/' || path[length] == 0) && strstr(path, "/..") == NULL;
	const char *rest = below ? path + length : "";

	if (snprintf(to, PATH_MAX, "%s%s", mount, rest) >= PATH_MAX)
		return false;
	for (size_t end = strlen(to); end > strlen(mount) && to[end - 1] == '/'; end--)
		to[end - 1] = 0;
	return true;
}

/* Reads a cgroup's directory and those of all its ancestors, up to the mount point. */
static bool read_upwards(struct reading *reading, const char *mount, const char *mount_root,
			 const char *path, void (*take)(struct reading *, const char *))
{
	char directory[PATH_MAX];

	if (path[0] == 0 || !directory_of(mount, mount_root, path, directory))
		return false;
	take(reading, directory);
	while (strlen(directory) > strlen(mount)) {
		*strrchr(directory, '/') = 0;
		take(reading, directory);
	}
	return true;
}

/* mountinfo writes a space, a tab, a newline and a backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text != 0; text++) {
		bool code = text[0] == '\\' && text[1] != 0 && text[2] != 0 && text[3] != 0;

		if (code) {
			*to++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + text[3] - '0');
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = 0;
}

static void read_mount(struct reading *reading, const char *type, const char *options,
		       const char *mount, const char *mount_root)
{
	const struct membership *member = &reading->member;

	if (strcmp(type, "cgroup2") == 0) {
		reading->v2 |= read_upwards(reading, mount, mount_root, member->v2, read_v2);
		return;
	}
	if (strcmp(type, "cgroup") != 0)
		return;
	if (listed(options, "cpu"))
		read_upwards(reading, mount, mount_root, member->v1_cpu, read_v1_cpu);
	if (listed(options, "memory"))
		reading->v1_memory |= read_upwards(reading, mount, mount_root, member->v1_memory,
						   read_v1_memory);
}

/* A line of mountinfo: "id parent device root mount options [more] - type source options". */
static void mount_line(char *line, struct reading *reading)
{
	char *tail = strstr(line, " - "), *field[5], *type, *options, *rest = NULL;

	if (tail == NULL || strncmp(tail + 3, "cgroup", 6) != 0)
		return;
	*tail = 0;
	for (int i = 0; i < 5; i++)
		field[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
	type = strtok_r(tail + 3, " ", &rest);
	strtok_r(NULL, " ", &rest);
	options = strtok_r(NULL, " ", &rest);
	if (field[4] == NULL || type == NULL || options == NULL)
		return;
	unescape(field[3]);
	unescape(field[4]);
	read_mount(reading, type, options, field[4], field[3]);
}

static void proc_path(char *to, const char *root, int pid, const char *name)
{
	if (pid == 0)
		snprintf(to, PATH_MAX, "%s/proc/self/%s", root, name);
	else
		snprintf(to, PATH_MAX, "%s/proc/%d/%s", root, pid, name);
}

static uint32_t count_affinity(int pid)
{
	unsigned long mask[AFFINITY_BITS / (8 * sizeof(unsigned long))] = { 0 };
	uint32_t cpus = 0;

	if (mews_kernel->sched_getaffinity(pid, sizeof(mask), (cpu_set_t *)mask) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(mask) / sizeof(mask[0]); i++)
		cpus += (uint32_t)__builtin_popcountl(mask[i]);
	return cpus;
}

/* "0-3,8" counts 5. */
static uint32_t count_list(const char *list)
{
	uint32_t cpus = 0;
	char *end;

	while (*list >= '0' && *list <= '9') {
		unsigned long first = strtoul(list, &end, 10);
		unsigned long last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		cpus += last >= first ? (uint32_t)(last - first + 1) : 0;
		list = *end == ',' ? end + 1 : "";
	}
	return cpus;
}

static void status_line(char *line, struct reading *reading)
{
	static const char key[] = "Cpus_allowed_list:";
	const char *list = line + sizeof(key) - 1;

	if (strncmp(line, key, sizeof(key) - 1) == 0)
		reading->limits->affinity_cpus = count_list(list + strspn(list, " \t"));
}

static void address_space_line(char *line, struct reading *reading)
{
	unsigned long long bytes;

	if (sscanf(line, "Max address space %llu", &bytes) == 1)
		reading->limits->address_space = bytes;
}

/* A machine in files has no calls to ask; the running one is asked by call, for its own process. */
static void read_process(struct reading *reading, int pid)
{
	struct mews_limits *limits = reading->limits;
	struct rlimit as;
	char path[PATH_MAX];

	if (reading->root[0] == 0)
		limits->affinity_cpus = count_affinity(pid);
	if (limits->affinity_cpus == 0) {
		proc_path(path, reading->root, pid, "status");
		each_line(path, status_line, reading);
	}
	if (limits->affinity_cpus == 0)
		limits->affinity_cpus = 1;
	if (reading->root[0] == 0 && pid == 0) {
		if (mews_kernel->getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY)
			limits->address_space = as.rlim_cur;
		return;
	}
	proc_path(path, reading->root, pid, "limits");
	each_line(path, address_space_line, reading);
}

/* A quota of 1.5 CPUs keeps two busy at times: rounded up. */
static void decide_usable(struct mews_limits *limits)
{
	uint32_t quota = UINT32_MAX;

	if (limits->quota_cpus > 0 && limits->quota_cpus < (double)UINT32_MAX) {
		quota = (uint32_t)limits->quota_cpus;
		quota += (double)quota < limits->quota_cpus;
	}
	limits->usable_cpus = limits->affinity_cpus;
	name_source(limits->usable_source, "sched_getaffinity");
	if (quota < limits->affinity_cpus) {
		limits->usable_cpus = quota;
		name_source(limits->usable_source, limits->quota_source);
	}
}

void mews_limits_read(const char *root, int pid, struct mews_limits *limits)
{
	struct reading reading = { .root = root, .limits = limits };
	int saved = errno;
	char path[PATH_MAX];

	*limits = (struct mews_limits){
		.quota_source = "none", .memory_source = "none", .memory = MEWS_UNLIMITED,
		.memory_high = MEWS_UNLIMITED, .address_space = MEWS_UNLIMITED,
	};
	read_process(&reading, pid);
	proc_path(path, root, pid, "cgroup");
	each_line(path, membership_line, &reading);
	proc_path(path, root, pid, "mountinfo");
	each_line(path, mount_line, &reading);
	limits->cgroup_version = reading.v1_memory ? 1 : reading.v2 ? 2 : 0;
	decide_usable(limits);
	errno = saved;
}
