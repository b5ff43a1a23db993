# SPDX-License-Identifier: MIT
"""The virtual machine: what differs between architectures, qemu's command line, one boot.

Called by run. Always emulated (TCG), never KVM: a test must not depend on what the host's kernel
lets it do, and /dev/kvm may exist where no kernel boots in it.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass

from debian import Unavailable

OLDEST_QEMU = 10                # 7.2 corrupts flags at cmpxchg16b: guests panic at random
SHARED = "quiet loglevel=4 panic=-1 nokaslr mitigations=off nowatchdog numa_balancing=disable psi=1 " \
    "rcupdate.rcu_cpu_stall_suppress=1 random.trust_cpu=on cryptomgr.notests=1 hugepagesz=2M " \
    "initcall_blacklist=init_encrypted,load_system_certificate_list,bpf_dummy_struct_ops_init," \
    "bpf_tcp_ca_kfunc_init,jent_mod_init,crypto_kdf108_init"   # 0.7 s of self-tests


def host_clock():
    """Counts of the time stamp counter and its rate: calibrating them costs an emulation seconds."""
    with open("/proc/cpuinfo", encoding="ascii") as file:
        mips = re.search(r"bogomips\s*: ([\d.]+)", file.read())
    if mips is None:
        return "no_timer_check"
    khz = int(float(mips.group(1)) * 500)
    return f"no_timer_check lpj={khz * 4} tsc_early_khz={khz} tsc=reliable"


@dataclass
class Arch:
    name: str                   # as uname -m and qemu say it
    debian: str                 # as Debian says it
    qemu_packages: tuple
    machine: list               # qemu's options
    cpu: str                    # all that qemu can emulate
    kernel_options: str
    library_folders: tuple      # where the dynamic linker looks, in that order


ARCHES = {arch.name: arch for arch in (
    Arch("x86_64", "amd64",
         ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"),
         ["-M", "q35"], "max",                  # not microvm: it has no table of nodes
         "console=ttyS0 " + host_clock(),
         ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib")),
    Arch("aarch64", "arm64",
         ("qemu-system-arm", "qemu-system-common", "qemu-system-data"),
         # Pointers are signed by qemu's own function: the architecture's is slow to emulate.
         ["-M", "virt,gic-version=3"], "max,pauth-impdef=on",
         "console=ttyAMA0",
         ("/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib", "/usr/lib")),
)}


@dataclass
class Node:
    cpus: int
    memory: int                 # MiB
    huge_2m: int                # pages
    huge_1g: int


class Emulator:
    """qemu as it was unpacked, or the machine's own where nothing had to be."""

    def __init__(self, folder, arch):
        self.folder = folder
        self.program = os.path.join(folder, "usr/bin/qemu-system-" + arch.name)
        if not os.path.exists(self.program):
            self.program = shutil.which("qemu-system-" + arch.name) or ""
        libraries = glob.glob(os.path.join(folder, "usr/lib/*-linux-gnu")) + \
            glob.glob(os.path.join(folder, "lib/*-linux-gnu"))
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
        told = subprocess.run([self.program or "false", "--version"], capture_output=True, text=True,
                              env=self.environment, check=False)
        version = re.search(r"version (\d+)", told.stdout)
        if version is None or int(version.group(1)) < OLDEST_QEMU:
            raise Unavailable(f"{self.program or 'qemu'} is no qemu {OLDEST_QEMU} or newer: "
                              f"{told.stdout or told.stderr}; remove {folder} to fetch it again")

    def command(self):
        shared = os.path.join(self.folder, "usr/share")
        found = [self.program]
        for folder in ("qemu", "seabios"):
            if os.path.isdir(os.path.join(shared, folder)):
                found += ["-L", os.path.join(shared, folder)]
        return found


def processors(nodes):
    """A socket a node, so that no cache spans two; a socket a CPU where the nodes are not alike."""
    counts = [node.cpus for node in nodes if node.cpus]
    total = sum(counts)
    sockets = len(counts) if len(set(counts)) == 1 else total
    return ["-smp", f"{total},sockets={sockets},cores={total // sockets},threads=1"]


def memory(nodes, distances):
    total, first, options = sum(node.memory for node in nodes), 0, []
    for number, node in enumerate(nodes):
        told = f"node,nodeid={number}"
        if node.cpus:
            told += f",cpus={first}-{first + node.cpus - 1}"
            first += node.cpus
        if node.memory:
            options += ["-object", f"memory-backend-ram,id=m{number},size={node.memory}M"]
            told += f",memdev=m{number}"
        options += ["-numa", told]
    for source, row in enumerate(distances):
        for target, distance in enumerate(row):
            options += ["-numa", f"dist,src={source},dst={target},val={distance}"]
    return ["-m", f"{total}M", *options]


def gigantic(nodes):
    """Pages of 1 GiB are reserved at boot, before memory is cut into pieces."""
    counts = ",".join(f"{number}:{node.huge_1g}" for number, node in enumerate(nodes)
                      if node.huge_1g)
    return f" hugepagesz=1G hugepages={counts}" if counts else ""


def copy(source, target):
    """Passes on what the guest writes, as it comes."""
    while True:
        piece = os.read(source, 65536)
        if not piece:
            return
        target.write(piece)
        target.flush()


@dataclass
class Boot:
    status: int                 # of the program; None: the guest did not tell one
    timed_out: bool
    console: str
    qemu: str                   # what qemu itself said


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def boot(emulator, arch, nodes, distances, kernel, initramfs, append, timeout, folder):
    """Boots, passes on the program's output, and waits for its end; folder is for small files."""
    console, status = os.path.join(folder, "console"), os.path.join(folder, "status")
    open(status, "w", encoding="ascii").close()
    pipes = [os.pipe(), os.pipe()]
    command = [*emulator.command(), *arch.machine, "-cpu", arch.cpu, *processors(nodes), *memory(nodes, distances),
               "-accel", "tcg,thread=multi", "-nodefaults", "-no-user-config", "-display", "none",
               "-no-reboot", "-serial", f"file:{console}", "-kernel",
               os.path.join(kernel, "vmlinux"), "-initrd", initramfs, "-append",
               f"{arch.kernel_options} {SHARED}{gigantic(nodes)} {append}",
               "-device", "virtio-serial-pci"]
    files = [f"/proc/self/fd/{pipes[0][1]}", f"/proc/self/fd/{pipes[1][1]}", status]
    for port, file in enumerate(files, 1):
        command += ["-chardev", f"file,id=c{port},append=on,path={file}",
                    "-device", f"virtserialport,chardev=c{port},nr={port}"]
    qemu = subprocess.Popen(command, env=emulator.environment, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            pass_fds=[pipes[0][1], pipes[1][1]])
    copiers = []
    for (source, end), target in zip(pipes, (sys.stdout.buffer, sys.stderr.buffer)):
        os.close(end)
        copiers.append(threading.Thread(target=copy, args=(source, target)))
        copiers[-1].start()
    timed_out = False
    try:
        said, _ = qemu.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        qemu.kill()
        said, _ = qemu.communicate()
    except BaseException:       # interrupted: no machine stays behind
        qemu.kill()
        raise
    for copier in copiers:
        copier.join()
    told = read(status).strip()
    return Boot(int(told) if told else None, timed_out, read(console), said)
