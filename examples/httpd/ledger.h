/* SPDX-License-Identifier: MIT */
/* The ledger: what the threads counted and what the pool says, which must agree. */
#ifndef HTTPD_LEDGER_H
#define HTTPD_LEDGER_H

#include <stdbool.h>
#include <stdio.h>

struct server;

#define LEDGER_JSON_MAX 3072

/* All of it as JSON; returns the length. At any time: a snapshot. */
int ledger_json(struct server *server, char text[LEDGER_JSON_MAX]);

/* For people. */
void ledger_print(struct server *server, FILE *out);

/* Once all threads have ended: nothing leased, and the tiers add up to what was carved. */
bool ledger_balances(struct server *server);

#endif
