# SPDX-License-Identifier: MIT
"""Tests of the report (layer 6), on figures that are made up; planted faults must be found.

Called by CTest as perf_report. PERF_BENCH names the program whose benches the rows must name.
"""
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import figures
import main
import plan
import quiet
from figures import Results, compare
from programs import Program
from rows import GROUPS, ROWS, Row
from text import lines_of, markdown, tables

try:
    import page
except ImportError:
    page = None

HEAD = {"facts": {"Machine": "made up <of> cards"}, "commands": ["perf-bench --x='y'"]}
PAIR = next(row for row in ROWS if row.title == "pair")


def entry(bench, backend, **counters):
    name = bench.replace("*", backend) + "/iterations:20/manual_time/threads:1"
    return dict(counters, name=name, run_type="iteration")


def made_up(factor=1.0, spread=0.0, runs=5):
    """Results in which every row has figures; mews's are multiplied."""
    results = Results()
    results.groups = GROUPS
    results.scaling = [(2, 1, 20.0, 32.0), (512, 16, 28.0, 172.0)]
    for run in range(runs):
        shift = 1 + spread * (run - runs // 2)
        for row in ROWS:
            for i, backend in enumerate(["bare", "mews_inline", "mews", "malloc", "dpdk", "depot"]):
                ours = factor if "mews" in backend else 1
                found = entry(row.bench, backend, **{row.counter: (i + 1) * ours * shift})
                results.add({"benchmarks": [found]}, {"malloc": "tcmalloc"}, False)
    return results


def saved(results):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        results.save(path, HEAD)
        with open(path, encoding="utf-8") as file:
            return json.load(file)


class Figures(unittest.TestCase):
    def test_medians_and_names(self):
        of = made_up().of(PAIR)
        self.assertEqual(of["mews_inline"], 2)
        self.assertEqual(of["tcmalloc"], 4)
        self.assertNotIn("malloc", of)

    def test_verdicts(self):
        self.assertEqual(made_up().verdict(PAIR, made_up().of(PAIR)), "yes")
        slow = made_up(factor=5)
        self.assertEqual(slow.verdict(PAIR, slow.of(PAIR)), "NO")
        self.assertEqual(Results().verdict(PAIR, {}), "?")

    def test_a_bar_below_the_limit_is_told(self):
        results, growth = Results(), next(row for row in ROWS if row.limit == "ns_kernel")
        for ours, kernel, verdict in ((240, 200, "yes"), (260, 200, "NO"),
                                      (260, 255, "NO, nor the limit")):
            results = Results()
            results.add({"benchmarks": [entry(growth.bench, "mews", ns=ours, ns_kernel=kernel)]},
                        {}, False)
            self.assertEqual(results.verdict(growth, results.of(growth)), verdict)

    def test_noise_is_flagged(self):
        self.assertFalse(made_up(spread=0.01).noisy(PAIR, "mews"))
        self.assertTrue(made_up(spread=0.15).noisy(PAIR, "mews"))
        self.assertIn("~", tables(made_up(spread=0.15)))

    def test_disturbed_runs_do_not_count(self):
        results = Results()
        for cycles, disturbed in ((5, False), (9, True)):
            results.add({"benchmarks": [entry(PAIR.bench, "mews", cycles=cycles)]}, {}, disturbed)
        self.assertEqual(results.of(PAIR)["mews"], 5)
        results.add({"benchmarks": [entry(PAIR.bench, "mews", cycles=9)]}, {}, True)
        self.assertEqual(results.of(PAIR)["mews"], 9)

    def test_a_bench_beside_a_neighbour_is_disturbed(self):
        results = Results()
        for cycles, crowded in ((5, 0), (5, 0.5), (9, 0.6), (9, 1)):
            results.add({"benchmarks": [entry(PAIR.bench, "mews", cycles=cycles, crowded=crowded)]}, {},
                        False)
        self.assertEqual(results.of(PAIR)["mews"], 5)
        self.assertEqual(sum(results.crowded), 2)

    def test_two_clean_runs_are_enough(self):
        results = Results()
        for cycles in [5] * 2 + [9] * 8:
            results.add({"benchmarks": [entry(PAIR.bench, "mews", cycles=cycles)]}, {}, cycles == 9)
        self.assertEqual(results.of(PAIR)["mews"], 5)

    def test_a_bench_that_cannot_run_is_a_problem(self):
        results = Results()
        results.add({"benchmarks": [entry(PAIR.bench, "mews", error_occurred=True,
                                          error_message="no memory")]}, {}, False)
        self.assertEqual(results.problems, {"mews, pair: no memory"})


class Compare(unittest.TestCase):
    def test_slower_is_told(self):
        told, _ = compare(saved(made_up(1.5)), saved(made_up()))
        self.assertTrue(any("pair/mews_inline/" in line and "1.50 x" in line for line in told))
        self.assertFalse(any("tcmalloc" in line or "bare" in line for line in told))
        self.assertFalse(any("pass/" in line for line in told))

    def test_the_same_noise_and_faster_are_not(self):
        self.assertEqual(compare(saved(made_up()), saved(made_up()))[0], [])
        self.assertEqual(compare(saved(made_up(0.5)), saved(made_up()))[0], [])
        self.assertEqual(compare(saved(made_up(1.2, 0.2)), saved(made_up(1, 0.2)))[0], [])

    def test_two_runs_or_disturbed_ones_are_not_compared(self):
        for runs, told in ((2, False), (3, True)):
            lines, _ = compare(saved(made_up(1.5, runs=runs)), saved(made_up()))
            self.assertEqual(any("bulk/mews/" in line for line in lines), told)
        crowded = made_up(1.5)
        crowded.samples = {key: [(value, True) for value, _ in samples]
                           for key, samples in crowded.samples.items()}
        self.assertEqual(compare(saved(crowded), saved(made_up())), ([], 0))

    def test_the_exit_status(self):
        with tempfile.TemporaryDirectory() as folder:
            old, new = (os.path.join(folder, name) for name in ("old", "new"))
            made_up().save(old, HEAD)
            made_up(1.5).save(new, HEAD)
            args = type("Args", (), {"compare": old})
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                self.assertEqual(main.told(args, new), 1)
                self.assertEqual(main.told(args, old), 0)
            self.assertIn("slower: pair/mews_inline", printed.getvalue())


class Plan(unittest.TestCase):
    def test_every_row_names_a_bench(self):
        program = os.environ.get("PERF_BENCH")
        if not program:
            self.skipTest("PERF_BENCH is not set")
        listed = subprocess.run([program, "--benchmark_list_tests"], text=True, check=True,
                                stdout=subprocess.PIPE).stdout
        planted = Row("single", "planted", "pair/*/size:5/count:1", "cycles", "")
        missing = [row.title for row in ROWS + [planted] if not re.search(
            "^" + re.escape(row.bench).replace(r"\*", "[a-z_]+") + "/", listed, re.M)]
        self.assertEqual(missing, ["planted"])

    def test_rounds_are_interleaved(self):
        programs = [Program("a", "x", ["mews"]), Program("b", "x", ["malloc"])]
        order = [some[0].program.name for some in plan.tasks(programs, {"single": 2})]
        self.assertEqual(order, ["a", "b", "a", "b"])

    def test_dpdk_has_no_thousand_threads(self):
        task = plan.tasks_of(Program("dpdk", "x", ["dpdk"]), "tail")[0]
        self.assertNotIn("1000", task.pattern())
        task = plan.tasks_of(Program("glibc", "x", ["malloc"]), "tail")[0]
        self.assertIn("1000", task.pattern())

    def test_memory_has_a_process_a_backend(self):
        tasks = plan.tasks_of(Program("mews and limits", "x", ["mews", "mews_inline"]), "churn")
        self.assertEqual([task.backends for task in tasks], [["mews"], ["mews_inline"]])

    def test_a_program_that_fails_is_a_problem(self):
        results = Results()
        plan.Task(Program("gone", "/nonexistent", ["mews"]), "single", ["mews"]).run(results, 5)
        plan.Task(Program("false", "/bin/false", ["mews"]), "single", ["mews"]).run(results, 5)
        self.assertEqual(len(results.problems), 2)

    def test_repetitions_end_with_the_budget(self):
        results = Results()
        runs = plan.tasks([Program("true", "/bin/true", ["mews"])], {"single": 5, "tail": 2})
        plan.measure(runs, results, quiet.Quiet(0), 5, 0)
        self.assertEqual((len(results.shares), results.left_out), (2, 5))
        plan.measure(runs, results, quiet.Quiet(0), 5, 100)
        self.assertEqual((len(results.shares), results.left_out), (9, 5))

    def test_the_wait_for_quiet_is_bounded(self):
        waiter, noise = quiet.Quiet(0.6), quiet.Others.share
        quiet.Others.share = lambda self: 1.0
        try:
            for _ in range(5):
                waiter.wait()
        finally:
            quiet.Others.share = noise
        self.assertEqual(waiter.left, 0)
        self.assertAlmostEqual(waiter.waited, 0.6)


class Report(unittest.TestCase):
    def test_markdown(self):
        text = markdown(made_up(), HEAD)
        self.assertIn("| pair, cycles", text)
        self.assertIn("4.00 (tcmalloc)", text)
        self.assertIn("| 512  | 16", text)
        only = made_up()
        only.groups = ["single"]
        self.assertEqual(lines_of(only, "tail"), [])

    def test_docs_are_replaced_between_the_marks(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            for _ in range(2):
                before = f"intro\n{main.MARKS[0]}\nstale words\n{main.MARKS[1]}\nend\n"
                main.write(path, before)
                main.write_docs(path, made_up(), HEAD)
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                self.assertTrue(text.startswith("intro\n") and text.endswith("\nend\n"))
                self.assertNotIn("stale words", text)
                self.assertIn("### One thread", text)

    @unittest.skipUnless(page, "python3-matplotlib is not installed")
    def test_the_page_needs_nothing_else(self):
        results = made_up()
        results.groups = ["single", "tail", "scaling"]
        text = page.page(results, HEAD)
        self.assertEqual(text.count("<svg"), 6 + 2 + 1)
        self.assertNotRegex(text, r"(src|href)=\"(?!#)[^\"]")
        self.assertNotRegex(text, r"url\((?!#)|@import")
        self.assertIn("made up &lt;of&gt; cards", text)

    @unittest.skipUnless(page, "python3-matplotlib is not installed")
    def test_the_page_of_nearly_nothing(self):
        results = Results()
        results.groups = GROUPS[:2] + ["scaling"]
        results.add({"benchmarks": [entry(PAIR.bench, "mews", cycles=8)]}, {}, False)
        self.assertIn("<svg", page.page(results, HEAD))


if __name__ == "__main__":
    assert figures.quartiles([3]) == (3, 3, 3)
    unittest.main(argv=[sys.argv[0]])
