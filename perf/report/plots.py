# SPDX-License-Identifier: MIT
"""The plots (layer 6), each a string of SVG that needs nothing else. Called by page.py.

matplotlib draws; text becomes outlines, so that a page looks the same with any fonts. Invariant: a
colour means the same everywhere: blue mews, orange the best peer of the plot, grey the others.
"""
import io

import matplotlib
from matplotlib import patheffects, pyplot, ticker

from rows import DPDKS, FUNCTION, INLINE, MALLOCS
from text import named, show

matplotlib.use("svg")
pyplot.rcParams.update({
    "svg.fonttype": "path", "svg.hashsalt": "mews", "font.size": 9.5, "axes.titlesize": 10.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": "#94a3b8", "axes.labelcolor": "#334155",
    "xtick.color": "#334155", "ytick.color": "#1e293b", "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.transparent": True, "legend.frameon": False,
})
WIDTH = 5.4             # inches, of 96 pixels: one column of the page
LONGEST = 3.2           # a bar is cut at so many times what mews and the limit need
COLOURS = {INLINE: "#1d4ed8", FUNCTION: "#60a5fa", "mews_workstation": "#93c5fd",
           "bare": "#0f172a", "mutex": "#94a3b8", "glibc": "#7c8ba1", "jemalloc": "#a855f7",
           "mimalloc": "#db2777", "tcmalloc": "#ea580c", "tbb": "#65a30d", "dpdk": "#0d9488",
           "dpdk_stack": "#5eead4", "dpdk_own_cache": "#134e4a"}
HALO = patheffects.withStroke(linewidth=2.5, foreground="white")
PEER, OTHER, LIMIT, BAR = "#f59e0b", "#cbd5e1", "#0f172a", "#15803d"


def svg(figure):
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", pad_inches=0.06,
                   metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg"):]


def vertical(axes, at, colour, style, text, above):
    """A line across all bars, with its name over or under them."""
    axes.axvline(at, color=colour, linewidth=1.3, linestyle=style, zorder=3)
    axes.annotate(text, (at, 1 if above else 0), xycoords=("data", "axes fraction"),
                  xytext=(0, 3 if above else -3), textcoords="offset points", fontsize=8.5,
                  color=colour, ha="center", va="bottom" if above else "top")


def bar_rows(line):
    """[(name, figure)], the fastest first: mews, every peer, never the limit, which is a line."""
    ours = line.row.ours if "" in line.row.ours else (INLINE, FUNCTION)
    shown = [name for name in ours if name]
    shown += MALLOCS + DPDKS + ["dpdk_unregistered", "mutex"]
    if line.limit and line.limit[1] in shown:
        shown.remove(line.limit[1])
    rows = [(name, line.figures[name]) for name in shown if name in line.figures]
    return sorted(rows, key=lambda row: row[1])


def bars(line, marks=()):
    """One row of the table: a bar for each backend, the limit and the bar as lines."""
    rows = bar_rows(line)
    anchor = [figure for name, figure in rows if name.startswith("mews")]
    anchor += [line.limit[0]] if line.limit else []
    anchor += [peer[0] for peer in (line.malloc, line.dpdk) if peer]
    cut = LONGEST * max(max(sorted(anchor)[:4], default=1), *marks, 1e-9)
    best_peer = min((p for p in (line.malloc, line.dpdk) if p), default=(None, None))[1]
    figure, axes = pyplot.subplots(figsize=(WIDTH, 0.75 + 0.235 * len(rows)))
    longest = min(cut, max(value for _, value in rows))
    for i, (name, value) in enumerate(rows):
        colour = (COLOURS[INLINE] if name == INLINE else COLOURS[FUNCTION] if "mews" in name else
                  PEER if name == best_peer else OTHER)
        axes.barh(i, min(max(value, 0), cut), color=colour, height=0.72)
        text = show(value) + (" ~" if line.noisy(name) else "")
        text += " \N{RIGHTWARDS ARROW}" if value > cut else ""
        axes.text(min(max(value, 0), cut) + longest * 0.012, i, text, va="center", fontsize=8.5,
                  zorder=5, path_effects=[HALO])
    axes.set_yticks(range(len(rows)), [named(name) for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.15 if longest > 0 else 1)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    if line.limit and line.limit[0] <= longest * 1.1:
        vertical(axes, line.limit[0], LIMIT, "--",
                 f"limit: {named(line.limit[1])} {show(line.limit[0])}", True)
    for mark in (mark for mark in marks if mark <= longest * 1.1):
        vertical(axes, mark, BAR, ":", f"bar: {mark:g}", False)
    return svg(figure)


def lines(ticks, series, log=False, xlabel=""):
    """series: name -> values, None where one is missing. Nothing where there is no series."""
    if not series:
        return ""
    figure, axes = pyplot.subplots(figsize=(WIDTH, 3.3))
    for name, values in series.items():
        points = [(x, y) for x, y in enumerate(values) if y is not None]
        if not points:
            continue
        ours = "mews" in name
        axes.plot(*zip(*points), color=COLOURS.get(name, "#64748b"), marker="o", markersize=3.5,
                  linewidth=2.4 if ours else 1.3, linestyle="--" if name == "bare" else "-",
                  zorder=4 if ours else 2, label=named(name))
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if high < 200 * low:
            axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.9g}")
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e2e8f0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel(xlabel)
    axes.legend(fontsize=8.5, ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.2 if xlabel
                                                                          else -0.12))
    return svg(figure)
