"""What operators meet: relays that clients cannot reach, DERP maps from elsewhere,
clients that vanish or are too old, other relays that ask about nodes, old scripts."""

import json
import pathlib
import re
import signal
import sys

from case import Set
from lab import LabError, run, wait_until
from peers import NEW, OLD, TOO_OLD, Client, Server, make_ca, toml
from proxy import start_proxy


class RelayOutOfReach(Set):
    """The server dials its own relay as clients do, and names who has none."""

    versions = (NEW,)

    @classmethod
    def build(cls):
        host = cls.lab.host("srv")
        cls.ca, cert, key = make_ca(host.dir / "pki", ["ctl.example.test", host.ip])
        cls.server = Server(host, f"https://{host.ip}:443", config=toml({
            "": {"server_url": f"https://{host.ip}:443", "listen": [":443"]},
            "tls": {"cert": str(cert), "key": str(key)},
            "derp": {"ipv4": "192.168.77.250"}}))
        cls.server.start()
        cls.a = Client(cls.lab.host("a"), NEW, env={"SSL_CERT_FILE": str(cls.ca)})

    def health(self):
        shown = self.server.cli("health", check=False)
        return shown.stdout + shown.stderr

    def test_01_health_says_so(self):
        wait_until("the probe has failed", lambda: "192.168.77.250" in self.health())
        page = self.server.host.run("curl", "-sSk", f"{self.server.url}/health").stdout
        self.assertIn("192.168.77.250", json.loads(page)["problems"][0])
        self.assertIn("clients cannot use the relay at 192.168.77.250", self.server.log_text())

    def test_02_a_node_without_relay_is_named(self):
        self.a.up(self.server.url, key=self.server.auth_key())
        self.a.wait_running()
        wait_until("the log names the node", lambda: [
            line for line in self.server.log_text().splitlines()
            if "relay" in line and "node=" in line and "warn" in line], 60, 1)
        shown = self.server.cli("nodes", "show", "-i", self.server.node("a")["id"]).stdout
        self.assertRegex(shown, r"(?i)no .*relay|relay.*not|not.*relay")

    def test_03_well_again(self):
        """With roots that know the certificate and an address that is right."""
        self.server.write_config(self.server.config.read_text().replace(
            'derp.ipv4 = "192.168.77.250"\n', ""))
        self.server.env = {"SSL_CERT_FILE": str(self.ca)}
        self.server.stop()
        self.server.start()
        wait_until("the server is well", lambda: "relay" not in self.health())
        wait_until("the node has its relay", lambda: self.server.json(
            "nodes", "show", "-i", self.server.node("a")["id"])["relayConnected"], 60)


class OtherCertificate(Set):
    """A proxy in front shows another certificate than the one that the map announces."""

    @classmethod
    def build(cls):
        host = cls.lab.host("srv")
        _, cert, key = make_ca(host.dir / "pki", [host.ip])
        start_proxy(host, cert, key)
        cls.server = Server(host, f"https://{host.ip}", config=toml({
            "": {"server_url": f"https://{host.ip}", "listen": ["127.0.0.1:8080"]},
            "tls": {"self_signed": True}}))
        cls.server.start()

    def test_01_health_and_log_say_so(self):
        def problems():
            page = self.server.host.run("curl", "-sS", "http://127.0.0.1:8080/health").stdout
            return [p for p in json.loads(page)["problems"] if "certificate" in p]
        problem = wait_until("the probe has failed", problems)[0]
        self.assertIn(self.server.host.ip, problem)
        self.assertIn("clients cannot use the relay at", self.server.log_text())


