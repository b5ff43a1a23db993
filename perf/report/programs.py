# SPDX-License-Identifier: MIT
"""The programs that can be run here (layer 6): which backends each has, and what is not installed.

Called by plan.py. A malloc is the same program with another library preloaded, so that the measured
loops are the same machine code.
"""
import json
import os
import re
import subprocess
import time

from rows import DPDKS, LIMITS, PEERS, TUNED

NO_RSEQ = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
MEWS = ["mews", "mews_inline", "mews_checked", "mews_workstation", "mews_owned"]
TIERS = ["depot", "slab", "growth"]
PACKAGES = ["libc6", "gcc", "libbenchmark-dev", "libhwloc-dev", "liburcu-dev", "libjemalloc2",
            "libmimalloc2.0", "libtcmalloc-minimal4", "libtbbmalloc2", "libdpdk-dev",
            "python3-matplotlib"]


class Failed(Exception):
    """A program did not do its work; the text says which way."""


class Program:
    """One way to start a bench program: its backends, and what they are called in the report."""

    def __init__(self, name, binary, backends, env=None, rename=None):
        self.name, self.binary, self.backends = name, binary, backends
        self.env, self.rename = env or {}, rename or {}

    def command(self, pattern, repetitions):
        return [self.binary, f"--benchmark_filter={pattern}", "--benchmark_format=json",
                f"--benchmark_repetitions={repetitions}"]

    def shown(self, pattern):
        """The command as one would type it."""
        words = [f"{key}={value}" for key, value in self.env.items()]
        return " ".join(words + [os.path.basename(self.binary),
                                 f"--benchmark_filter='{pattern}'"])

    def run(self, pattern, timeout, repetitions=1, env=None):
        """Google Benchmark's JSON, parsed."""
        try:
            done = subprocess.run(self.command(pattern, repetitions), timeout=timeout, text=True,
                                  env=dict(os.environ, **self.env, **(env or {})), check=False,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except subprocess.TimeoutExpired:
            raise Failed(f"did not end in {timeout:.0f} s") from None
        except OSError as problem:
            raise Failed(str(problem)) from None
        if done.returncode:
            raise Failed(f"exit {done.returncode}: {done.stderr.strip()[-200:]}")
        try:
            return json.loads(done.stdout) if done.stdout.strip() else {"benchmarks": []}
        except ValueError:
            raise Failed("printed no JSON") from None


def library(name):
    """The path of a library that could be preloaded, or None."""
    listing = subprocess.run(["/sbin/ldconfig", "-p"], stdout=subprocess.PIPE, text=True,
                             check=False).stdout
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", listing, re.M)
    return found.group(1) if found else None


def mallocs(bench, tuned):
    """(programs, what is missing)"""
    found, missing = [], []
    for name, file in PEERS.items():
        path = library(file) if file else None
        if file and not path:
            missing.append(f"{name} ({file})")
            continue
        env = {"LD_PRELOAD": path} if path else {}
        found.append(Program(name, bench, ["malloc"], env, {"malloc": name}))
        if tuned and name in TUNED:
            found.append(Program(f"{name}_tuned", bench, ["malloc"], dict(env, **TUNED[name]),
                                 {"malloc": f"{name}_tuned"}))
    return found, missing


def find(build, tuned):
    """(programs, what is missing)"""
    bench = os.path.join(build, "perf", "perf-bench")
    found = [
        Program("mews and limits", bench, LIMITS + MEWS),
        Program("mews, static", bench + "-static", ["empty_call_static", "mews_static"]),
        Program("mews, fallback", bench, ["mews"], NO_RSEQ, {"mews": "mews_fallback"}),
    ]
    peers, missing = mallocs(bench, tuned)
    found += peers
    if os.path.exists(bench + "-dpdk"):
        found.append(Program("dpdk", bench + "-dpdk", DPDKS + ["dpdk_unregistered"]))
    else:
        missing.append("DPDK (libdpdk-dev was not there when this was built)")
    return found, missing


def versions():
    """Package -> version, of what a figure may depend on."""
    done = subprocess.run(["dpkg-query", "-W", "-f=${Package} ${Version} ${db:Status-Status}\n"]
                          + PACKAGES, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=False)
    lines = (line.split() for line in done.stdout.splitlines())
    return {words[0]: words[1] for words in lines if len(words) == 3 and words[2] == "installed"}


def commit(root):
    """What was built: the commit, and whether the tree differs from it."""
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()
    name = git("log", "-1", "--format=%h %cs")
    changed = " + changes" if name and git("status", "--porcelain", "-uno") else ""
    return name + changed or time.strftime("%Y-%m-%d, no git")
