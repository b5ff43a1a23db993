#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two httpd on mews under the same moderate load, in server and in workstation mode: what each costs.

Called by tools/run --modes. Small requests trickle in all the time, and every 1.6 s some slow clients ask
for much: server mode keeps the memory for the next time, workstation mode gives it back. Then wrk drives
each for what a small request costs.
"""
import argparse
import http.client
import os
import socket
import sys
import time
from statistics import mean, median

from drive import ROUTES, Server, run_wrk, slow_client

MODES = ("server", "workstation")
BYTES, CLIENTS, HELD = 4000000, 16, 0.2     # of an answer; that ask at a time; seconds until they read
PERIOD = 1.6                                # seconds from one time to the next, of one server
WARM_UP, SAMPLE = 6, 0.05


class Load:
    """What one server is asked, and what was read of it."""

    def __init__(self, httpd, mode, extra):
        os.environ["MEWS_MODE"] = mode
        self.server = Server(httpd, "mews", extra)
        del os.environ["MEWS_MODE"]
        self.requests, self.memory = 0, []
        self.trickle = http.client.HTTPConnection(self.server.url.removeprefix("http://"), timeout=60)

    def look(self):
        self.trickle.request("GET", "/plaintext")
        self.trickle.getresponse().read()
        self.memory.append(self.server.memory())

    def begin(self):
        self.clients = [slow_client(self.server, f"/bytes/{BYTES}") for _ in range(CLIENTS)]

    def end(self):
        for client in self.clients:
            left = BYTES
            client.settimeout(60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            while left > 0:     # the head counts as well: what is left of the answer goes with the socket
                left -= len(client.recv(1 << 20)) or sys.exit("httpd closed a connection")
            client.close()
        self.requests += CLIENTS

    def mark(self):
        """What comes before is warming up."""
        self.requests, self.memory, self.server.peak = 0, [], 0
        self.before = self.server.stats()["pool"]
        self.cpu = self.server.cpu_seconds()

    def found(self):
        cpu, after = self.server.cpu_seconds() - self.cpu, self.server.stats()["pool"]
        return {"memory": mean(self.memory), "least": min(self.memory), "peak": self.server.peak,
                "cpu": cpu / self.requests, "growths": after["growths"] - self.before["growths"]}


def rest(loads, until):
    while time.monotonic() < until:
        for load in loads:
            load.look()
        time.sleep(SAMPLE)


def one_period(loads, start):
    """The one is busy while the other rests, so that neither has the other's load."""
    for number, load in enumerate(loads):
        at = start + number * PERIOD / len(loads)
        rest(loads, at)
        load.begin()
        rest(loads, time.monotonic() + HELD)
        load.end()


def drive(loads, periods):
    start = time.monotonic()
    for period in range(periods):
        one_period(loads, start + period * PERIOD)
    rest(loads, start + periods * PERIOD)


def small_requests(loads, rounds):
    """CPU seconds of a request of the first route, by mode."""
    runs = [[run_wrk(load.server, ROUTES[0], 1)["cpu"] / 1e6 for load in loads] for _ in range(rounds)]
    return [median(of_mode) for of_mode in zip(*runs)]


def print_table(found, small, rounds):
    form = "{:<13}{:>10}{:>10}{:>10}{:>22}{:>18}{:>18}"
    print(form.format("MEWS_MODE", "mean MiB", "least", "most", "slabs backed a round",
                      "CPU of an answer", f"of {ROUTES[0][0]}"))
    for mode, row, cpu in zip(MODES, found, small):
        print(form.format(mode, *(f"{row[k] / 2**20:.1f}" for k in ("memory", "least", "peak")),
                          f"{row['growths'] / rounds:.1f}", f"{row['cpu'] * 1e3:.2f} ms",
                          f"{cpu * 1e6:.2f} us"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("httpd")
    parser.add_argument("--rounds", type=int, default=10)
    parser.epilog = "What follows -- goes to both servers."
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, extra = parser.parse_args(sys.argv[1:cut]), sys.argv[cut + 1:]
    loads = [Load(options.httpd, mode, extra) for mode in MODES]
    drive(loads, WARM_UP)
    for load in loads:
        load.mark()
    drive(loads, options.rounds)
    found = [load.found() for load in loads]
    small = small_requests(loads, options.rounds)
    print(f"small requests, and every {PERIOD} s {CLIENTS} clients that ask for {BYTES} bytes each and "
          f"read them {HELD} s later, {options.rounds} times")
    print_table(found, small, options.rounds)
    for load in loads:
        load.server.stop()
    return 1 if any(load.server.process.returncode for load in loads) else 0


if __name__ == "__main__":
    sys.exit(main())
