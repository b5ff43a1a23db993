/* SPDX-License-Identifier: MIT */
/*
 * Starts a program in an environment that refuses it something:
 *
 *   launch refuse:SYSCALL[=ERRNO] | address-space:MIB | cpus:N | user:UID | thp:off |
 *          hugepages:N | tunables:TEXT ...  -- program arguments
 *
 * What changes the machine (hugepages) is put back when the program has ended. Ends with the
 * program's exit code, or with 77 where this machine does not let us make the environment.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../support/check.h"

#define HUGEPAGES "/proc/sys/vm/nr_hugepages"

static int program_fd;
static long hugepages_before = -1;

static long read_hugepages(void)
{
	FILE *file = fopen(HUGEPAGES, "r");
	long pages = -1;

	if (file && fscanf(file, "%ld", &pages) != 1)
		pages = -1;
	if (file)
		fclose(file);
	return pages;
}

static bool write_hugepages(long pages)
{
	FILE *file = fopen(HUGEPAGES, "w");

	if (!file)
		return false;
	fprintf(file, "%ld\n", pages);
	return fclose(file) == 0;
}

static void restore_machine(void)
{
	if (hugepages_before >= 0)
		write_hugepages(hugepages_before);
	hugepages_before = -1;
}

static void on_end(int number)
{
	restore_machine();
	_exit(128 + number);
}

static void reserve_hugepages(const char *value)
{
	long before = read_hugepages(), wanted = atol(value);

	signal(SIGTERM, on_end);
	signal(SIGINT, on_end);
	if (before < 0 || !write_hugepages(before + wanted))
		check_skip("no permission to reserve huge pages");
	hugepages_before = before;
	if (read_hugepages() < before + wanted) {
		restore_machine();
		check_skip("the kernel has no %ld huge pages to reserve", wanted);
	}
}

static int errno_of(const char *name)
{
	static const struct { const char *name; int number; } known[] = {
		{ "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "ENOMEM", ENOMEM }, { "EINVAL", EINVAL },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i].number;
	CHECK(false, "no errno is named %s", name);
	return 0;
}

static void refuse(scmp_filter_ctx filter, const char *value)
{
	char name[64];
	const char *equals = strchr(value, '=');
	int error = equals ? errno_of(equals + 1) : EPERM, number;

	snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - value) : 63, value);
	number = seccomp_syscall_resolve_name(name);
	CHECK(number != __NR_SCMP_ERROR, "no system call is named %s", name);
	CHECK(seccomp_rule_add(filter, SCMP_ACT_ERRNO((unsigned)error), number, 0) == 0,
	      "a rule for %s", name);
}

static void limit_address_space(const char *value)
{
	rlim_t bytes = (rlim_t)atol(value) << 20;
	struct rlimit limit = { bytes, bytes };

	CHECK(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS: %s", strerror(errno));
}

static void limit_cpus(const char *value)
{
	cpu_set_t have, keep;
	int left = atoi(value);

	CPU_ZERO(&keep);
	CHECK(sched_getaffinity(0, sizeof(have), &have) == 0, "affinity");
	for (int cpu = 0; cpu < CPU_SETSIZE && left > 0; cpu++)
		if (CPU_ISSET(cpu, &have)) {
			CPU_SET(cpu, &keep);
			left--;
		}
	CHECK(sched_setaffinity(0, sizeof(keep), &keep) == 0, "affinity");
}

static void become(const char *value)
{
	uid_t uid = (uid_t)atoi(value);

	if (geteuid() != 0)
		check_skip("only root can become another user");
	CHECK(setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0, "user %s", value);
}

static void apply(const char *setting, scmp_filter_ctx filter)
{
	const char *value = strchr(setting, ':');
	size_t length;

	CHECK(value, "a setting without a value: %s", setting);
	length = (size_t)(value++ - setting);
	if (strncmp(setting, "refuse", length) == 0)
		refuse(filter, value);
	else if (strncmp(setting, "address-space", length) == 0)
		limit_address_space(value);
	else if (strncmp(setting, "cpus", length) == 0)
		limit_cpus(value);
	else if (strncmp(setting, "user", length) == 0)
		become(value);
	else if (strncmp(setting, "thp", length) == 0)
		CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0, "thp");
	else if (strncmp(setting, "tunables", length) == 0)
		setenv("GLIBC_TUNABLES", value, 1);
	else
		CHECK(strncmp(setting, "hugepages", length) == 0, "no setting is named %s", setting);
}

static void run(char **settings, char **program)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	extern char **environ;

	CHECK(filter, "seccomp");
	for (; settings < program - 1; settings++)
		apply(*settings, filter);
	if (seccomp_load(filter))
		check_skip("seccomp filters are refused here");
	seccomp_release(filter);
	fexecve(program_fd, program, environ);
	CHECK(false, "%s: %s", program[0], strerror(errno));
}

static char **find_program(int argc, char **argv)
{
	for (int i = 1; i < argc - 1; i++)
		if (strcmp(argv[i], "--") == 0)
			return argv + i + 1;
	fprintf(stderr, "usage: launch setting:value ... -- program arguments\n");
	exit(2);
}

int main(int argc, char **argv)
{
	char **program = find_program(argc, argv);
	int status;
	pid_t pid;

	/* Opened before we are somebody who may not. */
	program_fd = open(program[0], O_RDONLY | O_CLOEXEC);
	CHECK(program_fd >= 0, "%s: %s", program[0], strerror(errno));
	for (char **setting = argv + 1; setting < program - 1; setting++)
		if (strncmp(*setting, "hugepages:", 10) == 0)
			reserve_hugepages(*setting + 10);
	pid = fork();
	CHECK(pid >= 0, "fork");
	if (pid == 0)
		run(argv + 1, program);
	CHECK(waitpid(pid, &status, 0) == pid, "wait");
	restore_machine();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