class Running(Set):
    """A server while it runs: its threads, its certificate files, its limits."""

    @classmethod
    def build(cls):
        host = cls.lab.host("srv")
        cls.folder = host.dir / "pki"
        _, cls.cert, cls.key = make_ca(cls.folder, [host.ip])
        cls.server = Server(host, f"https://{host.ip}:8443", config=toml({
            "": {"server_url": f"https://{host.ip}:8443", "listen": [":8443"]},
            "tls": {"cert": str(cls.cert), "key": str(cls.key)}}))
        cls.server.start()
        cls.other = cls.lab.host("other")

    def threads(self):
        """{name: (nice, [CPUs])}"""
        found = {}
        for task in pathlib.Path(f"/proc/{self.server.process.pid}/task").iterdir():
            fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
            cpus = re.search(r"Cpus_allowed_list:\s*(\S+)", (task / "status").read_text()).group(1)
            found[(task / "comm").read_text().strip()] = (int(fields[16]), cpus)
        return found

    def test_01_who_goes_first(self):
        threads = self.threads()
        relays = [value for name, value in threads.items() if name.startswith("relay-")]
        fronts = [value for name, value in threads.items() if name.startswith("front-")]
        self.assertTrue(relays and fronts, threads)
        for nice, cpus in relays:
            self.assertTrue(cpus.isdigit(), f"a relay shard has one core: {threads}")
            for name in ("control", "store"):
                self.assertGreater(threads[name][0], nice, threads)
            for front_nice, _ in fronts:
                self.assertGreater(front_nice, nice, threads)
        self.assertIn("log", threads)

    def served(self):
        """The serial number of the certificate that clients are shown now."""
        shown = self.server.host.run("openssl", "s_client", "-connect", f"{self.server.host.ip}:8443",
                                     check=False, input="").stdout
        return run("openssl", "x509", "-noout", "-serial", input=shown).stdout

    def test_02_certificate_files_change(self):
        before = self.served()
        make_ca(self.folder, [self.server.host.ip])
        wait_until("the new certificate is served", lambda: self.served() != before, 90, 1)
        now = self.served()
        self.cert.write_text("nothing of the kind\n")
        wait_until("health speaks of it", lambda: "certificate" in self.server.cli(
            "health", check=False).stdout, 90, 1)
        self.assertEqual(self.served(), now, "a bad file keeps the old certificate")

    def test_03_verify_is_limited(self):
        url = f"{self.server.url}/verify"
        body = json.dumps({"NodePublic": "nodekey:" + "7" * 64, "Source": "203.0.113.1"})
        codes = self.other.run("curl", "-sSk", "-d", body, "-w", "%{http_code}\n", "-o", "/dev/null",
                               *[word for _ in range(400) for word in (url, "-o", "/dev/null")][:-2]
                               ).stdout.split()
        self.assertEqual(codes[0], "200")
        self.assertIn("429", codes)
        # Others are served.
        self.assertEqual(self.server.host.run("curl", "-sSk", "-d", body, "-w", "%{http_code}", "-o",
                                              "/dev/null", url).stdout, "200")


class DerpSources(Set):
    """Regions from files and from the web beside the embedded one."""

    versions = (NEW, OLD)

    @classmethod
    def build(cls):
        host = cls.lab.host("srv")
        cls.folder = host.dir / "maps"
        cls.folder.mkdir()
        cls.region("extra.json", 901, "file")
        (cls.folder / "extra.yaml").write_text(
            "regions:\n  902:\n    regionid: 902\n    regioncode: yaml\n    regionname: Yaml\n"
            "    nodes:\n      - name: 902a\n        regionid: 902\n"
            "        hostname: derp.example.test\n        ipv4: 203.0.113.9\n")
        cls.region("web.json", 903, "web")
        host.start(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "8000",
                   "--directory", cls.folder, log="http.log")
        cls.server = Server(host, f"http://{host.ip}:8080", config=toml({"derp": {
            "paths": [str(cls.folder / "extra.json"), str(cls.folder / "extra.yaml"),
                      str(cls.folder / "missing.json")],
            "urls": ["http://127.0.0.1:8000/web.json", "http://127.0.0.1:8001/nobody.json"]}}))
        cls.server.start()
        cls.clients = [Client(cls.lab.host("a"), NEW), Client(cls.lab.host("b"), OLD)]

    @classmethod
    def region(cls, name, number, code):
        (cls.folder / name).write_text(json.dumps({"Regions": {str(number): {
            "RegionID": number, "RegionCode": code, "RegionName": code.title(), "Nodes": [
                {"Name": f"{number}a", "RegionID": number, "HostName": "derp.example.test",
                 "IPv4": "203.0.113.8"}]}}}))

    def regions(self, client):
        derp_map = json.loads(client.cli("debug", "derp-map").stdout)
        return {int(i): r["RegionCode"] for i, r in derp_map["Regions"].items()}

    def test_01_all_good_ones_arrive(self):
        key = self.server.auth_key("--reusable")
        for client in self.clients:
            client.up(self.server.url, key=key)
            client.wait_running()
            wait_until(f"{client.name} knows every region", lambda c=client: self.regions(c) == {
                901: "file", 902: "yaml", 903: "web", 999: "ringscale"})
        log = self.server.log_text()
        self.assertIn("missing.json", log)
        self.assertIn("nobody.json", log)

    def test_02_a_reload_reaches_running_clients(self):
        (self.folder / "extra.json").write_text('{"Regions": {"902": null}}')
        self.region("web.json", 904, "other")
        self.server.process.send_signal(signal.SIGHUP)
        for client in self.clients:
            wait_until(f"{client.name} knows the new regions", lambda c=client: 902 in self.regions(c)
                       and self.regions(c).get(904) == "other" and 901 not in self.regions(c))

    def test_03_a_broken_file_changes_nothing(self):
        before = self.regions(self.clients[0])
        (self.folder / "extra.yaml").write_text("regions: [")
        self.server.process.send_signal(signal.SIGHUP)
        wait_until("the log says so", lambda: [
            line for line in self.server.log_text().splitlines()
            if "extra.yaml" in line and "warn" in line])
        self.assertEqual(self.regions(self.clients[0]), before)


