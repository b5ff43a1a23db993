/* SPDX-License-Identifier: MIT */
/*
 * Blocks handed from thread to thread: a producer leases and fills them, a consumer reads and
 * returns them. Neither knows where the other one runs, and the pool's memory stays as small as
 * what is under way. Ends with the pool's own count of it: nothing leased.
 */
#include <mews/mews.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCKS 1000000
#define UNDER_WAY 256

/* A ring of pointers, as plain as can be. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned long *slot[UNDER_WAY];
	unsigned long put, taken;
} ring = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static struct mews_pool *pool;

static void put(unsigned long *block)
{
	pthread_mutex_lock(&ring.lock);
	while (ring.put - ring.taken == UNDER_WAY)
		pthread_cond_wait(&ring.changed, &ring.lock);
	ring.slot[ring.put++ % UNDER_WAY] = block;
	pthread_cond_signal(&ring.changed);
	pthread_mutex_unlock(&ring.lock);
}

static unsigned long *take(void)
{
	unsigned long *block;

	pthread_mutex_lock(&ring.lock);
	while (ring.put == ring.taken)
		pthread_cond_wait(&ring.changed, &ring.lock);
	block = ring.slot[ring.taken++ % UNDER_WAY];
	pthread_cond_signal(&ring.changed);
	pthread_mutex_unlock(&ring.lock);
	return block;
}

static void *consume(void *sum)
{
	for (unsigned long i = 0; i < BLOCKS; i++) {
		unsigned long *block = take();

		*(unsigned long *)sum += *block;
		mews_return(pool, block);
	}
	return NULL;
}

static void produce(void)
{
	for (unsigned long i = 0; i < BLOCKS; i++) {
		unsigned long *block = mews_lease(pool);

		if (!block) {
			perror("mews_lease");
			exit(1);
		}
		*block = i;
		put(block);
	}
}

int main(void)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	unsigned long sum = 0, expected = BLOCKS * (BLOCKS - 1ul) / 2;
	pthread_t consumer;

	if (mews_pool_create(NULL, &pool) || pthread_create(&consumer, NULL, consume, &sum))
		return 1;
	produce();
	pthread_join(consumer, NULL);
	mews_pool_stats(pool, &stats);
	printf("%d blocks handed over, %s; carved %llu, leased now %llu\n", BLOCKS,
	       sum == expected ? "each with what was written into it" : "AND SOMETHING WAS LOST",
	       (unsigned long long)stats.carved, (unsigned long long)stats.leased);
	mews_pool_dispose(pool);
	return sum == expected && stats.leased == 0 ? 0 : 1;
}
