/* SPDX-License-Identifier: MIT */
/*
 * Gather (mews-topo): makes a view of a machine, one part after the other. Called by main.c and
 * diff.c. Invariant: a part that cannot be known is marked unknown, never guessed; what makes the
 * whole impossible ends with one clear message.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lib/environment.h"
#include "topo.h"

static int refuse_topology(const struct topo_options *o, int error)
{
	if (error == -ENOMEM)
		return topo_fail("out of memory");
	if (o->xml != NULL && error == -ENOENT)
		return topo_fail("--xml %s: no such file", o->xml);
	if (o->xml != NULL)
		return topo_fail("--xml %s: not a topology in hwloc's XML, or one without CPUs",
				 o->xml);
	if (o->synthetic != NULL)
		return topo_fail("--synthetic '%s': not a machine that hwloc and a kernel can "
				 "have; try \"pack:2 numa:1 l3:4 l2:4 core:1 pu:2\"",
				 o->synthetic);
	return topo_fail("hwloc cannot read this machine");
}

/* hwloc reads /proc and /sys below a directory where its environment says so. */
static int enter_root(const char *root)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/sys/devices/system/cpu", root);
	if (access(path, R_OK) != 0)
		return topo_fail("--root %s: no sys/devices/system/cpu below it; say which machine "
				 "with --xml or --synthetic", root);
	return setenv("HWLOC_FSROOT", root, 1);
}

int topo_load(const struct topo_options *o, struct mews_topology **topology)
{
	enum mews_topology_source source = o->xml != NULL ? MEWS_TOPOLOGY_XML :
		o->synthetic != NULL ? MEWS_TOPOLOGY_SYNTHETIC : MEWS_TOPOLOGY_MACHINE;
	const char *arg = o->xml != NULL ? o->xml : o->synthetic;
	bool below = source == MEWS_TOPOLOGY_MACHINE && o->root[0] != 0;
	int error;

	*topology = NULL;
	setenv("HWLOC_HIDE_ERRORS", "2", 0);
	if (below && enter_root(o->root) != 0)
		return -1;
	error = mews_topology_load(source, arg, topology);
	if (error != 0)
		return refuse_topology(o, error);
	if (below)
		snprintf((*topology)->source, sizeof((*topology)->source), "below %s", o->root);
	return 0;
}

static bool elsewhere(const struct topo_options *o)
{
	return o->xml != NULL || o->synthetic != NULL;
}

/* Of another machine only the topology is known: all that it allows, and no limit. */
static void assume_limits(struct topo_view *view)
{
	uint32_t cpus = view->topology->cpus_allowed;
	struct mews_limits *l = &view->limits;

	*l = (struct mews_limits){
		.affinity_cpus = cpus > 0 ? cpus : 1, .usable_cpus = cpus > 0 ? cpus : 1,
		.quota_source = "none", .memory_source = "none",
		.usable_source = "the topology: all allowed CPUs",
		.memory = MEWS_UNLIMITED, .memory_high = MEWS_UNLIMITED,
		.address_space = MEWS_UNLIMITED,
	};
	snprintf(view->allowed_source, sizeof(view->allowed_source), "the topology");
}

static int read_limits(struct topo_view *view)
{
	const struct topo_options *o = view->options;

	view->limits_known = !elsewhere(o) || o->root[0] != 0;
	if (view->limits_known && !topo_status_allows(view)) {
		if (o->pid != 0)
			return topo_fail("--pid %d: no such process, or /proc does not show it",
					 o->pid);
		view->limits_known = false;
	}
	if (!view->limits_known) {
		assume_limits(view);
		return 0;
	}
	topo_decide_allowed(view);
	/* A process may end while it is looked at: what was read then is of nobody. */
	if (o->pid != 0 && kill(o->pid, 0) != 0 && errno == ESRCH)
		return topo_fail("--pid %d: the process ended while it was looked at", o->pid);
	return 0;
}

static int make_plan(struct topo_view *view)
{
	const struct topo_options *o = view->options;
	struct mews_plan_request request = o->request;
	struct mews_environment environment;
	char error[160] = "out of memory";

	mews_environment_read(&environment);
	/* Of another machine or process the environment is not known. */
	if (o->xml == NULL && o->synthetic == NULL && o->root[0] == 0 && o->pid == 0)
		mews_environment_apply(&environment, &request);
	if (mews_plan_make(view->topology, &view->limits, &request, &view->plan, error) != 0)
		return topo_fail("no such pool can be: %s", error);
	return 0;
}

static void name_source(struct topo_view *view)
{
	const struct topo_options *o = view->options;
	const char *arg = o->xml != NULL ? o->xml : o->synthetic != NULL ? o->synthetic : o->root;

	if (*arg == 0)
		snprintf(view->source, sizeof(view->source), "%s", view->topology->source);
	else
		snprintf(view->source, sizeof(view->source), "%s%s", o->xml != NULL ? "xml: " :
			 o->synthetic != NULL ? "synthetic: " : "below ", arg);
}

int topo_view_make(const struct topo_options *options, struct topo_view *view)
{
	*view = (struct topo_view){ .options = options };
	if (topo_load(options, &view->topology) != 0 || read_limits(view) != 0)
		return -1;
	name_source(view);
	topo_memory_read(view);
	topo_sequences_read(view);
	if (make_plan(view) != 0)
		return -1;
	topo_findings_make(view);
	return 0;
}

void topo_view_free(struct topo_view *view)
{
	mews_plan_free(&view->plan);
	mews_topology_free(view->topology);
	free(view->memory.node);
	free(view->finding);
	*view = (struct topo_view){ 0 };
}
