#!/usr/bin/env python3
"""Fails when an include points the wrong way.

Every room has a rank (docs/architecture.md). A file may include its own room and
rooms of a smaller rank; rooms of equal rank do not see each other unless listed
in ALLOWED. relay and control never include each other, and relay never includes
storage.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

RANKS = {
    "core/base": 0,
    "core/net/address.h": 1,
    "core/obs": 2, "core/json": 2, "core/crypto": 2,
    "core/io": 3,
    "core/net": 4,
    "core/engine": 5,
    "core/http": 6,
    "core/tls": 7,
    "storage": 8,
    "relay/app/ports.h": 9,
    "relay/wire": 9,
    "relay/login": 10, "relay/route": 10, "relay/queue": 10, "relay/stun": 10,
    "relay/app": 12,
    "control/noise": 9,
    "control/wire": 13, "control/policy": 12,
    "control/state": 11, "control/dns": 11, "control/derp": 11,
    "control/auth": 14, "control/map": 14,
    "control/app": 15, "control/api": 15,
    "tools/ctl": 16, "bench/lib": 16,
    "tools/serverd": 17,
    "tools/relayd": 18,
    "tools": 19,
    "bench": 19,
    "tests": 20,
}
# Pairs of equal or greater rank that are right all the same: (from, to).
ALLOWED = {
    # core/net/address.h is a value type of the lowest rank; its .cc lives in core/net.
    ("core/net", "core/engine"),
}
FORBIDDEN = [("relay", "control"), ("control", "relay"), ("relay", "storage"),
             ("tools/ctl", "tools/serverd")]

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def room(path: str):
    best = None
    for name in RANKS:
        if (path == name or path.startswith(name + "/")) and (best is None or len(name) > len(best)):
            best = name
    return best


def main() -> int:
    problems = []
    files = [p for top in ("core", "relay", "control", "storage", "tools", "bench", "tests")
             for p in (ROOT / top).rglob("*") if p.suffix in (".h", ".cc")]
    for path in sorted(files):
        rel = path.relative_to(ROOT).as_posix()
        source = room(rel)
        if source is None:
            problems.append(f"{rel}: belongs to no room; add its folder to tools/check/ranks.py")
            continue
        if rel == "core/net/address.cc":
            source = "core/net"
        for target in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if not (ROOT / target).exists():
                problems.append(f'{rel}: "{target}" is not a path from the top of the tree')
                continue
            destination = room(target)
            if destination is None or destination == source:
                continue
            for a, b in FORBIDDEN:
                if source.startswith(a) and destination.startswith(b):
                    problems.append(f"{rel}: {a} must not include {b} ({target})")
                    break
            else:
                if RANKS[destination] >= RANKS[source] and (source, destination) not in ALLOWED:
                    problems.append(
                        f"{rel} (rank {RANKS[source]}) must not include {target} "
                        f"(rank {RANKS[destination]})")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"ranks: {len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
