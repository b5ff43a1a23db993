/* SPDX-License-Identifier: MIT */
/* The environment's wishes (layer 5): see environment.h. Invariant: a wrong value changes nothing. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <mews/mews.h>
#include "environment.h"

static const char *read_mode(const char *text, struct mews_environment *e)
{
	if (strcmp(text, "server") == 0)
		e->mode = MEWS_MODE_SERVER;
	else if (strcmp(text, "workstation") == 0)
		e->mode = MEWS_MODE_WORKSTATION;
	else
		return "MEWS_MODE is neither server nor workstation: ignored";
	return NULL;
}

/* A number, and how far it goes; false where there is none, or it is too large. */
static bool read_number(const char *text, uint64_t *value, char **end)
{
	int saved = errno;
	bool fits;

	errno = 0;
	*value = strtoull(text, end, 10);
	fits = *text >= '0' && *text <= '9' && errno == 0;
	errno = saved;
	return fits;
}

static const char *read_limit(const char *text, struct mews_environment *e)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t value;
	char *end;
	int shift = 0;

	if (!read_number(text, &value, &end))
		end = "?";
	unit = *end ? strchr(units, *end) : NULL;
	if (unit && end[1] == 0) {
		shift = 10 * (int)(unit - units + 1);
		end++;
	}
	if (*end || !value || value > UINT64_MAX >> shift)
		return "MEWS_HARD_LIMIT is no number of bytes, as 1073741824 or 512M: ignored";
	e->hard_limit = value << shift;
	return NULL;
}

static const char *read_decay(const char *text, struct mews_environment *e)
{
	uint64_t value;
	char *end;

	if (strcmp(text, "never") == 0) {
		e->decay_ms = MEWS_DECAY_NEVER;
		return NULL;
	}
	if (!read_number(text, &value, &end) || *end || !value || value >= MEWS_DECAY_NEVER)
		return "MEWS_DECAY is no number of milliseconds from 1, nor never: ignored";
	e->decay_ms = (unsigned)value;
	return NULL;
}

void mews_environment_read(struct mews_environment *e)
{
	static const struct {
		const char *name;
		const char *(*read)(const char *text, struct mews_environment *e);
	} variables[MEWS_ENVIRONMENT_VARIABLES] = {
		{ "MEWS_MODE", read_mode },
		{ "MEWS_HARD_LIMIT", read_limit },
		{ "MEWS_DECAY", read_decay },
	};
	const char *text;
	int i;

	*e = (struct mews_environment) {
		.mode = MEWS_MODE_AUTO,
		.watch = secure_getenv("MEMORY_PRESSURE_WATCH"),
		.trigger = secure_getenv("MEMORY_PRESSURE_WRITE"),
	};
	for (i = 0; i < MEWS_ENVIRONMENT_VARIABLES; i++) {
		text = secure_getenv(variables[i].name);
		e->bad[i] = text && *text ? variables[i].read(text, e) : NULL;
	}
}

void mews_environment_apply(const struct mews_environment *e, struct mews_plan_request *request)
{
	if (request->mode == MEWS_MODE_AUTO && e->mode != MEWS_MODE_AUTO) {
		request->mode = e->mode;
		request->mode_source = "MEWS_MODE";
	}
	request->hard_limit = e->hard_limit;
}
