/* SPDX-License-Identifier: MIT */
/*
 * Checks, see check.h. Everything here uses write(2) on a buffer of its own, so that a failure
 * inside a signal handler or a forked child of threads is told all the same.
 */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char context_name[64] = "-";
static uint64_t context_seed;

void check_context(const char *scenario, uint64_t seed)
{
	snprintf(context_name, sizeof(context_name), "%s", scenario);
	context_seed = seed;
}

static void put(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(STDERR_FILENO, text, length);

		if (n <= 0)
			return;
		text += n;
		length -= (size_t)n;
	}
}

void check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
	char text[1024], message[512];
	const char *base = strrchr(file, '/');
	va_list arguments;
	int n;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	n = snprintf(text, sizeof(text), "FAILED %s:%d (%s) in %s, seed %llu: %s\n",
		     base ? base + 1 : file, line, condition, context_name,
		     (unsigned long long)context_seed, message);
	put(text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	_exit(CHECK_EXIT);
}

void check_skip(const char *format, ...)
{
	va_list arguments;

	fputs("skip: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(SKIP_EXIT);
}

bool check_finds(void (*run)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		run(arg);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) != pid)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP_EXIT)
		exit(SKIP_EXIT);
	return WIFEXITED(status) && WEXITSTATUS(status) == CHECK_EXIT;
}
