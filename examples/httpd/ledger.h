/* SPDX-License-Identifier: MIT */
/* The ledger: what the threads counted and what the pool says, which must agree. */
#ifndef HTTPD_LEDGER_H
#define HTTPD_LEDGER_H

#include <stdbool.h>
#include <stdio.h>

struct mews_pool;
struct server;

#define LEDGER_JSON_MAX 3072

/* All of it as JSON; returns the length. At any time: a snapshot. */
int ledger_json(struct server *server, char text[LEDGER_JSON_MAX]);

/* For people. */
void ledger_print(struct server *server, FILE *out);

/*
 * Who holds blocks: the first call has each lease recorded from now on, which slows them down; the next
 * prints where those were made that are out, and ends the recording; and so on. One thread's.
 */
void ledger_leases(struct mews_pool *pool, FILE *out);

/* Once all threads have ended: nothing leased, and the tiers add up to what was carved. */
bool ledger_balances(struct server *server);

#endif
