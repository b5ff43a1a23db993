/* SPDX-License-Identifier: MIT */
/*
 * Verify (mews-topo): builds the pool that was planned, by the public interface, goes to each
 * allowed CPU in turn, leases there and touches each page, and asks the kernel where the pages lie.
 * Called by main.c. Invariant: says that all is as planned only of what it looked at: the path, the
 * node of each page, the size of the pages, and a lease on each CPU.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <mews/mews.h>
#include "numa/place.h"
#include "topo.h"
#include "words.h"

#define BLOCKS_A_CPU 256        /* at most: what a cache holds, about */
#define BYTES_A_CPU ((size_t)16 << 20)
#define ROUNDS 41
#define PAIRS 2000              /* leases and returns that one round times */
#define ID_LIMIT 65536

struct trial {
	const struct topo_view *view;
	struct mews_pool *pool;
	FILE *out;
	uint64_t *matrix;               /* [node of the CPU * nodes + node of the page] */
	uint64_t pages, local, untold;  /* untold: pages whose node the kernel does not tell */
	uint64_t mapped, thp, hugetlb;  /* bytes, by smaps, of the mappings that hold blocks */
	double *latency;                /* [cpu_ids] ns a lease and its return; 0: not tried */
	unsigned failures;
};

__attribute__((format(printf, 2, 3)))
static void fault(struct trial *trial, const char *format, ...)
{
	va_list list;

	trial->failures++;
	fputs("not as planned: ", trial->out);
	va_start(list, format);
	vfprintf(trial->out, format, list);
	va_end(list);
	fputc('\n', trial->out);
}

static int create(struct trial *trial)
{
	const struct mews_plan_request *r = &trial->view->options->request;
	struct mews_pool_config config = {
		.size = sizeof(config), .name = "mews-topo", .block_size = r->block_size,
		.alignment = r->alignment, .initial_blocks = r->initial_blocks,
		.max_blocks = r->max_blocks, .mode = r->mode, .node_policy = r->node_policy,
		.page_policy = r->page_policy,
	};
	int error = mews_pool_create(&config, &trial->pool);

	if (error == 0)
		return 0;
	return topo_fail("the pool cannot be created: %s", strerrordesc_np(-error));
}

static bool go_to(unsigned cpu)
{
	size_t size = CPU_ALLOC_SIZE(ID_LIMIT);
	cpu_set_t *set = CPU_ALLOC(ID_LIMIT);
	bool there;

	if (set == NULL)
		return false;
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	there = sched_setaffinity(0, size, set) == 0;
	CPU_FREE(set);
	return there;
}

/* Blocks for one CPU: enough to see, and never more than the pool's share. */
static size_t blocks_for(const struct trial *trial)
{
	const struct mews_plan *p = &trial->view->plan;
	uint64_t count = BYTES_A_CPU / p->stride;

	count = count > BLOCKS_A_CPU ? BLOCKS_A_CPU : count;
	count = count > p->max_blocks / 2 ? p->max_blocks / 2 : count;
	return count > 0 ? (size_t)count : 1;
}

static uint32_t index_of_node(const struct mews_topology *t, int os_index)
{
	for (uint32_t i = 0; i < t->node_count; i++)
		if ((int)t->node[i].os_index == os_index)
			return i;
	return MEWS_NO_INDEX;
}

/* Counts pages by where they lie; at home is the node that the plan gives to this CPU. */
static void count_pages(struct trial *trial, unsigned cpu, void **page, size_t count)
{
	const struct mews_topology *t = trial->view->topology;
	const struct mews_plan *p = &trial->view->plan;
	int home = (int)p->window_node[p->cpu_window[cpu]];
	uint32_t from = t->cpu[cpu].node == MEWS_NO_INDEX ? 0 : t->cpu[cpu].node;
	int *node = topo_alloc(count, sizeof(*node));
	int error = mews_place_verify(page, count, node);

	for (size_t i = 0; i < count; i++) {
		uint32_t to = error == 0 ? index_of_node(t, node[i]) : MEWS_NO_INDEX;

		trial->pages++;
		trial->untold += to == MEWS_NO_INDEX;
		trial->local += to != MEWS_NO_INDEX && node[i] == home;
		if (to != MEWS_NO_INDEX)
			trial->matrix[(size_t)from * t->node_count + to]++;
	}
	free(node);
}

/* Writes into each page of the blocks, and has them counted. */
static void touch(struct trial *trial, unsigned cpu, void **block, size_t count)
{
	size_t length = trial->view->plan.block_size, size = trial->view->topology->page_size;
	size_t most = count * (length / size + 2), pages = 0;
	void **page = topo_alloc(most, sizeof(*page));

	for (size_t i = 0; i < count; i++) {
		char *at = block[i], *end = at + length;

		while (at < end) {
			*(volatile char *)at = 1;
			page[pages++] = (void *)((uintptr_t)at & ~(uintptr_t)(size - 1));
			at = (char *)(((uintptr_t)at & ~(uintptr_t)(size - 1)) + size);
		}
	}
	count_pages(trial, cpu, page, pages);
	free(page);
}

