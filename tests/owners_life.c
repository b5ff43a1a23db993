/* SPDX-License-Identifier: MIT */
/* Owners: leases, returns, ends, other owners, and what is a mistake. */
#include "owners.h"

#include <errno.h>
#include <string.h>

#define COUNT 1200

static void *block[COUNT];

static void lease_some(struct mews_pool *pool, struct mews_owner *owner, size_t from, size_t count)
{
	for (size_t i = from; i < from + count; i++) {
		block[i] = owner_lease(pool, owner);
		assert_non_null(block[i]);
		memset(block[i], 1, 64);
	}
}

static void test_end(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("request");

	(void)state;
	assert_int_equal(mews_owner_end(owner), 0);
	lease_some(pool, owner, 0, 1);
	audit_out(pool, block, 1);
	assert_int_equal(mews_owner_end(owner), 1);
	audit_out(pool, NULL, 0);
	lease_some(pool, owner, 0, COUNT);
	audit_out(pool, block, COUNT);
	for (size_t i = 0; i < COUNT; i += 3)
		owner_give(pool, owner, block[i]);
	assert_int_equal(mews_owner_end(owner), COUNT - COUNT / 3);
	assert_int_equal(mews_owner_end(owner), 0);
	mews_owner_destroy(owner);
	assert_int_equal(reports, 0);
	end_owner_pool(pool, 1 + COUNT - COUNT / 3);
}

/* Pairs, as of requests: what was returned does not come back again. */
static void test_pairs(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("pairs");

	(void)state;
	for (int i = 0; i < 20000; i++) {
		lease_some(pool, owner, 0, 3);
		for (int k = 0; k < 3; k++)
			owner_give(pool, owner, block[k]);
	}
	assert_int_equal(mews_owner_end(owner), 0);
	mews_owner_destroy(owner);
	end_owner_pool(pool, 0);
}

/* A mistake that must not give two requests one owner: the end of one would return the other's blocks. */
static void test_destroyed_twice(void **state)
{
	struct mews_owner *owner = new_owner("twice"), *one, *two;

	(void)state;
	mews_owner_destroy(owner);
	mews_owner_destroy(owner);
	mews_owner_destroy(mews_owner_thread());
	one = new_owner("one");
	two = new_owner("two");
	assert_ptr_not_equal(one, two);
	assert_ptr_not_equal(one, mews_owner_thread());
	mews_owner_destroy(one);
	mews_owner_destroy(two);
}

static void test_many_ends(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("many");
	size_t total = 0;

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		lease_some(pool, owner, 0, 1 + i * 7 % 40);
		owner_give(pool, owner, block[0]);
		total += i * 7 % 40;
		assert_int_equal(mews_owner_end(owner), i * 7 % 40);
	}
	mews_owner_destroy(owner);
	end_owner_pool(pool, total);
}

/* Blocks change from owner to owner through the cache: each end brings back its own. */
static void test_two_owners(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *one = new_owner("one"), *two = new_owner("two");
	size_t total = 0;

	(void)state;
	for (int i = 0; i < 500; i++) {
		lease_some(pool, one, 0, 40);
		lease_some(pool, two, 40, 40);
		for (int k = 0; k < 80; k += 2)
			owner_give(pool, k < 40 ? one : two, block[k]);
		total += 20 + 20;
		if (i % 2)
			assert_int_equal(mews_owner_end(one), 20);
		assert_int_equal(mews_owner_end(two), 20);
		if (!(i % 2))
			assert_int_equal(mews_owner_end(one), 20);
	}
	mews_owner_destroy(one);
	mews_owner_destroy(two);
	end_owner_pool(pool, total);
}

static void test_any_return(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("mine"), *other = new_owner("other");

	(void)state;
	lease_some(pool, owner, 0, 60);
	for (int i = 0; i < 20; i++)
		kind_calls.give(pool, block[i]);
	mews_return_many(pool, block + 20, 20);
	for (int i = 40; i < 50; i++)
		owner_give(pool, other, block[i]);
	assert_int_equal(mews_owner_end(other), 0);
	assert_int_equal(mews_owner_end(owner), 10);
	mews_owner_destroy(owner);
	mews_owner_destroy(other);
	assert_int_equal(reports, 0);
	end_owner_pool(pool, 10);
}

