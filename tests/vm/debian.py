# SPDX-License-Identifier: MIT
"""Kernels, busybox, qemu, and the libraries of another architecture, out of Debian's packages: fetched
once, unpacked, never installed.

apt does what it is good at: it finds the mirror, checks signatures and hashes, tries again, and tells
which of qemu's libraries this machine lacks. It gets folders of its own, so that neither root nor a
change of the machine's sources is needed. Called by run. A folder of the cache is complete if it
exists: it gets its name last.
"""
import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess
import sys

SUITE, BACKPORTS = "bookworm", "bookworm-backports"     # this release: its apt is asked
KERNELS = {"6.12": BACKPORTS, "6.1": SUITE, "5.10": "bullseye"}     # the suite that has it
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
HDRS = 0x202                    # "HdrS" there: an x86 bzImage; its fields are in boot.rst
PACKAGES = os.path.join(os.path.dirname(__file__), "../../tools/packages")
PACKERS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4", b"\xfd7zXZ": "xz"}


class Unavailable(Exception):
    """The virtual machine cannot be had here; the text says why and what to do."""


def say(text):
    print(f"tests/vm: {text}", file=sys.stderr, flush=True)


def command(arguments, **more):
    try:
        return subprocess.run(arguments, check=True, text=True, capture_output=True, **more).stdout
    except FileNotFoundError:
        raise Unavailable(f"{arguments[0]} is missing: type tools/setup test") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{' '.join(arguments[:3])} failed:\n{error.stdout[-500:]}"
                          f"{error.stderr[-1500:]}") from None


