"""The same tailnet in the places where people run it: public addresses and DNS
names over http, behind a reverse proxy, IPv6 only, where io_uring is refused,
with the first client that knows the pin, and across restarts."""

import json
import pathlib
import sys

from case import Set
from lab import wait_until
from peers import NEW, OLD, PINNED, Client, Server, make_ca
from proxy import start_proxy

DENY = pathlib.Path(__file__).resolve().parent / "deny.py"
MIB = 1 << 20


class Pair(Set):
    """Two nodes of one server; joining, direct and relayed traffic."""

    abstract = True
    client_versions = (NEW, NEW)
    client_env = {}
    client_flags = ("--no-logs-no-support",)

    @classmethod
    def build(cls):
        cls.make()
        cls.server.start()
        cls.a = Client(cls.host_a, cls.client_versions[0], env=cls.client_env,
                       flags=cls.client_flags)
        cls.b = Client(cls.host_b, cls.client_versions[1], env=cls.client_env)

    @classmethod
    def default_hosts(cls):
        cls.server_host, cls.host_a, cls.host_b = map(cls.lab.host, ("srv", "a", "b"))

    def test_01_join(self):
        key = self.server.auth_key("--reusable")
        for client in (self.a, self.b):
            client.up(self.server.url, key=key)
            client.wait_running()

    def test_02_direct(self):
        self.a.wait_peer("b")
        self.a.ping(self.b.ip(), "direct")

    def test_03_relay(self):
        for host in (self.host_a, self.host_b):
            host.block_udp_except_stun()
        self.a.ping(self.b.ip(), "derp", timeout=60)
        self.transfer(self.a, self.b, 4 * MIB)
        for host in (self.host_a, self.host_b):
            host.unblock()

    def test_04_healthy(self):
        for client in (self.a, self.b):
            self.assert_healthy(client)

    def join_interactively(self, host):
        """A third node; its login URL must be one that its user can open."""
        client = Client(host, NEW, env=self.client_env)
        process, url = client.up_interactive(self.server.url)
        self.assertTrue(url.startswith(f"{self.server.url}/register/"), url)
        page = host.run("curl", "-sSk", "--fail", "--max-time", "10", url).stdout
        auth_id = url.rsplit("/", 1)[1]
        self.assertIn(auth_id, page)
        self.server.cli("auth", "register", "--user", "alice", "--auth-id", auth_id)
        self.assertEqual(process.wait(60), 0)
        client.wait_running()


class PublicHttp(Pair):
    """A public-range literal: after a cut the client insists on https port 443."""

    versions = (NEW, OLD)
    client_versions = (NEW, OLD)
    url_host = "203.0.113.1"

    @classmethod
    def make(cls):
        cls.server_host = cls.lab.host("srv", "203.0.113.1/24")
        cls.host_a = cls.lab.host("a", "203.0.113.2/24")
        cls.host_b = cls.lab.host("b", "203.0.113.3/24")
        for host in (cls.server_host, cls.host_a, cls.host_b):
            host.add_name("ctl.example.test", "203.0.113.1")
        cls.server = Server(cls.server_host, f"http://{cls.url_host}:8080")

    def test_05_streams_cut_twice(self):
        for _ in range(2):
            for port in (8080, 443):
                self.server_host.run("ss", "-K", "state", "established", "sport", "=", f":{port}",
                                     check=False)
            for client in (self.a, self.b):
                wait_until(f"{client.name} polls again",
                           lambda c=client: self.server.node(c.name)["online"], 60)
            self.server.cli("nodes", "rename", "-i", self.server.node("a")["id"], "renamed")
            wait_until("b learns the new name", lambda: any(
                p["DNSName"].startswith("renamed.") for p in self.b.peers().values()), 60)
            self.server.cli("nodes", "rename", "-i", self.server.node("renamed")["id"], "a")
            self.b.wait_peer("a", timeout=60)


class NamedHttp(PublicHttp):
    """The same with a DNS name."""

    url_host = "ctl.example.test"


class BehindProxy(Pair):
    """nginx terminates TLS; the relay is reached through it too."""

    versions = (NEW, OLD)
    client_versions = (NEW, OLD)

    @classmethod
    def make(cls):
        cls.default_hosts()
        host = cls.server_host
        ca, cert, key = make_ca(host.dir / "pki", ["ctl.example.test"])
        for each in (cls.server_host, cls.host_a, cls.host_b):
            each.add_name("ctl.example.test", host.ip)
        cls.client_env = {"SSL_CERT_FILE": str(ca)}
        start_proxy(host, cert, key)
        cls.server = Server(host, "https://ctl.example.test", env={"SSL_CERT_FILE": str(ca)}, config=(
            'server_url = "https://ctl.example.test"\nlisten = ["127.0.0.1:8080"]\n'
            'trusted_proxies = ["127.0.0.0/8"]\n'))

    def test_05_no_pin_behind_a_proxy(self):
        derp_map = json.loads(self.a.cli("debug", "derp-map").stdout)
        for region in derp_map["Regions"].values():
            for node in region["Nodes"]:
                self.assertFalse(node.get("CertName"))
                self.assertFalse(node.get("InsecureForTests"))

    def test_06_real_addresses_reach_the_server(self):
        addresses = {self.host_a.ip, self.host_b.ip}
        log = self.server.log_text()
        self.assertTrue(any(address in log for address in addresses))

    def test_07_login_urls_name_the_proxy(self):
        host = self.lab.host("c")
        host.add_name("ctl.example.test", self.server_host.ip)
        self.join_interactively(host)


