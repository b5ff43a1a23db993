/* SPDX-License-Identifier: MIT */
/*
 * Status (mews-topo): which CPUs and nodes a process may use, by its /proc files, and whether its
 * cpuset or its affinity mask decided that. Called by gather.c. A process in another mount
 * namespace is looked at through its own root: the paths of its cgroup are those that it sees.
 */
#define _GNU_SOURCE 1
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "numa/kernel.h"
#include "topo.h"
#include "words.h"

#define TEXT_SIZE 65536

/* Where the process's files are: the root before /proc, and its id there. */
struct place {
	char root[PATH_MAX];
	int pid;
	bool untold;            /* whether its mounts are ours, the kernel tells root only */
};

void topo_proc_path(const struct topo_view *view, const char *name, char *path, size_t size)
{
	if (view->options->pid != 0)
		snprintf(path, size, "%s/proc/%d/%s", view->options->root, view->options->pid,
			 name);
	else
		snprintf(path, size, "%s/proc/self/%s", view->options->root, name);
}

static char *read_proc(const struct topo_view *view, const char *name)
{
	char path[PATH_MAX], *text = topo_alloc(TEXT_SIZE, 1);

	topo_proc_path(view, name, path, sizeof(path));
	if (mews_kernel_read_text(path, text, TEXT_SIZE) > 0)
		return text;
	free(text);
	return NULL;
}

/* What follows a key at the start of a line, up to the line's end; NULL: no such line. */
static const char *after_key(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	if (at == NULL || (at != text && at[-1] != '\n'))
		return NULL;
	return at + strlen(key) + strspn(at + strlen(key), " \t");
}

static bool has(const struct topo_ids *ids, uint32_t id)
{
	for (size_t i = 0; i < ids->count; i++)
		if (ids->id[i] == id)
			return true;
	return false;
}

/* The lists of a process replace what hwloc found for us, or for nobody. */
static void restrict_to(struct mews_topology *t, const char *status)
{
	const char *cpus = after_key(status, "Cpus_allowed_list:");
	const char *mems = after_key(status, "Mems_allowed_list:");
	struct topo_ids ids = { 0 };

	topo_ids_parse(&ids, cpus, t->cpu_ids);
	t->cpus_allowed = 0;
	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		t->cpu[i].allowed = t->cpu[i].possible && has(&ids, i);
		t->cpus_allowed += t->cpu[i].allowed;
	}
	topo_ids_free(&ids);
	if (mems == NULL)
		return;
	topo_ids_parse(&ids, mems, UINT32_MAX);
	for (uint32_t i = 0; i < t->node_count; i++)
		t->node[i].allowed = has(&ids, t->node[i].os_index);
	topo_ids_free(&ids);
}

/* The process's number in its own pid namespace: the last of the line. */
static int inner_pid(const char *status)
{
	const char *at = after_key(status, "NSpid:");
	int pid = 0;

	while (at != NULL && *at >= '0' && *at <= '9') {
		pid = (int)strtol(at, (char **)&at, 10);
		at += strspn(at, " \t");
	}
	return pid;
}