static bool holds_one(unsigned long start, unsigned long end, void *const *block, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if ((uintptr_t)block[i] >= start && (uintptr_t)block[i] < end)
			return true;
	return false;
}

/* What the mappings that hold these blocks are made of; of the last CPU that was tried. */
static void look_at_mappings(struct trial *trial, void *const *block, size_t count)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long start, end, kib;
	bool ours = false;
	char line[512];

	trial->mapped = trial->thp = trial->hugetlb = 0;
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			ours = holds_one(start, end, block, count);
		else if (ours && sscanf(line, "Rss: %lu kB", &kib) == 1)
			trial->mapped += (uint64_t)kib * 1024;
		else if (ours && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			trial->thp += (uint64_t)kib * 1024;
		else if (ours && (sscanf(line, "Shared_Hugetlb: %lu kB", &kib) == 1 ||
				  sscanf(line, "Private_Hugetlb: %lu kB", &kib) == 1))
			trial->hugetlb += (uint64_t)kib * 1024;
	}
	if (file != NULL)
		fclose(file);
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of rounds: a round that was interrupted does not count. */
static double time_pairs(struct mews_pool *pool)
{
	double round[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		double start = now_ns();

		for (int k = 0; k < PAIRS; k++)
			mews_return(pool, mews_lease(pool));
		round[i] = (now_ns() - start) / PAIRS;
	}
	qsort(round, ROUNDS, sizeof(round[0]), by_value);
	return round[ROUNDS / 2];
}

static void try_cpu(struct trial *trial, unsigned cpu, void **block, size_t *kept)
{
	size_t wanted = blocks_for(trial), got;

	if (!go_to(cpu)) {
		fault(trial, "CPU %u cannot be entered: %s", cpu, strerrordesc_np(errno));
		return;
	}
	got = mews_lease_many(trial->pool, block, wanted);
	if (got < wanted)
		fault(trial, "CPU %u got %zu of %zu blocks: %s", cpu, got, wanted,
		      strerrordesc_np(errno));
	if (got == 0)
		return;
	touch(trial, cpu, block, got);
	look_at_mappings(trial, block, got);
	mews_return_many(trial->pool, block, got);
	trial->latency[cpu] = time_pairs(trial->pool);
	*kept = got;
}

static void try_cpus(struct trial *trial)
{
	const struct mews_topology *t = trial->view->topology;
	void **block = topo_alloc(blocks_for(trial), sizeof(*block));
	size_t size = CPU_ALLOC_SIZE(ID_LIMIT), kept = 0;
	cpu_set_t *before = CPU_ALLOC(ID_LIMIT);
	bool saved = before != NULL && sched_getaffinity(0, size, before) == 0;

	for (uint32_t i = 0; i < t->cpu_ids; i++)
		if (t->cpu[i].online && t->cpu[i].allowed)
			try_cpu(trial, i, block, &kept);
	if (saved)
		sched_setaffinity(0, size, before);
	CPU_FREE(before);
	free(block);
	if (kept == 0)
		fault(trial, "no CPU got a block");
}

static void write_matrix(const struct trial *trial)
{
	const struct mews_topology *t = trial->view->topology;

	fprintf(trial->out, "\npages by the node of the CPU that leased (down) and of the page "
		"(across)\n%10s", "");
	for (uint32_t to = 0; to < t->node_count; to++)
		fprintf(trial->out, "%10u", t->node[to].os_index);
	for (uint32_t from = 0; from < t->node_count; from++) {
		fprintf(trial->out, "\n%10u", t->node[from].os_index);
		for (uint32_t to = 0; to < t->node_count; to++)
			fprintf(trial->out, "%10s", mews_number(
				trial->matrix[(size_t)from * t->node_count + to]).text);
	}
	fputc('\n', trial->out);
}

static void write_latency(const struct trial *trial)
{
	uint32_t column = 0;

	fprintf(trial->out, "\nns for a lease and its return, median of %d rounds of %d\n", ROUNDS,
		PAIRS);
	for (uint32_t i = 0; i < trial->view->topology->cpu_ids; i++)
		if (trial->latency[i] > 0)
			fprintf(trial->out, "%scpu %-4u %6.1f", column++ % 4 ? "    " :
				column > 1 ? "\n  " : "  ", i, trial->latency[i]);
	fputc('\n', trial->out);
}

