# SPDX-License-Identifier: MIT
"""What runs when (layer 6): tasks, interleaved, one after another on a machine that is quiet.

Called by main.py. A round starts each program once for each group of rows, so that all of them meet
the same minutes of the machine. In the groups about memory each backend has a process of its own,
since an allocator keeps what an earlier bench left it.
"""
import concurrent.futures
import re
import sys
import time

from programs import TIERS, Failed, Program
from quiet import NOISY, Others
from rows import DPDKS, FUNCTION, INLINE, LIMITS, ROWS, TOPOLOGIES

TIMED = ["bare", "mutex", INLINE, FUNCTION, "malloc", "dpdk", "dpdk_stack", "dpdk_own_cache"]
BACKENDS = {  # of the groups that not all backends run
    "threads": TIMED, "pass": ["home", *(name for name in TIMED if name != "mutex")],
    "tail": [name for name in TIMED if name != "mutex"],
    "misses": TIERS, "churn": [INLINE, FUNCTION, "malloc", "dpdk"],
    "growth": [INLINE, FUNCTION, "malloc", "dpdk"], "reads": [FUNCTION, "malloc", "dpdk"],
    "footprint": [FUNCTION, "malloc", "dpdk"],
    "sizes": ["bare", INLINE, FUNCTION, "malloc", "dpdk"],
}
ALONE = ["churn", "growth", "reads", "footprint"]       # a process for each backend
TOGETHER = ["footprint"]                                # several at once: no time is measured
DPDK_BLOCKS = {"single": "2047", "sizes": "2047", "pass": "16383", "churn": "262143",
               "growth": "262143", "reads": "262143", "footprint": "262143"}
# Fresh starts of each bench in one run: a loop that leans on the forwarding of stores is in one of
# two states of the CPU's predictors for as long as it lasts.
REPETITIONS = {"single": 3, "misses": 3}
GUESS = {"single": 0.8, "threads": 1.5, "pass": 1.0, "tail": 3.0, "misses": 0.5, "churn": 0.6,
         "growth": 0.8, "reads": 4.0, "footprint": 4.0, "sizes": 0.6, "scaling": 1.0}


class Task:
    def __init__(self, program, group, backends, keep=None):
        self.program, self.group, self.backends, self.keep = program, group, backends, keep

    def rows(self):
        rows = [row for row in ROWS if row.group == self.group]
        if self.keep:
            rows = [row for row in rows if row.bench.endswith(self.keep)]
        # A pool's cache is by the thread's number, and DPDK has 128 of these.
        return [row for row in rows if not (set(self.backends) & set(DPDKS) and
                                            row.bench.endswith("threads:1000") and
                                            self.group == "tail")]

    def pattern(self):
        backends = "|".join(self.backends)
        names = {re.escape(row.bench).replace(r"\*", f"({backends})") for row in self.rows()}
        return "^(" + "|".join(sorted(names)) + ")/"

    def env(self):
        blocks = DPDK_BLOCKS.get(self.group) if "dpdk" in self.program.name else None
        return {"PERF_DPDK_BLOCKS": blocks} if blocks else {}

    def run(self, results, timeout):
        others = Others()
        try:
            data = self.program.run(self.pattern(), timeout, REPETITIONS.get(self.group, 1),
                                    self.env())
            share = others.share()
            results.shares.append(share)
            results.add(data, self.program.rename, share > NOISY)
        except Failed as problem:
            results.problems.add(f"{self.program.name}, {self.group}: {problem}")


def tasks_of(program, group):
    backends = [name for name in program.backends if name in BACKENDS.get(group, [name])]
    if group == "misses" and program.name == "mews and limits":
        backends = TIERS
    # Statically linked, or without rseq, mews is a matter of one thread's rows.
    if not backends or (program.name.startswith("mews, ") and group != "single"):
        return []
    if group not in ALONE:
        return [Task(program, group, backends)]
    keeps = ["keep:1", "keep:64"] if group == "footprint" else [None]
    return [Task(program, group, [name], keep) for name in backends for keep in keeps]


def together(some):
    """Four at once, but DPDK's alone: its rings wait for threads that do not run."""
    alone = [task for task in some if "dpdk" in task.program.name]
    others = [task for task in some if task not in alone]
    return [others[i:i + 4] for i in range(0, len(others), 4)] + [[task] for task in alone]


def tasks(programs, rounds):
    """Lists of tasks to run at once, in order; rounds: group -> how often."""
    plan = []
    for number in range(max(rounds.values(), default=0)):
        for group in (g for g in rounds if number < rounds[g] and g != "scaling"):
            some = [task for program in programs for task in tasks_of(program, group)]
            plan += together(some) if group in TOGETHER else [[task] for task in some]
    return plan


class Progress:
    """A line on the terminal with the time left: by what the tasks of each group took so far."""

    def __init__(self, plan):
        self.start, self.took = time.monotonic(), {}
        self.todo = [some[0].group for some in plan]
        self.count = len(plan)

    def done(self, group, seconds):
        self.took.setdefault(group, []).append(seconds)
        self.todo.remove(group)

    def left_out(self, group):
        self.todo.remove(group)

    def expect(self, group):
        took = self.took.get(group, [GUESS[group]])
        return sum(took) / len(took)

    def left(self):
        return sum(self.expect(group) for group in self.todo)

    def elapsed(self):
        return time.monotonic() - self.start

    def show(self, task):
        text = f"[{self.count - len(self.todo)}/{self.count}] {task.group}: {task.program.name}"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}, {self.left():.0f} s left", end="", file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def measure(plan, results, quiet, timeout, budget):
    """
    Runs the plan; the seconds of each group's tasks. What was measured once is measured again only
    where the budget, in seconds, lasts for it.
    """
    progress, seen = Progress(plan), set()
    for some in plan:
        what = {(task.program.name, task.group, *task.backends, task.keep) for task in some}
        if what <= seen and progress.elapsed() + progress.expect(some[0].group) > budget:
            results.left_out += 1
            progress.left_out(some[0].group)
            continue
        seen |= what
        progress.show(some[0])
        quiet.wait()
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(len(some)) as pool:
            for task in some:
                pool.submit(task.run, results, timeout)
        progress.done(some[0].group, time.monotonic() - start)
    progress.end()
    return progress.took


def scaling(binary, results, timeout=60):
    """What a pool holds beside its blocks on machines of other sizes, as hwloc describes them."""
    for cpus, nodes, text in TOPOLOGIES:
        program = Program("scaling", binary, ["mews"], {"HWLOC_SYNTHETIC": text})
        try:
            bench = program.run("^rest/mews/", timeout)["benchmarks"][0]
            results.scaling.append((cpus, nodes, bench["fresh_kib"], bench["used_kib"]))
        except (Failed, LookupError) as problem:
            results.problems.add(f"scaling, {cpus} CPUs: {problem}")
