"""What a policy means to real clients: ports, visibility, SSH, routers, app
capabilities, Taildrop; and that a change reaches open streams."""

import json
import signal
import sys
import time

from case import Set
from lab import wait_until
from peers import NEW, OLD, Client, Server


class WithPolicy(Set):
    abstract = True
    config = "policy.mode = \"database\"\n"

    @classmethod
    def start_server(cls, policy):
        cls.server = Server(cls.lab.host("srv"), "http://192.168.77.1:8080", config=cls.config)
        cls.policy_file = cls.server.host.dir / "policy.hujson"
        cls.write_policy(policy)
        cls.server.start()

    @classmethod
    def write_policy(cls, policy):
        cls.policy_file.write_text(json.dumps(policy))

    def set_policy(self, policy):
        self.write_policy(policy)
        self.server.cli("policy", "set", "--yes", "-f", self.policy_file)

    @classmethod
    def join(cls, name, user, version=NEW, tags=None, flags=()):
        client = Client(cls.lab.host(name), version)
        client.up(cls.server.url, *flags,
                  key=cls.server.auth_key(*(["--tags", tags] if tags else []), user=user))
        client.wait_running()
        return client

    @staticmethod
    def serve_name(client, port):
        """An HTTP server there that says whose it is."""
        folder = client.host.dir / f"www{port}"
        folder.mkdir(exist_ok=True)
        (folder / "name").write_text(client.name)
        client.host.start(sys.executable, "-m", "http.server", str(port), "--directory", folder,
                          log=f"www{port}.log")

    @staticmethod
    def asked(client, address, port):
        """What a server there answers; empty when it cannot be reached."""
        return client.host.run("curl", "-s", "--max-time", "2", f"http://{address}:{port}/name",
                               check=False).stdout

    def assert_reaches_port(self, client, other, port):
        wait_until(f"{client.name} reaches port {port} of {other.name}",
                   lambda: self.asked(client, other.ip(), port) == other.name)

    def assert_does_not_reach(self, client, address, port):
        self.assertEqual(self.asked(client, address, port), "")


