# SPDX-License-Identifier: MIT
"""The rows of the report (layer 6): which counter of which bench, its limit, and what mews must be.

Called by plan.py, which runs what they name, and by figures.py, which fills them in. A bench is
named with a * in the backend's place. A bar is a function of the row's medians by backend; it
answers None where a figure that it needs is missing.
"""

PEERS = {  # malloc's name here, the library that is preloaded for it
    "glibc": None,
    "jemalloc": "libjemalloc.so.2",
    "mimalloc": "libmimalloc.so.2",
    "tcmalloc": "libtcmalloc_minimal.so.4",
    "tbb": "libtbbmalloc_proxy.so.2",
}
TUNED = {  # once more, as who reads its manual would set it up
    "glibc": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=268435456:"
                                "glibc.malloc.mmap_threshold=1073741824:"
                                "glibc.malloc.trim_threshold=268435456"},
    "jemalloc": {"MALLOC_CONF": "background_thread:true,thp:always,tcache_nslots_small_max:2048,"
                                "lg_tcache_nslots_mul:6,percpu_arena:percpu"},
    "mimalloc": {"MIMALLOC_LARGE_OS_PAGES": "1", "MIMALLOC_PAGE_RESET": "0"},
    "tcmalloc": {"TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "1073741824"},
}
MALLOCS = list(PEERS) + [f"{name}_tuned" for name in TUNED]
DPDKS = ["dpdk", "dpdk_stack", "dpdk_own_cache", "dpdk_lcore"]
INLINE, FUNCTION = "mews_inline", "mews"
LIMITS = ["nothing", "empty_call", "bare", "home", "mutex"]
ALONE = {  # limits that each bench measures itself, beside what it is about
    "cpu_us_bare": "thread alone", "ns_kernel": "kernel and touch alone",
    "cycles_arena": "one huge mapping", "ring_ns": "ring alone", "ns_touch": "touch alone",
    "bare_ns": "bare array",
}


class Row:
    """One line: a figure of each backend, its limit, and the bar for mews."""

    def __init__(self, group, title, bench, counter, unit, limit="", bar="", met=None, ours=None,
                 steady=True):
        self.group, self.title, self.bench, self.counter, self.unit = (group, title, bench, counter,
                                                                       unit)
        self.limit = limit          # a backend's name, a key of ALONE, or nothing
        self.bar, self.met = bar, met
        self.ours = ours or (INLINE, FUNCTION)  # backends of the two columns of mews
        self.steady = steady        # comparable between two runs of the machine


def best(figures, names):
    """(figure, name) of the lowest, or None."""
    found = [(figures[name], name) for name in names if name in figures]
    return min(found) if found else None


def ours(figures):
    """The better one of inline and function: lease and return are the caller's choice."""
    found = best(figures, (INLINE, FUNCTION))
    return found[0] if found else None


def most(limit, backend=None):
    def met(figures):
        figure = figures.get(backend) if backend else ours(figures)
        return None if figure is None else figure <= limit
    met.most = limit
    return met


def near(backend, other, more):
    def met(figures):
        if backend not in figures or other not in figures:
            return None
        return figures[backend] <= figures[other] + more
    return met


def ahead(slack=0.0, more=0.0):
    """Not behind any peer, by more than what is noise: a share of its figure, or so much."""
    def met(figures):
        peer = best(figures, MALLOCS + DPDKS)
        if peer is None or ours(figures) is None:
            return None
        return ours(figures) <= peer[0] * (1 + slack) + more
    return met


def every(*conditions):
    def met(figures):
        answers = [condition(figures) for condition in conditions]
        return None if None in answers else all(answers)
    return met


