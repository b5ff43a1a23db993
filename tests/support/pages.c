/* SPDX-License-Identifier: MIT */
/* Pages, see pages.h. Asks the kernel itself, not the table that a test may have replaced. */
#include "pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGES "/proc/sys/vm/nr_hugepages"
#define HUGE_MOST 512           /* reserved at most, beyond what was there: 1 GiB */

static long reserved_before = -1;

bool pages_zero(const char *addr, size_t length)
{
	for (size_t i = 0; i < length; i += 64)
		if (addr[i] != 0)
			return false;
	return true;
}

bool pages_populated_zero(const char *addr, size_t length)
{
	size_t pages = length / (size_t)getpagesize();
	unsigned char *present = malloc(pages);
	bool good = mincore((void *)addr, length, present) == 0;

	for (size_t i = 0; good && i < pages; i++)
		good = present[i] & 1;
	free(present);
	return good && pages_zero(addr, length);
}

/* The file's text in a static buffer, or NULL. */
static char *read_file(const char *path)
{
	static char text[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = 0;
	return length > 0 ? text : NULL;
}

bool pages_thp(void)
{
	const char *text = read_file("/sys/kernel/mm/transparent_hugepage/enabled");

	return text != NULL && strstr(text, "[never]") == NULL;
}

long pages_number(const char *path, const char *key)
{
	const char *text = read_file(path), *found = text == NULL ? NULL : strstr(text, key);

	return found == NULL ? -1 : atol(found + strlen(key));
}

static bool write_number(const char *path, long number)
{
	FILE *file = fopen(path, "w");
	bool good = file != NULL && fprintf(file, "%ld\n", number) > 0;

	return file != NULL && fclose(file) == 0 && good;
}

long pages_held(void)
{
	long files = 0;

	for (int fd = 0; fd < 64; fd++)
		files += fcntl(fd, F_GETFD) >= 0;
	return files + pages_number("/proc/self/status", "HugetlbPages:");
}

long pages_huge(void)
{
	return pages_number(HUGE_PAGES, "");
}

long pages_huge_free(void)
{
	return pages_number("/proc/meminfo", "HugePages_Free:") -
		pages_number("/proc/meminfo", "HugePages_Rsvd:");
}

bool pages_reserve(long needed)
{
	long before = pages_huge();

	for (long more = needed; before >= 0 && more <= HUGE_MOST; more *= 2) {
		if (pages_huge_free() >= needed)
			return true;
		if (!write_number(HUGE_PAGES, before + more))
			return false;
		reserved_before = before;
	}
	return pages_huge_free() >= needed;
}

void pages_unreserve(void)
{
	if (reserved_before >= 0)
		write_number(HUGE_PAGES, reserved_before);
	reserved_before = -1;
}
