/* SPDX-License-Identifier: MIT */
/*
 * The routes, after the demo of .NET's article on memory: responses short and long, work that
 * another thread does, and a look inside. A table and a function for each.
 */
#include "routes.h"

#include "ledger.h"

#include <stdio.h>
#include <string.h>

#define BYTES_MOST (8 << 20)
#define ARRAY_MOST (1 << 20)

struct call {
	struct server *server;
	struct request *request;
	struct lender *lender;
	uint64_t number;             /* of /bytes/NUMBER */
	struct response *response;
};

struct route {
	const char *path;
	uint64_t most;               /* the path goes on with a number up to this; 0: no number */
	bool post;                   /* POST, else GET and HEAD */
	bool handed_off;
	bool (*serve)(struct call *call);
};

static bool serve_text(struct call *call, const char *type, const char *text, size_t length)
{
	call->response->type = type;
	if (!response_room(call->response, call->lender, length))
		return false;
	response_append(call->response, text, length);
	return true;
}

static bool plaintext(struct call *call)
{
	return serve_text(call, "text/plain", "Hello, World!", 13);
}

static bool health(struct call *call)
{
	return serve_text(call, "text/plain", "ok\n", 3);
}

/* A letter that depends on the length: a block given to two at once would show in the body. */
static bool bytes(struct call *call)
{
	struct response *response = call->response;
	size_t left = call->number;

	response->type = "application/octet-stream";
	if (!response_room(response, call->lender, left))
		return false;
	response->length = left;
	for (struct buffer *buffer = response->chain.first; buffer; buffer = buffer->next) {
		size_t n = buffer->capacity - buffer->end;

		n = n < left ? n : left;
		memset(buffer->data + buffer->end, 'a' + (int)(call->number % 26), n);
		buffer->end += n;
		left -= n;
		response->chain.last = buffer;
	}
	return true;
}

/* A JSON array 0, 1, 2 ...: its length is not known before, so that room is left and given back. */
static bool array(struct call *call)
{
	char text[24] = "[";
	size_t length = 1;

	call->response->type = "application/json";
	if (!response_room(call->response, call->lender, 2 + call->number * 8))
		return false;
	for (uint64_t i = 0; i < call->number; i++) {
		length += snprintf(text + length, sizeof(text) - length, "%s%u", i ? "," : "",
				   (unsigned)i);
		response_append(call->response, text, length);
		length = 0;
	}
	text[length++] = ']';
	response_append(call->response, text, length);
	return true;
}

/* The body goes back in the buffers in which it came. */
static bool echo(struct call *call)
{
	struct request *request = call->request;
	struct response *response = call->response;

	response->type = "application/octet-stream";
	if (!request->body.first)
		return response_room(response, call->lender, 0);
	response->length = request->body_bytes;
	chain_move(&response->chain, &request->body);
	return true;
}

static bool stats(struct call *call)
{
	char text[LEDGER_JSON_MAX];
	int length = ledger_json(call->server, text);

	return serve_text(call, "application/json", text, length);
}

static const struct route routes[] = {
	{ "/plaintext", 0, false, false, plaintext },
	{ "/bytes/", BYTES_MOST, false, false, bytes },
	{ "/handoff/", BYTES_MOST, false, true, bytes },
	{ "/array/", ARRAY_MOST, false, false, array },
	{ "/echo", 0, true, false, echo },
	{ "/stats", 0, false, false, stats },
	{ "/health", 0, false, false, health },
	{ 0 },
};

/* The length of the path within the target: what stands before a query. */
static size_t path_length(const struct request *request)
{
	return strcspn(request->target, "?#");
}

static const struct route *route_find(const struct request *request)
{
	size_t length = path_length(request);

	for (const struct route *route = routes; route->path; route++) {
		size_t n = strlen(route->path);

		if ((route->most ? length > n : length == n) &&
		    memcmp(request->target, route->path, n) == 0)
			return route;
	}
	return NULL;
}

static bool method_fits(const struct route *route, const struct request *request)
{
	unsigned method = request->parser.method;

	return route->post ? method == HTTP_POST : method == HTTP_GET || method == HTTP_HEAD;
}

/* Digits only, up to most: anything else is the client's fault. */
static bool number_read(const struct request *request, const struct route *route, uint64_t *number)
{
	const char *at = request->target + strlen(route->path);
	const char *end = request->target + path_length(request);

	*number = 0;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return false;
		*number = *number * 10 + (*at - '0');
		if (*number > route->most)
			return false;
	}
	return true;
}

/* 200, or why not. */
static unsigned route_check(const struct route *route, struct call *call)
{
	if (!route)
		return 404;
	if (!method_fits(route, call->request))
		return 405;
	if (route->most && !number_read(call->request, route, &call->number))
		return 400;
	return 200;
}

bool route_is_handed_off(const struct request *request)
{
	const struct route *route = route_find(request);

	return route && route->handed_off && method_fits(route, request);
}

bool route_answer(struct server *server, struct request *request, struct lender *lender,
		  struct response *response)
{
	const struct route *route = route_find(request);
	struct call call = { server, request, lender, 0, response };

	*response = (struct response){ .status = route_check(route, &call) };
	if (response->status == 405)
		response->allow = route->post ? "POST" : "GET, HEAD";
	if (!(response->status == 200 ? route->serve(&call) : response_room(response, lender, 0)))
		return false;
	response_seal(response, lender, request->parser.method == HTTP_HEAD, request->keep_alive);
	return true;
}