@contextlib.contextmanager
def locked(cache):
    """One fetch at a time: tests start side by side."""
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Apt:
    """apt with lists and sources of its own; which packages are installed, it asks the machine."""

    def __init__(self, cache, architecture, suites):
        self.home = os.path.join(cache, "apt-" + architecture)
        for folder in ("lists/partial", "archives/partial", "debs"):
            os.makedirs(os.path.join(self.home, folder), exist_ok=True)
        self.write("sources.list", "".join(
            f"deb [signed-by={KEYRING}] {self.mirror()} {suite} main\n" for suite in suites))
        own = command(["dpkg", "--print-architecture"]).strip()
        self.write("conf", f'Dir::State::lists "{self.home}/lists";\n'
                   f'Dir::Cache "{self.home}";\nDir::Etc::sourcelist "{self.home}/sources.list";\n'
                   f'Dir::Etc::sourceparts "-";\nAPT::Architectures {{"{own}";"{architecture}";}};\n'
                   'Acquire::http::Timeout "20";\nAcquire::Languages "none";\nAcquire::Retries "5";\nAPT::Sandbox::User "";\n'
                   'APT::Install-Recommends "0";\n')
        self.environment = {**os.environ, "APT_CONFIG": os.path.join(self.home, "conf"),
                            "LC_ALL": "C"}
        self.run("apt-get", "update", "-q", "--error-on=any")

    def write(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="ascii") as file:
            file.write(text)

    @staticmethod
    def mirror():
        for line in command(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"]).split("\n"):
            if line.endswith(" " + SUITE):
                return line.split()[0]
        raise Unavailable(f"apt knows no mirror of {SUITE}: add one to /etc/apt/sources.list "
                          "and type apt-get update")

    def run(self, *arguments):
        return command(list(arguments), env=self.environment, cwd=os.path.join(self.home, "debs"))

    def kernel(self, version, architecture):
        """The newest cloud kernel of a version, `6.12`."""
        text = self.run("apt-cache", "show", f"linux-image-cloud-{architecture}:{architecture}")
        names = re.findall(rf"linux-image-{re.escape(version)}\.\S*-cloud-{architecture}\b", text)
        if not names:
            raise Unavailable(f"Debian has no kernel {version} for {architecture}")
        return max(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])

    def missing(self, packages):
        """These packages, and what they need, as far as this machine lacks it: name=version."""
        text = self.run("apt-get", "install", "--simulate", *packages)
        return [f"{name}={version}" for name, version in
                re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", text, re.M)]

    def unpack(self, packages, where):
        """Downloads the packages and unpacks them into the folder where."""
        lines = self.run("apt-get", "download", "--print-uris", *packages).splitlines()
        files = [line.split() for line in lines if line.startswith("'")]
        say(f"downloads {len(files)} packages, {sum(int(f[2]) for f in files) / 1e6:.0f} MB, "
            f"from {self.mirror()}: {' '.join(p.split('=')[0] for p in packages)}")
        self.run("apt-get", "download", "-q", *packages)
        for file in files:
            command(["dpkg-deb", "-x", os.path.join(self.home, "debs", file[1]), where])

    def forget(self):
        shutil.rmtree(self.home)


@contextlib.contextmanager
def complete(folder):
    """A folder under another name, which it keeps if anything goes wrong in between."""
    draft = folder + ".part"
    shutil.rmtree(draft, ignore_errors=True)
    os.makedirs(draft)
    yield draft
    os.rename(draft, folder)


def plain_kernel(image, to):
    """Takes the kernel out of a bzImage, which would unpack itself at each boot; copies others."""
    with open(image, "rb") as file:
        data = file.read()
    if data[HDRS:HDRS + 4] != b"HdrS":
        shutil.copyfile(image, to)
        return
    start = (data[0x1f1] + 1) * 512 + int.from_bytes(data[0x248:0x24c], "little")
    length = int.from_bytes(data[0x24c:0x250], "little") - 4    # the last word is its length
    payload = data[start:start + length]
    packer = next((name for magic, name in PACKERS.items() if payload.startswith(magic)), None)
    if packer is None or shutil.which(packer) is None:
        raise Unavailable(f"{packer or 'an unknown packer'} is missing, the kernel is packed with "
                          "it: type tools/setup test")
    with open(to, "wb") as file:
        subprocess.run([packer, "-dc"], input=payload, stdout=file, check=True)


def keep_kernel(root, folder):
    image = glob.glob(os.path.join(root, "boot/vmlinuz-*"))[0]
    plain_kernel(image, os.path.join(folder, "vmlinux"))
    with open(os.path.join(folder, "release"), "w", encoding="ascii") as file:
        file.write(os.path.basename(image).removeprefix("vmlinuz-") + "\n")
    for module in glob.glob(os.path.join(root, "lib/modules/*/kernel/**/virtio*.ko"),
                            recursive=True):
        shutil.copy(module, folder)
    shutil.copy(os.path.join(root, "bin/busybox"), folder)


def kernel(cache, arch, version):
    """The folder of a kernel: vmlinux, virtio's modules, a static busybox."""
    folder = os.path.join(cache, f"linux-{version}-{arch.debian}")
    with locked(cache):
        if not os.path.isdir(folder):
            # Backports does not always have the busybox.
            apt = Apt(cache, arch.debian, sorted({KERNELS[version], SUITE}))
            with complete(folder) as draft:
                root = os.path.join(draft, "root")
                apt.unpack([f"{apt.kernel(version, arch.debian)}:{arch.debian}",
                            f"busybox-static:{arch.debian}"], root)
                keep_kernel(root, draft)
                shutil.rmtree(root)
            apt.forget()
    return folder


def qemu(cache, arch):
    """The folder that qemu and the libraries missing here were unpacked into."""
    folder = os.path.join(cache, f"qemu-{arch.name}")
    with locked(cache):
        if not os.path.isdir(folder):
            apt = Apt(cache, arch.debian, [SUITE, BACKPORTS])
            packages = apt.missing([f"{name}/{BACKPORTS}" for name in arch.qemu_packages])
            with complete(folder) as draft:
                apt.unpack(packages, draft)
            apt.forget()
    return folder


def listed(section):
    """The packages of one section of tools/packages."""
    with open(PACKAGES, encoding="utf-8") as file:
        text = file.read().partition(f"\n[{section}]\n")[2].partition("\n[")[0]
    return [line.split()[0] for line in text.splitlines() if line and line[0] != "#"]


def make_relative(root):
    """Links to absolute names would lead out of the folder."""
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.islink(path) and os.path.isabs(os.readlink(path)):
                to = os.path.relpath(root + os.readlink(path), folder)
                os.remove(path)
                os.symlink(to, path)


def sysroot(cache, arch):
    """The folder of headers and libraries to cross-build with; made anew where the list has changed."""
    folder = os.path.join(cache, "sysroot-" + arch.debian)
    stamp, packages = os.path.join(folder, "packages"), listed("sysroot")
    with locked(cache):
        if not os.path.isfile(stamp) or open(stamp, encoding="ascii").read().split() != packages:
            shutil.rmtree(folder, ignore_errors=True)
            apt = Apt(cache, arch.debian, [SUITE])
            with complete(folder) as draft:
                os.makedirs(os.path.join(draft, "usr/lib"))
                os.symlink("usr/lib", os.path.join(draft, "lib"))   # as on the machine itself
                apt.unpack([f"{name}:{arch.debian}" for name in packages], draft)
                make_relative(draft)
                with open(os.path.join(draft, "packages"), "w", encoding="ascii") as file:
                    file.write("\n".join(packages) + "\n")
            apt.forget()
    return folder
