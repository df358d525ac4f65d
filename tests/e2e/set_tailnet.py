"""A whole tailnet, three times: over http, over https with the certificate that
the server made for itself, and over https with a given certificate."""

import json
import pathlib
import re
import sys

from case import Set
from lab import wait_until
from peers import BENCH, NEW, OLD, Client, Server, make_ca, toml

DENY = pathlib.Path(__file__).resolve().parent / "deny.py"
MIB = 1 << 20
FULL_MAPS = 'ringscale_map_messages_total{kind="full"}'


class Tailnet(Set):
    abstract = True
    versions = (NEW, OLD)
    client_env = {}

    @classmethod
    def build(cls):
        lab = cls.lab
        cls.server_host = lab.host("srv")
        cls.server = cls.make_server(cls.server_host)
        cls.server.start()
        cls.prepare_clients()
        cls.a = Client(lab.host("a"), NEW, env=cls.client_env)
        cls.b = Client(lab.host("b"), OLD, env=cls.client_env)
        cls.c = Client(lab.host("c"), NEW, env=cls.client_env)

    @classmethod
    def prepare_clients(cls):
        pass

    # --- the life of a tailnet, step by step ---

    def test_01_join_with_auth_key(self):
        key = self.server.auth_key("--reusable")
        for client in (self.a, self.b):
            client.up(self.server.url, key=key)
            client.wait_running()
        self.assertEqual([n["givenName"] for n in self.server.nodes()], ["a", "b"])
        self.assertTrue(self.a.ip().startswith("100."))
        self.assertTrue(self.a.ip(6).startswith("fd7a:115c:a1e0:"))

    def test_02_direct(self):
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.wait_peer(other.name)
            one.ping(other.ip(), "direct")
            self.assert_reaches(one.host, other.ip())

    def test_03_relay_only(self):
        for host in (self.a.host, self.b.host):
            host.block_udp_except_stun()
        self.a.cli("debug", "rebind", check=False)
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.ping(other.ip(), "derp", timeout=60)
        self.transfer(self.a, self.b, 100 * MIB)
        for host in (self.a.host, self.b.host):
            host.unblock()

    def test_04_third_node_interactively(self):
        before = self.server.metric(FULL_MAPS)
        process, url = self.c.up_interactive(self.server.url)
        page = self.c.host.run("curl", "-sSk", "--max-time", "10", url).stdout
        auth_id = url.rsplit("/", 1)[1]
        self.assertIn(auth_id, page)
        self.server.cli("auth", "register", "--user", "alice", "--auth-id", auth_id)
        self.assertEqual(process.wait(60), 0)
        self.c.wait_running()
        for client in (self.a, self.b):
            client.wait_peer("c")
        self.c.wait_peer("a")
        self.assertEqual(self.server.metric(FULL_MAPS) - before, 1, "only c got a full map")

    def test_05_magic_dns(self):
        self.assert_resolves(self.a, "b.tailnet.internal", self.b.ip())
        self.assert_resolves(self.b, "c.tailnet.internal", self.c.ip())

    def test_06_subnet_route_and_exit_node(self):
        router = self.c.host
        router.run("ip", "addr", "add", "10.55.0.1/24", "dev", "lo")
        router.run("ip", "addr", "add", "198.18.0.1/32", "dev", "lo")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        self.c.cli("set", "--advertise-routes=10.55.0.0/24", "--advertise-exit-node")
        node = wait_until("the server knows the routes", lambda: (
            n := self.server.node("c")) and "10.55.0.0/24" in n["availableRoutes"] and n)
        self.assertEqual(node["approvedRoutes"], [])
        for client in (self.a, self.b):
            client.cli("set", "--accept-routes")
            self.assert_does_not_reach(client.host, "10.55.0.1")
            self.assertNotIn("10.55.0.0/24", client.peers()["c"]["AllowedIPs"])
            self.assertFalse(client.peers()["c"]["ExitNodeOption"])
        self.server.cli("nodes", "approve-routes", "-i", node["id"], "-r",
                        "10.55.0.0/24,0.0.0.0/0")
        for client in (self.a, self.b):
            self.assert_reaches(client.host, "10.55.0.1")
        for client in (self.a, self.b):
            self.assert_does_not_reach(client.host, "198.18.0.1")
            client.cli("set", f"--exit-node={self.c.ip()}", "--exit-node-allow-lan-access")
            self.assert_reaches(client.host, "198.18.0.1")
            client.cli("set", "--exit-node=")

    def test_07_netcheck(self):
        for port in (3478, 3479):
            stun = json.loads(self.a.host.run(
                BENCH, "relay", "--url", f"derp://{self.server_host.ip}:{port}", "--quiet", "--json",
                "stun", "--port", port, "--in-flight", 64, "--seconds", "0.1").stdout)["records"][0]
            self.assertGreater(stun["stun_answers_per_s"], 0, f"STUN on {port}")
        for client in (self.a, self.b):
            self.assert_netcheck(client, udp=True)
            client.host.block_udp()
            self.assert_netcheck(client, udp=False)
            client.host.unblock()

    def test_08_healthy(self):
        for client in (self.a, self.b, self.c):
            self.assert_healthy(client)

    def test_09_logout_and_rejoin(self):
        address = self.b.ip()
        self.b.logout()
        wait_until("the server sees the logout",
                   lambda: self.server.node("b")["expiry"] is not None)
        self.b.up(self.server.url, key=self.server.auth_key())
        self.b.wait_running()
        self.assertEqual(self.b.ip(), address, "the node kept its address")
        self.a.wait_peer("b")

    def test_10_expiry_and_force_reauth(self):
        for client in (self.a, self.b):
            node = self.server.node(client.name)
            self.server.cli("nodes", "expire", "-i", node["id"])
            wait_until(f"{client.name} is logged out",
                       lambda c=client: c.backend_state() == "NeedsLogin")
            client.up(self.server.url, key=self.server.auth_key())
            client.wait_running()
            old_key = client.status()["Self"]["PublicKey"]
            client.up(self.server.url, "--force-reauth", key=self.server.auth_key())
            client.wait_running()
            self.assertNotEqual(client.status()["Self"]["PublicKey"], old_key)
            self.assertEqual(self.server.node(client.name)["id"], node["id"])
        self.a.wait_peer("b")
        self.a.ping(self.b.ip(), "direct")

    def test_11_deleted_node(self):
        """The client shows that it is logged out, and `up` works again."""
        for client in (self.b, self.c):
            name = client.name
            node = self.server.node(name)
            self.server.cli("nodes", "delete", "-i", node["id"], "--force")
            wait_until(f"{name} is logged out",
                       lambda c=client: c.backend_state() == "NeedsLogin", 60)
            wait_until(f"a forgets {name}", lambda n=name: n not in self.a.peers())
            client.up(self.server.url, "--force-reauth", key=self.server.auth_key())
            client.wait_running()
            self.a.wait_peer(name)

    def refusal(self, name, key):
        """What a fresh client shows its user when the server refuses the key."""
        client = Client(self.lab.host(name), NEW, env=self.client_env)
        refused = client.up(self.server.url, key=key, check=False, timeout=20)
        self.assertNotEqual(refused.returncode, 0)
        client.stop()
        return refused.stderr + refused.stdout

    def test_12_wrong_keys_say_so(self):
        self.assertIn("invalid pre auth key",
                      self.refusal("d1", "hskey-auth-000000000000-" + "0" * 64))
        once = self.server.auth_key()
        client = Client(self.lab.host("d2"), NEW, env=self.client_env)
        client.up(self.server.url, key=once)
        client.wait_running()
        self.assertIn("authkey already used", self.refusal("d3", once))
        expired = self.server.json("preauthkeys", "create", "-u", self.server.user())
        self.server.cli("preauthkeys", "expire", "--id", expired["id"])
        self.assertRegex(self.refusal("d4", expired["key"]), "authkey (expired|revoked)")

    def test_13_ephemeral_node_goes(self):
        key = self.server.auth_key("--ephemeral")
        client = Client(self.lab.host("eph"), NEW, env=self.client_env)
        client.up(self.server.url, key=key)
        client.wait_running()
        self.a.wait_peer("eph")
        client.logout()
        wait_until("the server has deleted it",
                   lambda: "eph" not in [n["givenName"] for n in self.server.nodes()])
        wait_until("a forgets it", lambda: "eph" not in self.a.peers())


