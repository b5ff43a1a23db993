/* SPDX-License-Identifier: MIT */
/*
 * What a pool tells (layer 5): see sites.h. The switch that samples leases stands here too, above the
 * detour that it needs:
 *
 *   on:   detour; wait for who saw none, close the caches; one_in = n
 *   off:  one_in = 0; wait for who saw n; forget the records; end the detour
 *
 * So a lease that is recorded cannot be returned by a hit, which would leave its record behind.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "../numa/kernel.h"
#include "../numa/place.h"
#include "detour.h"
#include "owner.h"
#include "sites.h"

/* A record's lease: the block, or the oversize lease, and its bytes. */
static const void *lease_of(const struct mews_control *control, size_t number, uint64_t *bytes)
{
	size_t blocks = mews_slabs_numbers(&control->slabs);
	const struct mews_oversize_entry *entry;

	if (number < blocks) {
		*bytes = control->plan.block_size;
		return mews_slabs_block(&control->slabs, (uint32_t)number);
	}
	entry = &control->oversize.entry[number - blocks];
	/* Relaxed: it may end at this moment. */
	*bytes = atomic_load_explicit(&entry->length, memory_order_relaxed);
	return (void *)(uintptr_t)atomic_load_explicit(&entry->address, memory_order_relaxed);
}

/* Of the block that the site tells of; an oversize lease has none. */
static void name_owner(const struct mews_control *control, struct mews_lease_site *site)
{
	struct mews_owner_of of = { 0 };

	if (mews_slabs_contain(&control->slabs, site->block))
		of = mews_owner_of(control, site->block);
	memcpy(site->owner, of.name, sizeof(site->owner));
}

/* One more lease of a site. */
static void add_lease(const struct mews_control *control, struct mews_lease_site *site, size_t number,
		      const struct mews_sample *sample, uint64_t now)
{
	uint64_t age = now > sample->time ? now - sample->time : 0, bytes;
	const void *block = lease_of(control, number, &bytes);

	if (!site->leases || age >= site->oldest_ns) {
		site->oldest_ns = age;
		site->block = block;
		site->thread = (int32_t)sample->thread;
		name_owner(control, site);
	}
	if (!site->leases || age < site->youngest_ns)
		site->youngest_ns = age;
	site->leases++;
	site->bytes += bytes;
}

static void finish(struct mews_control *control, struct mews_lease_site *site, uint32_t number)
{
	site->size = sizeof(*site);
	site->pool = control->pool;
	site->estimate = site->leases * mews_samples_one_in(&control->samples);
	site->depth = mews_samples_stack(&control->samples, number, site->stack);
}

/* It may be a cancellation point, and we within an operation: a thread that ended there would block forks. */
static void tell_report(struct mews_control *control, const struct mews_report *report)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	control->on_report(control->context, report);
	pthread_setcancelstate(state, NULL);
}

void mews_report(struct mews_control *control, enum mews_report_kind kind, const void *block,
		 const char *message)
{
	struct mews_report report = {
		.size = sizeof(report),
		.kind = kind,
		.pool = control->pool,
		.block = block,
		.message = message,
	};
	struct mews_lease_site site = { 0 };
	struct mews_sample sample;
	uint32_t number;

	/* Relaxed: counters, they publish nothing. */
	if (kind == MEWS_REPORT_DOUBLE_RETURN || kind == MEWS_REPORT_OWNER_ENDED)
		atomic_fetch_add_explicit(&control->double_returns, 1, memory_order_relaxed);
	else if (kind == MEWS_REPORT_FOREIGN_POINTER)
		atomic_fetch_add_explicit(&control->foreign_pointers, 1, memory_order_relaxed);
	else if (kind == MEWS_REPORT_INTERIOR_POINTER)
		atomic_fetch_add_explicit(&control->interior_pointers, 1, memory_order_relaxed);
	if (!control->on_report)
		return;
	mews_slabs_find(&control->slabs, block, &number);
	if (number != MEWS_NONE && mews_samples_look(&control->samples, number, &sample)) {
		add_lease(control, &site, number, &sample, (uint64_t)mews_kernel_now());
		finish(control, &site, sample.site);
		report.site = &site;
	}
	tell_report(control, &report);
}

/* All sites, while they are added up: in memory of its own, since nothing here uses malloc. */
struct tally {
	struct mews_lease_site *site;   /* [MEWS_SITES + 1], by number; 0: no stack */
	uint32_t sites;                 /* then: so many, the one with most leases first */
	size_t length;
	uint64_t leases, bytes;         /* in sum */
	uint64_t now;
};

static void add_record(struct mews_control *control, void *context, size_t number)
{
	struct tally *tally = context;
	struct mews_sample sample;

	if (mews_samples_look(&control->samples, number, &sample) && sample.out)
		add_lease(control, &tally->site[sample.site], number, &sample, tally->now);
}

