"""The base of the end-to-end sets: one lab a set, its tests run in the order of
their names and share it; the first failure skips the rest (they build on it)."""

import pathlib
import re
import subprocess
import sys
import unittest

from lab import Lab, LabError, wait_until

TRANSFER = pathlib.Path(__file__).resolve().parent / "transfer.py"


class Set(unittest.TestCase):
    maxDiff = None
    versions = ()  # client releases that the set needs
    programs = ()  # what it needs of them besides tailscale and tailscaled

    @classmethod
    def setUpClass(cls):
        cls.broken = None
        cls.lab = Lab()
        try:
            cls.build()
        except Exception:
            print(cls.lab.logs(), file=sys.stderr)
            cls.lab.close()
            raise

    @classmethod
    def build(cls):
        raise NotImplementedError

    @classmethod
    def tearDownClass(cls):
        cls.lab.close()

    def setUp(self):
        if type(self).broken:
            self.fail(f"not tried: {type(self).broken} failed before")

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        outcome = super().run(result)
        if len(result.failures) + len(result.errors) > before and not type(self).broken:
            type(self).broken = self._testMethodName
            print(self.lab.logs(), file=sys.stderr)
        return outcome

    # --- checks shared by sets ---

    def transfer(self, source, target, count, port=7001):
        """`count` bytes over TCP through the tunnel, equal SHA-256 on both ends."""
        receiver = subprocess.Popen(
            target.host.command(sys.executable, TRANSFER, "serve", target.ip(), port),
            stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(receiver.stdout.readline().strip(), "ready")
            sent = source.host.run(sys.executable, TRANSFER, "send", target.ip(), port, count,
                                   timeout=240).stdout.strip()
            received = receiver.stdout.readline().strip()
            self.assertEqual(sent, received)
            self.assertEqual(sent.split()[0], str(count))
        finally:
            receiver.kill()
            receiver.wait()
            receiver.stdout.close()

    def assert_reaches(self, host, address, timeout=30):
        """An ICMP echo through the tunnel comes back."""
        wait_until(f"{host.name} reaches {address}",
                   lambda: host.run("ping", "-c", "1", "-W", "2", address,
                                    check=False).returncode == 0, timeout, 0.2)

    def assert_does_not_reach(self, host, address):
        self.assertNotEqual(host.run("ping", "-c", "1", "-W", "1", address,
                                     check=False).returncode, 0,
                            f"{host.name} must not reach {address} yet")

    def assert_resolves(self, client, name, address):
        """The client's own resolver (100.100.100.100) knows the name."""
        def answer():
            text = client.host.run("dig", "+short", "+time=2", "+tries=1", "@100.100.100.100",
                                   name, check=False).stdout
            return address in text.split()
        wait_until(f"{name} resolves to {address} at {client.name}", answer, 20)

    def assert_healthy(self, client):
        """No warning at all: the lab gives a client no reason for one."""
        self.assertEqual(client.health(), [], f"health warnings of {client.name}")

    def assert_netcheck(self, client, udp):
        """netcheck measured our region: by STUN, or by HTTPS where UDP does not pass."""
        def measured():
            text = client.cli("netcheck", timeout=60).stdout
            if f"UDP: {str(udp).lower()}" not in text or not re.search(
                    r"- ringscale: +[0-9.]+[mµn]?s", text):
                raise LabError(f"netcheck: {text}")
            return True
        wait_until(f"{client.name}'s netcheck measures the region (udp={udp})", measured, 60, 1)
