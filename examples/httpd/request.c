/* SPDX-License-Identifier: MIT */
/* The callbacks of http_parser, and the limits that a client must keep. */
#include "request.h"

#include <string.h>

static int fail(http_parser *parser, unsigned status)
{
	struct request *request = parser->data;

	request->state = REQUEST_FAILED;
	request->status = status;
	return -1;
}

static int on_begin(http_parser *parser)
{
	struct request *request = parser->data;

	request->state = REQUEST_HEAD;
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
	struct request *request = parser->data;

	if (request->target_length + length > TARGET_MAX)
		return fail(parser, 414);
	memcpy(request->target + request->target_length, at, length);
	request->target_length += length;
	return 0;
}

/* A body whose length is known gets one buffer: a block, or an oversize lease above its length. */
static int on_headers(http_parser *parser)
{
	struct request *request = parser->data;
	bool known = (parser->flags & F_CONTENTLENGTH) && !(parser->flags & F_CHUNKED);
	struct buffer *buffer;

	request->state = REQUEST_BODY;
	parser->upgrade = 0;  /* no other protocol is spoken here */
	if (!known || parser->content_length == 0)
		return 0;
	if (parser->content_length > request->max_body)
		return fail(parser, 413);
	buffer = buffer_lease_sized(request->lender, HEAD_ROOM + parser->content_length);
	if (!buffer)
		return fail(parser, 503);
	buffer->start = buffer->end = HEAD_ROOM;
	chain_add(&request->body, buffer);
	return 0;
}

/* Room for more of a chunked body: what is left of the last buffer, or a fresh one. */
static struct buffer *body_tail(struct request *request)
{
	struct buffer *buffer = request->body.last;

	if (buffer && buffer->end < buffer->capacity)
		return buffer;
	buffer = buffer_lease(request->lender);
	if (!buffer)
		return NULL;
	if (!request->body.first)
		buffer->start = buffer->end = HEAD_ROOM;
	chain_add(&request->body, buffer);
	return buffer;
}

static int on_body(http_parser *parser, const char *at, size_t length)
{
	struct request *request = parser->data;

	request->body_bytes += length;
	if (request->body_bytes > request->max_body)
		return fail(parser, 413);
	while (length) {
		struct buffer *buffer = body_tail(request);
		size_t n;

		if (!buffer)
			return fail(parser, 503);
		n = buffer->capacity - buffer->end;
		n = n < length ? n : length;
		memcpy(buffer->data + buffer->end, at, n);
		buffer->end += n;
		at += n;
		length -= n;
	}
	return 0;
}

/* Pausing makes the parser stop behind this request: the next one waits for its turn. */
static int on_complete(http_parser *parser)
{
	struct request *request = parser->data;

	request->keep_alive = parser->http_minor > 0 && http_should_keep_alive(parser);
	request->target[request->target_length] = '\0';
	request->state = REQUEST_COMPLETE;
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_begin,
	.on_url = on_url,
	.on_headers_complete = on_headers,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

void request_setup(void)
{
	http_parser_set_max_header_size(HEAD_MAX);
}

void request_init(struct request *request, struct lender *lender, size_t max_body)
{
	http_parser_init(&request->parser, HTTP_REQUEST);
	request->parser.data = request;
	request->lender = lender;
	request->max_body = max_body;
	request->body = (struct chain){ 0 };
	request_reset(request);
}

size_t request_feed(struct request *request, const char *data, size_t length)
{
	size_t used = http_parser_execute(&request->parser, &settings, data, length);
	enum http_errno error = HTTP_PARSER_ERRNO(&request->parser);

	if (error == HPE_OK || error == HPE_PAUSED)
		return used;
	if (request->state != REQUEST_FAILED)
		fail(&request->parser, error == HPE_HEADER_OVERFLOW ? 431 : 400);
	return length;
}

void request_reset(struct request *request)
{
	chain_return(request->lender, &request->body);
	if (HTTP_PARSER_ERRNO(&request->parser) == HPE_PAUSED)
		http_parser_pause(&request->parser, 0);
	request->state = REQUEST_NONE;
	request->body_bytes = 0;
	request->target_length = 0;
}