/* Visits each number that a block may have by now. */
static void each_number(struct mews_control *control, void *context,
			void (*visit)(struct mews_control *control, void *context, size_t number))
{
	const struct mews_slabs *s = &control->slabs;
	uint32_t window, number, used;

	for (window = 0; window < s->windows; window++) {
		used = atomic_load(&s->window[window].frontier) << s->bits_shift;
		for (number = 0; number < used; number++)
			visit(control, context, window << s->window_bits_shift | number);
	}
}

static void add_records(struct mews_control *control, struct tally *tally)
{
	size_t i;

	if (!mews_samples_one_in(&control->samples))
		return;
	each_number(control, tally, add_record);
	for (i = 0; i < MEWS_OVERSIZE_ENTRIES; i++)
		add_record(control, tally, mews_slabs_numbers(&control->slabs) + i);
}

/* The site with most leases to the front of what is left. */
static void choose_next(struct mews_lease_site *site, uint32_t count)
{
	struct mews_lease_site first = site[0];
	uint32_t most = 0, i;

	for (i = 1; i < count; i++)
		if (site[i].leases > site[most].leases)
			most = i;
	site[0] = site[most];
	site[most] = first;
}

/* Adds up, and moves the sites that have any lease to the front, most leases first. */
static int tally_up(struct mews_control *control, struct tally *tally)
{
	uint32_t i;

	*tally = (struct tally) {
		.length = (MEWS_SITES + 1) * sizeof(*tally->site),
		.now = (uint64_t)mews_kernel_now(),
	};
	tally->length = (tally->length + 65535) & ~(size_t)65535;
	tally->site = mews_place_reserve(tally->length, 65536);
	if (!tally->site)
		return -ENOMEM;
	if (mews_place_table(tally->site, tally->length)) {
		mews_place_release(tally->site, tally->length);
		return -ENOMEM;
	}
	add_records(control, tally);
	for (i = 0; i <= MEWS_SITES; i++)
		if (tally->site[i].leases) {
			finish(control, &tally->site[i], i);
			tally->leases += tally->site[i].leases;
			tally->bytes += tally->site[i].bytes;
			tally->site[tally->sites++] = tally->site[i];
		}
	for (i = 0; i < tally->sites; i++)
		choose_next(&tally->site[i], tally->sites - i);
	return 0;
}

static void tally_close(struct tally *tally)
{
	mews_place_release(tally->site, tally->length);
}

/* What is out and in no record. */
static struct mews_lease_site rest_of(struct mews_pool *pool, const struct tally *tally)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_lease_site rest = { .size = sizeof(rest), .pool = pool };
	uint64_t leases, bytes;

	mews_pool_stats(pool, &stats);
	leases = stats.leased + stats.oversize_leased;
	bytes = stats.leased * stats.block_size + stats.oversize_bytes;
	rest.leases = leases > tally->leases ? leases - tally->leases : 0;
	rest.bytes = bytes > tally->bytes ? bytes - tally->bytes : 0;
	return rest;
}

MEWS_API int mews_pool_report_leases(struct mews_pool *pool,
				     void (*tell)(void *context, const struct mews_lease_site *site),
				     void *context)
{
	struct mews_lease_site rest;
	struct tally tally;
	uint32_t i;

	if (!pool || !tell)
		return -EINVAL;
	if (tally_up(mews_control_of(pool), &tally))
		return -ENOMEM;
	for (i = 0; i < tally.sites; i++)
		tell(context, &tally.site[i]);
	rest = rest_of(pool, &tally);
	tally_close(&tally);
	if (rest.leases)
		tell(context, &rest);
	return 0;
}

struct listener {
	void (*tell)(void *context, const struct mews_lease_site *site);
	void *context;
};

static void tell_orphan(struct mews_control *control, void *context, size_t number)
{
	void *block = mews_slabs_block(&control->slabs, (uint32_t)number);
	struct mews_lease_site site = { 0 };
	struct listener *listener = context;
	struct mews_sample sample = { .time = (uint64_t)mews_kernel_now() };
	uint32_t same;

	/* Behind the last block of a slab there are numbers without any. */
	if (mews_slabs_find(&control->slabs, block, &same) != MEWS_BLOCK_START || same != number ||
	    !mews_owner_of(control, block).gone)
		return;
	mews_samples_look(&control->samples, number, &sample);
	add_lease(control, &site, number, &sample, (uint64_t)mews_kernel_now());
	finish(control, &site, sample.site);
	site.estimate = 1;
	listener->tell(listener->context, &site);
}

MEWS_API int mews_pool_report_orphans(struct mews_pool *pool,
				      void (*tell)(void *context, const struct mews_lease_site *site),
				      void *context)
{
	struct listener listener = { tell, context };

	if (!pool || !tell)
		return -EINVAL;
	if (mews_owned(mews_control_of(pool)))
		each_number(mews_control_of(pool), &listener, tell_orphan);
	return 0;
}

