"""The programs under test: ringscale itself and the official client."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request

from lab import LabError, run, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("RINGSCALE_BINARY", ROOT / "build/release/bin/ringscale"))
BENCH = BINARY.with_name("ringscale-bench")
CLIENTS = pathlib.Path(os.environ.get(
    "RINGSCALE_CLIENTS",
    pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    / "ringscale/clients"))

NEW = "v1.102.5"
OLD = "v1.80.3"
PINNED = "v1.82.0"  # the first release that knows the pin
TOO_OLD = "v1.78.3"  # below the oldest that is served


class Server:
    """`ringscale serve` on a host of the lab."""

    def __init__(self, host, url, config="", env=None, wrapper=()):
        self.host = host
        self.url = url
        self.data = host.dir / "data"
        self.config = host.dir / "ringscale.toml"
        self.env = env or {}
        self.wrapper = list(wrapper)
        self.write_config(config)
        self.process = None

    def write_config(self, text):
        self.config.write_text(text)

    def start(self, *flags):
        self.process = self.host.start(
            *self.wrapper, BINARY, "serve", "--config", self.config, "--data-dir", self.data,
            *flags, log="server.log", env=self.env)
        self.wait_ready()
        return self

    def wait_ready(self, timeout=20):
        def ready():
            if self.process.poll() is not None:
                raise LabError(f"the server ended with {self.process.returncode}:\n"
                               f"{self.log_text()[-2000:]}")
            return self.cli("users", "list", check=False).returncode == 0
        wait_until("the server answers on its socket", ready, timeout)

    def cli(self, *arguments, check=True, timeout=60, **kwargs):
        return run(BINARY, "--data-dir", self.data, "--config", self.config, *arguments,
                   check=check, timeout=timeout, **kwargs)

    def json(self, *arguments):
        return json.loads(self.cli("--output", "json", *arguments).stdout)

    def stop(self, sig=signal.SIGTERM, timeout=20):
        self.process.send_signal(sig)
        code = self.process.wait(timeout)
        if sig == signal.SIGTERM and code != 0:
            raise LabError(f"SIGTERM ended the server with {code}")
        return code

    def take_over(self, timeout=30):
        """Another process takes over; the one before ends by itself, with 0."""
        old = self.process
        self.process = self.host.start(
            *self.wrapper, BINARY, "serve", "--take-over", "--config", self.config, "--data-dir",
            self.data, log="server.log", env=self.env)
        code = old.wait(timeout)
        if code != 0:
            raise LabError(f"the replaced server ended with {code}")
        self.wait_ready()

    def log_text(self):
        return (self.host.dir / "server.log").read_text(errors="replace")

    def user(self, name="alice"):
        for user in self.json("users", "list"):
            if user["name"] == name:
                return user["id"]
        return self.json("users", "create", name)["id"]

    def auth_key(self, *flags, user="alice"):
        return self.cli("preauthkeys", "create", "-u", self.user(user), *flags).stdout.strip()

    def nodes(self):
        return self.json("nodes", "list")

    def node(self, name):
        for node in self.nodes():
            if node["givenName"] == name:
                return node
        raise LabError(f"the server has no node {name}")

    def metrics(self, listen="127.0.0.1:9090"):
        """All samples of /metrics as {'name{labels}': value}."""
        text = self.host.run("curl", "-sS", "--max-time", "5", f"http://{listen}/metrics").stdout
        samples = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def metric(self, name):
        return sum(v for k, v in self.metrics().items() if k == name or k.startswith(name + "{"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Relay:
    """`ringscale relay` on a host of the lab; with `as_derper` started under the name
    derper with Go's flags, with `program` another program of that command line;
    `wrapper` is a command that runs it."""

    def __init__(self, host, *flags, as_derper=False, program=None, env=None, wrapper=()):
        self.host = host
        self.data = host.dir / "relay-data"
        self.flags = [str(flag) for flag in flags]
        self.env = env or {}
        if program:
            self.command = [program]
        elif as_derper:
            link = host.dir / "derper"
            link.symlink_to(BINARY)
            self.command = [link]
        else:
            self.command = [BINARY, "relay"]
        self.command = [*wrapper, *self.command]
        self.env["RINGSCALE_DATA_DIR"] = str(self.data)
        self.process = None

    def start(self, *more):
        self.process = self.host.start(*self.command, *self.flags, *more, log="relay.log",
                                       env=self.env)
        self.wait_ready()
        return self

    def wait_ready(self, timeout=30):
        def ready():
            if self.process.poll() is not None:
                raise LabError(f"the relay ended with {self.process.returncode}")
            return "204" in self.host.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}",
                                          "--max-time", "2", "http://127.0.0.1/generate_204",
                                          check=False).stdout
        wait_until(f"the relay of {self.host.name} answers", ready, timeout)

    def stop(self, sig=signal.SIGTERM, timeout=30):
        self.process.send_signal(sig)
        return self.process.wait(timeout)

    def take_over(self, timeout=60):
        old = self.process
        self.process = self.host.start(*self.command, *self.flags, "--take-over", log="relay.log",
                                       env=self.env)
        if (code := old.wait(timeout)) != 0:
            raise LabError(f"the replaced relay ended with {code}")

    def status(self):
        return json.loads(run(BINARY, "--data-dir", self.data, "-o", "json", "relay",
                              "status").stdout)

    def log_text(self):
        return (self.host.dir / "relay.log").read_text(errors="replace")

    def vars(self):
        """What derper's dashboards read."""
        return json.loads(self.host.run("curl", "-sS", "--max-time", "5",
                                        "http://127.0.0.1/debug/vars").stdout)

    def metric(self, name):
        text = self.host.run("curl", "-sS", "--max-time", "5",
                             "http://127.0.0.1/debug/varz").stdout
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith((name + " ", name + "{")))