/* Leases without an owner, of the same pool: they stay out. */
static void test_nobodys(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("mine");

	(void)state;
	for (int i = 0; i < 100; i++)
		block[i] = kind_calls.lease(pool);
	assert_int_equal(mews_lease_many(pool, block + 100, 500), 500);
	lease_some(pool, owner, 600, 100);
	assert_int_equal(mews_owner_end(owner), 100);
	audit_out(pool, block, 600);
	for (int i = 0; i < 300; i++)
		kind_calls.give(pool, block[i]);
	mews_return_many(pool, block + 300, 200);
	for (int i = 500; i < 600; i++)
		owner_give(pool, owner, block[i]);
	mews_owner_destroy(owner);
	assert_int_equal(reports, 0);
	end_owner_pool(pool, 100);
}

static void test_adopt(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *from = new_owner("from"), *to = new_owner("to");

	(void)state;
	lease_some(pool, from, 0, 30);
	for (int i = 30; i < 40; i++)
		block[i] = kind_calls.lease(pool);
	for (int i = 10; i < 40; i++)
		assert_int_equal(mews_owner_adopt(pool, to, block[i]), 0);
	assert_int_equal(mews_owner_end(from), 10);
	audit_out(pool, block + 10, 30);
	owner_give(pool, to, block[10]);
	assert_int_equal(mews_owner_disown(pool, block[11]), 0);
	assert_int_equal(mews_owner_end(to), 28);
	audit_out(pool, block + 11, 1);
	assert_int_equal(mews_owner_adopt(pool, to, block[12]), -EINVAL);
	assert_int_equal(mews_owner_disown(pool, block[12]), -EINVAL);
	kind_calls.give(pool, block[11]);
	mews_owner_destroy(from);
	mews_owner_destroy(to);
	assert_int_equal(reports, 0);
	end_owner_pool(pool, 38);
}

static void test_refused(void **state)
{
	struct mews_pool *pool = owner_pool(2), *plain = kind_pool(0, 2);
	struct mews_owner *owner = new_owner(NULL);
	char outside;

	(void)state;
	errno = 0;
	assert_null(mews_owner_lease(pool, NULL));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(owner_lease(plain, owner));
	assert_int_equal(errno, EINVAL);
	lease_some(pool, owner, 0, 2);
	errno = 0;
	assert_null(owner_lease(pool, owner));
	assert_int_equal(errno, ENOBUFS);
	assert_int_equal(mews_owner_adopt(pool, NULL, block[0]), -EINVAL);
	assert_int_equal(mews_owner_adopt(NULL, owner, block[0]), -EINVAL);
	assert_int_equal(mews_owner_adopt(plain, owner, block[0]), -EINVAL);
	assert_int_equal(mews_owner_adopt(pool, owner, &outside), -EINVAL);
	assert_int_equal(mews_owner_adopt(pool, owner, (char *)block[0] + 8), -EINVAL);
	assert_int_equal(mews_owner_create("x", NULL), -EINVAL);
	mews_owner_return(pool, owner, NULL);
	assert_int_equal(mews_owner_end(NULL), 0);
	mews_owner_destroy(NULL);
	mews_owner_destroy(owner);
	assert_int_equal(mews_pool_dispose(plain), 0);
	end_owner_pool(pool, 2);
}

/* A block that was still in use elsewhere when its owner ended. */
static void test_ended(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("request 17");

	(void)state;
	lease_some(pool, owner, 0, 3);
	assert_int_equal(mews_owner_end(owner), 3);
	kind_calls.give(pool, block[0]);
	assert_int_equal(reports, 1);
	assert_int_equal(reported.kind, MEWS_REPORT_OWNER_ENDED);
	assert_ptr_equal(reported.block, block[0]);
	assert_non_null(strstr(report_text, "request 17"));
	owner_give(pool, owner, block[1]);
	assert_int_equal(reports, 2);
	assert_int_equal(reported.kind, MEWS_REPORT_OWNER_ENDED);
	mews_owner_destroy(owner);
	kind_calls.give(pool, block[2]);
	assert_int_equal(reports, 3);
	assert_non_null(strstr(report_text, "request 17"));
	end_owner_pool(pool, 3);
}

static void test_double_return(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("mine");

	(void)state;
	lease_some(pool, owner, 0, 3);
	owner_give(pool, owner, block[0]);
	owner_give(pool, owner, block[0]);
	assert_int_equal(reports, 1);
	assert_int_equal(reported.kind, MEWS_REPORT_DOUBLE_RETURN);
	owner_give(pool, owner, block[1]);
	kind_calls.give(pool, block[0]);
	kind_calls.give(pool, block[1]);
	assert_int_equal(reports, 3);
	kind_calls.give(pool, (char *)block[2] + 8);
	assert_int_equal(reports, 4);
	assert_int_equal(reported.kind, MEWS_REPORT_INTERIOR_POINTER);
	owner_give(pool, owner, &pool);
	assert_int_equal(reports, 5);
	assert_int_equal(reported.kind, MEWS_REPORT_FOREIGN_POINTER);
	assert_int_equal(mews_owner_end(owner), 1);
	mews_owner_destroy(owner);
	end_owner_pool(pool, 1);
}

