# SPDX-License-Identifier: MIT
"""Measures and writes the report (layer 6). Called by tools/perf, which has built the programs."""
import argparse
import json
import os
import platform
import re
import sys
import time

import plan
import programs
from figures import Results, compare
from quiet import Quiet
from rows import GROUPS
from text import markdown, tables, tally

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
QUICK = {"single": 3, "threads": 3, "pass": 5, "tail": 1, "misses": 3, "churn": 3, "growth": 1,
         "reads": 1, "footprint": 1, "sizes": 1, "scaling": 1}
QUICK_SECONDS, FULL_SECONDS = 150, 1800
FULL = {"single": 11, "threads": 7, "pass": 25, "tail": 5, "misses": 11, "churn": 9, "growth": 15,
        "reads": 7, "footprint": 3, "sizes": 11, "scaling": 1}
MARKS = ("<!-- tools/perf writes from here -->", "<!-- to here -->")


def arguments():
    parser = argparse.ArgumentParser(prog="tools/perf", description="Measures mews beside its"
                                     " limits and its peers, and writes a report: Markdown, HTML,"
                                     " JSON.")
    parser.add_argument("--full", action="store_true",
                        help="more rounds, and each malloc tuned as well: about half an hour")
    parser.add_argument("--groups", metavar="A,B", help="only these: " + ",".join(GROUPS))
    parser.add_argument("--programs", metavar="REGEX", help="only these programs")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each group")
    parser.add_argument("--seconds", type=float, metavar="S", help="repeat runs only so long"
                        f" ({QUICK_SECONDS}; {FULL_SECONDS} with --full); each runs once at least")
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "perf-report"),
                        help="where report.md, report.html, report.json go (build/perf-report)")
    parser.add_argument("--compare", metavar="OLD", help="an older report.json: tells what of mews"
                        " is slower by a tenth and by more than the spread, and ends with 1")
    parser.add_argument("--docs", metavar="FILE", help="also writes the tables into this page,"
                        " between its two marks")
    parser.add_argument("--timeout", type=float, default=90, help="seconds a program may take")
    args = parser.parse_args()
    unknown = set((args.groups or "").split(",")) - set(GROUPS) - {""}
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}")
    return args


def machine():
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = int(file.readline().split()[1])
    return (f"{found.group(1) if found else model}, {os.cpu_count()} CPUs, {kib / 2**20:.0f} GiB, "
            f"Linux {platform.release()}")


def thp():
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "none"


def head_of(args, results, found, missing, seconds, waited):
    disturbed = sum(share > plan.NOISY for share in results.shares)
    shares = sorted(results.shares) or [0]
    versions = ", ".join(f"{name} {version}" for name, version in programs.versions().items())
    words = " ".join(["tools/perf"] + sys.argv[1:])
    return {
        "facts": {
            "Machine": machine(), "Transparent huge pages": thp(),
            "Cycles": results.context.get("cycles", "unknown"),
            "mews": programs.commit(ROOT), "Versions": versions,
            "Not installed": ", ".join(missing) or "nothing",
            "Measured": f"{time.strftime('%Y-%m-%d %H:%M')}, {seconds:.0f} s, by `{words}`; "
                        f"interleaved runs, medians",
            "Quiet": f"other processes and the host took {100 * shares[len(shares) // 2]:.1f} % of "
                     f"the CPUs in the median run, over {100 * plan.NOISY:.0f} % in {disturbed} of "
                     f"{len(shares)}; the core's other half was in use for most of "
                     f"{sum(results.crowded)} of {len(results.crowded)} benches that tell; waited {waited:.0f} "
                     f"s; {results.left_out} repeated runs left out for lack of time",
        },
        "commands": sorted({p.shown(f"^pair/{p.backends[0]}/") for p in found}),
        "mode": "full" if args.full else "quick",
    }


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def write_page(path, results, head):
    try:
        import page
    except ImportError:
        print("no report.html: python3-matplotlib is not installed", file=sys.stderr)
        return
    write(path, page.page(results, head))


def write_docs(path, results, head):
    """Replaces what stands between the marks."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    facts = "\n".join(f"- {name}: {value}" for name, value in head["facts"].items())
    body = tables(results).replace("\n## ", "\n### ").replace("## ", "### ", 1)
    write(path, f"{before}{MARKS[0]}\n{facts}\n- Bars reached: {tally(results)}\n\n{body}"
                f"{MARKS[1]}{after}")


def main():
    args = arguments()
    rounds = dict(FULL if args.full else QUICK)
    if args.groups:
        rounds = {group: rounds[group] for group in args.groups.split(",")}
    if args.rounds:
        rounds = {group: args.rounds for group in rounds}
    if args.full:
        os.environ.setdefault("PERF_PATIENCE", "200")
    found, missing = programs.find(os.environ["PERF_BUILD"], args.full)
    found = [p for p in found if re.search(args.programs or "", p.name)]
    results = Results()
    results.groups = list(rounds)
    seconds = args.seconds or (FULL_SECONDS if args.full else QUICK_SECONDS)
    quiet, start = Quiet(seconds / 10), time.monotonic()
    took = plan.measure(plan.tasks(found, rounds), results, quiet, args.timeout,
                        seconds)
    if "scaling" in rounds and not args.programs:
        plan.scaling(os.path.join(os.environ["PERF_BUILD"], "perf", "perf-bench"), results)
    head = head_of(args, results, found, missing, time.monotonic() - start, quiet.waited)
    head["seconds"] = {group: round(sum(seconds), 1) for group, seconds in took.items()}
    os.makedirs(args.out, exist_ok=True)
    report = os.path.join(args.out, "report")
    results.save(report + ".json", head)
    write(report + ".md", markdown(results, head))
    write_page(report + ".html", results, head)
    if args.docs:
        write_docs(args.docs, results, head)
    print(markdown(results, head))
    print(f"written: {report}.md, .html, .json")
    return told(args, report + ".json")


def told(args, path):
    if not args.compare:
        return 0
    with open(path, encoding="utf-8") as new, open(args.compare, encoding="utf-8") as old:
        lines, compared = compare(json.load(new), json.load(old))
    for line in lines:
        print(f"slower: {line}")
    print(f"beside {args.compare}: {len(lines)} of {compared} figures of mews are slower; "
          "the others have too few undisturbed runs, or follow the minute")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
