# SPDX-License-Identifier: MIT
"""The report as Markdown (layer 6), and the cells that the page shows too. Called by main.py."""
from rows import DPDKS, GROUPS, MALLOCS, ROWS, TITLES, best

HEAD = ["", "limit", "mews inline", "mews function", "best malloc", "best DPDK", "bar", "reached"]


def show(number):
    if number is None:
        return "-"
    if abs(number) < 0.005:
        return "0"
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 20 else f"{number:.2f}"


def named(name):
    return name.replace("_", " ").replace("dpdk", "DPDK")


class Line:
    """A row with its cells filled in."""

    def __init__(self, results, row):
        self.row, self.figures = row, results.of(row)
        self.limit = results.limit(row, self.figures)
        self.malloc, self.dpdk = best(self.figures, MALLOCS), best(self.figures, DPDKS)
        self.verdict = results.verdict(row, self.figures)
        self.noisy = lambda name: results.noisy(row, name)
        self.empty = not self.figures

    def figure(self, name, with_name=False):
        if name not in self.figures:
            return "-"
        text = show(self.figures[name]) + (" ~" if self.noisy(name) else "")
        return f"{text} ({named(name)})" if with_name else text

    def cells(self):
        limit = f"{show(self.limit[0])} ({named(self.limit[1])})" if self.limit else "-"
        inline, function = (self.figure(name) for name in self.row.ours)
        peers = [self.figure(peer[1], True) if peer else "-" for peer in (self.malloc, self.dpdk)]
        return [f"{self.row.title}, {self.row.unit}", limit, inline, function, *peers,
                self.row.bar, self.verdict]


def lines_of(results, group):
    if group not in results.groups:
        return []
    return [line for line in (Line(results, row) for row in ROWS if row.group == group)
            if not line.empty]


def table(head, rows):
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    out = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
           for row in [head] + rows]
    out.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(out)


def without_empty(head, rows):
    """The columns in which at least one row has something."""
    kept = [i for i in range(len(head)) if any(row[i] not in ("", "-") for row in rows)]
    return [head[i] for i in kept], [[row[i] for i in kept] for row in rows]


def scaling_table(results):
    return table(["CPUs", "nodes", "new pool, KiB", "after the first lease, KiB"],
                 [[f"{cpus}", f"{nodes}", f"{fresh:.0f}", f"{used:.0f}"]
                  for cpus, nodes, fresh, used in results.scaling])


def every_pair(results):
    row = next(row for row in ROWS if row.title == "pair")
    figures = sorted(results.of(row).items(), key=lambda item: item[1])
    return ", ".join(f"{named(name)} {show(figure)}" for name, figure in figures)


def tables(results):
    """A section for each group that has figures."""
    out = []
    for group in GROUPS:
        lines = lines_of(results, group)
        if lines:
            cells = table(*without_empty(HEAD, [line.cells() for line in lines]))
            out.append(f"## {TITLES[group]}\n\n`tools/perf --groups {group}`\n\n{cells}\n")
        if group == "single" and lines:
            out.append(f"The pair of every backend, cycles: {every_pair(results)}.\n")
        if group == "scaling" and results.scaling:
            out.append(f"## {TITLES[group]}\n\n`tools/perf --groups {group}`: what a pool holds "
                       f"beside its blocks.\n\n"
                       f"{scaling_table(results)}\n")
    return "\n".join(out)


def tally(results):
    """How many bars were reached, in words."""
    verdicts = [results.verdict(row, results.of(row)) for row in ROWS if row.met]
    reached = sum(verdict.startswith("yes") for verdict in verdicts)
    missed = sum(verdict.startswith("NO") for verdict in verdicts)
    beyond = sum("limit" in verdict for verdict in verdicts)
    return f"{reached} of {reached + missed}" + (
        f"; {beyond} of the others {'is' if beyond == 1 else 'are'} below the limit in the row"
        if beyond else "")


def markdown(results, head):
    facts = "\n".join(f"- {name}: {value}" for name, value in head["facts"].items())
    problems = "".join(f"- {problem}\n" for problem in sorted(results.problems))
    commands = "\n".join(f"    {command}" for command in head["commands"])
    return (f"# mews beside its limits and its peers\n\n{facts}\n"
            f"- Bars reached: {tally(results)}\n\n"
            f"`~` marks a spread of more than 20 % between runs.\n\n{tables(results)}\n"
            + (f"## Problems\n\n{problems}\n" if problems else "")
            + f"## Commands\n\nA workload by hand, in the build directory's perf/:\n\n{commands}\n")