def one_thread():
    size = "size:4032"
    pair, bulk = f"pair/*/{size}/count:1", f"bulk/*/{size}/count:"
    rows = [
        Row("single", "pair", pair, "cycles", "cycles", "bare", "inline <= 6, function <= 11",
            every(most(6.05, INLINE), most(11.05, FUNCTION))),
        Row("single", "pair, block not written", f"pair_untouched/*/{size}/count:1", "cycles",
            "cycles", "bare", "inline <= 5", most(5.05, INLINE)),
        Row("single", "pair, function beside two empty calls", pair, "cycles", "cycles",
            "empty_call", "empty calls + 2", near(FUNCTION, "empty_call", 2.05),
            ours=("", FUNCTION)),
        Row("single", "pair, static library", pair, "cycles", "cycles", "empty_call_static",
            ours=("", "mews_static")),
        Row("single", "pair, without rseq (fallback) / every check on", pair, "cycles", "cycles",
            "mutex", ours=("mews_fallback", "mews_checked")),
        Row("single", "pair, workstation mode", pair, "cycles", "cycles", "bare",
            ours=("", "mews_workstation")),
        Row("single", "pair under an owner, beside one without", pair, "cycles", "cycles",
            INLINE, "inline + 2", near("mews_owned", INLINE, 2.05), ours=("mews_owned", "")),
    ]
    for order in ("lifo", "fifo", "random"):
        rows.append(Row("single", f"burst of 64, {order}", f"burst_{order}/*/{size}/count:64",
                        "cycles", "cycles a block", "bare", "<= 8", most(8.05)))
    for order in ("lifo", "fifo", "random"):
        rows.append(Row("single", f"burst of 1,024, {order}", f"burst_{order}/*/{size}/count:1024",
                        "cycles", "cycles a block", "bare", "<= 10", most(10.05)))
    rows += [
        Row("single", "bulk of 32", bulk + "32", "cycles", "cycles a block", "bare", "<= 1.2",
            most(1.2)),
        Row("single", "bulk of 64", bulk + "64", "cycles", "cycles a block", "bare", "<= 2",
            most(2)),
        Row("single", "bulk of 1,024", bulk + "1024", "cycles", "cycles a block", "bare", "<= 2.5",
            most(2.5)),
        Row("single", "bulk of 64, written", f"bulk_touch/*/{size}/count:64", "cycles",
            "cycles a block", "bare", "ahead of all", ahead()),
    ]
    return rows


def many_threads():
    size = "size:4032"
    rows = []
    for threads in (1, 2, 4, 64):
        rows.append(Row("threads", f"replacement in a set of 32, {threads} threads",
                        f"replace/*/{size}/threads:{threads}", "cpu_ns", "CPU ns", "bare",
                        "<= 3" if threads == 64 else "ahead of all",
                        every(most(3), ahead()) if threads == 64 else ahead()))
    serve = f"serve/*/{size}/threads:"
    rows += [
        Row("threads", "server's pattern, 2 threads", serve + "2", "cpu_ns", "CPU ns", "bare_ns",
            steady=False),
        Row("threads", "the same, over the bare array", serve + "2", "ratio", "x", "",
            "ahead of all", ahead()),
        Row("threads", "server's pattern, 16 threads", serve + "16", "cpu_ns", "CPU ns", "bare",
            "ahead of all", ahead()),
    ]
    for pairs, title in ((1, "producer -> consumer, pinned"),
                         (8, "8 producers -> 8 consumers")):
        bench = f"pass/*/{size}/pairs:{pairs}"
        rows += [
            Row("pass", title, bench, "wall_ns", "ns a block", "ring_ns", steady=False),
            Row("pass", f"{title}, over the ring alone", bench, "ratio", "x", "home",
                "ahead of all, <= 1.3" if pairs == 1 else "ahead of all",
                every(most(1.3), ahead()) if pairs == 1 else ahead(), steady=False),
        ]
    rows.append(Row("pass", "round trip of a line between the two CPUs", f"pass/*/{size}/pairs:1",
                    "round_trip_ns", "ns", steady=False))
    for threads in (16, 1000):
        for counter, name in (("p99_ns", "p99"), ("p999_ns", "p99.9"), ("p9999_ns", "p99.99")):
            rows.append(Row("tail", f"one operation, {threads:,} threads, {name}",
                            f"tail/*/{size}/threads:{threads}", counter, "ns", "bare",
                            "the best", ahead(0.15), steady=False))
    return rows


