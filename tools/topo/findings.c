/* SPDX-License-Identifier: MIT */
/*
 * Findings (mews-topo): what a pool would suffer from on this machine, each with what to do about
 * it. A warning is what --check fails for; a note is good to know. Called by gather.c, last.
 */
#define _GNU_SOURCE 1
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "topo.h"
#include "words.h"

#define MIB2 ((uint64_t)2 << 20)
#define GIB1 ((uint64_t)1 << 30)
#define FINDINGS_MAX 64
#define USUAL_PAGES 512         /* 1 GiB of them: what a hint proposes where nothing says more */

__attribute__((format(printf, 4, 5)))
static void find(struct topo_view *view, enum topo_severity severity, const char *code,
		 const char *format, ...)
{
	struct topo_finding *finding;
	va_list list;

	if (view->findings == FINDINGS_MAX)
		return;
	finding = &view->finding[view->findings++];
	finding->severity = severity;
	finding->code = code;
	va_start(list, format);
	vsnprintf(finding->text, sizeof(finding->text), format, list);
	va_end(list);
}

static void look_at_sequences(struct topo_view *view)
{
	const struct topo_sequences *s = &view->sequences;

	if (!s->known || s->usable)
		return;
	find(view, TOPO_WARNING, "fallback-path", "leases take the fallback path, a locked "
	     "instruction each: %.160s; %s", s->reason, s->glibc ?
	     "use a kernel from 5.10 on, and a seccomp filter that allows membarrier" :
	     "remove glibc.pthread.rseq=0 from GLIBC_TUNABLES, or use glibc 2.35 and Linux 4.18");
}

/* Pages of 2 MiB that this node's share of the pool takes; 0: the size is left open. */
static uint64_t pages_wanted(const struct topo_view *view)
{
	const struct mews_plan *p = &view->plan;
	uint64_t slabs = p->max_blocks / p->slab_blocks + (p->max_blocks % p->slab_blocks != 0);

	if (view->options->request.max_blocks == 0)
		return 0;
	return (slabs * p->slab_bytes / p->nodes + MIB2 - 1) / MIB2;
}

static const char *else_expect(const struct topo_view *view)
{
	return strcmp(view->memory.thp, "never") == 0 || view->memory.thp[0] == 0 ?
		"base pages" : "THP";
}

/* One node of the plan against its huge pages. */
static void look_at_huge(struct topo_view *view, uint32_t index)
{
	const struct topo_huge *huge = topo_huge_of(view->memory.node[index].huge, MIB2);
	uint32_t os_index = view->topology->node[index].os_index;
	uint64_t wanted = pages_wanted(view), target = wanted > 0 ? wanted : USUAL_PAGES;

	if (huge == NULL || (huge->free > 0 && huge->free >= wanted))
		return;
	if (huge->total == 0)
		find(view, TOPO_WARNING, "no-huge-pages", "no 2 MiB pages reserved on node %u: "
		     "echo %llu > /sys/devices/system/node/node%u/hugepages/hugepages-2048kB/"
		     "nr_hugepages, or expect %s (--pages thp plans for it)", os_index,
		     (unsigned long long)target, os_index, else_expect(view));
	else
		find(view, TOPO_WARNING, "few-huge-pages",
		     "%s of %s 2 MiB pages free on node %u, the "
		     "pool wants %s: echo %llu > /sys/devices/system/node/node%u/hugepages/"
		     "hugepages-2048kB/nr_hugepages, or expect %s for the rest",
		     mews_number(huge->free).text, mews_number(huge->total).text, os_index,
		     mews_number(target).text,
		     (unsigned long long)(huge->total - huge->free + target), os_index,
		     else_expect(view));
}

static void look_at_pages(struct topo_view *view)
{
	const struct mews_topology *t = view->topology;
	enum mews_page_policy top = view->plan.page_top;

	if (!view->memory.known || top == MEWS_PAGES_BASE)
		return;
	for (uint32_t i = 0; i < t->node_count; i++)
		if (top <= MEWS_PAGES_2M && t->node[i].allowed && t->node[i].memory > 0 &&
		    view->plan.slab_bytes >= MIB2)
			look_at_huge(view, i);
	if (strcmp(view->memory.thp, "never") == 0)
		find(view, TOPO_WARNING, "no-thp", "transparent huge pages are off: echo madvise > "
		     "/sys/kernel/mm/transparent_hugepage/enabled, or expect base pages where no "
		     "reserved ones are left");
}