class Client:
    """tailscaled and tailscale of one release on a host of the lab."""

    def __init__(self, host, version, name=None, env=None, flags=("--no-logs-no-support",),
                 daemon="tailscaled"):
        self.host = host
        self.daemon = daemon
        self.version = version
        self.name = name or host.name
        self.bin = CLIENTS / version
        self.socket = host.dir / f"{self.name}.sock"
        self.state = host.dir / f"{self.name}-state"
        self.env = {"TS_DEBUG_FIREWALL_MODE": "nftables", **(env or {})}
        self.flags = list(flags)
        self.process = None
        self.start()

    def start(self):
        self.state.mkdir(exist_ok=True)
        self.process = self.host.start(
            self.bin / self.daemon, "--tun=tailscale0", f"--state={self.state}/tailscaled.state",
            f"--statedir={self.state}", f"--socket={self.socket}", *self.flags,
            log=f"{self.name}.log", env=self.env)
        wait_until(f"{self.name}'s daemon answers", lambda: self.status()["BackendState"], 20)

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        self.process.wait(15)

    def cli(self, *arguments, check=True, timeout=90):
        return self.host.run(self.bin / "tailscale", f"--socket={self.socket}", *arguments,
                             check=check, timeout=timeout)

    def status(self):
        return json.loads(self.cli("status", "--json", timeout=20).stdout)

    def backend_state(self):
        return self.status()["BackendState"]

    def up(self, url, *flags, key=None, timeout=60, check=True):
        arguments = ["up", "--reset", f"--login-server={url}", f"--hostname={self.name}",
                     f"--timeout={timeout}s", *flags]
        if key:
            arguments.append(f"--auth-key={key}")
        return self.cli(*arguments, timeout=timeout + 20, check=check)

    def up_interactive(self, url, *flags):
        """Starts `tailscale up`; returns the process and the URL that it shows."""
        log = self.host.dir / f"{self.name}-up.log"
        out = log.open("wb")
        process = subprocess.Popen(
            self.host.command(self.bin / "tailscale", f"--socket={self.socket}", "up",
                              f"--login-server={url}", f"--hostname={self.name}", *flags),
            stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.host.processes.append(process)

        def shown():
            match = re.search(r"https?://\S+/register/\S+", log.read_text())
            return match and match.group(0)
        return process, wait_until(f"{self.name} shows a login URL", shown, 30)

    def logout(self):
        # Taking its own addresses away is a change of links to the client, upon which
        # it closes connections, also the one that carries the logout: once more then.
        wait_until(f"{self.name} logs out",
                   lambda: self.cli("logout", check=False).returncode == 0, 60)

    def ip(self, family=4):
        return self.cli("ip", f"-{family}").stdout.strip()

    def peers(self):
        return {peer["HostName"]: peer for peer in (self.status().get("Peer") or {}).values()}

    def wait_running(self, timeout=40):
        wait_until(f"{self.name} is Running", lambda: self.backend_state() == "Running", timeout)

    def wait_peer(self, name, online=True, timeout=30):
        return wait_until(
            f"{self.name} sees {name} {'online' if online else ''}",
            lambda: (p := self.peers().get(name)) and (not online or p["Online"]) and p, timeout)

    def ping(self, target, via, timeout=30):
        """`tailscale ping` until a pong came the given way: 'direct' or 'derp'."""
        def pong():
            text = self.cli("ping", "--c=3", "--timeout=3s",
                            *(["--until-direct=false"] if via == "derp" else []),
                            target, check=False, timeout=30).stdout
            if via == "direct":
                return re.search(r"via (?!DERP)\S+:\d+", text)
            return "via DERP(" in text
        wait_until(f"{self.name} pings {target} ({via})", pong, timeout, 0.3)

    def watch(self):
        return Watch(self)

    def health(self):
        return self.status().get("Health") or []


class Watch:
    """What a client tells about its peers, from now on."""

    def __init__(self, client):
        self.log = client.host.dir / f"{client.name}-bus.log"
        kinds = (["--netmap", "--rate-limit=false"] if client.version == OLD
                 else ["--peer-changes", "--peer-patches"])
        self.log.write_text("")
        self.process = client.host.start(
            client.bin / "tailscale", f"--socket={client.socket}", "debug", "watch-ipn", "--initial",
            *kinds, log=self.log.name)
        wait_until(f"{client.name}'s bus is watched", lambda: "{" in self.log.read_text(), 20)

    def end(self):
        """The words 'online' and 'offline' in the order in which peers were called so."""
        self.process.kill()
        self.process.wait()
        states = re.findall(r'"Online":\s*(true|false)', self.log.read_text())
        return ["online" if state == "true" else "offline" for state in states]


def toml(tables):
    """{table: {key: value}} as TOML: JSON strings, numbers, booleans and lists are TOML too."""
    return "\n".join(f"{table}.{key} = {json.dumps(value)}" if table else f"{key} = {json.dumps(value)}"
                     for table, keys in tables.items() for key, value in keys.items()) + "\n"


def make_ca(directory, names):
    """A private CA and a certificate for the names; returns (ca, cert, key). Beside it
    lies expired.pem, the same certificate of a time that is over."""
    directory.mkdir(exist_ok=True)
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    cert, key, csr = directory / "cert.pem", directory / "key.pem", directory / "csr.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "30", "-subj", "/CN=lab CA", "-keyout", ca_key, "-out", ca)
    sans = ",".join(("IP:" if re.fullmatch(r"[0-9.]+|.*:.*", n) else "DNS:") + n for n in names)
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", f"/CN={names[0]}", "-keyout", key, "-out", csr)
    extensions = directory / "ext.cnf"
    extensions.write_text(f"subjectAltName={sans}\nbasicConstraints=CA:FALSE\n"
                          "extendedKeyUsage=serverAuth\n")
    for path, days in ((cert, 30), (directory / "expired.pem", 0)):
        run("openssl", "x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key,
            "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", path)
    key.chmod(0o600)
    return ca, cert, key


def derper_certificates(directory, name, cert, key):
    """A folder as derper's -certdir wants it, with that certificate for that name."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.crt").write_bytes(cert.read_bytes())
    named_key = directory / f"{name}.key"
    named_key.write_bytes(key.read_bytes())
    named_key.chmod(0o600)
    return directory
