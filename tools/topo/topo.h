/* SPDX-License-Identifier: MIT */
/*
 * What the parts of mews-topo share: the options, and the view, which is all that is known of a
 * machine: topology, limits and plan as the library has them, and what the library does not need
 * but a person does. gather.c fills a view; the writers (text, svg, json, csv, config) read it.
 */
#ifndef TOPO_H
#define TOPO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "numa/limits.h"
#include "numa/plan.h"
#include "numa/topology.h"

#define TOPO_UNKNOWN UINT64_MAX         /* a count or a size that nobody tells */
#define TOPO_HUGE_SIZES 4               /* sizes of huge pages that are shown */
#define TOPO_EXIT_ERROR 2

enum topo_action { TOPO_SHOW, TOPO_CONFIG, TOPO_DIFF, TOPO_CHECK, TOPO_VERIFY };
enum topo_format { TOPO_TEXT, TOPO_JSON, TOPO_CSV, TOPO_SVG };

struct topo_options {
	enum topo_action action;
	enum topo_format format;
	bool format_given;
	const char *xml, *synthetic;
	const char *root;               /* put before each path of /proc and /sys; "" for none */
	int pid;                        /* 0: this process */
	int width;                      /* columns; 0: the terminal's, or 80 */
	struct mews_plan_request request;
	const char *diff[2];
};

/* Huge pages of one size, on a node or in all; TOPO_UNKNOWN where nobody tells. */
struct topo_huge {
	uint64_t size, total, free, reserved, surplus;
};

/* What a node has beside what struct mews_topology_node tells. */
struct topo_node {
	uint64_t free;                  /* bytes */
	struct topo_huge huge[TOPO_HUGE_SIZES];
};

/* The system, its memory and pages, from /proc and /sys. */
struct topo_memory {
	bool known;
	char kernel[64], libc[32], cpu_model[96];       /* "" if unknown */
	uint64_t available;             /* bytes that a process may hope for (MemAvailable) */
	uint32_t huge_sizes;            /* entries used in huge[], here and in each node's */
	struct topo_huge huge[TOPO_HUGE_SIZES];
	char thp[24], thp_defrag[24], thp_shmem[24];    /* the chosen word; "" if unknown */
	struct topo_node *node;         /* [topology->node_count] */
};

/* Restartable sequences and membarrier of this very process. */
struct topo_sequences {
	bool known;                     /* false: another machine */
	bool glibc;                     /* glibc registered them */
	bool usable;                    /* a pool here takes them */
	unsigned feature_size;          /* bytes of the rseq area that the kernel keeps */
	bool node_id, mm_cid;           /* fields that the kernel keeps */
	int cpu_id;                     /* of this thread's area; below 0: nobody registered it */
	int commands;                   /* membarrier's, a bit each; -1: refused */
	char reason[192];
};

enum topo_severity { TOPO_NOTE, TOPO_WARNING };

struct topo_finding {
	enum topo_severity severity;
	const char *code;               /* a stable word, as "no-huge-pages" */
	char text[320];                 /* what is, and what to do */
};

struct topo_view {
	const struct topo_options *options;
	struct mews_topology *topology;
	char source[512];               /* which machine; the topology's is shorter */
	struct mews_limits limits;
	bool limits_known;              /* false: another machine, only its topology is known */
	char allowed_source[256];       /* what decided which CPUs are allowed */
	char view_of[160];              /* whose limits these are, as "process 12" */
	struct mews_plan plan;
	struct topo_memory memory;
	struct topo_sequences sequences;
	struct topo_finding *finding;
	size_t findings;
};

/* words.c: prints "mews-topo: ..." to standard error; returns -1. */
__attribute__((format(printf, 1, 2)))
int topo_fail(const char *format, ...);

/* options.c: ends the program where the arguments are wrong. */
void topo_options_parse(int argc, char **argv, struct topo_options *options);

/* gather.c: 0, or -1 after a message. topo_view_free may follow in either case. */
int topo_view_make(const struct topo_options *options, struct topo_view *view);
void topo_view_free(struct topo_view *view);
int topo_load(const struct topo_options *options, struct mews_topology **topology);

/* status.c: what the process's /proc files allow, and who decided. */
bool topo_status_allows(struct topo_view *view);
void topo_decide_allowed(struct topo_view *view);
void topo_proc_path(const struct topo_view *view, const char *name, char *path, size_t size);

/* memory.c, sequences.c, findings.c: fill their part of the view. */
void topo_memory_read(struct topo_view *view);
void topo_sequences_read(struct topo_view *view);
const char *topo_membarrier_name(int bit);      /* of a bit of commands; NULL: none we know */
void topo_findings_make(struct topo_view *view);

/* The bytes a node has in pages of that size; NULL where the kernel has no such pages. */
const struct topo_huge *topo_huge_of(const struct topo_huge *huge, uint64_t size);

/* The writers. */
void topo_write_text(const struct topo_view *view, FILE *out);
void topo_write_json(const struct topo_view *view, FILE *out);
void topo_write_csv(const struct topo_view *view, FILE *out);
void topo_write_svg(const struct topo_view *view, FILE *out);
void topo_write_config(const struct topo_view *view, FILE *out);

/* These end the program's work: they return its exit status. */
int topo_check(const struct topo_view *view, FILE *out);
int topo_verify(const struct topo_view *view, FILE *out);
int topo_diff(const struct topo_options *options, FILE *out);

/* Names of enum values, as the options and the formats spell them. */
const char *topo_mode_name(enum mews_mode mode);
const char *topo_pages_name(enum mews_page_policy pages);
const char *topo_policy_name(enum mews_node_policy policy);

#endif
