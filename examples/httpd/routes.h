/* SPDX-License-Identifier: MIT */
/* What the server serves. */
#ifndef HTTPD_ROUTES_H
#define HTTPD_ROUTES_H

#include "request.h"
#include "response.h"

struct server;

/* True where another thread shall make the answer: see handoff.h. */
bool route_is_handed_off(const struct request *request);

/*
 * Makes the answer to a complete request: fills *response, sealed. False: no blocks were left, and
 * *response holds none. Called on an event loop, or on a cook with a lender of its own.
 */
bool route_answer(struct server *server, struct request *request, struct lender *lender,
		  struct response *response);

#endif
