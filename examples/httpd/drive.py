#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drives two httpd, one on a mews pool and one on malloc, with wrk, and prints one table.

Called by tools/run. Both servers run all the time; each route is driven for a short while on the
one and then on the other, the order turning from round to round, so that whatever else the machine
does meets both. Figures are medians over the rounds, with the least and the most beside them.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from statistics import median

HERE = os.path.dirname(os.path.realpath(__file__))
ALLOCATORS = ("mews", "malloc")
# path, arguments for report.lua, connections
ROUTES = (
    ("/plaintext", (), 64),
    ("/bytes/16384", (), 64),
    ("/handoff/4000", (), 64),
    ("/echo", ("2000",), 64),
    ("/bytes/1000000", (), 32),
)
BLOCK = 4032       # bytes of a block
IDLE_SECONDS = 3   # before memory is read: what an allocator gives back by itself, it has by then
# The burst at the end: clients ask for much and take none of it; most vanish, the last few stay.
BURST_PATH, BURST_CLIENTS, BURST_STAY = "/bytes/8000000", 16, 3


class Server:
    """One httpd under load, and all that is known of it."""

    def __init__(self, httpd, allocator, extra):
        self.allocator, self.peak = allocator, 0
        self.ledger_file = tempfile.mktemp(suffix=".json")
        self.process = subprocess.Popen(
            [httpd, "--port", "0", "--allocator", allocator, "--ledger", self.ledger_file, *extra],
            stdout=subprocess.PIPE, text=True)
        self.greeting = []
        for line in self.process.stdout:
            self.greeting.append(line.rstrip())
            if line.startswith("listening"):
                break
        else:
            sys.exit(f"httpd --allocator {allocator} did not start")
        self.url = self.greeting[-1].split()[1]
        self.first = self.memory()

    def stats(self):
        with urllib.request.urlopen(self.url + "/stats", timeout=10) as answer:
            return json.load(answer)

    def memory(self):
        """Bytes: its share of resident pages, and huge pages of its own, which no PSS counts."""
        total = 0
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            for line in file:
                if line.split(":")[0] in ("Pss", "Private_Hugetlb", "Shared_Hugetlb"):
                    total += int(line.split()[1]) * 1024
        self.peak = max(self.peak, total)
        return total

    def cpu_seconds(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
        return total / 1e9

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.words = self.process.communicate(timeout=60)[0]
        with open(self.ledger_file) as file:
            self.ledger = json.load(file)
        os.unlink(self.ledger_file)


def run_wrk(server, route, seconds):
    """One run of wrk; samples the server's memory meanwhile."""
    path, arguments, connections = route
    before, cpu = server.stats(), server.cpu_seconds()
    wrk = subprocess.Popen(
        ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", f"{HERE}/report.lua",
         server.url + path, "--", *arguments], stdout=subprocess.PIPE, text=True)
    while wrk.poll() is None:
        server.memory()
        time.sleep(0.2)
    line = [l for l in wrk.stdout if l.startswith("JSON ")]
    if not line or server.process.poll() is not None:
        sys.exit(f"wrk or httpd --allocator {server.allocator} died on {path}")
    run = json.loads(line[0][5:])
    after = server.stats()
    run["cpu"] = (server.cpu_seconds() - cpu) / max(1, run["requests"]) * 1e6
    run["rate"] = run["requests"] / (run["us"] / 1e6)
    run["leases"] = (after["leases"] - before["leases"]) / (run["us"] / 1e6)
    run["pool_leases"] = after["leases"] - before["leases"]
    for key in "lease_misses", "depot_hits", "slab_hits", "growths":
        if server.allocator == "mews":
            run["pool_" + key] = after["pool"][key] - before["pool"][key]
    return run


def slow_client(server, path):
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return client


def burst(server):
    """Answers that nobody takes pile up in the server, under load. Returns who stays."""
    clients = [slow_client(server, BURST_PATH) for _ in range(BURST_CLIENTS)]
    run_wrk(server, ROUTES[0], 1)
    for client in clients[:-BURST_STAY]:
        client.close()
    run_wrk(server, ROUTES[0], 1)
    return clients[-BURST_STAY:]


class Progress:
    """A line that says how far it is, where somebody is looking."""

    def __init__(self, steps, seconds):
        self.left, self.seconds, self.steps = steps, seconds, steps

    def step(self, words):
        self.left -= 1
        if sys.stderr.isatty():
            print(f"\r  {self.steps - self.left} of {self.steps}  {words:<32}"
                  f"{self.left * self.seconds:4.0f} s left ", end="", file=sys.stderr, flush=True)
        elif self.left % 10 == 0:
            print(f"  {self.left * self.seconds:.0f} s left", file=sys.stderr, flush=True)

    def end(self):
        if sys.stderr.isatty():
            print("\r" + " " * 72 + "\r", end="", file=sys.stderr)


def load(servers, rounds, seconds):
    """results[route][allocator] = runs, a run a round."""
    results = [{a: [] for a in ALLOCATORS} for _ in ROUTES]
    progress = Progress(rounds * len(ROUTES) * 2, seconds + 0.2)
    for number in range(rounds):
        order = ALLOCATORS if number % 2 == 0 else ALLOCATORS[::-1]
        for i, route in enumerate(ROUTES):
            for allocator in order:
                progress.step(f"{allocator} {route[0]}")
                results[i][allocator].append(run_wrk(servers[allocator], route, seconds))
    progress.end()
    return results