class Vanishing(Set):
    """Clients that go without a word, and clients that do not know the server."""

    versions = (NEW, OLD)

    @classmethod
    def build(cls):
        cls.server = Server(cls.lab.host("srv"), "http://192.168.77.1:8080")
        cls.server.start()
        cls.a = Client(cls.lab.host("a"), NEW)
        cls.b = Client(cls.lab.host("b"), OLD)

    def online(self, name):
        return self.server.node(name)["online"]

    def test_01_back_within_ten_seconds_was_never_away(self):
        key = self.server.auth_key("--reusable")
        for client in (self.a, self.b):
            client.up(self.server.url, key=key)
            client.wait_running()
        self.a.wait_peer("b")
        watch = self.a.host.start(self.a.bin / "tailscale", f"--socket={self.a.socket}", "debug",
                                  "watch-ipn", "--netmap", log="watch.log")
        self.b.stop(signal.SIGKILL)
        self.b.start()
        self.b.wait_running()
        self.b.wait_peer("a")
        self.a.ping(self.b.ip(), "direct")
        watch.terminate()
        watch.wait()
        self.assertTrue(self.a.peers()["b"]["Online"])
        self.assertNotIn('"Online": false', (self.a.host.dir / "watch.log").read_text())

    def test_02_unplugged_is_offline(self):
        self.b.host.unplug()
        wait_until("the server knows that b is gone", lambda: not self.online("b"), 80, 0.5)
        wait_until("a knows too", lambda: not self.a.peers()["b"]["Online"])
        self.b.host.plug()
        wait_until("b is back", lambda: self.online("b"), 60)
        self.a.wait_peer("b")

    def test_03_ssh_can_be_offered(self):
        for client, other in ((self.a, self.b), (self.b, self.a)):
            client.cli("set", "--ssh")
            wait_until(f"{other.name} knows {client.name}'s host keys",
                       lambda c=client, o=other: o.peers()[c.name].get("sshHostKeys"))
            client.cli("set", "--ssh=false")

    def test_04_nodes_that_the_server_does_not_know(self):
        """Another database behind the same URL: the clients say so, `up` works."""
        self.server.stop()
        (self.server.data / "ringscale.db").unlink()
        self.server.start()
        for client in (self.a, self.b):
            wait_until(f"{client.name} is logged out",
                       lambda c=client: c.backend_state() == "NeedsLogin", 60)
            # Reusable: a client that is about to log in again by itself may ask twice.
            client.up(self.server.url, "--force-reauth", key=self.server.auth_key("--reusable"))
            client.wait_running()
        self.a.wait_peer("b")
        self.a.ping(self.b.ip(), "direct")

    def test_05_too_old_a_client_is_told(self):
        old = Client(self.lab.host("old"), TOO_OLD)
        refused = old.up(self.server.url, key=self.server.auth_key(), check=False, timeout=15)
        self.assertNotEqual(refused.returncode, 0)
        self.assertRegex(refused.stdout + refused.stderr, r"1\.80")


class Scripts(Set):
    """headscale's forms of commands, and other relays that ask about nodes."""

    versions = (NEW,)

    @classmethod
    def build(cls):
        cls.server = Server(cls.lab.host("srv"), "http://192.168.77.1:8080")
        cls.server.start()
        cls.a = Client(cls.lab.host("a"), NEW)

    def test_01_register_in_headscales_words(self):
        self.server.cli("namespaces", "create", "alice")
        process, url = self.a.up_interactive(self.server.url)
        self.server.cli("nodes", "register", "--user", "alice", "--key", url.rsplit("/", 1)[1])
        self.assertEqual(process.wait(60), 0)
        self.a.wait_running()
        self.assertEqual([n["name"] for n in self.server.json("machines", "ls")], ["a"])

    def test_02_routes_in_old_words(self):
        self.a.cli("set", "--advertise-routes=10.9.0.0/24")
        wait_until("the server knows the route",
                   lambda: "10.9.0.0/24" in self.server.node("a")["availableRoutes"])
        routes = self.server.json("routes", "list")
        self.server.cli("routes", "enable", "-r", routes[0]["id"])
        self.assertEqual(self.server.node("a")["approvedRoutes"], ["10.9.0.0/24"])

    def verify(self, key):
        body = json.dumps({"NodePublic": key, "Source": "203.0.113.1"})
        answer = self.server.host.run("curl", "-sS", "--fail-with-body", "-d", body,
                                      f"{self.server.url}/verify").stdout
        return json.loads(answer)["Allow"]

    def test_03_verify(self):
        known = self.a.status()["Self"]["PublicKey"]
        self.assertTrue(self.verify(known))
        self.assertFalse(self.verify("nodekey:" + "7" * 64))
        self.server.cli("nodes", "delete", "-i", self.server.node("a")["id"], "--force")
        self.assertFalse(self.verify(known))
        with self.assertRaises(LabError):
            self.verify("no key")
        self.assertEqual(self.server.cli("users", "list").returncode, 0)