def misses():
    return [
        Row("misses", "a miss that the depot serves", "miss/*", "cycles", "cycles", ours=("",
            "depot")),
        Row("misses", "a miss that the slabs serve", "miss/*", "cycles", "cycles", ours=("",
            "slab")),
        Row("misses", "a miss that grows the pool by one slab", "miss/*", "us", "CPU us",
            ours=("", "growth")),
    ]


def memory():
    size, many = "size:4032", "footprint/*/size:4096/keep:"
    return [
        Row("churn", "thread churn, 32 leases a thread", f"churn/*/{size}/threads:1000", "cpu_us",
            "CPU us a thread", "cpu_us_bare"),
        Row("churn", "the same beyond a bare thread", f"churn/*/{size}/threads:1000",
            "cpu_us_more", "CPU us a thread", "", "ahead of all, to 1 us", ahead(0, 1),
            steady=False),
        Row("churn", "memory growth by 1,000 threads", f"churn/*/{size}/threads:1000",
            "growth_mib", "MiB", "", "0", most(0.1)),
        Row("growth", "growth, pages touched", f"growth/*/{size}/blocks:50000", "ns",
            "CPU ns a block", "ns_kernel", "<= 250", most(250)),
        Row("growth", "the same, over the kernel and touch alone", f"growth/*/{size}/blocks:50000",
            "ratio", "x", "", "the best", ahead(0.02)),
        Row("growth", "the same, reserved beforehand", f"reserved/*/{size}/blocks:50000", "ns",
            "CPU ns a block", "ns_touch", "<= 20", most(20)),
        Row("reads", "random reads over 200,000 live blocks", f"reads/*/{size}/blocks:200000",
            "cycles", "cycles", "cycles_arena", steady=False),
        Row("reads", "the same, over those of one huge mapping", f"reads/*/{size}/blocks:200000",
            "ratio", "x", "", "the best", ahead(0.02)),
        Row("footprint", "peak over the bytes leased, 200,000 of 4,096, 64 threads", many + "1",
            "peak_over_percent", "%", "", "<= 1", most(1)),
        Row("footprint", "all returned, 2 s idle", many + "1", "idle_mib", "MiB", "", "<= 16",
            most(16)),
        Row("footprint", "one in 64 kept, 2 s idle", many + "64", "idle_mib", "MiB", "", "<= 160",
            most(160)),
        Row("footprint", "all returned, after a trim", many + "1", "trimmed_mib", "MiB"),
        Row("footprint", "one in 64 kept, after a trim", many + "64", "trimmed_mib", "MiB"),
    ]


SIZES = (256, 1024, 4032, 4096, 16384, 131072)


def by_size():
    rows = []
    for bench, title, unit in (
            ("pair/*/size:{}/count:1", "pair", "cycles"),
            ("burst_sizes/*/size:{}/count:64", "burst of 64, random", "cycles a block"),
            ("pair_whole/*/size:{}/count:1", "pair, every line written", "cycles")):
        for size in SIZES:
            rows.append(Row("sizes", f"{title}, {size:,} bytes", bench.format(size), "cycles", unit,
                            "bare"))
    return rows


ROWS = one_thread() + many_threads() + misses() + memory() + by_size()
GROUPS = ["single", "threads", "pass", "tail", "misses", "churn", "growth", "reads", "footprint",
          "sizes", "scaling"]
TITLES = {
    "single": "One thread", "threads": "Many threads", "pass": "From thread to thread",
    "tail": "Tails of single operations", "misses": "What a miss costs",
    "churn": "Threads that come and go", "growth": "Growth", "reads": "Random reads",
    "footprint": "Footprint", "sizes": "Sizes of blocks", "scaling": "Machines of other sizes",
}
TOPOLOGIES = [  # CPUs, nodes, as hwloc's synthetic description
    (2, 1, "numa:1 l3:1 core:2 pu:1"), (8, 1, "numa:1 l3:1 core:8 pu:1"),
    (32, 2, "numa:2 l3:2 core:8 pu:1"), (64, 2, "numa:2 l3:4 core:8 pu:1"),
    (128, 4, "numa:4 l3:4 core:8 pu:1"), (256, 8, "numa:8 l3:4 core:8 pu:1"),
    (512, 16, "numa:16 l3:4 core:8 pu:1"),
]
