#!/usr/bin/env python3
"""tools/check/ranks.py: what it refuses, and that the build asks it.

    ranks_test.py BUILD_FOLDER
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop(1))


class Ranks(unittest.TestCase):
    def check(self, files):
        """The verdict about a tree of these files; each includes what it is given."""
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            script = top / "tools/check/ranks.py"
            script.parent.mkdir(parents=True)
            shutil.copy(ROOT / "tools/check/ranks.py", script)
            for name, includes in files.items():
                (top / name).parent.mkdir(parents=True, exist_ok=True)
                (top / name).write_text("".join(f'#include "{i}"\n' for i in includes))
            done = subprocess.run([sys.executable, script], capture_output=True, text=True,
                                  check=False)
            return done.returncode, done.stderr

    def test_smaller_ranks_are_seen(self):
        status, problems = self.check({"core/base/time.h": [],
                                       "relay/wire/frame.h": ["core/base/time.h"]})
        self.assertEqual((status, problems), (0, ""))

    def test_greater_ranks_are_not(self):
        status, problems = self.check({"core/base/time.h": ["storage/store.h"],
                                       "storage/store.h": []})
        self.assertEqual(status, 1)
        self.assertIn("core/base/time.h (rank 0) must not include storage/store.h", problems)

    def test_relay_and_control_do_not_see_each_other(self):
        status, problems = self.check({"control/app/a.h": ["relay/wire/frame.h"],
                                       "relay/wire/frame.h": []})
        self.assertEqual(status, 1)
        self.assertIn("control must not include relay", problems)

    def test_every_room_waits_for_the_check(self):
        for room in ("core_base", "control", "tools_serverd"):
            query = subprocess.run(["ninja", "-C", BUILD, "-t", "query",
                                    f"cmake_object_order_depends_target_{room}"],
                                   capture_output=True, text=True, check=True).stdout
            self.assertIn("ranks", query.split("outputs:")[0], room)


if __name__ == "__main__":
    unittest.main()
