"""A data directory that has no room left, or cannot be written at all."""

import re
import subprocess

from case import Set
from lab import run, wait_until
from peers import NEW, BINARY, Client, Server

SIZE = 4 << 20


class Full(Set):
    """The disk is full and gets room again, under a running server."""

    versions = (NEW,)

    @classmethod
    def build(cls):
        cls.host = cls.lab.host("srv")
        cls.server = Server(cls.host, f"http://{cls.host.ip}:8080")
        cls.server.data.mkdir(mode=0o700)
        run("mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", cls.server.data)
        cls.server.start()
        cls.a = Client(cls.lab.host("a"), NEW)
        cls.b = Client(cls.lab.host("b"), NEW)
        cls.late = Client(cls.lab.host("late"), NEW)

    @classmethod
    def tearDownClass(cls):
        for host in cls.lab.hosts:
            for process in host.processes:
                process.kill()
                process.wait()
        subprocess.run(["umount", "--lazy", cls.server.data], check=False)
        super().tearDownClass()

    def health(self):
        """Status and body of /health."""
        text = self.host.run("curl", "-sS", "--max-time", "5", "-w", "\n%{http_code}",
                             "http://127.0.0.1:8080/health").stdout
        body, status = text.rsplit("\n", 1)
        return int(status), body

    @property
    def filler(self):
        return self.server.data / "filler"

    def test_01_join(self):
        type(self).key = self.server.auth_key("--reusable")
        for client in (self.a, self.b):
            client.up(self.server.url, key=self.key)
            client.wait_running()
        self.a.wait_peer("b")
        self.assertEqual(self.health()[0], 200)

    def test_02_no_room(self):
        with self.filler.open("wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"\0" * 4096)
            except OSError:
                pass
        # Pages that were freed before are used up first.
        for number in range(2000):
            failed = self.server.cli("users", "create", f"user{number}", check=False)
            if failed.returncode != 0:
                break
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("the disk is full", failed.stderr)
        status, body = self.health()
        self.assertEqual(status, 500)
        self.assertIn("the disk is full", body)
        told = self.server.cli("health", check=False)
        self.assertEqual(told.returncode, 1)
        self.assertIn("the disk is full", told.stdout + told.stderr)

    def test_03_a_client_is_told(self):
        refused = self.late.up(self.server.url, key=self.key, check=False, timeout=10)
        self.assertNotEqual(refused.returncode, 0)
        shown = refused.stdout + refused.stderr + " ".join(self.late.health())
        self.assertIn("the disk is full", shown)
        self.assertNotIn("late", [n["givenName"] for n in self.server.nodes()])

    def test_04_the_tailnet_goes_on(self):
        self.a.ping(self.b.ip(), "direct")
        self.b.stop()
        wait_until("a sees b go", lambda: not self.a.peers()["b"]["Online"], 60)
        self.b.start()
        self.a.wait_peer("b")
        self.a.ping(self.b.ip(), "direct")

    def test_05_room_again(self):
        self.assertIsNone(self.server.process.poll(), "the server ended")
        self.filler.unlink()
        wait_until("the server is well again", lambda: self.health()[0] == 200)
        # The command shows what the server looks at every few seconds.
        wait_until("the command says so", lambda: self.server.cli(
            "health", check=False).returncode == 0, 30)
        self.late.up(self.server.url, key=self.key)
        self.late.wait_running()
        self.a.wait_peer("late")
        before = self.server.json("users", "list"), [n["id"] for n in self.server.nodes()]
        self.server.stop()
        self.server.start()
        self.assertEqual(
            (self.server.json("users", "list"), [n["id"] for n in self.server.nodes()]), before)

    def test_06_read_only(self):
        """Refused at the start, with a sentence that names the directory."""
        self.server.stop()
        run("mount", "-o", "remount,ro", self.server.data)
        refused = self.host.run(BINARY, "serve", "--config", self.server.config, "--data-dir",
                                self.server.data, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertRegex(refused.stderr,
                         re.escape(str(self.server.data)) + ".*(cannot be written|[Rr]ead-only)")
        run("mount", "-o", "remount,rw", self.server.data)
        self.server.start()
        self.a.wait_peer("b", timeout=60)