/* An owner has leases of several pools; one of them goes away before it ends, and one is disposed. */
static void test_pools(void **state)
{
	struct mews_pool *one = owner_pool(COUNT), *two = owner_pool(COUNT), *three = owner_pool(20);
	struct mews_owner *owner = new_owner("all");

	(void)state;
	lease_some(one, owner, 0, 100);
	lease_some(two, owner, 100, 100);
	lease_some(three, owner, 200, 3);
	for (int i = 100; i < 200; i++)
		owner_give(two, owner, block[i]);
	end_owner_pool(two, 0);
	assert_int_equal(mews_pool_dispose(three), 0);
	assert_int_equal(mews_owner_end(owner), 103);
	two = owner_pool(COUNT);
	lease_some(two, owner, 100, 100);
	assert_int_equal(mews_owner_end(owner), 100);
	mews_owner_destroy(owner);
	end_owner_pool(one, 100);
	end_owner_pool(two, 100);
}

static void test_drain(void **state)
{
	static const struct timespec past;
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner = new_owner("mine");

	(void)state;
	for (int i = 0; i < 50; i++) {
		lease_some(pool, owner, 0, 50);
		for (int k = 0; k < 25; k++)
			owner_give(pool, owner, block[k]);
		assert_int_equal(mews_pool_drain(pool, &past), -ETIMEDOUT);
		lease_some(pool, owner, 0, 25);
		assert_int_equal(mews_owner_end(owner), 50);
		assert_int_equal(mews_pool_drain(pool, NULL), 0);
		assert_int_equal(mews_pool_trim(pool, 0, 0), 0);
	}
	mews_owner_destroy(owner);
	end_owner_pool(pool, 2500);
}

/* At every distance of blocks the word's address is right, also at the end of a cell. */
static void test_sizes(void **state)
{
	static const size_t sizes[] = { 1, 8, 24, 64, 100, 1000, 1024, 3000, 4096, 5000, 70000 };
	struct mews_pool_config config = kind_config();
	struct mews_owner *owner = new_owner("sizes");
	struct mews_pool *pool;
	size_t count;

	(void)state;
	config.owners = 1;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		config.block_size = sizes[i];
		config.alignment = i ? 0 : 8;
		config.max_blocks = count = sizes[i] > 5000 ? 50 : 900;
		pool = kind_pool_from(&config);
		for (size_t k = 0; k < count; k++)
			assert_non_null(block[k] = owner_lease(pool, owner));
		audit_out(pool, block, count);
		for (size_t k = 0; k < count; k += 2)
			owner_give(pool, owner, block[k]);
		assert_int_equal(mews_owner_end(owner), count / 2);
		end_owner_pool(pool, count / 2);
	}
	mews_owner_destroy(owner);
}

/* Owners come and go: no more of them in memory than at once. */
static void test_owners(void **state)
{
	struct mews_pool *pool = owner_pool(COUNT);
	struct mews_owner *owner[100];

	(void)state;
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 100; i++) {
			owner[i] = new_owner("one of a hundred");
			for (int k = 0; k < i; k++)
				assert_ptr_not_equal(owner[i], owner[k]);
			lease_some(pool, owner[i], 0, 5);
			owner_give(pool, owner[i], block[2]);
		}
		for (int i = 0; i < 100; i++)
			mews_owner_destroy(owner[i]);
	}
	end_owner_pool(pool, 50 * 100 * 4);
}

const struct CMUnitTest owners_life[] = {
	cmocka_unit_test(test_end),
	cmocka_unit_test(test_pairs),
	cmocka_unit_test(test_destroyed_twice), cmocka_unit_test(test_many_ends),
	cmocka_unit_test(test_two_owners),
	cmocka_unit_test(test_any_return),
	cmocka_unit_test(test_nobodys),
	cmocka_unit_test(test_adopt),
	cmocka_unit_test(test_refused),
	cmocka_unit_test(test_ended),
	cmocka_unit_test(test_double_return),
	cmocka_unit_test(test_pools),
	cmocka_unit_test(test_drain),
	cmocka_unit_test(test_sizes),
	cmocka_unit_test(test_owners),
};
const size_t owners_life_count = sizeof(owners_life) / sizeof(owners_life[0]);
