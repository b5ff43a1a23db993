#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A real server, real sockets: every route, every way a client can misbehave, and the ledger.

usage: test_httpd.py HTTPD [unittest arguments]

Each case runs with each allocator on each event loop. A loop that this kernel refuses is skipped,
loudly; if none is left, the exit status is 77.
"""
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HTTPD = sys.argv[1] if len(sys.argv) > 1 else None
SKIP = 77
PATIENCE = 60         # seconds: of a machine that has other things to do


class Server:
    """One running httpd; stop() returns its exit status and its ledger."""

    def __init__(self, *arguments):
        handle, self.ledger = tempfile.mkstemp(suffix=".json")
        os.close(handle)
        self.process = subprocess.Popen(
            [HTTPD, "--port", "0", "--threads", "2", "--ledger", self.ledger, *arguments],
            stdout=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stdout:
            if line.startswith("listening"):
                self.port = int(line.rsplit(":", 1)[1])
                break
        if self.port is None:
            raise RuntimeError(f"httpd did not start: status {self.process.wait()}")

    def connect(self, receive_buffer=None):
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", self.port))
        return sock

    def request(self, method, path, body=None, headers=None, chunked=False):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request(method, path, body, headers or {}, encode_chunked=chunked)
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            client.close()

    def stats(self):
        return json.loads(self.request("GET", "/stats")[2])

    def out(self):
        """Buffers leased and not returned."""
        stats = self.stats()
        return stats["leases"] - stats["returns"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.text = self.process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        with open(self.ledger) as file:
            ledger = json.load(file)
        os.unlink(self.ledger)
        return self.process.returncode, ledger


def read_all(sock):
    data = b""
    while True:
        try:
            more = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not more:
            return data
        data += more


def read_answers(sock, count):
    """That many responses from one connection, with their bodies."""
    file, answers = sock.makefile("rb"), []
    for _ in range(count):
        status, length = int(file.readline().split()[1]), 0
        while (line := file.readline()) not in (b"\r\n", b""):
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        answers.append((status, file.read(length)))
    return answers


def reset(sock):
    """Vanishes: the kernel sends a reset, whatever was under way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def letters(length):
    return bytes([ord("a") + length % 26]) * length