class Ipv6Only(Pair):
    versions = (NEW,)

    @classmethod
    def make(cls):
        cls.server_host = cls.lab.host("srv", "fd00:77::1/64")
        cls.host_a = cls.lab.host("a", "fd00:77::2/64")
        cls.host_b = cls.lab.host("b", "fd00:77::3/64")
        cls.server = Server(cls.server_host, "http://[fd00:77::1]:8080")

    def test_05_login_urls_have_the_address(self):
        self.join_interactively(self.lab.host("c", "fd00:77::4/64"))


class NoIpv6(Pair):
    """A machine whose kernel has no IPv6."""

    versions = (NEW,)

    @classmethod
    def make(cls):
        cls.default_hosts()
        cls.server = Server(cls.server_host, f"http://{cls.server_host.ip}:8080",
                            wrapper=(sys.executable, DENY, "ipv6", "--"))

    def test_05_serves_ipv4(self):
        sockets = self.server_host.run("ss", "-Hltn", "sport", "=", ":8080").stdout
        self.assertIn("0.0.0.0:8080", sockets)
        self.assertNotIn("[::]", sockets)


class FirstPinned(Pair):
    """The first release that knows pinned certificates, and without the switch
    that keeps a client from uploading its logs (the map must turn that off)."""

    versions = (PINNED,)
    client_versions = (PINNED, PINNED)
    client_flags = ()

    @classmethod
    def make(cls):
        cls.default_hosts()
        cls.server = Server(cls.server_host, f"http://{cls.server_host.ip}:8080")
        # Where a client's logs go; the lab's server notes who comes.
        cls.host_a.add_name("log.tailscale.com", cls.server_host.ip)
        cls.server_host.nft("table inet uploads {\n chain in {\n type filter hook input priority 0;\n"
                            f"ip saddr {cls.host_a.ip} tcp dport 443 counter\n }}\n}}\n")

    def uploads(self):
        text = self.server_host.run("nft", "-j", "list", "table", "inet", "uploads").stdout
        return json.loads(text)["nftables"][-1]["rule"]["expr"][-1]["counter"]["packets"]

    def test_05_uploads_no_logs(self):
        """Before the first map the client may try; from then on it does not."""
        before = self.uploads()
        self.a.cli("debug", "rebind", check=False)
        for _ in range(3):
            self.server.cli("nodes", "rename", "-i", self.server.node("b")["id"], "renamed")
            self.a.wait_peer("b")
            self.server.cli("nodes", "rename", "-i", self.server.node("renamed")["id"], "b")
        self.assertEqual(self.uploads(), before, "packets to the log server")


class Restart(Pair):
    versions = (NEW, OLD)
    client_versions = (NEW, OLD)

    @classmethod
    def make(cls):
        cls.default_hosts()
        cls.server = Server(cls.server_host, f"http://{cls.server_host.ip}:8080")

    def test_05_terminated_and_started_again(self):
        before = {c.name: (c.ip(), c.status()["Self"]["PublicKey"]) for c in (self.a, self.b)}
        self.server.stop()
        self.server.start()
        for client in (self.a, self.b):
            wait_until(f"{client.name} polls again",
                       lambda c=client: self.server.node(c.name)["online"], 30)
            self.assertEqual(client.backend_state(), "Running")
            self.assertEqual((client.ip(), client.status()["Self"]["PublicKey"]),
                             before[client.name])
        self.assertTrue(self.a.peers()["b"]["Online"])
        late = Client(self.lab.host("late"), NEW)
        late.up(self.server.url, key=self.server.auth_key())
        late.wait_running()
        for client in (self.a, self.b):
            client.wait_peer("late")
        late.ping(self.a.ip(), "direct")

    def test_06_killed_and_started_again(self):
        self.server.process.kill()
        self.server.process.wait()
        self.server.start()
        for client in (self.a, self.b):
            wait_until(f"{client.name} polls again",
                       lambda c=client: self.server.node(c.name)["online"], 30)
        self.a.ping(self.b.ip(), "direct")

    def test_07_backup_and_restore(self):
        archive = self.server_host.dir / "backup.tar"
        self.server.cli("backup", archive)
        self.assertEqual(archive.stat().st_mode & 0o777, 0o600)
        nodes = {n["id"]: n["ipAddresses"] for n in self.server.nodes()}
        refused = self.server.cli("restore", archive, check=False)
        self.assertNotEqual(refused.returncode, 0, "restore under a running server")
        self.server.stop()
        self.server.data.rename(self.server_host.dir / "lost")
        self.server.cli("restore", archive)
        self.server.start()
        self.assertEqual({n["id"]: n["ipAddresses"] for n in self.server.nodes()}, nodes)
        for client in (self.a, self.b):
            wait_until(f"{client.name} polls again",
                       lambda c=client: self.server.node(c.name)["online"], 30)