def measure_memory(servers):
    """What each holds after a rest, and its peak before; the next peak starts here."""
    time.sleep(IDLE_SECONDS)
    found = {}
    for a, server in servers.items():
        stats = server.stats()
        out = (stats["leases"] - stats["returns"]) * BLOCK
        found[a] = {"final": server.memory(), "peak": server.peak, "out": out}
        server.peak = 0
    return found


def short(value):
    for unit, letter in (1e6, "M"), (1e3, "k"):
        if value >= unit:
            return f"{value / unit:.1f}{letter}"
    return f"{value:.0f}"


def time_of(us):
    return f"{us / 1000:.1f}ms" if us >= 10000 else f"{us / 1000:.2f}ms"


def print_routes(results):
    form = "{:<15}{:<8}{:>8} {:<17}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  {}"
    print(form.format("route", "", "req/s", "least..most", "p50", "p99", "p99.9", "CPU/req",
                      "leases/s", "hits", "misses: depot slab growth"))
    for route, runs in zip(ROUTES, results):
        for a in ALLOCATORS:
            of = lambda key: median(run[key] for run in runs[a])
            rates = [run["rate"] for run in runs[a]]
            hits = misses = ""
            if a == "mews":
                sums = {k: sum(run["pool_" + k] for run in runs[a])
                        for k in ("leases", "lease_misses", "depot_hits", "slab_hits", "growths")}
                hits = f"{100 * (1 - sums['lease_misses'] / max(1, sums['leases'])):.2f} %"
                misses = f"{sums['depot_hits']} {sums['slab_hits']} {sums['growths']}"
            print(form.format(route[0] if a == "mews" else "", a, short(of("rate")),
                              f"{short(min(rates))}..{short(max(rates))}", time_of(of("p50")),
                              time_of(of("p99")), time_of(of("p999")), f"{of('cpu'):.2f}us",
                              short(of("leases")), hits, misses))
        pairs = list(zip(runs["mews"], runs["malloc"]))
        rate = [m["rate"] / a["rate"] for m, a in pairs]
        cpu = [m["cpu"] / a["cpu"] for m, a in pairs]
        errors = sum(run["errors"] for a in ALLOCATORS for run in runs[a])
        print(f"{'':15}mews/malloc: requests {median(rate):.2f} ({min(rate):.2f}..{max(rate):.2f}), "
              f"CPU a request {median(cpu):.2f} ({min(cpu):.2f}..{max(cpu):.2f})"
              + (f", ERRORS {errors}" if errors else ""))


def print_ends(servers, after_load, after_burst):
    mib = lambda n: f"{n / 2**20:.1f} MiB"
    print(f"\nmemory is read {IDLE_SECONDS} s after; the burst: {BURST_CLIENTS} clients ask for "
          f"{BURST_PATH} and take nothing, all but {BURST_STAY} of them vanish")
    for a in ALLOCATORS:
        s, ledger = servers[a], servers[a].ledger
        load, burst = after_load[a], after_burst[a]
        print(f"memory {a:<7} at start {mib(s.first)}; load: peak {mib(load['peak'])}, after it "
              f"{mib(load['final'])}; burst: peak {mib(burst['peak'])}, after it "
              f"{mib(burst['final'])}, of which {mib(burst['out'])} are in use")
        print(f"ledger {a:<7} {ledger['leases']} leases - {ledger['returns']} returns = "
              f"{ledger['leases'] - ledger['returns']} out, {ledger['returns_elsewhere']} returned by "
              f"another thread; malloc calls during requests: {ledger['malloc_calls']}")
        pool = ledger["pool"]
        if pool:
            print(f"{'':15}carved {pool['carved']} = leased {pool['leased']} + cached "
                  f"{pool['cached']} + side {pool['side']} + depot {pool['depot']} + slab "
                  f"{pool['slab']}; backed {mib(pool['backed_bytes'])}, tables "
                  f"{mib(pool['metadata_bytes'])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("httpd")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=1, help="of each run of wrk")
    parser.add_argument("--json", help="write every run to this file")
    parser.epilog = "What follows -- goes to both servers."
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, extra = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1:]
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed")
    servers = {a: Server(options.httpd, a, extra) for a in ALLOCATORS}
    for line in servers["mews"].greeting[:-1]:
        print(line)
    others = os.getloadavg()[0]
    results = load(servers, options.rounds, options.seconds)
    after_load = measure_memory(servers)
    staying = [burst(server) for server in servers.values()]
    after_burst = measure_memory(servers)
    for client in sum(staying, []):
        client.close()
    for server in servers.values():
        server.stop()
    print(f"{options.rounds} rounds of {options.seconds} s a route and allocator; both servers and "
          f"wrk share {len(os.sched_getaffinity(0))} CPUs; load average before: {others:.1f}")
    print_routes(results)
    print_ends(servers, after_load, after_burst)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"routes": [r[0] for r in ROUTES], "results": results,
                       "start": {a: servers[a].first for a in ALLOCATORS},
                       "after_load": after_load, "after_burst": after_burst,
                       "ledgers": {a: servers[a].ledger for a in ALLOCATORS}}, file)
    failed = [a for a in ALLOCATORS if servers[a].process.returncode]
    for a in failed:
        print(f"httpd --allocator {a} ended with {servers[a].process.returncode}:\n"
              f"{servers[a].words}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
