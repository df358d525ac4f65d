"""Small networks made of namespaces: hosts joined by a bridge, each with its own
interface, TUN devices, resolver files and firewall."""

import atexit
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import tempfile
import time


class LabError(Exception):
    """Something the test relies on did not happen; the text says what."""


def run(*command, check=True, timeout=60, **kwargs):
    """Runs a command to its end; its output is returned (and shown on failure)."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                       f"{done.stdout}{done.stderr}")
    return done


def wait_until(what, probe, timeout=30.0, interval=0.1):
    """Polls `probe` until it returns something true; returns that."""
    deadline = time.monotonic() + timeout
    last = None
    while time.monotonic() < deadline:
        try:
            value = probe()
            if value:
                return value
            last = value
        except (LabError, subprocess.SubprocessError, OSError, ValueError, KeyError) as error:
            last = error
        time.sleep(interval)
    raise LabError(f"not within {timeout:.0f} s: {what} (last: {last!r})")


def own_run_folder():
    """In a namespace of users, /run belongs to root outside: one of our own for the names
    of namespaces."""
    if pathlib.Path("/proc/self/uid_map").read_text().split()[2] == str(2 ** 32 - 1):
        return
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], capture_output=True).returncode == 0:
        os.mkdir("/run/netns")


def why_not():
    """None when a lab can be made here, else the reason."""
    if os.geteuid() != 0:
        return "needs root (or: unshare -Urnm) for network namespaces"
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return f"needs the command {tool}"
    if not os.path.exists("/dev/net/tun"):
        return "needs /dev/net/tun"
    name = f"rsprobe{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return "cannot make network namespaces"
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None


def ignore_uncopyable(folder, names):
    """Of a folder, what cannot be copied as a file, or not by us."""
    ignored = []
    for name in names:
        path = os.path.join(folder, name)
        mode = os.lstat(path).st_mode
        copyable = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        if not stat.S_ISLNK(mode) and not (copyable and os.access(path, os.R_OK)):
            ignored.append(name)
    return ignored


class Host:
    """One namespace with an interface eth0 on the lab's bridge."""

    def __init__(self, lab, name, addresses):
        self.lab = lab
        self.name = name
        self.ns = f"{lab.tag}-{name}"
        self.addresses = addresses
        self.processes = []
        self.dir = lab.dir / name
        self.dir.mkdir()
        # Its own /etc: clients rewrite resolv.conf and keep a copy beside it.
        self.etc = self.dir / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True, ignore=ignore_uncopyable)
        for name in ("resolv.conf", "hosts"):
            (self.etc / name).unlink(missing_ok=True)
        (self.etc / "resolv.conf").write_text("# no resolver in this lab\n")
        self.write_hosts()
        run("ip", "netns", "add", self.ns)
        inside = f"v{len(lab.hosts)}{lab.tag}"[:15]
        run("ip", "link", "add", inside, "netns", lab.bridge_ns, "type", "veth",
            "peer", "name", "eth0", "netns", self.ns)
        run("ip", "-n", lab.bridge_ns, "link", "set", inside, "master", "br0", "up")
        self.port = inside
        run("ip", "-n", self.ns, "link", "set", "lo", "up")
        run("ip", "-n", self.ns, "link", "set", "eth0", "up")
        for address in addresses:
            self.add_address(address)

    def add_address(self, address):
        options = ["nodad"] if ":" in address else []
        run("ip", "-n", self.ns, "addr", "add", address, "dev", "eth0", *options)

    @property
    def ip(self):
        return self.addresses[0].split("/")[0]

    def write_hosts(self, **names):
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        lines += [f"{address} {name}" for name, address in names.items()]
        (self.etc / "hosts").write_text("\n".join(lines) + "\n")

    def add_name(self, name, address):
        with (self.etc / "hosts").open("a") as hosts:
            hosts.write(f"{address} {name}\n")

    def command(self, *command):
        return ["ip", "netns", "exec", self.ns, "sh", "-c", 'mount --bind "$0" /etc && exec "$@"',
                str(self.etc), *map(str, command)]

    def run(self, *command, **kwargs):
        return run(*self.command(*command), **kwargs)

    def start(self, *command, log, env=None, **kwargs):
        path = self.dir / log
        with path.open("ab") as out:
            process = subprocess.Popen(self.command(*command), stdout=out, stderr=out,
                                       stdin=subprocess.DEVNULL,
                                       env={**os.environ, **(env or {})}, **kwargs)
        process.log = path
        self.processes.append(process)
        return process

    def nft(self, script):
        run(*self.command("nft", "-f", "-"), input=script)

    def block_udp_except_stun(self):
        """Only the relay can carry traffic then (STUN still answers)."""
        self.block("udp dport != { 3478, 3479 }")

    def block_udp(self):
        self.block("meta l4proto udp")

    def block(self, what):
        self.nft("table inet lab {\n chain out {\n type filter hook output priority 0;\n"
                 f'oifname "eth0" {what} drop\n }}\n}}\n')

    def unblock(self):
        self.nft("table inet lab\ndelete table inet lab\n")

    def unplug(self):
        run("ip", "-n", self.lab.bridge_ns, "link", "set", self.port, "nomaster")

    def plug(self):
        run("ip", "-n", self.lab.bridge_ns, "link", "set", self.port, "master", "br0")

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["ip", "netns", "del", self.ns], capture_output=True)


class Lab:
    """A bridge and its hosts. Everything goes when the lab is closed."""

    def __init__(self):
        self.tag = f"rs{os.getpid() % 100000}"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ringscale-e2e-"))
        self.hosts = []
        self.bridge_ns = f"{self.tag}-lan"
        run("ip", "netns", "add", self.bridge_ns)
        atexit.register(self.close)
        run("ip", "-n", self.bridge_ns, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", self.bridge_ns, "link", "set", "br0", "up")

    def host(self, name, *addresses):
        """Addresses with prefix length; default: the next one of 192.168.77.0/24."""
        if not addresses:
            addresses = (f"192.168.77.{len(self.hosts) + 1}/24",)
        host = Host(self, name, list(addresses))
        self.hosts.append(host)
        return host

    def close(self):
        atexit.unregister(self.close)
        for host in self.hosts:
            host.close()
        self.hosts = []
        subprocess.run(["ip", "netns", "del", self.bridge_ns], capture_output=True)
        if os.environ.get("RINGSCALE_E2E_KEEP"):
            print(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self, lines=60):
        """The ends of all logs: what a failed test prints."""
        parts = []
        for path in sorted(self.dir.glob("*/*.log")):
            text = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.parent.name}/{path.name}\n" + "\n".join(text))
        return "\n".join(parts)