static void add_nodes(const struct mews_stats *stats, struct mews_backing *sum)
{
	for (uint32_t i = 0; i < stats->nodes; i++) {
		sum->pages_1g += stats->node[i].backed_1g;
		sum->pages_2m += stats->node[i].backed_2m;
		sum->thp += stats->node[i].backed_thp;
		sum->base += stats->node[i].backed_base;
		sum->unbound += stats->node[i].unbound;
	}
}

static void write_pages(const struct trial *trial, const struct mews_backing *got)
{
	fprintf(trial->out, "\npages got: 1 GiB %s, 2 MiB %s, asked for THP %s, base %s\n",
		mews_bytes(got->pages_1g).text, mews_bytes(got->pages_2m).text,
		mews_bytes(got->thp).text, mews_bytes(got->base).text);
	fprintf(trial->out, "by smaps, the last CPU's blocks: %s hugetlb, %s THP of %s mapped\n",
		mews_bytes(trial->hugetlb).text, mews_bytes(trial->thp).text,
		mews_bytes(trial->mapped).text);
}

/* What grows by less than a huge page is planned to lie on base pages. */
static void judge_pages(struct trial *trial, const struct mews_backing *got)
{
	const struct mews_plan *p = &trial->view->plan;
	uint64_t growth = (uint64_t)p->growth_extents * p->extent_bytes;

	if (p->page_top == MEWS_PAGES_BASE || growth < (uint64_t)2 << 20)
		return;
	if (p->page_top <= MEWS_PAGES_2M && got->thp + got->base > 0)
		fault(trial,
		      "%s of the pool lie on smaller pages than the reserved ones planned for",
		      mews_bytes(got->thp + got->base).text);
	else if (got->base > 0)
		fault(trial, "%s of the pool lie on base pages", mews_bytes(got->base).text);
	if (got->thp > 0 && trial->hugetlb == 0 && trial->thp < trial->mapped)
		fault(trial, "the kernel gave huge pages to %s of %s where all was asked for",
		      mews_bytes(trial->thp).text, mews_bytes(trial->mapped).text);
}

static void judge(struct trial *trial)
{
	struct mews_stats stats = { .size = sizeof(stats) };
	struct mews_backing got = { 0 };
	bool rseq;

	if (mews_pool_stats(trial->pool, &stats) != 0)
		fault(trial, "the pool's statistics cannot be read");
	add_nodes(&stats, &got);
	write_pages(trial, &got);
	rseq = stats.path == MEWS_PATH_RSEQ;
	fprintf(trial->out, "path: %s: %s\n\n", rseq ? "rseq" : "fallback or checked",
		stats.path_reason);
	if (!rseq)
		fault(trial, "leases do not take restartable sequences");
	if (stats.cache_capacity != trial->view->plan.cache_capacity)
		fault(trial, "caches of %u blocks, %u were planned", stats.cache_capacity,
		      trial->view->plan.cache_capacity);
	if (stats.leased != 0)
		fault(trial, "blocks that are out though all were returned: %s",
		      mews_number(stats.leased).text);
	judge_pages(trial, &got);
	if (trial->untold > 0)
		fault(trial, "the kernel does not tell the node of pages: %s",
		      mews_number(trial->untold).text);
	if (trial->local + trial->untold < trial->pages)
		fault(trial, "pages on another node than the CPU's: %s",
		      mews_number(trial->pages - trial->local - trial->untold).text);
	if (got.unbound > 0)
		fault(trial, "binding to the node was refused for %s",
		      mews_bytes(got.unbound).text);
}

/* 100 is all, and never a round number for nearly all. */
static double per_cent(uint64_t part, uint64_t whole)
{
	double share = whole > 0 ? 100.0 * (double)part / (double)whole : 0;

	return part < whole && share > 99.99 ? 99.99 : share;
}

int topo_verify(const struct topo_view *view, FILE *out)
{
	const struct mews_topology *t = view->topology;
	struct trial trial = { .view = view, .out = out };

	if (create(&trial) != 0)
		return TOPO_EXIT_ERROR;
	trial.matrix = topo_alloc((size_t)t->node_count * t->node_count, sizeof(*trial.matrix));
	trial.latency = topo_alloc(t->cpu_ids, sizeof(*trial.latency));
	fprintf(out, "mews-topo %s: a pool of %s blocks, %zu leased on each allowed CPU\n",
		mews_version(), mews_bytes(view->plan.block_size).text, blocks_for(&trial));
	try_cpus(&trial);
	write_matrix(&trial);
	write_latency(&trial);
	judge(&trial);
	if (trial.failures == 0)
		fputs("all as planned\n", out);
	fprintf(out, "local: %.4g %%\n", per_cent(trial.local, trial.pages));
	mews_pool_dispose(trial.pool);
	free(trial.matrix);
	free(trial.latency);
	return trial.failures > 0;
}
