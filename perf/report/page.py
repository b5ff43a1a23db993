# SPDX-License-Identifier: MIT
"""The report as one HTML page (layer 6): plots inside, nothing loaded. Called by main.py."""
import html
import re

import plots
from rows import FUNCTION, GROUPS, INLINE, MALLOCS, ROWS, SIZES, TITLES
from text import HEAD, lines_of, named, show, tally, without_empty

NOTES = {
    "single": "A block leased, its first line written, and returned; in core cycles. The dashed line "
              "is the limit: an array a thread with no check and no safety, or what the row names.",
    "threads": "CPU time over operations: what more threads than CPUs cannot blur.",
    "pass": "How near the two CPUs are changes by the minute, and moves these figures several times "
            "over: so each run measures the ring alone beside it, and the ratio to that lasts.",
    "tail": "Each operation by itself, timed by the time stamp counter, whose steps are what the "
            "lowest figures are. Beyond them the scheduler's slices begin, the same for everybody.",
    "misses": "What a lease or a return costs that does not find what it needs in the CPU's cache, "
              "by who serves it. It happens once a magazine, or once a slab.",
    "churn": "Threads that start, lease and return 32 blocks one after the other, and end.",
    "growth": "Blocks from the system: the kernel zeroes each page, and that is nearly all of it.",
    "reads": "Independent reads of first lines in an order that no prefetcher knows.",
    "footprint": "Memory of the process (PSS and hugetlb pages) beside what it had before. What is "
                 "idle goes back by itself when decay_ms have passed: 1.5 seconds by default.",
    "sizes": "The same three loops over blocks of other sizes.",
    "scaling": "Tables of a pool before it has blocks, on machines that hwloc describes.",
}
STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f1f5f9; color: #0f172a;
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 20px 16px 60px; }
h1 { font-size: 26px; margin: 8px 0 4px; } h2 { font-size: 19px; margin: 34px 0 6px; }
p { margin: 4px 0 12px; max-width: 76ch; color: #334155; }
.card { background: #fff; border: 1px solid #e2e8f0; border-radius: 8px; padding: 12px 14px; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 12px 0; }
.facts dt { color: #64748b; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr));
  gap: 12px; margin: 12px 0; }
.plots svg { width: 100%; height: auto; max-width: 540px; display: block; }
code { font-size: 12.5px; color: #64748b; white-space: nowrap; }
h3 { font-size: 14px; margin: 0 0 8px; } small { color: #64748b; font-size: 12px; }
td small { display: block; line-height: 1.1; }
.wide { overflow-x: auto; padding: 0; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: right; vertical-align: top; padding: 5px 10px; white-space: nowrap;
  border-bottom: 1px solid #e2e8f0;
  font-variant-numeric: tabular-nums; }
th { color: #64748b; font-weight: 600; background: #f8fafc; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 190px;
  position: sticky; left: 0; background: #fff; }
th:first-child { background: #f8fafc; }
tr:last-child td { border-bottom: 0; }
.yes { color: #15803d; font-weight: 600; } .no { color: #b91c1c; font-weight: 600; }
.key span { display: inline-block; margin-right: 16px; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 5px; }
pre { background: #0f172a; color: #e2e8f0; padding: 12px 14px; border-radius: 8px; overflow-x: auto;
  font-size: 12.5px; }
@media (max-width: 640px) { .facts { grid-template-columns: 1fr; } .facts dd { margin-bottom: 6px; }
  th, td { padding: 5px 7px; } th:first-child, td:first-child { min-width: 130px; }
  h1 { font-size: 22px; } }
"""
KEY = [("mews inline", plots.COLOURS[INLINE]), ("mews, function", plots.COLOURS[FUNCTION]),
       ("best peer", plots.PEER), ("others", plots.OTHER)]
BARS = {  # the rows that are plotted as bars
    "single": ["pair", "burst of 64, random", "burst of 1,024, random", "bulk of 64",
               "bulk of 1,024", "bulk of 64, written"],
    "threads": ["server's pattern, 2 threads", "server's pattern, 16 threads"],
    "pass": ["producer -> consumer, pinned, over the ring alone",
             "8 producers -> 8 consumers, over the ring alone"],
    "churn": ["thread churn, 32 leases a thread"],
    "growth": ["growth, pages touched"],
    "reads": ["random reads over 200,000 live blocks"],
    "footprint": ["peak over the bytes leased, 200,000 of 4,096, 64 threads",
                  "all returned, 2 s idle",
                  "one in 64 kept, 2 s idle"],
}
QUANTILES = [("p50_ns", "50"), ("p90_ns", "90"), ("p99_ns", "99"), ("p999_ns", "99.9"),
             ("p9999_ns", "99.99"), ("p99999_ns", "99.999")]
DRAWN = ["bare", INLINE, FUNCTION] + MALLOCS[:5] + ["dpdk", "dpdk_stack"]


def marks_of(row):
    """The numbers in the text of a bar."""
    return [float(number) for number in re.findall(r"<= ([\d.]+)", row.bar)]


def series(results, benches, counter, names):
    """Name -> a figure for each bench."""
    class Point:
        def __init__(self, bench):
            self.bench, self.counter = bench, counter
    columns = [results.of(Point(bench)) for bench in benches]
    found = {name: [column.get(name) for column in columns] for name in names}
    return {name: values for name, values in found.items() if any(v is not None for v in values)}


def line_plots(results, group):
    """(title, plot)"""
    size = "size:4032"
    if group == "threads":
        threads = (1, 2, 4, 64)
        found = series(results, [f"replace/*/{size}/threads:{n}" for n in threads], "cpu_ns", DRAWN)
        yield ("replacement in a set of 32, CPU ns",
               plots.lines([str(n) for n in threads], found, True, "threads"))
    if group == "tail":
        for n in (16, 1000):
            found = tail_series(results, f"tail/*/{size}/threads:{n}")
            yield (f"one operation, {n:,} threads, ns",
                   plots.lines([text for _, text in QUANTILES], found, True, "percentile"))
    if group == "sizes":
        for bench, title in (("pair/*/size:{}/count:1", "pair, cycles"),
                             ("burst_sizes/*/size:{}/count:64",
                              "burst of 64, random, cycles a block"),
                             ("pair_whole/*/size:{}/count:1", "pair, every line written, cycles")):
            found = series(results, [bench.format(n) for n in SIZES], "cycles", DRAWN)
            yield title, plots.lines([f"{n:,}" for n in SIZES], found, True, "bytes a block")
    if group == "scaling":
        ticks = [f"{cpus}\n{nodes}" for cpus, nodes, _, _ in results.scaling]
        found = {"new": [fresh for *_, fresh, _ in results.scaling],
                 "after the first lease": [used for *_, used in results.scaling]}
        yield "tables of a pool, KiB", plots.lines(ticks, found, False, "CPUs, and nodes below")


def tail_series(results, bench):
    found = {}
    for counter, _ in QUANTILES:
        for name, values in series(results, [bench], counter, DRAWN + ["dpdk_own_cache"]).items():
            found.setdefault(name, []).extend(values)
    return found


def section_plots(results, group, lines):
    wanted = BARS.get(group, [])
    out = [(f"{line.row.title}, {line.row.unit}", plots.bars(line, marks_of(line.row)))
           for line in lines if line.row.title in wanted]
    out += [(title, plot) for title, plot in line_plots(results, group) if plot]
    return "".join(f'<div class="card"><h3>{html.escape(title)}</h3>{plot}</div>'
                   for title, plot in out)


def cell(name, text):
    kind = ""
    if name == "reached":
        kind = ' class="yes"' if text.startswith("yes") else ' class="no"'
    text = re.sub(r"\((.*)\)$", r"<small>\1</small>", html.escape(text)) if name else \
        html.escape(text)
    return f"<td{kind}>{text}</td>"


def html_table(head, rows):
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(cell(name, text) for name, text in zip(head, row)) + "</tr>"
                   for row in rows)
    return f'<div class="card wide"><table><tr>{top}</tr>{body}</table></div>'


def section(results, group):
    lines = lines_of(results, group)
    if group == "scaling" and results.scaling:
        rows = [[f"{cpus} CPUs, {nodes} nodes", f"{show(fresh)}", f"{show(used)}"]
                for cpus, nodes, fresh, used in results.scaling]
        tables = html_table(["", "new pool, KiB", "after the first lease, KiB"], rows)
    elif lines:
        tables = html_table(*without_empty(HEAD, [line.cells() for line in lines]))
    else:
        return ""
    return (f"<h2>{TITLES[group]}</h2><p>{NOTES[group]} "
            f"<code>tools/perf --groups {group}</code></p>"
            f'<div class="plots">{section_plots(results, group, lines)}</div>{tables}')


def page(results, head):
    facts = dict(head["facts"], **{"Bars reached": tally(results)})
    listed = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>"
                     for name, value in facts.items())
    key = "".join(f'<span><i style="background:{colour}"></i>{name}</span>' for name, colour in KEY)
    problems = "".join(f"<li>{html.escape(named(p))}</li>" for p in sorted(results.problems))
    verdicts = [(row, results.verdict(row, results.of(row))) for row in ROWS]
    unmet = [f"<li>{html.escape(row.title)}: {html.escape(row.bar)}"
             f"{', which the limit does not reach either' if 'limit' in verdict else ''}</li>"
             for row, verdict in verdicts if verdict.startswith("NO")]
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>mews: performance</title><style>{STYLE}</style></head><body><main>"
            f"<h1>mews beside its limits and its peers</h1>"
            f'<dl class="facts card">{listed}</dl>'
            f'<p class="key">{key}</p><p>A bar that is cut has an arrow. ~ marks a spread of '
            f"more than 20 % between runs.</p>"
            + (f"<h2>Not reached</h2><ul>{''.join(unmet)}</ul>" if unmet else "")
            + "".join(section(results, group) for group in GROUPS)
            + (f"<h2>Problems</h2><ul>{problems}</ul>" if problems else "")
            + "<h2>Commands</h2><pre>" + html.escape("\n".join(head["commands"])) + "</pre>"
            "</main></body></html>\n")