MEWS_API int mews_address_name(const void *address, char *buffer, size_t length)
{
	const char *call = (const char *)((uintptr_t)address - 1); /* within it, not behind it */
	struct link_map *map;
	Dl_info info;
	char function[80] = "";

	if (!address || !dladdr1(call, &info, (void **)&map, RTLD_DL_LINKMAP) || !info.dli_fname)
		return snprintf(buffer, length, "%p", address);
	if (info.dli_sname)
		snprintf(function, sizeof(function), "%s+0x%tx ", info.dli_sname,
			 call - (const char *)info.dli_saddr);
	return snprintf(buffer, length, function[0] ? "%s(%s+0x%tx)" : "%s%s+0x%tx", function,
			info.dli_fname, call - (const char *)map->l_addr);
}

/* "a from b from c": who leases through a function of its own is further up. */
static void name_stack(const struct mews_lease_site *site, char *text, size_t length)
{
	size_t at = 0;
	uint32_t i;

	for (i = 0; i < site->depth && i < 3; i++) {
		at += (size_t)snprintf(text + at, length - at, "%s", i ? " from " : "");
		if (at < length)
			at += (size_t)mews_address_name(site->stack[i], text + at, length - at);
		if (at >= length)
			return;
	}
	if (!i)
		snprintf(text, length, "a stack that is not known");
}

static void say_outstanding(struct mews_control *control, const struct tally *tally, char *text,
			    size_t length)
{
	uint32_t one_in = mews_samples_one_in(&control->samples);
	const struct mews_lease_site *top = tally->site;
	char names[512];

	if (!one_in) {
		snprintf(text, length, " (lease sampling is off: mews_pool_sample_leases says where)");
	} else if (!tally->sites) {
		snprintf(text, length, "; none of them was sampled, at one in %u", one_in);
	} else {
		name_stack(top, names, sizeof(names));
		snprintf(text, length, "; %llu %sleased at %s, oldest %llu s",
			 (unsigned long long)top->leases, one_in > 1 ? "sampled ones " : "", names,
			 (unsigned long long)(top->oldest_ns / 1000000000));
	}
}

void mews_report_outstanding(struct mews_control *control, uint64_t out, uint64_t total)
{
	struct mews_report report = {
		.size = sizeof(report),
		.kind = MEWS_REPORT_OUTSTANDING,
		.pool = control->pool,
	};
	struct tally tally;
	char text[640];
	int at;

	if (!out || !control->on_report)
		return;
	at = snprintf(text, sizeof(text), "%llu of %llu out", (unsigned long long)out,
		      (unsigned long long)total);
	report.message = text;
	if (tally_up(control, &tally)) {
		tell_report(control, &report);
		return;
	}
	say_outstanding(control, &tally, text + at, sizeof(text) - (size_t)at);
	if (tally.sites) {
		report.site = tally.site;
		report.block = tally.site->block;
	}
	tell_report(control, &report);
	tally_close(&tally);
}

static int switch_on(struct mews_control *control, uint32_t one_in, bool stacks)
{
	struct mews_samples *samples = &control->samples;
	size_t records = mews_slabs_numbers(&control->slabs) + MEWS_OVERSIZE_ENTRIES;

	if (atomic_load(&control->state) == MEWS_DISPOSED)
		return -ESHUTDOWN;
	if (!mews_samples_one_in(samples)) {
		if (!samples->record && mews_samples_map(samples, records))
			return -ENOMEM;
		mews_samples_clear(samples); /* of what a fork in the midst of a switch left */
		mews_detour_begin(control, MEWS_DETOUR_SAMPLE);
		mews_detour_settle(control); /* also where another reason was there before */
	}
	atomic_store_explicit(&samples->stacks, stacks, memory_order_relaxed); /* see locate() */
	atomic_store(&samples->one_in, one_in);
	return 0;
}

int mews_sites_record_callers(struct mews_control *control)
{
	return switch_on(control, 1, false);
}

static void switch_off(struct mews_control *control)
{
	if (!atomic_exchange(&control->samples.one_in, 0))
		return;
	mews_gate_wait(&control->sides);
	mews_samples_clear(&control->samples);
	mews_detour_end(control, MEWS_DETOUR_SAMPLE);
}

MEWS_API int mews_pool_sample_leases(struct mews_pool *pool, unsigned one_in)
{
	struct mews_control *control = pool ? mews_control_of(pool) : NULL;
	int error = 0;

	if (!pool)
		return -EINVAL;
	if (atomic_exchange(&control->samples.switching, 1))
		return -EBUSY;
	if (one_in)
		error = switch_on(control, one_in, true);
	else
		switch_off(control);
	atomic_store(&control->samples.switching, 0);
	return error;
}

void mews_sites_in_child(struct mews_control *control)
{
	atomic_store(&control->samples.switching, 0);
	if (mews_samples_one_in(&control->samples))
		atomic_fetch_or(&control->detours, MEWS_DETOUR_SAMPLE);
	else
		atomic_fetch_and(&control->detours, ~(uint32_t)MEWS_DETOUR_SAMPLE);
}