class Ports(WithPolicy):
    """Allowed and denied ports; who may reach nothing of a node does not see it."""

    versions = (NEW, OLD)
    first = {
        "tagOwners": {"tag:server": ["alice@"]},
        "acls": [{"action": "accept", "src": ["alice@"], "dst": ["tag:server:7001"]}],
    }
    second = {
        "tagOwners": {"tag:server": ["alice@"]},
        "acls": [{"action": "accept", "src": ["bob@"], "dst": ["tag:server:7002"]}],
    }

    @classmethod
    def build(cls):
        cls.start_server(cls.first)
        for user in ("alice", "bob"):
            cls.server.user(user)
        cls.server.cli("policy", "set", "--yes", "-f", cls.policy_file)
        cls.a = cls.join("a", "alice")
        cls.b = cls.join("b", "bob", OLD)
        cls.s = cls.join("s", "alice", tags="tag:server")
        for port in (7001, 7002):
            cls.serve_name(cls.s, port)

    def test_01_allowed_and_denied(self):
        self.a.wait_peer("s")
        self.assert_reaches_port(self.a, self.s, 7001)
        self.assert_does_not_reach(self.a, self.s.ip(), 7002)

    def test_02_denied_peers_are_not_visible(self):
        self.assertEqual(set(self.a.peers()), {"s"})
        self.assertEqual(set(self.b.peers()), set())
        self.assertEqual(set(self.s.peers()), {"a"})
        self.assert_does_not_reach(self.b, self.s.ip(), 7001)

    def test_03_a_change_reaches_open_streams(self):
        full = self.server.metric('ringscale_map_messages_total{kind="full"')
        began = time.monotonic()
        self.set_policy(self.second)
        self.b.wait_peer("s", online=False, timeout=10)
        print(f"b knew the new policy {time.monotonic() - began:.2f} s after the command began",
              file=sys.stderr)
        self.assert_reaches_port(self.b, self.s, 7002)
        wait_until("a no longer sees s", lambda: not self.a.peers())
        self.assert_does_not_reach(self.b, self.s.ip(), 7001)
        self.assertEqual(self.server.metric('ringscale_map_messages_total{kind="full"'), full,
                         "nobody got a full map")

    def test_04_a_bad_policy_is_refused_with_its_place(self):
        self.policy_file.write_text('{\n  "acls": [\n    {"action": "allow"}\n  ]\n}\n')
        refused = self.server.cli("policy", "set", "--yes", "-f", self.policy_file, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stderr + refused.stdout, r"line 3|:3:")
        self.assert_reaches_port(self.b, self.s, 7002)

    def test_05_failing_tests_refuse(self):
        self.write_policy({**self.first, "tests": [{"src": "bob@", "accept": ["tag:server:7001"]}]})
        refused = self.server.cli("policy", "set", "--yes", "-f", self.policy_file, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assert_reaches_port(self.b, self.s, 7002)

    def test_06_explain(self):
        told = self.server.cli("policy", "explain", "b", "s:7002").stdout
        self.assertIn("allowed", told)
        self.assertIn("ports 7002", told)


class OwnDevices(WithPolicy):
    """autogroup:self, Taildrop and app capabilities between the nodes of one user."""

    versions = (NEW,)
    policy = {
        "grants": [
            {"src": ["autogroup:member"], "dst": ["autogroup:self"], "ip": ["*"],
             "app": {"example.com/cap/notes": [{"folder": "shared"}]}},
        ],
    }

    @classmethod
    def build(cls):
        cls.start_server(cls.policy)
        cls.server.cli("policy", "set", "--yes", "-f", cls.policy_file)
        cls.a = cls.join("a", "alice")
        cls.phone = cls.join("phone", "alice")
        cls.b = cls.join("b", "bob")
        cls.tablet = cls.join("tablet", "bob")
        cls.everyone = (cls.a, cls.phone, cls.b, cls.tablet)

    def test_01_own_nodes_only(self):
        for one, other in ((self.a, self.phone), (self.b, self.tablet)):
            for client, peer in ((one, other), (other, one)):
                client.wait_peer(peer.name)
                self.assertEqual(set(client.peers()), {peer.name})
        self.serve_name(self.phone, 7001)
        self.assert_reaches_port(self.a, self.phone, 7001)
        self.assert_does_not_reach(self.b, self.phone.ip(), 7001)

    def test_02_app_capabilities(self):
        who = json.loads(self.phone.cli("whois", "--json", self.a.ip()).stdout)
        self.assertEqual(who["CapMap"]["example.com/cap/notes"], [{"folder": "shared"}])

    def test_03_taildrop(self):
        letter = self.a.host.dir / "letter.txt"
        letter.write_text("dear phone\n")
        wait_until("a can send to phone", lambda: self.a.cli(
            "file", "cp", letter, "phone:", check=False).returncode == 0)
        inbox = self.phone.host.dir / "inbox"
        inbox.mkdir()
        self.phone.cli("file", "get", "--wait", inbox)
        self.assertEqual((inbox / "letter.txt").read_text(), "dear phone\n")


class Ssh(WithPolicy):
    """Tailscale SSH accepted, refused, and held until somebody approves."""

    versions = (NEW,)
    grants = [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]

    @classmethod
    def rules(cls, action):
        return {"tagOwners": {"tag:server": ["alice@"]}, "grants": cls.grants, "ssh": [
            {"action": action, "src": ["alice@"], "dst": ["tag:server"], "users": ["root"]}]}

    @classmethod
    def build(cls):
        cls.start_server(cls.rules("accept"))
        for user in ("alice", "bob"):
            cls.server.user(user)
        cls.server.cli("policy", "set", "--yes", "-f", cls.policy_file)
        cls.a = cls.join("a", "alice")
        cls.b = cls.join("b", "bob")
        cls.s = cls.join("s", "alice", tags="tag:server", flags=("--ssh",))
        for client in (cls.a, cls.b):
            wait_until(f"{client.name} knows the host keys",
                       lambda c=client: (c.peers().get("s") or {}).get("sshHostKeys"))

    def ssh(self, client):
        return client.cli("ssh", "root@s", "echo", "in", check=False, timeout=40)

    def test_01_accepted(self):
        wait_until("a gets in", lambda: self.ssh(self.a).stdout == "in\n")

    def test_02_refused(self):
        refused = self.ssh(self.b)
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn("in\n", refused.stdout)

    def held(self, log):
        """A session that waits, and where its user is told to go."""
        process = self.a.host.start(self.a.bin / "tailscale", f"--socket={self.a.socket}", "ssh",
                                    "root@s", "echo", "in", log=log)

        def shown():
            return next((word for word in process.log.read_text().split()
                         if word.startswith("http") and "/auth/" in word), None)
        url = wait_until("a is told where to approve", shown, 30)
        self.assertIsNone(process.poll(), "held")
        return process, url

    def test_03_held_until_approved(self):
        self.set_policy(self.rules("check"))
        process, url = self.held("ssh.log")
        self.assertIn("alice", self.a.host.run("curl", "-sS", url).stdout)
        self.server.cli("auth", "approve", "--auth-id", url.rsplit("/", 1)[1])
        self.assertEqual(process.wait(30), 0)
        self.assertIn("in\n", process.log.read_text())
        self.assertEqual(self.ssh(self.a).stdout, "in\n", "remembered for checkPeriod")

    def test_04_remembered_by_the_next_server(self):
        self.server.stop()
        self.server.start()
        wait_until("a and s are back", lambda: all(
            self.server.node(name)["online"] for name in ("a", "s")), 60)
        wait_until("a gets in", lambda: self.ssh(self.a).stdout == "in\n")

    def test_05_rejected(self):
        rules = self.rules("check")
        rules["ssh"][0]["checkPeriod"] = "always"
        self.set_policy(rules)
        process, url = self.held("again.log")
        self.server.cli("auth", "reject", "--auth-id", url.rsplit("/", 1)[1])
        self.assertNotEqual(process.wait(30), 0)
        self.assertNotIn("in\n", process.log.read_text())


class Settings(WithPolicy):
    """What a policy says beside access: relays, DNS records, addresses. From a file."""

    versions = (NEW,)
    base = {"tagOwners": {"tag:six": ["alice@"]},
            "nodeAttrs": [{"target": ["tag:six"], "attr": ["x:y"], "ipPool": ["100.99.0.0/24"]}]}

    @classmethod
    def build(cls):
        path = cls.lab.dir / "srv" / "policy.hujson"
        cls.config = f"policy.mode = \"file\"\npolicy.path = \"{path}\"\n"
        cls.start_server(cls.base)
        cls.a = cls.join("a", "alice")
        cls.s = cls.join("s", "alice", tags="tag:six")

    def netmap(self, client):
        return json.loads(client.cli("debug", "netmap").stdout)

    def change(self, more):
        self.write_policy({**self.base, **more})
        self.server.process.send_signal(signal.SIGHUP)

    def health(self):
        return self.server.host.run("curl", "-s", "http://127.0.0.1:8080/health").stdout

    def test_01_addresses_from_the_pool(self):
        self.assertEqual(self.s.ip(), "100.99.0.1")
        self.assertTrue(self.a.ip().startswith("100.64."))

    def test_02_records_reach_open_streams(self):
        self.change({"extraDNSRecords": [{"Name": "wiki.corp.example", "Value": "100.99.0.1"}]})
        wait_until("a knows the record", lambda: "wiki.corp.example" in json.dumps(
            self.netmap(self.a)["DNS"]))

    def test_03_relays_reach_open_streams(self):
        self.change({"derpMap": {"Regions": {"77": {
            "RegionID": 77, "RegionCode": "corp", "RegionName": "Corp", "Nodes": [
                {"Name": "77a", "RegionID": 77, "HostName": "192.0.2.77"}]}}}})
        wait_until("a knows the relay", lambda: "77" in json.loads(
            self.a.cli("debug", "derp-map").stdout)["Regions"])
        self.change({})
        wait_until("a has forgotten it", lambda: "77" not in json.loads(
            self.a.cli("debug", "derp-map").stdout)["Regions"])

    def test_04_without_ipv4(self):
        def families(client, name):
            return ["." in ip for ip in client.peers()[name]["TailscaleIPs"]]
        self.change({"nodeAttrs": [{"target": ["tag:six"], "attr": ["disable-ipv4"]}]})
        wait_until("a knows no IPv4 address of s", lambda: families(self.a, "s") == [False])
        wait_until("s has none", lambda: self.s.cli("ip", "-4", check=False).returncode != 0)
        self.assertEqual(families(self.s, "a"), [False])
        self.a.ping(self.s.ip(6), "direct")
        self.change({})
        wait_until("a knows it again", lambda: True in families(self.a, "s"))

    def test_05_a_bad_file_changes_nothing_and_is_reported(self):
        before = self.server.cli("policy", "get").stdout
        self.policy_file.write_text('{\n  "acls": [{"src": ["tag:nobody"], "dst": ["*:*"]}]\n}\n')
        self.server.process.send_signal(signal.SIGHUP)
        wait_until("/health says so", lambda: "line 2, column 21" in self.health())
        self.assertEqual(self.server.cli("policy", "get").stdout, before)
        self.assertIn("the policy of before stays in force", self.server.log_text())
        # Without a signal a changed file is noticed as well.
        self.write_policy(self.base)
        wait_until("/health is content", lambda: "column" not in self.health(), 30)


class Routers(WithPolicy):
    """Several routers of one prefix: fail-over, and `via` steering."""

    versions = (NEW,)
    prefix = "10.60.0.0/24"
    base = {
        "tagOwners": {"tag:one": ["alice@"], "tag:two": ["alice@"]},
        "autoApprovers": {"routes": {prefix: ["tag:one", "tag:two"]},
                          "exitNode": ["tag:one", "tag:two"]},
    }
    open_to_all = {**base, "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
    steered = {**base, "grants": [
        {"src": ["alice@"], "dst": [prefix], "ip": ["*"], "via": ["tag:one"]},
        {"src": ["bob@"], "dst": [prefix], "ip": ["*"], "via": ["tag:two"]},
        {"src": ["alice@"], "dst": ["autogroup:internet"], "ip": ["*"], "via": ["tag:two"]},
    ]}

    @classmethod
    def build(cls):
        cls.start_server(cls.open_to_all)
        for user in ("alice", "bob"):
            cls.server.user(user)
        cls.server.cli("policy", "set", "--yes", "-f", cls.policy_file)
        cls.one = cls.router("one")
        cls.two = cls.router("two")
        cls.a = cls.join("a", "alice", flags=("--accept-routes",))
        cls.b = cls.join("b", "bob", flags=("--accept-routes",))

    @classmethod
    def router(cls, name):
        client = Client(cls.lab.host(name), NEW)
        client.host.run("ip", "addr", "add", "10.60.0.1/24", "dev", "lo")
        client.host.run("ip", "addr", "add", "198.18.0.1/32", "dev", "lo")
        client.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        cls.serve_name(client, 8000)
        client.up(cls.server.url, f"--advertise-routes={cls.prefix}", "--advertise-exit-node",
                  key=cls.server.auth_key("--tags", f"tag:{name}"))
        client.wait_running()
        return client

    def through(self, client):
        return self.asked(client, "10.60.0.1", 8000)

    def test_01_approved_by_policy(self):
        wait_until("a reaches the subnet", lambda: self.through(self.a) == "one")

    def answers(self, name):
        """Whether the router is there and the server's probes reach it."""
        return lambda: (self.server.node(name)["online"] and "does not answer"
                        not in self.server.cli("nodes", "show", name).stdout)

    def assert_takes_over(self, name, what, began):
        """New connections go by that router within 15 s."""
        wait_until(f"a reaches the subnet by {name}", lambda: self.through(self.a) == name,
                   began + 15 - time.monotonic(), 0.2)
        print(f"{name} carried new connections {time.monotonic() - began:.1f} s after {what}",
              file=sys.stderr)

    def test_02_the_other_one_takes_over_when_the_cable_is_pulled(self):
        began = time.monotonic()
        self.one.host.unplug()
        self.assert_takes_over("two", "the cable was pulled", began)
        self.one.host.plug()

    def test_03_and_when_it_is_killed(self):
        wait_until("one is back", self.answers("one"), 60)
        self.assertEqual(self.through(self.a), "two", "no fail-back")
        began = time.monotonic()
        self.two.stop(signal.SIGKILL)
        self.assert_takes_over("one", "the other one was killed", began)
        self.two.start()
        wait_until("two is back", self.answers("two"), 60)

    def test_04_via(self):
        self.set_policy(self.steered)
        wait_until("alice goes by one", lambda: self.through(self.a) == "one")
        wait_until("bob goes by two", lambda: self.through(self.b) == "two")

    def test_05_exit_node_by_via(self):
        offered = wait_until("a is offered an exit node", lambda: [
            name for name, peer in self.a.peers().items() if peer["ExitNodeOption"]])
        self.assertEqual(offered, ["two"])
        self.a.cli("set", f"--exit-node={self.two.ip()}", "--exit-node-allow-lan-access")
        wait_until("a goes out by two",
                   lambda: self.asked(self.a, "198.18.0.1", 8000) == "two", 30)
        self.a.cli("set", "--exit-node=")
