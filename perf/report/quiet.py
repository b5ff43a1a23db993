# SPDX-License-Identifier: MIT
"""Whether the machine is quiet (layer 6): what other processes, and the host, take of its CPUs.

Called by plan.py before and around each program. Invariant: the wait for quiet is bounded in sum.
"""
import os
import resource
import time

TICK = os.sysconf("SC_CLK_TCK")
NOISY = 0.10            # of all CPUs: others' share from which a run counts as disturbed


def busy_seconds(path="/proc/stat"):
    """CPU seconds that were not idle since boot, time stolen by the host among them."""
    with open(path, encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def own_seconds():
    """CPU seconds of this process and of its children that have ended."""
    return sum(usage.ru_utime + usage.ru_stime for usage in
               (resource.getrusage(who) for who in
                (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Others:
    """The share of the CPUs that is not ours, from its making to share()."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def share(self):
        wall = time.monotonic() - self.start
        others = busy_seconds() - self.busy - (own_seconds() - self.own)
        # /proc/stat counts in ticks of 10 ms: a short run proves nothing.
        return max(0.0, others / wall / os.cpu_count()) if wall > 0.2 else 0.0


class Quiet:
    """Waits before a run until others leave the machine alone, as long as the budget lasts."""

    def __init__(self, budget):
        self.left, self.waited = budget, 0.0

    def wait(self):
        while self.left > 0:
            others = Others()
            pause = min(0.25, self.left)
            time.sleep(pause)
            self.left -= pause
            if others.share() <= NOISY:
                return
            self.waited += pause