class Http(Tailnet):
    @classmethod
    def make_server(cls, host):
        return Server(host, f"http://{host.ip}:8080")


class NoIoUring(Tailnet):
    """Container profiles refuse io_uring: the epoll ring serves everything."""

    @classmethod
    def make_server(cls, host):
        return Server(host, f"http://{host.ip}:8080",
                      wrapper=(sys.executable, DENY, "io_uring", "--"))

    def test_14_says_so_once(self):
        lines = [line for line in self.server.log_text().splitlines()
                 if "epoll instead of io_uring" in line]
        self.assertEqual(len(lines), 1, lines)


class HttpsSelfSigned(Tailnet):
    @classmethod
    def make_server(cls, host):
        return Server(host, f"https://{host.ip}:8080",
                      config=f'server_url = "https://{host.ip}:8080"\n[tls]\nself_signed = true\n')

    @classmethod
    def prepare_clients(cls):
        cls.client_env = {"SSL_CERT_FILE": str(cls.server.data / "tls-ca.pem")}

    def test_14_relay_is_pinned(self):
        for region in json.loads(self.a.cli("debug", "derp-map").stdout)["Regions"].values():
            for node in region["Nodes"]:
                if not node.get("STUNOnly"):
                    self.assertRegex(node.get("CertName", ""), "^sha256-raw:[0-9a-f]{64}$")


class HttpsCertificate(Tailnet):
    @classmethod
    def make_server(cls, host):
        ca, cert, key = make_ca(host.dir / "pki", ["ctl.example.test", host.ip])
        cls.client_env = {"SSL_CERT_FILE": str(ca)}
        # The server dials its own relay as a client would, so it needs the same roots.
        return Server(host, f"https://{host.ip}:443", env=cls.client_env, config=toml({
            "": {"listen": [":443"], "server_url": f"https://{host.ip}:443"},
            "tls": {"cert": str(cert), "key": str(key)}}))

    def test_14_relay_clients_start_fast(self):
        """The certificate of the relay's key ends the given chain, and clients use it."""
        shown = self.a.host.run("sh", "-c", "openssl s_client -showcerts -connect "
                                f"{self.server_host.ip}:443 </dev/null").stdout
        subjects = re.findall(r"^ *\d+ s:(.*)$", shown, re.M)
        self.assertRegex(subjects[-1], r"^CN ?= ?derpkey[0-9a-f]{64}$")
        self.assertEqual(sum("derpkey" in subject for subject in subjects), 1)
        self.assertGreater(self.server.metric("ringscale_front_fast_starts_total"), 0)
