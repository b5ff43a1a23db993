/* SPDX-License-Identifier: MIT */
/* /proc/self/maps, see maps.h. Reads through a buffer on the stack: the heap must not move. */
#include "maps.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "check.h"

/* Calls visit with each line until it returns false. */
static void each_line(bool (*visit)(char *line, void *context), void *context)
{
	char buffer[8192];
	size_t fill = 0;
	ssize_t n;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	bool go = true;

	CHECK(fd >= 0, "/proc/self/maps");
	while (go && (n = read(fd, buffer + fill, sizeof(buffer) - 1 - fill)) > 0) {
		char *line = buffer, *end;

		fill += (size_t)n;
		buffer[fill] = 0;
		for (; go && (end = strchr(line, '\n')); line = end + 1) {
			*end = 0;
			go = visit(line, context);
		}
		fill -= (size_t)(line - buffer);
		memmove(buffer, line, fill);
	}
	close(fd);
}

static bool add(char *line, void *context)
{
	struct maps *maps = context;
	unsigned long from, to;

	if (strstr(line, "[heap]") || strstr(line, "[stack") ||
	    sscanf(line, "%lx-%lx", &from, &to) != 2)
		return true;
	maps->count++;
	maps->bytes += to - from;
	return true;
}

struct maps maps_read(void)
{
	struct maps maps = { 0 };

	each_line(add, &maps);
	return maps;
}

#if defined(__SANITIZE_THREAD__)
#define TSAN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN true
#endif
#endif
#if !defined(TSAN)
#define TSAN false
#endif

bool maps_tell(void)
{
	return !TSAN;
}

struct question {
	uintptr_t addr;
	bool readable;
};

static bool look(char *line, void *context)
{
	struct question *question = context;
	unsigned long from, to;
	char mode[8];

	if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3)
		return true;
	if (question->addr < from || question->addr >= to)
		return true;
	question->readable = mode[0] == 'r';
	return false;
}

bool maps_readable(const void *addr)
{
	struct question question = { .addr = (uintptr_t)addr };

	each_line(look, &question);
	return question.readable;
}

static bool print(char *line, void *context)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
	return true;
}

void maps_print(void)
{
	each_line(print, NULL);
}
