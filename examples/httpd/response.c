/* SPDX-License-Identifier: MIT */
/* Writing heads, without stdio: this is on the path of each request. */
#include "response.h"

#include <assert.h>
#include <string.h>

struct status {
	unsigned code;
	const char *line;      /* status line of a response that has a body of its own */
	const char *farewell;  /* the whole response that ends a connection, or NULL */
};

#define FAREWELL(reason, extra) \
	"HTTP/1.1 " reason "\r\n" extra "Content-Length: 0\r\nConnection: close\r\n\r\n"

static const struct status statuses[] = {
	{ 200, "HTTP/1.1 200 OK\r\n", NULL },
	{ 404, "HTTP/1.1 404 Not Found\r\n", NULL },
	{ 405, "HTTP/1.1 405 Method Not Allowed\r\n", NULL },
	{ 400, "HTTP/1.1 400 Bad Request\r\n", FAREWELL("400 Bad Request", "") },
	{ 408, NULL, FAREWELL("408 Request Timeout", "") },
	{ 413, NULL, FAREWELL("413 Payload Too Large", "") },
	{ 414, NULL, FAREWELL("414 URI Too Long", "") },
	{ 431, NULL, FAREWELL("431 Request Header Fields Too Large", "") },
	{ 503, NULL, FAREWELL("503 Service Unavailable", "Retry-After: 1\r\n") },
};

static const struct status *status_find(unsigned code)
{
	const struct status *status = statuses;

	while (status->code != code)
		status++;
	return status;
}

const char *response_farewell(unsigned code)
{
	return status_find(code)->farewell;
}

bool response_room(struct response *response, struct lender *lender, size_t length)
{
	if (!chain_lease(lender, &response->chain, HEAD_ROOM + length))
		return false;
	response->chain.first->start = response->chain.first->end = HEAD_ROOM;
	response->chain.last = response->chain.first;  /* the one that is being filled */
	return true;
}

void response_append(struct response *response, const char *data, size_t length)
{
	struct chain *chain = &response->chain;

	response->length += length;
	while (length) {
		struct buffer *buffer = chain->last;
		size_t n = buffer->capacity - buffer->end;

		if (n == 0) {
			chain->last = buffer->next;
			continue;
		}
		n = n < length ? n : length;
		memcpy(buffer->data + buffer->end, data, n);
		buffer->end += n;
		data += n;
		length -= n;
	}
}

static char *put(char *at, const char *text)
{
	size_t length = strlen(text);

	memcpy(at, text, length);
	return at + length;
}

static char *put_number(char *at, size_t number)
{
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = '0' + number % 10;
	while (number /= 10);
	memcpy(at, digits + i, sizeof(digits) - i);
	return at + sizeof(digits) - i;
}

static size_t head_write(const struct response *response, bool keep_alive, char head[HEAD_ROOM])
{
	char *at = put(head, status_find(response->status)->line);

	if (response->type)
		at = put(put(put(at, "Content-Type: "), response->type), "\r\n");
	if (response->allow)
		at = put(put(put(at, "Allow: "), response->allow), "\r\n");
	if (!keep_alive)
		at = put(at, "Connection: close\r\n");
	at = put_number(put(at, "Content-Length: "), response->length);
	at = put(at, "\r\n\r\n");
	assert(at - head <= HEAD_ROOM);
	return at - head;
}

/* Returns every buffer behind this one: room that was not needed, or a body not asked for. */
static void cut_after(struct response *response, struct lender *lender, struct buffer *buffer)
{
	struct chain rest = { buffer->next, NULL };

	buffer->next = NULL;
	response->chain.last = buffer;
	chain_return(lender, &rest);
}

void response_seal(struct response *response, struct lender *lender, bool head_only,
		   bool keep_alive)
{
	struct buffer *first = response->chain.first;
	char head[HEAD_ROOM];
	size_t length = head_write(response, keep_alive, head);

	cut_after(response, lender, head_only ? first : response->chain.last);
	if (head_only)
		first->end = HEAD_ROOM;
	first->start = HEAD_ROOM - length;
	memcpy(first->data + first->start, head, length);
}
