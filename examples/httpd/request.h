/* SPDX-License-Identifier: MIT */
/*
 * A request being read. The parser is fed whatever arrives, in pieces of any size; the target is
 * copied out and the body goes into leased buffers, so that no received block outlives its bytes.
 */
#ifndef HTTPD_REQUEST_H
#define HTTPD_REQUEST_H

#include "buffers.h"

#include <http_parser.h>

#define TARGET_MAX 191
#define HEAD_MAX 8192  /* bytes of request line and headers */

enum request_state {
	REQUEST_NONE,      /* not a byte of it yet */
	REQUEST_HEAD,
	REQUEST_BODY,
	REQUEST_COMPLETE,
	REQUEST_FAILED,    /* status says how; the connection cannot go on */
};

struct request {
	http_parser parser;
	enum request_state state;
	unsigned status;         /* of a failed request */
	bool keep_alive;
	struct lender *lender;   /* bodies are leased here */
	size_t max_body;
	struct chain body;
	size_t body_bytes;
	uint32_t target_length;
	char target[TARGET_MAX + 1];
};

/* Once, before any thread reads: the limits that the parser keeps for all. */
void request_setup(void);

void request_init(struct request *request, struct lender *lender, size_t max_body);

/* Reads on; returns how many bytes it used. Stops at the end of a request, or at a fault. */
size_t request_feed(struct request *request, const char *data, size_t length);

/* Ready for the next one on the same connection; what is left of the body is returned. */
void request_reset(struct request *request);

#endif