/* Allowed CPUs on a node. */
static uint32_t cpus_on(const struct topo_view *view, uint32_t node)
{
	uint32_t cpus = 0;

	for (uint32_t i = 0; i < view->topology->cpu_ids; i++)
		cpus += view->topology->cpu[i].allowed && view->topology->cpu[i].node == node;
	return cpus;
}

static void look_at_node(struct topo_view *view, uint32_t index)
{
	const struct mews_topology *t = view->topology;
	uint32_t home = mews_topology_memory_node(t, index), cpus = cpus_on(view, index);

	if (cpus == 0 || home == index)
		return;
	if (home == MEWS_NO_INDEX)
		find(view, TOPO_WARNING, "no-memory",
		     "no node gives memory to the %u CPUs of node %u: "
		     "allow one in cpuset.mems",
		     cpus, t->node[index].os_index);
	else if (t->node[index].memory == 0)
		find(view, TOPO_WARNING, "node-without-memory",
		     "node %u has %u CPUs and no memory: "
		     "their blocks come from node %u, at distance %u; keep threads off these CPUs, "
		     "or fit memory",
		     t->node[index].os_index, cpus, t->node[home].os_index,
		     t->distance[(size_t)index * t->node_count + home]);
	else
		find(view, TOPO_WARNING, "node-forbidden",
		     "%u CPUs of node %u are allowed and its memory is not: their blocks come "
		     "from node %u; add %u to cpuset.mems, or take the CPUs away",
		     cpus, t->node[index].os_index, t->node[home].os_index,
		     t->node[index].os_index);
}

static void look_at_limits(struct topo_view *view)
{
	const struct mews_limits *l = &view->limits;

	if (l->quota_cpus > 0 && l->usable_cpus < l->affinity_cpus)
		find(view, TOPO_NOTE, "quota",
		     "%u CPUs are allowed and the quota pays for %.4g: more "
		     "than %u busy threads are throttled (%.120s)",
		     l->affinity_cpus, l->quota_cpus, l->usable_cpus, l->quota_source);
	if (l->memory_high < l->memory)
		find(view, TOPO_NOTE, "memory-high",
		     "memory.high, %s, slows the process down before "
		     "memory.max stops it: the hard limit follows memory.high",
		     mews_bytes(l->memory_high).text);
	if (view->topology->l2_bytes == 0)
		find(view, TOPO_NOTE, "caches-unknown", "the machine tells no L2 cache: the plan "
		     "assumes 1 MiB");
}

/* What the caller asked for against what there is. */
static void look_at_size(struct topo_view *view)
{
	const struct mews_plan *p = &view->plan;
	uint64_t asked = view->options->request.max_blocks;
	uint64_t bytes = (p->max_blocks + p->slab_blocks - 1) / p->slab_blocks * p->slab_bytes;

	if (asked == 0)
		return;
	if (p->max_blocks < asked)
		find(view, TOPO_WARNING, "address-space",
		     "%s blocks asked for, address space gives %s: "
		     "raise RLIMIT_AS (ulimit -v)",
		     mews_number(asked).text, mews_number(p->max_blocks).text);
	if (bytes > p->hard_limit)
		find(view, TOPO_WARNING, "above-hard-limit",
		     "%s blocks take %s, the hard limit is %s: "
		     "lower --max-blocks, or raise the memory limit (%.120s)",
		     mews_number(asked).text, mews_bytes(bytes).text, mews_bytes(p->hard_limit).text,
		     view->limits.memory == MEWS_UNLIMITED ? "the memory of the nodes decides" :
		     view->limits.memory_source);
	else if (view->memory.available != TOPO_UNKNOWN && bytes > view->memory.available)
		find(view, TOPO_WARNING, "little-memory",
		     "%s blocks take %s, and %s is available now", mews_number(asked).text,
		     mews_bytes(bytes).text, mews_bytes(view->memory.available).text);
}

void topo_findings_make(struct topo_view *view)
{
	view->finding = topo_alloc(FINDINGS_MAX, sizeof(*view->finding));
	look_at_sequences(view);
	for (uint32_t i = 0; i < view->topology->node_count; i++)
		look_at_node(view, i);
	look_at_size(view);
	look_at_pages(view);
	look_at_limits(view);
}

int topo_check(const struct topo_view *view, FILE *out)
{
	int status = 0;

	for (size_t i = 0; i < view->findings; i++) {
		if (view->finding[i].severity != TOPO_WARNING)
			continue;
		fprintf(out, "%s: %s\n", view->finding[i].code, view->finding[i].text);
		status = 1;
	}
	return status;
}
