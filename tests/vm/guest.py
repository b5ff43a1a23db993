# SPDX-License-Identifier: MIT
"""What boots: an initramfs of busybox, a program, the libraries that it needs, and an init.

Called by run. Files have the paths that they have on the host (below a sysroot, where there is one),
so that a program finds what it was linked with. Results leave by virtio's serial ports.
"""
import os
import re
import shlex
import shutil
import stat
import subprocess


class Wrong(Exception):
    """What was to be brought along is not there; the text says what."""

MODULES = ("virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "virtio_console")    # in the order of their needs; built into newer kernels
ALWAYS = ("libgcc_s.so.1",)     # glibc loads it when a thread is cancelled

INIT = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp LANG=C
mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs t /dev/shm; mount -t devpts p /dev/pts; mount -t cgroup2 c /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd; ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
	echo +$controller >/sys/fs/cgroup/cgroup.subtree_control
done 2>/dev/null
for module in @modules@; do insmod /modules/$module.ko; done
while [ ! -c /dev/vport0p3 ]; do sleep 0.02; done
ulimit -l unlimited; ulimit -n 65536; ip link set lo up
# pages NODE KIB COUNT: reserves huge pages, and ends it all if there are fewer.
pages() {
	f=/sys/devices/system/node/node$1/hugepages/hugepages-$2kB/nr_hugepages
	echo $3 >$f
	[ "$(cat $f)" = $3 ] && return
	echo "tests/vm: node $1 has $(cat $f) pages of $2 KiB, not $3" >/dev/vport0p2
	echo 123 >/dev/vport0p3; reboot -f
}
@pages@
mkfifo /out /err
cat /out >/dev/vport0p1 & out=$!
cat /err >/dev/vport0p2 & err=$!
(cd @cwd@; @environment@ exec @command@) </dev/null >/out 2>/err
status=$?
# Not for ever: what the program left behind may hold them.
{ sleep 5; kill $out $err; } 2>/dev/null &
wait $out $err
echo $status >/dev/vport0p3
reboot -f
"""


class Elf:
    """What the dynamic linker will look for; an empty Elf for a file that is none."""

    def __init__(self, path):
        with open(path, "rb") as file:
            elf = file.read(4) == b"\x7fELF"
        text = subprocess.run(["readelf", "-dlW", path], capture_output=True, text=True,
                              check=False).stdout if elf else ""
        self.needed = re.findall(r"\(NEEDED\).*\[(.*)\]", text)
        self.needed += re.findall(r"interpreter: (.*)\]", text)
        paths = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.*)\]", text)
        origin = os.path.dirname(os.path.realpath(path))
        self.paths = [p.replace("$ORIGIN", origin) for p in ":".join(paths).split(":") if p]


class Image:
    """Files by the path that they get in the guest: bytes, or the name of a host's file."""

    def __init__(self, sysroot, library_folders):
        self.files = {}
        self.sysroot = sysroot
        self.folders = [sysroot + folder for folder in library_folders]
        for name in ALWAYS:
            self.add_library(name, [])

    def add(self, path, content, mode=0o644):
        self.files[path] = (content, mode)

    def file(self, host, guest=None):
        """A file, or what is below a folder, with the libraries that each needs."""
        host = os.path.abspath(host)
        guest = guest or host
        if os.path.isdir(host):
            for name in os.listdir(host):
                self.file(os.path.join(host, name), os.path.join(guest, name))
            return
        if guest in self.files:
            return
        if not os.path.isfile(host):
            raise Wrong(f"no file {host} to bring along")
        self.add(guest, host, stat.S_IMODE(os.stat(host).st_mode))
        elf = Elf(host)
        for name in elf.needed:
            if not self.add_library(name, elf.paths):
                raise Wrong(f"{host} needs {name}, which is not in "
                            f"{' '.join(elf.paths + self.folders)}")

    def add_library(self, name, paths):
        """Adds a library, or a program interpreter, by its name; False where there is none."""
        if name.startswith("/"):
            candidates = [self.sysroot + name]
        else:
            candidates = [os.path.join(folder, name) for folder in paths + self.folders]
        for host in candidates:
            if os.path.isfile(host):
                below = self.sysroot and host.startswith(self.sysroot)
                self.file(host, host.removeprefix(self.sysroot) if below else host)
                return True
        return False

    def pack(self, to):
        """Writes it as cpio, newc: a header of 13 numbers, the name, the content, padded to 4."""
        with open(to, "wb") as archive:
            number = [0]

            def entry(path, mode, size, source):
                number[0] += 1
                name = path.lstrip("/").encode() + b"\0"
                header = [number[0], mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(name), 0]
                archive.write(b"070701" + b"".join(b"%08x" % n for n in header) + name)
                archive.write(bytes(-archive.tell() % 4))
                if isinstance(source, str):
                    with open(source, "rb") as file:
                        shutil.copyfileobj(file, archive, 1 << 20)
                else:
                    archive.write(source)
                archive.write(bytes(-archive.tell() % 4))

            for folder in self.directories():
                entry(folder, stat.S_IFDIR | (0o1777 if folder == "/tmp" else 0o755), 0, b"")
            for path, (content, mode) in self.files.items():
                size = os.path.getsize(content) if isinstance(content, str) else len(content)
                entry(path, stat.S_IFREG | mode, size, content)
            entry("TRAILER!!!", 0, 0, b"")

    def directories(self):
        found = set()
        for path in [*self.files, *("/%s/x" % d for d in "bin dev proc sys tmp modules".split())]:
            while path != "/":
                path = os.path.dirname(path)
                found.add(path)
        return sorted(found - {"/"})


def huge_pages(nodes):
    for number, node in enumerate(nodes):
        for kib, count in ((2048, node.huge_2m), (1048576, node.huge_1g)):
            if count:
                yield f"pages {number} {kib} {count}"


def build(to, arch, sysroot, kernel, nodes, command, files, environment):
    """Writes the initramfs to the file `to`."""
    image = Image(sysroot, arch.library_folders)
    if os.path.sep in command[0]:
        image.file(command[0])
        command = [os.path.abspath(command[0]), *command[1:]]
    for pair in files:
        host, _, guest = pair.partition(":")
        image.file(host, guest or None)
    modules = [name for name in MODULES if os.path.exists(os.path.join(kernel, name + ".ko"))]
    for name in modules:
        image.add(f"/modules/{name}.ko", os.path.join(kernel, name + ".ko"))
    image.add("/bin/busybox", os.path.join(kernel, "busybox"), 0o755)
    image.add("/etc/passwd", b"root:x:0:0:root:/tmp:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n")
    image.add("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")
    fill = {"modules": " ".join(modules), "pages": "\n".join(huge_pages(nodes)), "cwd": "/tmp",
            "environment": " ".join("export " + shlex.quote(e) + ";" for e in environment),
            "command": shlex.join(command)}
    init = re.sub(r"@(\w+)@", lambda match: fill[match.group(1)], INIT)
    image.add("/init", init.encode(), 0o755)
    image.pack(to)
