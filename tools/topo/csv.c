/* SPDX-License-Identifier: MIT */
/*
 * CSV (mews-topo): one row a possible CPU, numbers and yes/no only, so that nothing needs quoting.
 * An empty field is what nobody knows.
 */
#include "topo.h"

static void field(FILE *out, uint32_t index)
{
	if (index == MEWS_NO_INDEX)
		fputc(',', out);
	else
		fprintf(out, ",%u", index);
}

static const char *yes_no(bool value)
{
	return value ? "yes" : "no";
}

static void row(const struct topo_view *view, uint32_t id, FILE *out)
{
	const struct mews_topology *t = view->topology;
	const struct mews_topology_cpu *cpu = &t->cpu[id];

	fprintf(out, "%u,%s,%s", id, yes_no(cpu->online), yes_no(cpu->allowed));
	field(out, cpu->package);
	field(out, cpu->node == MEWS_NO_INDEX ? MEWS_NO_INDEX : t->node[cpu->node].os_index);
	field(out, cpu->core);
	field(out, cpu->l2);
	field(out, cpu->l3);
	field(out, view->plan.window_node[view->plan.cpu_window[id]]);
	field(out, view->plan.cpu_depot[id]);
	fputc('\n', out);
}

void topo_write_csv(const struct topo_view *view, FILE *out)
{
	fputs("cpu,online,allowed,package,node,core,l2,l3,home_node,depot\n", out);
	for (uint32_t i = 0; i < view->topology->cpu_ids; i++)
		if (view->topology->cpu[i].possible)
			row(view, i, out);
}
