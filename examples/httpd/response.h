/* SPDX-License-Identifier: MIT */
/*
 * Responses: a head written in front of a body that already lies in leased buffers, and the short
 * constant texts that close a connection, which need no buffer at all.
 */
#ifndef HTTPD_RESPONSE_H
#define HTTPD_RESPONSE_H

#include "buffers.h"

struct response {
	struct chain chain;      /* the body; the first buffer starts at HEAD_ROOM */
	size_t length;           /* of the body */
	unsigned status;
	const char *type;        /* media type, or NULL */
	const char *allow;       /* for 405: the methods that the route has */
};

/* Appends to the body. The buffers must have been leased: response_room. */
void response_append(struct response *response, const char *data, size_t length);

/* Leases buffers for a head and a body of so many bytes. False: the pool is full. */
bool response_room(struct response *response, struct lender *lender, size_t length);

/* Writes the head before the body. head_only (HEAD): the body is returned, its length stays. */
void response_seal(struct response *response, struct lender *lender, bool head_only,
		   bool keep_alive);

/* The whole constant response that ends a connection for this reason. */
const char *response_farewell(unsigned status);

#endif