class Case:
    """What every kind of server must do; the kinds are made below."""

    allocator = loop = None

    def setUp(self):
        self.server = self.start()

    def start(self, *arguments):
        return Server("--allocator", self.allocator, "--loop", self.loop, *arguments)

    def tearDown(self):
        status, ledger = self.server.stop()
        self.assertEqual(status, 0, self.server.text)
        self.assertEqual(ledger["leases"], ledger["returns"])
        self.assertGreater(ledger["leases"], 0)
        self.assertIn("balances", self.server.text)
        pool = ledger["pool"]
        self.assertEqual(pool is None, self.allocator == "malloc")
        if pool:
            self.assertEqual(pool["leased"] + pool["oversize_leased"], 0)
            self.assertEqual(pool["carved"],
                             sum(pool[tier] for tier in ("cached", "side", "depot", "slab")))
            self.assertEqual(ledger["malloc_calls"], 0)
        elif ledger["malloc_counted"]:
            self.assertGreaterEqual(ledger["malloc_calls"], ledger["leases"] - 200)
        self.check(ledger)

    def check(self, ledger):
        """For a test that has something to say about the ledger to replace."""

    def until_out(self, least, seconds=PATIENCE):
        """Waits for the buffers of dropped clients to come back."""
        end = time.monotonic() + seconds
        while (out := self.server.out()) > least:
            self.assertLess(time.monotonic(), end, f"{out} buffers are out, not {least}")
            time.sleep(0.05)

    def test_who_holds_blocks(self):
        """A client that stops in the midst of a body holds a block; SIGUSR1 twice says who leased it."""
        self.server.process.send_signal(signal.SIGUSR1)
        if self.allocator == "malloc":
            return
        self.assertIn("are recorded", self.server.process.stdout.readline())
        before, end = self.server.out(), time.monotonic() + PATIENCE
        client = self.server.connect()
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        while self.server.out() <= before:
            self.assertLess(time.monotonic(), end, "the client holds no block")
            time.sleep(0.05)
        self.server.process.send_signal(signal.SIGUSR1)
        text = ""
        while "any more" not in text:
            text += self.server.process.stdout.readline()
        self.assertRegex(text, r"[1-9]\d* out, \d+ bytes, the oldest [0-9.]+ s ago by thread \d+:\n"
                         r"    .*httpd\+0x[0-9a-f]+")
        client.close()

    def test_routes(self):
        get = lambda path: self.server.request("GET", path)
        self.assertEqual(get("/plaintext")[2], b"Hello, World!")
        self.assertEqual(get("/plaintext?x=1")[0], 200)
        self.assertEqual(get("/health")[0], 200)
        self.assertEqual(json.loads(get("/array/0")[2]), [])
        self.assertEqual(json.loads(get("/array/20000")[2]), list(range(20000)))
        for n in 0, 1, 3815, 3816, 3817, 4032, 16384, 1000001:
            self.assertEqual(get(f"/bytes/{n}")[::2], (200, letters(n)))
            self.assertEqual(get(f"/handoff/{n}")[::2], (200, letters(n)))
        status, headers, body = self.server.request("HEAD", "/bytes/100000")
        self.assertEqual((status, headers["Content-Length"], body), (200, "100000", b""))
        self.assertEqual(self.server.stats()["allocator"], self.allocator)

    def test_wrong_paths_and_methods(self):
        ask = lambda method, path: self.server.request(method, path)[:2]
        self.assertEqual(ask("GET", "/")[0], 404)
        self.assertEqual(ask("GET", "/plaintexts")[0], 404)
        for number in "x", "-1", "1x", "999999999", "18446744073709551617":
            self.assertEqual(ask("GET", f"/bytes/{number}")[0], 400)
        for method, path, allow in (("POST", "/plaintext", "GET, HEAD"),
                                    ("POST", "/handoff/1", "GET, HEAD"),
                                    ("GET", "/echo", "POST"), ("DELETE", "/echo", "POST")):
            status, headers = ask(method, path)
            self.assertEqual((status, headers["Allow"]), (405, allow))

    def test_echo(self):
        oversize = 0
        for n in 0, 1, 2000, 3816, 3817, 5000, 100000, 2000000:
            body = os.urandom(n)
            status, _, answer = self.server.request("POST", "/echo", body)
            self.assertTrue(status == 200 and answer == body, f"{n} bytes")
            parts = iter([body[i:i + 1777] for i in range(0, n, 1777)])
            answer = self.server.request("POST", "/echo", parts, {"Transfer-Encoding": "chunked"},
                                         chunked=True)[2]
            self.assertTrue(answer == body, f"{n} bytes in chunks")
            oversize += n + 192 > 4032 - 24
        self.assertEqual(self.server.stats()["oversize"], oversize)

    def test_pipelining(self):
        """Answers come in the order of the requests, also where another thread makes some."""
        lengths = [n * 37 % 5000 for n in range(300)]
        text = "".join(f"GET /{'handoff' if n % 3 == 0 else 'bytes'}/{n} HTTP/1.1\r\nHost: h\r\n\r\n"
                       for n in lengths)
        with self.server.connect() as sock:
            threading.Thread(target=sock.sendall, args=(text.encode(),)).start()
            self.assertEqual(read_answers(sock, 300), [(200, letters(n)) for n in lengths])

    def test_one_byte_at_a_time(self):
        with self.server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde":
                sock.sendall(bytes([byte]))
            self.assertEqual(read_answers(sock, 1), [(200, b"abcde")])

    def test_bad_requests(self):
        for status, text in ((400, b"nonsense\r\n\r\n"), (400, b"\0" * 100),
                             (400, b"GET /plaintext HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
                             (414, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n"),
                             (431, b"GET / HTTP/1.1\r\nA: " + b"x" * 20000),
                             (413, b"POST /echo HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n")):
            with self.server.connect() as sock:
                sock.sendall(text + b"x" * 100000)   # the farewell must outlive unread bytes
                sock.shutdown(socket.SHUT_WR)
                answer = read_all(sock)
                self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (text[:40], answer))
                self.assertIn(b"Connection: close", answer)

    def test_connection_close(self):
        for text in (b"GET /health HTTP/1.0\r\n\r\n",
                     b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"):
            with self.server.connect() as sock:
                sock.sendall(text * 2)
                answer = read_all(sock)
                self.assertEqual(answer.count(b"200 OK"), 1)
                self.assertIn(b"Connection: close", answer)

    def test_half_close(self):
        """A client that shuts its side still gets all that it asked for."""
        for path in "bytes/3000000", "handoff/3000000":
            with self.server.connect() as sock:
                sock.sendall(f"GET /{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                sock.shutdown(socket.SHUT_WR)
                self.assertEqual(len(read_all(sock).split(b"\r\n\r\n", 1)[1]), 3000000)

    def test_vanished_clients(self):
        before = self.server.out()
        for i in range(120):
            sock = self.server.connect()
            if i % 3 == 0:
                sock.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: 50000\r\n\r\nabc")
            else:
                path = b"bytes" if i % 3 == 1 else b"handoff"
                sock.sendall(b"GET /%s/4000000 HTTP/1.1\r\n\r\n" % path)
                if i % 2:
                    sock.recv(100)
            reset(sock)
        self.until_out(before)
        self.assertEqual(self.server.request("GET", "/health")[0], 200)

    def test_idle_connections_hold_nothing(self):
        before = self.server.out()
        idle = [self.server.connect() for _ in range(300)]
        for sock in idle:
            sock.sendall(b"GET /bytes/9000 HTTP/1.1\r\n\r\n")
        for sock in idle:
            self.assertEqual(read_answers(sock, 1), [(200, letters(9000))])
        self.until_out(before)
        for sock in idle:
            sock.close()

    def test_slow_clients(self):
        self.server.stop()
        self.server = self.start("--timeout", "0.5", "--idle", "0.7")
        before = self.server.out()
        head, body, reader, idle = (self.server.connect(4096) for _ in range(4))
        head.sendall(b"GET /plaintext HT")
        body.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\nabc")
        reader.sendall(b"GET /bytes/8000000 HTTP/1.1\r\n\r\n")
        for _ in range(3):             # a drop now and then does not buy more time for a head
            time.sleep(0.2)
            try:
                head.sendall(b"T")
            except ConnectionError:    # this one was slower still: it was told, and closed
                break
        self.assertIn(b" 408 ", read_all(head))
        self.assertIn(b" 408 ", read_all(body))
        self.assertEqual(read_all(idle), b"")
        self.until_out(before)         # of the 8 MB that the reader never took, too
        for sock in head, body, reader, idle:
            sock.close()

    def test_stop_under_load(self):
        """Whoever was answered was answered in full; the ledger balances in tearDown."""
        wrong = []

        def load():
            while True:
                try:
                    status, _, body = self.server.request("GET", "/handoff/70000")
                except (OSError, http.client.HTTPException):
                    return
                if (status, body) != (200, letters(70000)):
                    wrong.append(status)

        threads = [threading.Thread(target=load) for _ in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        self.server.out()       # one is answered at the least
        self.server.process.send_signal(signal.SIGTERM)
        self.server.process.wait(timeout=PATIENCE)
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class Full:
    """A pool at its limit: 503, nothing lost, and all is well once clients let go."""

    def request_large(self):
        return self.server.request("GET", "/bytes/100000")

    def test_full_pool(self):
        self.server.stop()
        self.server = self.start("--max-blocks", "400", "--timeout", str(PATIENCE))
        post = b"POST /echo HTTP/1.1\r\nContent-Length: 3000\r\n\r\n"
        holders, refused = [], 0
        for _ in range(600):
            sock = self.server.connect()
            sock.sendall(post)
            holders.append(sock)
        end = time.monotonic() + PATIENCE
        while (answer := self.request_large())[0] == 200:   # not all of them were read yet
            self.assertLess(time.monotonic(), end, "the pool is not full")
            time.sleep(0.05)
        self.assertEqual(answer[0], 503)
        self.assertIn("Retry-After", answer[1])
        for sock in holders:
            try:
                sock.sendall(b"x" * 3000)
                (status, body), = read_answers(sock, 1)
            except ConnectionError:
                status, body = 503, b""
            self.assertIn((status, body), ((200, b"x" * 3000), (503, b"")))
            refused += status == 503
            sock.close()
        self.assertTrue(0 < refused < 600, f"{refused} of 600 refused")
        self.assertEqual(self.request_large()[::2], (200, letters(100000)))
        self.check = lambda ledger: self.assertGreaterEqual(ledger["refused"], refused)


def make_cases():
    """One class a kind; None for a loop that this kernel refuses."""
    made = 0
    for loop in "uring", "epoll":
        probe = subprocess.Popen([HTTPD, "--loop", loop, "--port", "0"], stdout=subprocess.PIPE,
                                 text=True)
        if not any(line.startswith("listening") for line in probe.stdout):
            print(f"SKIPPED: the {loop} loop cannot be used here", file=sys.stderr)
            probe.wait()
            continue
        probe.send_signal(signal.SIGINT)
        probe.communicate()
        for allocator, bases in ("mews", (Full, Case)), ("malloc", (Case,)):
            name = f"Test_{allocator}_{loop}"
            globals()[name] = type(name, (*bases, unittest.TestCase),
                                   {"allocator": allocator, "loop": loop})
            made += 1
    return made


if __name__ == "__main__":
    if not HTTPD:
        sys.exit(__doc__)
    if not make_cases():
        sys.exit(SKIP)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], warnings="ignore")
