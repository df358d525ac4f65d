#!/usr/bin/env python3
"""End-to-end tests: ringscale and unmodified official clients in namespaces.

run.py                    all sets
run.py SET...             these sets
run.py --list             the sets, a line each
run.py --client-versions  the client releases that the sets need
run.py --extra-programs   "VERSION NAME,..." a line: what more of a release

Needs root. Exits with 77 when a set cannot run here, saying why.
"""
import importlib
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from case import Set  # noqa: E402
from lab import own_run_folder, why_not  # noqa: E402

SKIPPED = 77


def sets():
    """{name: class} of every class with tests in set_*.py; names like tailnet.Http."""
    found = {}
    for path in sorted(HERE.glob("set_*.py")):
        module = importlib.import_module(path.stem)
        for name, value in vars(module).items():
            if (isinstance(value, type) and issubclass(value, Set)
                    and value.__module__ == path.stem and "abstract" not in vars(value)):
                found[f"{path.stem[4:]}.{name}"] = value
    return found


def main():
    arguments = sys.argv[1:]
    every = sets()
    if arguments == ["--list"]:
        print("\n".join(every))
        return 0
    if arguments == ["--client-versions"]:
        print(" ".join(sorted({v for s in every.values() for v in s.versions})))
        return 0
    if arguments == ["--extra-programs"]:
        for version in sorted({v for s in every.values() for v in s.versions}):
            names = {p for s in every.values() if version in s.versions for p in s.programs}
            if names:
                print(version, ",".join(sorted(names)))
        return 0
    unknown = [a for a in arguments if a not in every]
    if unknown:
        print(f"no set {unknown[0]!r}; there are: {' '.join(every)}", file=sys.stderr)
        return 2
    own_run_folder()
    if reason := why_not():
        print(f"skipped: {reason}")
        return SKIPPED
    suite = unittest.TestSuite()
    for name in arguments or every:
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(every[name]))
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
