/* SPDX-License-Identifier: MIT */
/*
 * The allocator seam. Two tables of five calls, one over the pool and one over malloc, and above
 * them what the server needs. Nothing else in the server allocates while requests are served.
 */
#include "buffers.h"

#include <stdlib.h>

struct allocator_calls {
	void *(*lease)(struct mews_pool *pool, size_t bytes);       /* bytes: of a block */
	void *(*lease_sized)(struct mews_pool *pool, size_t bytes); /* or of more than that */
	size_t (*lease_many)(struct mews_pool *pool, void **blocks, size_t count, size_t bytes);
	void (*give_back)(struct mews_pool *pool, void *block);
	void (*give_back_many)(struct mews_pool *pool, void *const *blocks, size_t count);
};

static void *pool_lease(struct mews_pool *pool, size_t bytes)
{
	(void)bytes;
	return mews_lease(pool);
}

static size_t pool_lease_many(struct mews_pool *pool, void **blocks, size_t count, size_t bytes)
{
	(void)bytes;
	return mews_lease_many(pool, blocks, count);
}

static void *heap_lease(struct mews_pool *pool, size_t bytes)
{
	(void)pool;
	return malloc(bytes);
}

static size_t heap_lease_many(struct mews_pool *pool, void **blocks, size_t count, size_t bytes)
{
	size_t got = 0;

	(void)pool;
	while (got < count && (blocks[got] = malloc(bytes)))
		got++;
	return got;
}

static void heap_give_back(struct mews_pool *pool, void *block)
{
	(void)pool;
	free(block);
}

static void heap_give_back_many(struct mews_pool *pool, void *const *blocks, size_t count)
{
	(void)pool;
	for (size_t i = 0; i < count; i++)
		free(blocks[i]);
}

static const struct allocator_calls calls[] = {
	[ALLOCATOR_MEWS] = {
		pool_lease, mews_lease_sized, pool_lease_many, mews_return, mews_return_many,
	},
	[ALLOCATOR_MALLOC] = {
		heap_lease, heap_lease, heap_lease_many, heap_give_back, heap_give_back_many,
	},
};

int buffers_open(const struct options *options, struct mews_pool **pool)
{
	struct mews_pool_config config = {
		.size = sizeof(config),
		.name = "httpd",
		.block_size = options->block_size,
		.max_blocks = options->max_blocks,
		.mode = options->mode,
	};

	/* What the workers start with is there before they race for it. */
	config.initial_blocks = (size_t)options->threads * BULK;
	if (config.max_blocks && config.initial_blocks > config.max_blocks)
		config.initial_blocks = config.max_blocks;
	*pool = NULL;
	if (options->allocator == ALLOCATOR_MALLOC)
		return 0;
	return mews_pool_create(&config, pool);
}

void lender_init(struct lender *lender, const struct options *options, struct mews_pool *pool,
		 unsigned number)
{
	lender->calls = &calls[options->allocator];
	lender->pool = pool;
	lender->block_size = options->block_size ? options->block_size : MEWS_MAX_POOLED_BLOCK_LENGTH;
	lender->number = number;
}

static struct buffer *buffer_init(const struct lender *lender, void *block, size_t bytes)
{
	struct buffer *buffer = block;

	buffer->next = NULL;
	buffer->start = buffer->end = 0;
	buffer->capacity = bytes - sizeof(*buffer);
	buffer->lender = lender->number;
	return buffer;
}

/* Counts a lease of one block, and makes a buffer of it. */
static struct buffer *leased(struct lender *lender, void *block, size_t bytes)
{
	if (!block) {
		count(&lender->counts.lease_failures, 1);
		return NULL;
	}
	count(&lender->counts.leases, 1);
	return buffer_init(lender, block, bytes);
}

struct buffer *buffer_lease(struct lender *lender)
{
	size_t bytes = lender->block_size;

	return leased(lender, lender->calls->lease(lender->pool, bytes), bytes);
}

struct buffer *buffer_lease_sized(struct lender *lender, size_t capacity)
{
	size_t bytes = capacity + sizeof(struct buffer);

	if (bytes <= lender->block_size)
		return buffer_lease(lender);
	count(&lender->counts.oversize, 1);
	return leased(lender, lender->calls->lease_sized(lender->pool, bytes), bytes);
}

size_t buffer_lease_many(struct lender *lender, struct buffer **buffers, size_t want)
{
	size_t bytes = lender->block_size;
	void *blocks[BULK];
	size_t got = lender->calls->lease_many(lender->pool, blocks, want, bytes);

	for (size_t i = 0; i < got; i++)
		buffers[i] = buffer_init(lender, blocks[i], bytes);
	count(&lender->counts.leases, got);
	if (got < want)
		count(&lender->counts.lease_failures, 1);
	return got;
}

bool chain_lease(struct lender *lender, struct chain *chain, size_t bytes)
{
	size_t capacity = lender->block_size - sizeof(struct buffer);
	size_t want = (bytes + capacity - 1) / capacity;
	struct buffer *buffers[BULK];
	struct chain fresh = { 0 };

	while (want) {
		size_t ask = want < BULK ? want : BULK;
		size_t got = buffer_lease_many(lender, buffers, ask);

		for (size_t i = 0; i < got; i++)
			chain_add(&fresh, buffers[i]);
		if (got < ask) {
			chain_return(lender, &fresh);
			return false;
		}
		want -= got;
	}
	chain_move(chain, &fresh);
	return true;
}

static void count_return(struct lender *lender, const struct buffer *buffer)
{
	count(&lender->counts.returns, 1);
	if (buffer->lender != lender->number)
		count(&lender->counts.returns_elsewhere, 1);
}

void buffer_return(struct lender *lender, struct buffer *buffer)
{
	if (!buffer)
		return;
	count_return(lender, buffer);
	lender->calls->give_back(lender->pool, buffer);
}

void chain_return(struct lender *lender, struct chain *chain)
{
	void *blocks[BULK];
	size_t n = 0;

	for (struct buffer *buffer = chain->first, *next; buffer; buffer = next) {
		next = buffer->next;
		count_return(lender, buffer);
		blocks[n++] = buffer;
		if (n == BULK || !next) {
			lender->calls->give_back_many(lender->pool, blocks, n);
			n = 0;
		}
	}
	*chain = (struct chain){ 0 };
}
