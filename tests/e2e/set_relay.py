"""Dedicated relays: the official prober against one, against a mesh, and against a
mesh with a derper; clients whose home relay dies; admission by a server's answer."""

import json
import pathlib
import secrets
import signal
import sys
import threading

from case import Set
from lab import LabError, wait_until
from peers import CLIENTS, NEW, Client, Relay, Server, derper_certificates, make_ca

DENY = pathlib.Path(__file__).resolve().parent / "deny.py"
DERPER = CLIENTS / NEW / "derper"
DERPPROBE = CLIENTS / NEW / "derpprobe"


def derp_map(**regions):
    """A DERP map: name=[(node's name, its host), ...]; ids from 901 on."""
    return {"Regions": {str(region_id): {
        "RegionID": region_id, "RegionCode": code, "RegionName": code,
        "Nodes": [{"Name": f"{code}-{host.name}", "RegionID": region_id,
                   "HostName": f"{host.name}.test", "IPv4": host.ip, "CanPort80": True}
                  for host in hosts]}
        for region_id, (code, hosts) in enumerate(regions.items(), 901)}}


class RelayLab(Set):
    """Relays under names with certificates of a CA that everybody trusts."""

    abstract = True
    versions = (NEW,)
    programs = ("derper", "derpprobe")

    @classmethod
    def make_relays(cls, *names, also=()):
        cls.hosts = [cls.lab.host(name) for name in names]
        cls.ca, cls.cert, cls.key = make_ca(cls.lab.dir / "ca", [f"{n}.test" for n in (*names, *also)])
        cls.trust = {"SSL_CERT_FILE": str(cls.ca)}
        cls.psk = cls.lab.dir / "mesh.key"
        cls.psk.write_text(secrets.token_hex(32) + "\n")
        cls.psk.chmod(0o600)

    @classmethod
    def name_relays(cls):
        for host in cls.lab.hosts:
            for relay in cls.hosts:
                host.add_name(f"{relay.name}.test", relay.ip)

    @classmethod
    def make_mesh(cls):
        """Three relays, and a host that looks at them from outside."""
        cls.make_relays("r1", "r2", "r3")
        cls.prober = cls.lab.host("prober")
        cls.name_relays()
        return cls.hosts

    @classmethod
    def derper_flags(cls, host):
        """A whole derper command line for that host."""
        certificates = derper_certificates(host.dir / "certs", f"{host.name}.test", cls.cert,
                                           cls.key)
        return ["-hostname", f"{host.name}.test", "-certmode=manual", "-certdir", certificates,
                "-c", host.dir / "derper.key"]

    @classmethod
    def our_flags(cls, host):
        """The same for `ringscale relay`."""
        config = host.dir / "ringscale.toml"
        config.write_text(f'tls.cert = "{cls.cert}"\ntls.key = "{cls.key}"\n'
                          f'derp.host = "{host.name}.test"\nmetrics.listen = ""\n'
                          'relay.drain = "2s"\n')
        return ["--config", config]


