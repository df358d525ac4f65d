"""The server is replaced, restarted and killed under a tailnet with two routers of
one subnet: nobody is seen offline, no route moves, everybody is back at once."""

import os
import pathlib
import signal
import sys
import time

from case import Set
from lab import LabError, wait_until
from peers import NEW, OLD, Client, Server

KEEPER = pathlib.Path(__file__).resolve().parent / "socket_keeper.py"
SUBNET = "10.55.0.0/24"
BACK_WITHIN = 15


class Routers(Set):
    """Two routers of one subnet, the one with the higher id serves it; a client."""

    abstract = True
    versions = (NEW, OLD)

    @classmethod
    def build(cls):
        cls.server_host = cls.lab.host("srv")
        cls.server = Server(cls.server_host, f"http://{cls.server_host.ip}:8080")
        cls.start_server()
        cls.a = Client(cls.lab.host("a"), NEW)
        cls.r1 = Client(cls.lab.host("r1"), NEW)
        cls.r2 = Client(cls.lab.host("r2"), OLD)
        cls.clients = (cls.a, cls.r1, cls.r2)

    @classmethod
    def start_server(cls):
        cls.server.start()

    # --- what is looked at ---

    def primary(self):
        """Who serves the subnet, as a sees it."""
        serving = [name for name, peer in self.a.peers().items()
                   if SUBNET in (peer.get("PrimaryRoutes") or [])]
        return serving[0] if len(serving) == 1 else None

    def wait_primary(self, name, timeout=30):
        wait_until(f"{name} serves {SUBNET}", lambda: self.primary() == name, timeout)

    def pid(self):
        return int((self.server.data / "ringscale.lock").read_text())

    def everybody_is_back(self):
        """All have opened their streams and their relay connections to this process."""
        streams = self.server.metric("ringscale_map_streams")
        relayed = [self.server.json("nodes", "show", "-i", node["id"])["relayConnected"]
                   for node in self.server.nodes()]
        return streams == len(self.clients) and all(relayed)

    def unnoticed(self, replace):
        """`replace` ends the server and has another one run; nobody notices."""
        watches = [client.watch() for client in self.clients]
        old = self.pid()
        began = time.monotonic()
        replace()
        wait_until("another process serves", lambda: self.pid() != old, 20)

        def back():
            self.assertEqual(self.primary(), "r2", "the route moved")
            for name, peer in self.a.peers().items():
                self.assertTrue(peer["Online"], f"a sees {name} offline")
            return self.everybody_is_back()
        wait_until("everybody is back", back, BACK_WITHIN, 0.2)
        print(f"all back after {time.monotonic() - began:.1f} s", file=sys.stderr)
        for watch in watches:
            self.assertNotIn("offline", watch.end(), "a client was told that a peer is offline")
        self.assertEqual(self.primary(), "r2")
        self.a.ping(self.r2.ip(), "direct")

    # --- the life of this tailnet ---

    def test_01_the_second_router_serves(self):
        key = self.server.auth_key("--reusable")
        for client in self.clients:
            client.up(self.server.url, *(
                () if client is self.a else (f"--advertise-routes={SUBNET}",)), key=key)
            client.wait_running()
        for client in (self.r1, self.r2):
            node = wait_until("the route is known", lambda c=client: (
                n := self.server.node(c.name)) and SUBNET in n["availableRoutes"] and n)
            self.server.cli("nodes", "approve-routes", "-i", node["id"], "-r", SUBNET)
        self.wait_primary("r1")
        watch = self.a.watch()
        self.r1.stop()
        self.wait_primary("r2", 60)
        self.r1.start()
        self.a.wait_peer("r1")
        self.r2.ping(self.r1.ip(), "direct")
        self.assertEqual(self.primary(), "r2")
        self.assertIn("offline", watch.end(), "the watch shows when a peer goes")


class TakeOver(Routers):
    """`ringscale serve --take-over`."""

    def test_02_taken_over(self):
        for _ in range(2):
            self.unnoticed(self.server.take_over)

    def test_03_a_router_that_does_not_return(self):
        """Its route moves when it could have been back, not before."""
        self.r2.process.kill()
        self.r2.process.wait()
        self.server.take_over()
        began = time.monotonic()
        self.assertEqual(self.primary(), "r2")
        self.wait_primary("r1", 90)
        self.assertGreater(time.monotonic() - began, 50)


class SocketActivation(Routers):
    """systemd keeps the sockets (tools/systemd)."""

    @classmethod
    def start_server(cls):
        cls.server.wrapper = [sys.executable, KEEPER, cls.server_host.dir / "ringscale.sock",
                              "8080", "3478,3479", "--"]
        cls.server.write_config(f'[unix_socket]\npath = "{cls.server_host.dir}/ringscale.sock"\n')
        cls.server.start()

    def test_02_terminated(self):
        self.unnoticed(lambda: os.kill(self.pid(), signal.SIGTERM))

    def test_03_killed(self):
        self.unnoticed(lambda: os.kill(self.pid(), signal.SIGKILL))
