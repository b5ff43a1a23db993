/* SPDX-License-Identifier: MIT */
/* Templates for mkstemp and mkdtemp: in $TMPDIR, where it is set and the name fits, else in /tmp. */
#ifndef TESTS_SUPPORT_TEMPORARY_H
#define TESTS_SUPPORT_TEMPORARY_H

#include <stdio.h>
#include <stdlib.h>

static inline char *temporary_name(char *path, size_t size, const char *name)
{
	const char *folder = getenv("TMPDIR");

	if (!folder || !*folder ||
	    (size_t)snprintf(path, size, "%s/mews-%s-XXXXXX", folder, name) >= size)
		snprintf(path, size, "/tmp/mews-%s-XXXXXX", name);
	return path;
}

#endif
