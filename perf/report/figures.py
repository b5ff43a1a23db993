# SPDX-License-Identifier: MIT
"""What was measured (layer 6): samples, their medians, which are noisy, and what got worse.

Called by plan.py, which adds, and by the writers of the report. Invariant: a figure is the median of
the runs that others did not disturb, where these are at least half, or two; else of all runs.
"""
import json
import statistics

from rows import ALONE, DPDKS, MALLOCS, ROWS, best

NOISY_SPREAD = 0.2      # the quartiles' distance over the median
CLEAN_ENOUGH = 2        # runs that nobody disturbed: the others are left out
CROWDED = 0.5           # the share of its batches from which a bench beside a neighbour is disturbed
COMPARED = 3            # clean runs that a comparison wants of both
WORSE = 1.10            # the ratio from which --compare tells


class Results:
    def __init__(self):
        self.samples = {}               # (bench, counter, backend) -> [(value, disturbed)]
        self.problems = set()
        self.context = {}
        self.shares = []                # others' share of the CPUs, a run
        self.crowded = []               # a bench that can tell: most of it was beside a neighbour
        self.scaling = []               # (CPUs, nodes, KiB fresh, KiB used)
        self.groups = []                # of rows, that were measured
        self.left_out = 0               # repeated runs for which there was no time

    def add(self, data, rename, disturbed):
        """Takes Google Benchmark's JSON."""
        for bench in (b for b in data["benchmarks"] if b["run_type"] == "iteration"):
            words = bench["name"].split("/iterations:")[0].split("/")
            backend = rename.get(words[1], words[1])
            if bench.get("error_occurred"):
                self.problems.add(f"{backend}, {words[0]}: {bench['error_message']}")
                continue
            key = "/".join([words[0], "*"] + words[2:])
            crowded = bench.get("crowded", 0) > CROWDED
            if "crowded" in bench:
                self.crowded.append(crowded)
            for counter, value in bench.items():
                if isinstance(value, (int, float)):
                    self.samples.setdefault((key, counter, backend), []).append(
                        (value, disturbed or crowded))
        self.context.update(data.get("context", {}))

    def clean(self, key):
        return [value for value, disturbed in self.samples.get(key, []) if not disturbed]

    def values(self, key):
        samples, clean = self.samples.get(key, []), self.clean(key)
        enough = len(clean) >= min(CLEAN_ENOUGH, (len(samples) + 1) // 2)
        return clean if enough else [value for value, _ in samples]

    def of(self, row):
        """Backend -> figure."""
        return {backend: statistics.median(self.values((bench, counter, backend)))
                for bench, counter, backend in self.samples
                if bench == row.bench and counter == row.counter}

    def noisy(self, row, backend):
        low, middle, high = quartiles(self.values((row.bench, row.counter, backend)))
        return high - low > NOISY_SPREAD * abs(middle)

    def limit(self, row, figures):
        """(figure, name) of the row's limit, or None."""
        if row.limit in ALONE:
            alone = [statistics.median(self.values(key)) for key in self.samples
                     if key[0] == row.bench and key[1] == row.limit]
            return (statistics.median(alone), ALONE[row.limit]) if alone else None
        return (figures[row.limit], row.limit) if row.limit in figures else None

    def beyond(self, row, figures):
        """Whether the row's bar is one that its limit does not meet either."""
        limit, most = self.limit(row, figures), getattr(row.met, "most", None)
        return limit is not None and most is not None and limit[0] > most

    def verdict(self, row, figures):
        """
        yes, NO, ? where a figure is missing, nothing where there is no bar; ~ where noisy. Told
        apart: a bar that the limit in the row is above.
        """
        if not row.met:
            return ""
        met = row.met(figures)
        if met is None:
            return "?"
        decisive = [name for name in row.ours if name in figures]
        peer = best(figures, MALLOCS + DPDKS)
        if peer and "ahead" in row.bar + row.title:
            decisive.append(peer[1])
        noise = " ~" if any(self.noisy(row, name) for name in decisive) else ""
        if not met and self.beyond(row, figures):
            return "NO, nor the limit" + noise
        return ("yes" if met else "NO") + noise

    def save(self, path, head):
        rows = {"|".join(key): dict(zip(("low", "median", "high"), quartiles(self.values(key))),
                                    clean=len(self.clean(key)))
                for key in sorted(self.samples)}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(dict(head, figures=rows, scaling=self.scaling), file, indent=1)


def quartiles(values):
    """The same three times for one value; the ends for two."""
    if len(values) < 3:
        return min(values), statistics.median(values), max(values)
    low, _, high = statistics.quantiles(values, n=4)
    return low, statistics.median(values), high


def compare(new, old):
    """
    Lines about mews that got worse, and how many figures were compared. Worse: by WORSE at least, and
    by more than both runs' spread. Rows that follow the machine's state of the minute are left out, and
    figures of which one of the two has fewer than COMPARED runs that nobody disturbed. new, old: what
    save wrote.
    """
    lines, compared = [], 0
    steady = {(row.bench, row.counter) for row in ROWS if row.steady}
    for key, now in sorted(new["figures"].items()):
        bench, counter, backend = key.split("|")
        before = old["figures"].get(key)
        if not before or (bench, counter) not in steady or "mews" not in backend:
            continue
        if min(now.get("clean", 0), before.get("clean", 0)) < COMPARED:
            continue
        compared += 1
        if now["median"] > WORSE * before["median"] and now["low"] > before["high"]:
            was, is_now = before["median"], now["median"]
            ratio = f"{is_now / was:.2f} x" if was > 0 else "from 0"
            lines.append(f"{bench.replace('*', backend)} {counter}: {was:.4g} -> {is_now:.4g} "
                         f"({ratio})")
    return lines, compared