/* A process whose mounts are not ours is read through its own root, where that shows it. */
static void find_place(const struct topo_view *view, const char *status, struct place *place)
{
	char path[PATH_MAX], ours[128] = "", theirs[128] = "";
	int pid = view->options->pid;

	snprintf(place->root, sizeof(place->root), "%s", view->options->root);
	place->pid = pid;
	place->untold = false;
	if (pid == 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	place->untold = readlink("/proc/self/ns/mnt", ours, sizeof(ours) - 1) < 0 ||
		readlink(path, theirs, sizeof(theirs) - 1) < 0;
	if (place->untold || strcmp(ours, theirs) == 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/root/proc/%d/mountinfo", pid, inner_pid(status));
	if (access(path, R_OK) != 0)
		return;
	snprintf(place->root, sizeof(place->root), "/proc/%d/root", pid);
	place->pid = inner_pid(status);
}

static void tell_whose(struct topo_view *view, const struct place *place)
{
	const struct topo_options *o = view->options;

	if (o->pid == 0)
		snprintf(view->view_of, sizeof(view->view_of), "%s",
			 o->root[0] == 0 ? "this process" : "the process that saved the files");
	else
		snprintf(view->view_of, sizeof(view->view_of), "process %d%s", o->pid,
			 place->root[0] != 0 ? " (paths are of its mount namespace)" :
			 place->untold ? " (its namespaces are not told: only root may look)" : "");
}

bool topo_status_allows(struct topo_view *view)
{
	char *status = read_proc(view, "status");
	bool told = status != NULL && after_key(status, "Cpus_allowed_list:") != NULL;
	struct place place;

	if (told) {
		restrict_to(view->topology, status);
		find_place(view, status, &place);
		mews_limits_read(place.root, place.pid, &view->limits);
		tell_whose(view, &place);
	}
	free(status);
	return told;
}

/* The path of the cpuset: of the v1 hierarchy of that name, or of the only one of v2. */
static bool cpuset_path(const char *cgroup, char *path, bool *v1)
{
	const char *at = strstr(cgroup, ":cpuset:");

	*v1 = at != NULL;
	if (at == NULL)
		at = strncmp(cgroup, "0::", 3) == 0 ? cgroup + 1 : strstr(cgroup, "\n0::");
	if (at == NULL)
		return false;
	at = strchr(at, '/');
	if (at == NULL)
		return false;
	snprintf(path, PATH_MAX, "%.*s", (int)strcspn(at, "\n"), at);
	return true;
}

/* The mount point of that hierarchy, and the cgroup that is mounted there. */
static bool cpuset_mount(char *mountinfo, bool v1, char *mount, char *mount_root)
{
	char *saved, *line = strtok_r(mountinfo, "\n", &saved);

	for (; line != NULL; line = strtok_r(NULL, "\n", &saved)) {
		const char *type = strstr(line, " - ");

		if (type == NULL || strncmp(type + 3, v1 ? "cgroup " : "cgroup2 ", v1 ? 7 : 8) != 0)
			continue;
		if (v1 && strstr(type, "cpuset") == NULL)
			continue;
		if (sscanf(line, "%*s %*s %*s %4095s %4095s", mount_root, mount) == 2)
			return true;
	}
	return false;
}

/* Looks for the file in the directory and its ancestors; the nearest that tells decides. */
static bool read_cpuset(const struct topo_view *view, char *directory, size_t mount_length, bool v1,
			char *file, char *list, size_t size)
{
	static const char *const name[] = { "cpuset.cpus.effective", "cpuset.effective_cpus" };
	char path[2 * PATH_MAX + 64];

	for (;;) {
		snprintf(file, PATH_MAX + 32, "%s/%s", directory, name[v1]);
		snprintf(path, sizeof(path), "%s%s", view->options->root, file);
		if (mews_kernel_read_text(path, list, size) > 0 && list[0] != '\n')
			return true;
		if (strlen(directory) <= mount_length)
			return false;
		*strrchr(directory, '/') = 0;
	}
}

/* The directory of the cgroup: its path below the mount's root, or else the mount point. */
static bool join(const char *mount, const char *mount_root, const char *path, char *directory)
{
	size_t skip = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
	bool below = strncmp(path, mount_root, skip) == 0 && strstr(path, "/..") == NULL;
	int length = snprintf(directory, PATH_MAX, "%s%s", mount, below ? path + skip : "");

	if (length < 0 || length >= PATH_MAX)
		return false;
	if ((size_t)length > strlen(mount) && directory[length - 1] == '/')
		directory[length - 1] = 0;
	return true;
}

static bool find_cpuset(const struct topo_view *view, char *file, char *list, size_t size)
{
	char *cgroup = read_proc(view, "cgroup"), *mountinfo = read_proc(view, "mountinfo");
	char path[PATH_MAX], mount[PATH_MAX], mount_root[PATH_MAX], directory[PATH_MAX];
	bool v1, found = cgroup != NULL && mountinfo != NULL && cpuset_path(cgroup, path, &v1) &&
		cpuset_mount(mountinfo, v1, mount, mount_root);

	found = found && join(mount, mount_root, path, directory) &&
		read_cpuset(view, directory, strlen(mount), v1, file, list, size);
	free(cgroup);
	free(mountinfo);
	return found;
}

/* Of the CPUs that are online, how many a list names. */
static uint32_t count_online(const struct mews_topology *t, const char *list)
{
	struct topo_ids ids = { 0 };
	uint32_t online = 0;

	topo_ids_parse(&ids, list, t->cpu_ids);
	for (size_t i = 0; i < ids.count; i++)
		online += t->cpu[ids.id[i]].online;
	topo_ids_free(&ids);
	return online;
}

void topo_decide_allowed(struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	char file[PATH_MAX + 32], list[8192];
	uint32_t online = 0, allowed = 0;

	for (uint32_t i = 0; i < t->cpu_ids; i++) {
		online += t->cpu[i].online;
		allowed += t->cpu[i].online && t->cpu[i].allowed;
	}
	if (allowed == online)
		snprintf(view->allowed_source, sizeof(view->allowed_source),
			 "sched_getaffinity: nothing is taken away");
	else if (find_cpuset(view, file, list, sizeof(list)) && count_online(t, list) == allowed)
		snprintf(view->allowed_source, sizeof(view->allowed_source), "cpuset: %.240s",
			 file);
	else
		snprintf(view->allowed_source, sizeof(view->allowed_source),
			 "the affinity mask (sched_setaffinity, taskset)");
}
