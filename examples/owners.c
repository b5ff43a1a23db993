/* SPDX-License-Identifier: MIT */
/*
 * Blocks that return by themselves: with the request that they were leased for, with the scope, or with
 * the thread, however these end. At the end nothing is out.
 */
#include <errno.h>
#include <mews/owner.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define REQUESTS 1000

static struct mews_pool *pool;

/* A request: whichever way it is left, the caller's mews_owner_end brings its blocks back. */
static int serve(struct mews_owner *request, unsigned number)
{
	char *in = mews_owner_lease(pool, request), *out;

	if (!in)
		return -errno;
	snprintf(in, MEWS_MAX_POOLED_BLOCK_LENGTH, "request %u", number);
	if (number % 3 == 0)
		return -EBADMSG;                        /* and no word about `in` */
	out = mews_owner_lease(pool, request);
	if (!out)
		return -errno;
	strcpy(out, in);
	mews_owner_return(pool, request, in);           /* done with early: no need to wait */
	return 0;
}

static bool serve_all(void)
{
	struct mews_owner *request;
	size_t back = 0;
	unsigned i;

	if (mews_owner_create("request", &request))
		return false;
	for (i = 0; i < REQUESTS; i++) {
		serve(request, i);
		back += mews_owner_end(request);        /* the same owner for the next one */
	}
	mews_owner_destroy(request);
	printf("%u requests left %zu blocks, which came back\n", REQUESTS, back);
	return back == REQUESTS;                        /* `in` of a bad one, `out` of any other */
}

/* The compiler ends the owner where the scope ends. */
static size_t measure(const char *text)
{
	struct mews_owner *MEWS_OWNER_SCOPE(scratch, "scratch");
	char *copy = scratch ? mews_owner_lease(pool, scratch) : NULL;

	return copy ? strlen(strcpy(copy, text)) : 0;
}

/* A block for somebody else is handed over: it is nobody's, until it is returned or adopted. */
static void *leave_a_result(void *unused)
{
	struct mews_owner *own = mews_owner_thread();
	char *result = own ? mews_owner_lease(pool, own) : NULL;
	char *notes = own ? mews_owner_lease(pool, own) : NULL;

	(void)unused;
	if (!result || !notes)
		return NULL;
	strcpy(notes, "these come back when the thread has ended");
	strcpy(result, "a result that outlives its thread");
	if (mews_owner_disown(pool, result))
		return NULL;
	return result;
}

static bool ask_a_thread(void)
{
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, leave_a_result, NULL) || pthread_join(thread, &result) ||
	    !result)
		return false;
	puts(result);
	mews_return(pool, result);
	return true;
}

int main(void)
{
	struct mews_pool_config config = { .size = sizeof(config), .name = "example", .owners = 1 };
	struct mews_stats stats = { .size = sizeof(stats) };
	bool good;

	if (mews_pool_create(&config, &pool))
		return 1;
	good = serve_all() && measure("scratch") == 7 && ask_a_thread();
	mews_pool_stats(pool, &stats);
	printf("%llu leases ended with their owners, %llu are out\n",
	       (unsigned long long)stats.owner_returns, (unsigned long long)stats.leased);
	return mews_pool_dispose(pool) || !good || stats.leased ? 1 : 0;
}