class Probe(RelayLab):
    """Every probe of derpprobe, in every direction."""

    wrapper = ()  # of our relays

    @classmethod
    def build(cls):
        r1, r2, r3 = cls.make_mesh()
        mesh = ["-mesh-psk-file", cls.psk, "-mesh-with", "r1.test,r2.test,r3.test"]
        cls.r1 = Relay(r1, *cls.derper_flags(r1), *mesh, as_derper=True, env=dict(cls.trust),
                       wrapper=cls.wrapper)
        cls.r2 = Relay(r2, *cls.our_flags(r2), "--mesh-psk-file", cls.psk,
                       "--mesh-with=r1.test,r2.test,r3.test", env=dict(cls.trust),
                       wrapper=cls.wrapper)
        cls.r3 = Relay(r3, *cls.derper_flags(r3), *mesh, program=DERPER, env=dict(cls.trust))
        for relay in (cls.r1, cls.r2, cls.r3):
            relay.start()

    def probe_command(self, hosts, *flags):
        path = self.prober.dir / "map.json"
        path.write_text(json.dumps(derp_map(region=hosts)))
        return ("env", f"SSL_CERT_FILE={self.ca}", DERPPROBE, "-spread=false",
                "-derp-map", f"file://{path}", "-mesh-psk-file", self.psk,
                "-bw-interval=20s", "-bw-probe-size-bytes=4000000", *flags)

    def probe(self, *hosts):
        done = self.prober.run(*self.probe_command(hosts, "-once"), timeout=120, check=False)
        text = done.stdout + done.stderr
        self.assertEqual(done.returncode, 0, text)
        return text

    def watch(self, *hosts):
        """The prober as it runs for years: bandwidth as TCP in TCP over a TUN device, and
        queuing delays, which are measured without end. Until every probe has passed and
        every pair of nodes has its timings; no packet may be missing."""
        prober = self.prober.start(*self.probe_command(
            hosts, "-bw-tun-ipv4-addr=10.99.0.1", "-qd-packets-per-second=50",
            "-qd-packet-timeout=5s", "-listen=127.0.0.1:8030"), log="derpprobe.log")
        pairs = len(hosts) ** 2

        def metrics():
            text = self.prober.run("curl", "-sS", "--max-time", "5",
                                   "http://127.0.0.1:8030/debug/varz").stdout
            lines = [line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#"]
            return [(name, float(value)) for name, value in lines]

        def values(name, label=""):
            return [value for key, value in metrics()
                    if key.startswith(f"derpprobe_{name}{{") and label in key]

        def passed():
            results = values("result")
            endless = values("result", 'class="derp_qd"')  # no result before they fail
            timed = values("derp_qd_probe_delays_seconds_count")
            moved = values("derp_bw_bytes_total", 'tcp_in_tcp="true"')
            return (sum(results) == len(results) - len(endless) and
                    len(timed) == pairs and min(timed) >= 300 and
                    len(moved) == pairs and min(moved) >= 4_000_000)
        try:
            wait_until("every probe has passed", passed, 90, 1)
            self.assertEqual(sum(values("derp_qd_probe_dropped_packets")), 0)
        finally:
            prober.terminate()
            prober.wait(10)

    def wait_mesh(self):
        """Everybody has a link to everybody: ours and those that lead to us."""
        def linked(relay):
            states = [peer["state"] for peer in relay.status()["mesh"]]
            return (sorted(states) == ["connected", "connected", "this relay"]
                    and relay.status()["relay"]["watchers"] == 2)
        for relay in (self.r1, self.r2):
            wait_until(f"the links of {relay.host.name}", lambda r=relay: linked(r), 40, 0.5)

    def test_1_one_node(self):
        text = self.probe(self.hosts[0])
        self.assertIn("good:", text)

    def test_2_mesh_of_two(self):
        r1, r2, _ = self.hosts
        self.wait_mesh()
        before = self.r2.vars()["derp"]
        self.probe(r1, r2)
        after = self.r2.vars()["derp"]
        self.assertGreater(after["packets_forwarded_in"], before["packets_forwarded_in"])
        self.assertGreater(after["packets_forwarded_out"], before["packets_forwarded_out"])

    def test_3_mesh_with_derper(self):
        _, r2, r3 = self.hosts
        self.wait_mesh()
        self.probe(r2, r3)

    def test_4_a_relay_of_the_mesh_comes_back(self):
        r1, r2, r3 = self.hosts
        for relay, host in ((self.r3, r3), (self.r1, r1)):
            relay.stop(signal.SIGKILL)
            wait_until("its link is down", lambda h=host: not any(
                peer["host"] == f"{h.name}.test" and peer["state"] == "connected"
                for peer in self.r2.status()["mesh"]), 40)
            relay.start()
            self.wait_mesh()
        self.probe(r1, r2, r3)

    def test_5_tables_of_dashboards(self):
        derp = self.r2.vars()["derp"]
        for name in ("gauge_current_connections", "accepts", "packets_sent", "bytes_received",
                     "gauge_clients_remote", "counter_packets_received_kind"):
            self.assertIn(name, derp)
        self.assertEqual(self.r2.metric("derp_accepts"), derp["accepts"])
        self.assertEqual(self.r2.metric("derp_packets_dropped"), 0)

    def test_6_bandwidth_and_queuing_delays(self):
        r1, r2, r3 = self.hosts
        self.wait_mesh()
        self.watch(r1)
        self.watch(r1, r2)
        self.watch(r2, r3)


class ProbeNoIoUring(Probe):
    """The same of relays that a container profile refuses io_uring."""

    wrapper = (sys.executable, DENY, "io_uring", "--")

    def test_7_they_say_so(self):
        for relay in (self.r1, self.r2):
            self.assertIn("epoll instead of io_uring", relay.log_text())


class MeshTrouble(RelayLab):
    """A relay whose neighbours have another mesh key, or a clock (so it seems) by which
    their certificates are good: they get no link, and whoever is connected goes on."""

    @classmethod
    def build(cls):
        r1, r2, r3 = cls.make_mesh()
        other = cls.lab.dir / "other.key"
        other.write_text(secrets.token_hex(32) + "\n")
        other.chmod(0o600)
        everybody = "--mesh-with=r1.test,r2.test,r3.test"
        cls.r1 = Relay(r1, *cls.our_flags(r1), "--mesh-psk-file", cls.psk, everybody,
                       env=dict(cls.trust)).start()
        cls.r2 = Relay(r2, *cls.our_flags(r2), "--mesh-psk-file", other, everybody,
                       env=dict(cls.trust)).start()
        cls.cert = cls.lab.dir / "ca" / "expired.pem"
        cls.r3 = Relay(r3, *cls.derper_flags(r3), "-mesh-psk-file", cls.psk, "-mesh-with",
                       "r1.test,r3.test", program=DERPER, env=dict(cls.trust)).start()

    def test_1_no_link_but_reasons(self):
        def refused():
            return self.r1.metric('ringscale_relay_closed_total{reason="protocol_error"}')
        wait_until("the neighbour with another key was sent away", lambda: refused() > 1, 40)
        states = {peer["host"]: peer["state"] for peer in self.r1.status()["mesh"]}
        self.assertIn("certificate", states["r3.test"])
        self.assertEqual(self.r1.vars()["derp"]["gauge_watchers"], 1, "r3 has the key")
        self.assertEqual(self.r1.vars()["derp"]["gauge_clients_remote"], 0)

    def test_2_the_relay_serves_its_clients(self):
        path = self.prober.dir / "map.json"
        path.write_text(json.dumps(derp_map(region=self.hosts[:1])))
        done = self.prober.run("env", f"SSL_CERT_FILE={self.ca}", DERPPROBE, "-once",
                               "-spread=false", "-derp-map", f"file://{path}", timeout=120,
                               check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.r1.metric("derp_packets_dropped"), 0)


class Regions(RelayLab):
    """Two clients and a DERP map of two regions, a relay in each."""

    @classmethod
    def build(cls):
        cls.make_relays("r1", "r2")
        server_host = cls.lab.host("srv")
        a, b, c = (cls.lab.host(name) for name in ("a", "b", "c"))
        cls.name_relays()
        r1, r2 = cls.hosts
        path = server_host.dir / "derp.json"
        path.write_text(json.dumps(derp_map(first=[r1], second=[r2])))
        url = f"http://{server_host.ip}:8080"
        cls.server = Server(server_host, url, f'derp.enabled = false\nderp.paths = ["{path}"]\n')
        cls.server.start()
        cls.relays = {}
        for code, host in (("first", r1), ("second", r2)):
            cls.relays[code] = Relay(
                host, *cls.our_flags(host), "--verify-client-url", f"{url}/verify",
                "--verify-client-url-fail-open=false", env=dict(cls.trust)).start()
        key = cls.server.auth_key("--reusable")
        cls.a, cls.b, cls.c = (Client(host, NEW, env=dict(cls.trust)) for host in (a, b, c))
        for client in (cls.a, cls.b, cls.c):
            client.host.block_udp_except_stun()
            client.up(url, key=key)

    def home(self, client):
        return client.status()["Self"]["Relay"]

    def restart(self, code):
        self.relays[code].start()

    def test_1_traffic_through_the_relays(self):
        self.a.ping(self.b.ip(), "derp")
        self.transfer(self.a, self.b, 1_000_000)
        allowed = sum(relay.metric("ringscale_relay_admissions_total{result=\"allowed\"}")
                      for relay in self.relays.values())
        self.assertGreaterEqual(allowed, 3)

    def test_2_the_home_relay_dies(self):
        code = self.home(self.a)
        self.relays[code].stop(signal.SIGKILL)
        self.a.ping(self.b.ip(), "derp", timeout=60)
        wait_until("a has moved", lambda: self.home(self.a) != code, 60)
        self.restart(code)

    def test_3_a_drain_in_the_middle_of_a_flow(self):
        code = self.home(self.a)
        failures = []

        def flow():
            try:
                self.transfer(self.a, self.b, 20_000_000, port=7002)
            except (AssertionError, LabError, OSError) as error:
                failures.append(error)
        thread = threading.Thread(target=flow)
        thread.start()
        wait_until("the flow is on its way",
                   lambda: self.relays[code].vars()["derp"]["bytes_received"] > 2_000_000, 60)
        self.assertEqual(self.relays[code].stop(signal.SIGTERM), 0)
        thread.join(200)
        self.assertFalse(thread.is_alive())
        self.assertEqual(failures, [])
        self.restart(code)

    def test_4_a_successor_takes_over(self):
        code = self.home(self.a)
        self.relays[code].take_over()
        self.a.ping(self.b.ip(), "derp", timeout=60)

    def test_5_a_deleted_node_is_refused(self):
        # c does not hear of it, so that it goes on trying.
        server = self.server.host.ip
        self.c.host.nft("table inet cut {\n chain out {\n type filter hook output priority 0;\n"
                        f"ip daddr {server} drop\n }}\n"
                        " chain in {\n type filter hook input priority 0;\n"
                        f"ip saddr {server} drop\n }}\n}}\n")
        key = self.c.status()["Self"]["PublicKey"]
        code = self.home(self.c)
        self.server.cli("nodes", "delete", "-i", self.server.node("c")["id"], "--force")
        relay = self.relays[code]
        relay.stop(signal.SIGKILL)
        self.restart(code)
        refused = "ringscale_relay_admissions_total{result=\"refused\"}"
        wait_until("c is refused", lambda: sum(
            relay.metric(refused) for relay in self.relays.values()) > 0, 60)
        self.assertNotIn(key, json.dumps([r.status()["talkers"] for r in self.relays.values()]))
        # The others may.
        self.a.ping(self.b.ip(), "derp", timeout=60)


class Browsers(RelayLab):
    """A client that speaks DERP inside WebSocket, as those in browsers do, and one that
    does not: through the embedded relay, and through a dedicated one."""

    programs = ("tailscaled+ts_debug_websockets",)

    @classmethod
    def build(cls):
        cls.make_relays("r1", also=["srv"])
        server_host = cls.lab.host("srv")
        a, b = (cls.lab.host(name) for name in ("a", "b"))
        cls.name_relays()
        for host in (a, b, cls.hosts[0]):
            host.add_name("srv.test", server_host.ip)
        path = server_host.dir / "derp.json"
        path.write_text(json.dumps(derp_map(first=cls.hosts)))
        cls.url = "https://srv.test:8443"
        cls.server = Server(server_host, cls.url,
                            f'listen = [":8443"]\ntls.cert = "{cls.cert}"\ntls.key = "{cls.key}"\n'
                            f'derp.ipv4 = "{server_host.ip}"\nderp.paths = ["{path}"]\n')
        cls.server.start()
        cls.relay = Relay(cls.hosts[0], *cls.our_flags(cls.hosts[0]), "--verify-client-url",
                          f"{cls.url}/verify", "--verify-client-url-fail-open=false",
                          env=dict(cls.trust))
        cls.relay.start()
        key = cls.server.auth_key("--reusable")
        cls.a = Client(a, NEW, env=dict(cls.trust))
        cls.b = Client(b, NEW, env={**cls.trust, "TS_DEBUG_DERP_WS_CLIENT": "1"},
                       daemon="tailscaled+ts_debug_websockets")
        for client in (cls.a, cls.b):
            client.host.block_udp_except_stun()
            client.up(cls.url, key=key)

    def home(self, client, code):
        """The region with that code becomes the client's home; the others it still reaches."""
        region = next(r for r in json.loads(client.cli("debug", "derp-map").stdout)
                      ["Regions"].values() if r["RegionCode"] == code)
        client.cli("debug", "force-prefer-derp", region["RegionID"])
        wait_until(f"{client.name} is at home in {code}",
                   lambda: client.status()["Self"]["Relay"] == code, 60, 0.5)

    def carries(self, code):
        for client in (self.a, self.b):
            self.home(client, code)
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.ping(other.ip(), "derp", timeout=60)
        self.transfer(self.a, self.b, 5_000_000)
        self.transfer(self.b, self.a, 5_000_000)

    def test_1_embedded(self):
        self.carries("ringscale")
        accepts = self.server.metric("ringscale_front_websocket_accepts_total")
        self.assertGreaterEqual(accepts, 1)
        self.assertGreater(self.server.metric("ringscale_front_handed_over_total{to=\"relay\"}"),
                           accepts)

    def test_2_dedicated(self):
        self.carries("first")
        self.assertGreaterEqual(self.relay.vars()["derp_websocket_accepts"], 1)

    def test_3_tls_12(self):
        """OpenSSL held to TLS 1.2 is greeted as DERP clients are."""
        for url in (f"{self.url}/derp", "https://r1.test/derp"):
            greeting = self.a.host.run(
                "curl", "-sSi", "--tls-max", "1.2", "--cacert", self.ca, "--max-time", "2",
                "--output", "-", "-H", "Upgrade: DERP", "-H", "Connection: Upgrade", url,
                check=False, errors="replace").stdout
            self.assertTrue(greeting.startswith("HTTP/1.1 101 "), greeting)
            self.assertRegex(greeting, r"Derp-Public-Key: [0-9a-f]{64}")
            self.assertIn("DERP", greeting.split("\n\n", 1)[1])
        self.assertGreaterEqual(self.relay.vars()["derper_tls_request_version"]["1.2"], 1)

    def test_4_no_server_no_node(self):
        """Verification holds for both kinds of clients."""
        for client in (self.a, self.b):
            self.server.cli("nodes", "delete", "-i", self.server.node(client.name)["id"], "--force")
        wait_until("nobody is connected to the embedded relay", lambda: self.server.metric(
            "ringscale_relay_connections") == 0, 30)


class RawAddress(RelayLab):
    """A relay without a name and without files: the node that it prints is one that
    clients use, by the pin of its certificate."""

    @classmethod
    def build(cls):
        cls.make_relays("r1")
        server_host = cls.lab.host("srv")
        a, b = (cls.lab.host(name) for name in ("a", "b"))
        host = cls.hosts[0]
        cls.relay = Relay(host, "--hostname", host.ip, "--certmode=manual",
                          "--certdir", host.dir).start()
        wait_until("the relay names itself", lambda: '"CertName"' in cls.log(), 20)
        node = next(json.loads(line) for line in cls.log().splitlines() if '"CertName"' in line)
        path = server_host.dir / "derp.json"
        path.write_text(json.dumps({"Regions": {"900": {
            "RegionID": 900, "RegionCode": "raw", "RegionName": "raw", "Nodes": [node]}}}))
        cls.node = node
        url = f"http://{server_host.ip}:8080"
        cls.server = Server(server_host, url, f'derp.enabled = false\nderp.paths = ["{path}"]\n')
        cls.server.start()
        key = cls.server.auth_key("--reusable")
        cls.a, cls.b = (Client(host, NEW) for host in (a, b))
        for client in (cls.a, cls.b):
            client.host.block_udp_except_stun()
            client.up(url, key=key)

    @classmethod
    def log(cls):
        return (cls.hosts[0].dir / "relay.log").read_text()

    def test_1_clients_take_the_pin(self):
        self.assertEqual(self.node["HostName"], self.hosts[0].ip)
        self.assertRegex(self.node["CertName"], "^sha256-raw:[0-9a-f]{64}$")
        for one, other in ((self.a, self.b), (self.b, self.a)):
            one.ping(other.ip(), "derp", timeout=60)
        self.transfer(self.a, self.b, 1_000_000)
        # By TLS, and one round trip earlier, for the pin leaves room for the relay's key.
        self.assertGreaterEqual(self.relay.metric("ringscale_front_fast_starts_total"), 2)

    def test_2_another_pin_is_refused(self):
        wrong = dict(self.node, CertName="sha256-raw:" + "0" * 64)
        path = self.server.host.dir / "derp.json"
        path.write_text(json.dumps({"Regions": {"900": {
            "RegionID": 900, "RegionCode": "raw", "RegionName": "raw", "Nodes": [wrong]}}}))
        before = self.relay.metric("derp_accepts")
        self.server.take_over()
        wait_until("the map has the other pin", lambda: wrong["CertName"] in
                   self.a.cli("debug", "derp-map").stdout, 30)
        self.relay.stop()
        self.relay.start()
        wait_until("clients try", lambda: self.relay.metric(
            "ringscale_front_accepted_total") > 2, 60)
        self.assertEqual(self.relay.metric("derp_accepts"), 0)
        self.assertGreaterEqual(before, 2)
