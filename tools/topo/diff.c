/* SPDX-License-Identifier: MIT */
/*
 * Diff (mews-topo): what changes from one machine to another, and so in the plan. Both sides become
 * documents of docs/topo-json.md, which are compared member by member: a file that --format json
 * wrote on another machine is as good as the machine. Called by main.c.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "words.h"

#define FILE_MAX ((size_t)64 << 20)
#define PATH_SIZE 256

struct comparison {
	FILE *out;
	unsigned differences;
};

static char *read_whole(const char *path)
{
	FILE *file = fopen(path, "re");
	size_t room = 65536, length = 0, got;
	char *text = topo_alloc(room, 1);

	while (file != NULL && (got = fread(text + length, 1, room - 1 - length, file)) > 0) {
		length += got;
		if (length == room - 1 && room < FILE_MAX) {
			room *= 2;
			text = realloc(text, room);
			if (text == NULL)
				exit(TOPO_EXIT_ERROR);
		}
	}
	text[length] = 0;
	if (file == NULL || ferror(file)) {
		free(text);
		text = NULL;
	}
	if (file != NULL)
		fclose(file);
	return text;
}

/* A saved document, if the file is one of this schema; *fault: it is JSON, and another thing. */
static cJSON *parse_saved(const char *path, bool *fault)
{
	char *text = read_whole(path);
	cJSON *root =
		text != NULL && text[strspn(text, " \t\r\n")] == '{' ? cJSON_Parse(text) : NULL;
	const cJSON *schema = cJSON_GetObjectItemCaseSensitive(root, "schema");
	const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "schema_version");

	*fault = text != NULL && text[strspn(text, " \t\r\n")] == '{';
	free(text);
	if (cJSON_IsString(schema) && strcmp(schema->valuestring, TOPO_SCHEMA) == 0 &&
	    cJSON_IsNumber(version) && version->valueint == TOPO_SCHEMA_VERSION)
		return root;
	cJSON_Delete(root);
	return NULL;
}

static cJSON *document(const struct topo_options *options, const char *what)
{
	struct topo_options own = *options;
	struct topo_view view;
	cJSON *root = NULL;
	bool fault = false;

	own.action = TOPO_SHOW;
	if (strncmp(what, "synthetic:", 10) == 0) {
		own.synthetic = what + 10;
	} else if (strcmp(what, "this") != 0) {
		own.xml = what;
		root = parse_saved(what, &fault);
	}
	if (root != NULL)
		return root;
	if (fault) {
		topo_fail("--diff %s: JSON, but not what --format json writes (schema version %d)",
			  what, TOPO_SCHEMA_VERSION);
		return NULL;
	}
	if (topo_view_make(&own, &view) == 0)
		root = topo_json_make(&view);
	topo_view_free(&view);
	return root;
}

/* A value on one line: numbers with commas, objects and arrays by what they hold. */
static void put_value(const cJSON *value, FILE *out)
{
	char *text;

	if (value == NULL) {
		fputs("(absent)", out);
	} else if (cJSON_IsString(value)) {
		fputs(value->valuestring, out);
	} else if (cJSON_IsNull(value)) {
		fputs("unknown or none", out);
	} else if (cJSON_IsNumber(value) && value->valuedouble >= 0 &&
		   value->valuedouble == (double)(uint64_t)value->valuedouble) {
		fputs(mews_number((uint64_t)value->valuedouble).text, out);
	} else if (cJSON_IsObject(value)) {
		fputs("known", out);
	} else {
		text = cJSON_PrintUnformatted(value);
		fputs(text != NULL ? text : "", out);
		free(text);
	}
}

static void tell(struct comparison *c, const char *path, const cJSON *a, const cJSON *b)
{
	fprintf(c->out, "%-28s ", path);
	put_value(a, c->out);
	fputs("  ->  ", c->out);
	put_value(b, c->out);
	fputc('\n', c->out);
	c->differences++;
}

static void compare(struct comparison *c, const char *path, const cJSON *a, const cJSON *b);

static void compare_members(struct comparison *c, const char *path, const cJSON *a, const cJSON *b)
{
	const cJSON *member;
	char inner[PATH_SIZE];

	cJSON_ArrayForEach(member, a) {
		snprintf(inner, sizeof(inner), "%s%s%s", path, path[0] ? "." : "", member->string);
		compare(c, inner, member, cJSON_GetObjectItemCaseSensitive(b, member->string));
	}
}

/* Entries of equal number are compared one by one; else their number is what changed. */
static void compare_lists(struct comparison *c, const char *path, const cJSON *a, const cJSON *b)
{
	int length = cJSON_GetArraySize(a);
	char inner[PATH_SIZE];

	if (length != cJSON_GetArraySize(b)) {
		fprintf(c->out, "%-28s %d entries  ->  %d entries\n", path, length,
			cJSON_GetArraySize(b));
		c->differences++;
		return;
	}
	for (int i = 0; i < length; i++) {
		snprintf(inner, sizeof(inner), "%s[%d]", path, i);
		compare(c, inner, cJSON_GetArrayItem(a, i), cJSON_GetArrayItem(b, i));
	}
}

/* Where a machine's document came from, and sentences that follow from the numbers, say nothing. */
static bool left_out(const char *path)
{
	return strcmp(path, "source") == 0 || strcmp(path, "this_machine") == 0 ||
		strcmp(path, "plan.reasons") == 0 || strcmp(path, "findings") == 0;
}

static void compare(struct comparison *c, const char *path, const cJSON *a, const cJSON *b)
{
	if (left_out(path) || cJSON_Compare(a, b, true))
		return;
	if (cJSON_IsObject(a) && cJSON_IsObject(b))
		compare_members(c, path, a, b);
	else if (cJSON_IsArray(a) && cJSON_IsArray(b))
		compare_lists(c, path, a, b);
	else
		tell(c, path, a, b);
}

static bool has_text(const cJSON *list, const char *text)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, list) {
		const cJSON *own = cJSON_GetObjectItemCaseSensitive(one, "text");

		if (cJSON_IsString(own) && strcmp(own->valuestring, text) == 0)
			return true;
	}
	return false;
}

/* Findings of one side that the other has not. */
static void compare_findings(struct comparison *c, const char *sign, const cJSON *a, const cJSON *b)
{
	const cJSON *one, *theirs = cJSON_GetObjectItemCaseSensitive(b, "findings");

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(a, "findings")) {
		const cJSON *text = cJSON_GetObjectItemCaseSensitive(one, "text");

		if (!cJSON_IsString(text) || has_text(theirs, text->valuestring))
			continue;
		fprintf(c->out, "%s %s\n", sign, text->valuestring);
		c->differences++;
	}
}

int topo_diff(const struct topo_options *options, FILE *out)
{
	struct comparison c = { .out = out };
	cJSON *a = document(options, options->diff[0]);
	cJSON *b = a != NULL ? document(options, options->diff[1]) : NULL;

	if (b != NULL) {
		compare(&c, "", a, b);
		compare_findings(&c, "no longer:", a, b);
		compare_findings(&c, "new:", b, a);
	}
	cJSON_Delete(a);
	cJSON_Delete(b);
	return b == NULL ? TOPO_EXIT_ERROR : c.differences > 0;
}
