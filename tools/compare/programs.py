"""Rows that programs of the field measure: derpprobe, and iperf3 between two real
clients whose UDP is blocked."""

import json
import os
import re
import secrets
import subprocess
import sys

from servers import HOST, cpu_seconds  # makes the end-to-end lab importable
from lab import Lab, wait_until, why_not
from peers import NEW, Client, Relay, Server, derper_certificates, make_ca

PROBE_BYTES = 50_000_000
PROBE_ADDRESS = "10.99.0.1"
FLOW_SECONDS = 5


def derp_map(host_name, address, **more):
    """A DERP map of one relay."""
    return {"Regions": {"901": {
        "RegionID": 901, "RegionCode": "relay", "RegionName": "relay",
        "Nodes": [{"Name": "901a", "RegionID": 901, "HostName": host_name, "IPv4": address,
                   **more}]}}}


class Probe:
    """derpprobe's bandwidth probe, on all cores: one TCP flow over TUN through the relay."""

    def __init__(self, derpprobe, servers):
        self.derpprobe, self.servers = derpprobe, servers

    def once(self, relay):
        """(seconds, the server's CPU seconds a GB); None when the probe gave up"""
        servers = self.servers
        ports = servers.ports[relay]
        path = servers.folder / f"{relay}-map.json"
        path.write_text(json.dumps(
            derp_map(HOST, HOST, DERPPort=ports["tls"], STUNPort=ports["stun"])))
        before = cpu_seconds(servers.pids[relay]["tls"])
        done = subprocess.run(
            [self.derpprobe, "-once", "-spread=false", "-derp-map", f"file://{path}",
             "-listen", f"{HOST}:0", "-bw-interval", "20s",
             "-bw-probe-size-bytes", str(PROBE_BYTES), "-bw-tun-ipv4-addr", PROBE_ADDRESS],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "SSL_CERT_FILE": str(servers.ca)})
        took = re.search(r"good: \S*/bw: (?:([0-9.]+)m)?([0-9.]+)(ms|s)", done.stdout + done.stderr)
        if not took:
            print(f"derpprobe through {relay}:\n{done.stdout}{done.stderr}", file=sys.stderr)
            return None
        used = cpu_seconds(servers.pids[relay]["tls"]) - before
        minutes, number, unit = took.groups()
        seconds = 60 * float(minutes or 0) + float(number) / (1000 if unit == "ms" else 1)
        return seconds, used / (PROBE_BYTES / 1e9)


class RealClients:
    """Two official clients, a server that tells them about one relay, and that relay:
    ours or derper under the same name. Nothing is pinned."""

    def __init__(self, derper):
        if reason := why_not():
            raise SystemExit(f"real clients: {reason}")
        self.derper = derper
        self.lab = Lab()
        self.relay = None
        try:
            self.build()
        except Exception:
            print(self.lab.logs(), file=sys.stderr)
            self.close()
            raise

    def build(self):
        self.relay_host = self.lab.host("relay")
        server_host = self.lab.host("srv")
        hosts = [self.lab.host(name) for name in ("a", "b")]
        name = "relay.test"
        for host in self.lab.hosts:
            host.add_name(name, self.relay_host.ip)
        ca, cert, key = make_ca(self.lab.dir / "ca", [name])
        self.trust = {"SSL_CERT_FILE": str(ca)}
        certificates = derper_certificates(self.relay_host.dir / "certs", name, cert, key)
        self.key = self.relay_host.dir / "derper.key"
        self.key.write_text(json.dumps({"PrivateKey": "privkey:" + secrets.token_hex(32)}))
        self.key.chmod(0o600)
        self.flags = ["-hostname", name, "-certmode=manual", "-certdir", certificates,
                      "-c", self.key]
        path = server_host.dir / "derp.json"
        path.write_text(json.dumps(derp_map(name, self.relay_host.ip, CanPort80=True)))
        url = f"http://{server_host.ip}:8080"
        server = Server(server_host, url, f'derp.enabled = false\nderp.paths = ["{path}"]\n')
        server.start()
        auth_key = server.auth_key("--reusable")
        self.use("ringscale")
        self.clients = [Client(host, NEW, env=dict(self.trust)) for host in hosts]
        for client in self.clients:
            client.host.block_udp_except_stun()
            client.up(url, key=auth_key)

    def use(self, name):
        if self.relay:
            self.relay.stop()
        ours = {"as_derper": True} if name == "ringscale" else {"program": self.derper}
        link = self.relay_host.dir / "derper"
        link.unlink(missing_ok=True)
        self.relay = Relay(self.relay_host, *self.flags, **ours, env=dict(self.trust)).start()

    def once(self, name):
        """(Mbit/s, the relay's CPU seconds a GB, packets it dropped) of one TCP flow."""
        self.use(name)
        source, target = self.clients
        source.ping(target.ip(), "derp", timeout=60)
        listener = target.host.start("iperf3", "-s", "-1", log="iperf3.log")
        address = target.ip()
        wait_until("iperf3 listens", lambda: "5201" in target.host.run("ss", "-ltn").stdout, 10)
        before = cpu_seconds(self.relay.process.pid)
        done = json.loads(source.host.run("iperf3", "-J", "-c", address, "-t", FLOW_SECONDS,
                                          timeout=60).stdout)
        used = cpu_seconds(self.relay.process.pid) - before
        listener.wait(10)
        received = done["end"]["sum_received"]
        return (received["bits_per_second"] / 1e6, used / (received["bytes"] / 1e9),
                self.relay.metric("derp_packets_dropped"))

    def close(self):
        self.lab.close()
