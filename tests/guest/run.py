#!/usr/bin/env python3
"""Runs programs of this build on Debian's own kernel, under qemu.

    run.py [--module NAME]... [--env NAME=VALUE]... [--beside PROGRAM]...
           PROGRAM [ARGUMENT]... [-- PROGRAM [ARGUMENT]...]...

The kernel (linux-image-cloud-amd64 of this Debian) is fetched as a package and kept
in the user's cache; the initramfs holds busybox, the programs and the libraries
that they load. The guest's console is shown. Exits with 0 when every program did and
none of its tests was skipped (a kernel without io_uring would skip nearly all), and
with 77, saying why, when a guest cannot be made here.
"""
import argparse
import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "ringscale/kernel"
VERDICT = "guest-verdict:"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
SKIPPED_TESTS = re.compile(r"\[  SKIPPED \] (.*\w)")  # what GoogleTest prints

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox ifconfig lo 127.0.0.1 up
ulimit -n 65536
for module in /modules/*.ko; do [ -e "$module" ] && /bin/busybox insmod "$module"; done
verdict=ok
echo "guest: kernel $(/bin/busybox uname -r)"
{commands}
echo "{verdict} $verdict"
/bin/busybox poweroff -f
"""


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(SKIPPED)


def output(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def fetch_kernel():
    """The unpacked kernel package; fetched again when Debian has a newer one."""
    def newest():
        known = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                               capture_output=True, text=True)
        return re.search(r"Depends: (linux-image-[0-9]\S+)", known.stdout)

    match = newest()
    if not match:
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        match = newest()
    if not match:
        skip("apt knows no linux-image-cloud-amd64")
    target = CACHE / match.group(1)
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            done = subprocess.run(["apt-get", "download", match.group(1)], cwd=work,
                                  capture_output=True, text=True)
            packages = list(pathlib.Path(work).glob("*.deb"))
            if done.returncode != 0 or not packages:
                skip(f"cannot download {match.group(1)}: {done.stderr.strip()}")
            unpacked = pathlib.Path(work) / "unpacked"
            output("dpkg", "-x", packages[0], unpacked)
            unpacked.rename(target)
    return target


def libraries(program):
    """What the dynamic linker would load for it, itself included."""
    return re.findall(r"(/\S+) \(0x", output("ldd", program))


def module_files(kernel, names):
    """The module and what it depends on, in the order of loading."""
    root = next((kernel / "lib/modules").iterdir())
    needs = {}
    for path in root.rglob("*.ko"):
        needs[path.stem.replace("-", "_")] = path
    ordered = []

    def add(name):
        path = needs.get(name.replace("-", "_"))
        if path is None or path in ordered:
            return  # built in
        for other in output("modinfo", "-F", "depends", path).strip().split(","):
            if other:
                add(other)
        ordered.append(path)

    for name in names:
        add(name)
    return ordered


def make_initramfs(path, kernel, options, commands):
    with tempfile.TemporaryDirectory() as work:
        root = pathlib.Path(work)
        for folder in ("bin", "proc", "sys", "dev", "tmp", "modules", "programs"):
            (root / folder).mkdir()
        shutil.copy(shutil.which("busybox"), root / "bin/busybox")

        def put(program):
            inside = root / "programs" / pathlib.Path(program).name
            output("strip", "-o", inside, program)
            for library in libraries(program):
                copy = root / library.lstrip("/")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, copy)
            return inside

        for program in options.beside:
            put(program)
        lines = []
        for program, *arguments in commands:
            inside = put(program)
            words = " ".join([*options.env, "/" + str(inside.relative_to(root)), *(f"'{a}'" for a in arguments)])
            lines.append(f"{words} || {{ verdict=failed; echo 'guest: {inside.name} failed'; }}")
        for number, module in enumerate(module_files(kernel, options.module)):
            shutil.copy(module, root / f"modules/{number:02}-{module.name}")
        init = root / "init"
        init.write_text(INIT.replace("{commands}", "\n".join(lines)).replace("{verdict}", VERDICT))
        init.chmod(0o755)
        names = "\n".join(str(p.relative_to(root)) for p in root.rglob("*"))
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, check=True,
                                 input=names.encode(), capture_output=True).stdout
        path.write_bytes(gzip.compress(archive, 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--module", action="append", default=[], help="kernel module to load first")
    parser.add_argument("--env", action="append", default=[], help="NAME=VALUE for the programs")
    parser.add_argument("--beside", action="append", default=[],
                        help="another program that these start, in the same folder")
    parser.add_argument("--timeout", type=int, default=420, help="seconds for the whole guest")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("commands", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    commands = [[]]
    for word in options.commands:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    commands = [c for c in commands if c]
    if not commands:
        parser.error("no program given")
    for tool in ("qemu-system-x86_64", "busybox", "cpio", "apt-cache", "dpkg", "ldd", "strip"):
        if shutil.which(tool) is None and not os.path.exists(f"/sbin/{tool}"):
            skip(f"needs the command {tool}")
    kernel = fetch_kernel()
    with tempfile.TemporaryDirectory() as work:
        initramfs = pathlib.Path(work) / "initramfs.gz"
        make_initramfs(initramfs, kernel, options, commands)
        guest = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024",
             "-smp", str(options.cpus), "-nographic", "-no-reboot", "-nic", "none",
             "-kernel", next((kernel / "boot").glob("vmlinuz-*")), "-initrd", initramfs,
             "-append", "console=ttyS0 quiet panic=-1 mitigations=off"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
        verdict = ""
        try:
            # The guest ends by itself; the limit is for one that hangs.
            console, _ = guest.communicate(timeout=options.timeout)
        except subprocess.TimeoutExpired:
            guest.kill()
            console, _ = guest.communicate()
            verdict = f"not done within {options.timeout} s"
        print(console)
        match = re.search(rf"{VERDICT} (\w+)", console)
        verdict = verdict or (match.group(1) if match else "the guest ended without a verdict")
        tests_skipped = SKIPPED_TESTS.findall(COLOUR.sub("", console))
        if verdict == "ok" and tests_skipped:
            verdict = f"skipped in the guest: {', '.join(tests_skipped)}"
    print(f"guest: {verdict}")
    return 0 if verdict == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
