"""The relays that are compared, each a child process on the server's core."""

import contextlib
import ctypes
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/e2e"))
from peers import derper_certificates, make_ca  # noqa: E402

HOST = "127.0.0.1"
RELAYS = ("ringscale", "derper")
QUOTA_MS, PERIOD_MS = 5, 20
REAL_TIME = 5
CLONE_NEWNET = 0x40000000  # linux/sched.h


def own_network():
    """For root: this process and its children get a network with nothing but loopback, as
    the kernel makes it. What the machine is tuned to (congestion control above all, of
    which some kinds measure a CPU quota instead of a path) is no part of the comparison."""
    if os.geteuid() != 0:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("cubic")


def two_cores():
    """(the servers' core, the load's core)"""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("needs two cores: one for the server, one for the load")
    return cores[0], cores[1]


def pinned_to(core, real_time):
    """For subprocess: what the child does before it becomes the program."""
    def prepare():
        os.sched_setaffinity(0, {core})
        if real_time:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME))
    return prepare


def free_ports(count):
    """Ports that nobody uses for TCP now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Servers:
    """Ours (TLS, plain and STUN in one process) and derper (one with TLS and STUN,
    one plain), all with the same certificate. Who is not under load sleeps."""

    def __init__(self, ringscale, derper, core, folder, real_time):
        self.ringscale, self.derper, self.core, self.folder = ringscale, derper, core, folder
        self.real_time = real_time
        ours, our_stun, tls, plain, stun = free_ports(5)
        self.ports = {"ringscale": {"tls": ours, "plain": ours, "stun": our_stun},
                      "derper": {"tls": tls, "plain": plain, "stun": stun}}
        self.ca, cert, key = make_ca(folder / "ca", [HOST])
        derper_certificates(folder / "certs", HOST, cert, key)
        self.config = folder / "ringscale.toml"
        self.config.write_text(f"""
listen = ["{HOST}:{ours}"]
data_dir = "{folder}/data"
[tls]
cert = "{cert}"
key = "{key}"
[metrics]
listen = ""
[derp]
verify_clients = false
stun_listen = ["{HOST}:{our_stun}"]
[limits]
connections_per_source = 0
[engine]
relay_shards = 1
fronts = 1
""")
        self.processes = []
        self.start()

    def start(self):
        folder, ports = self.folder, self.ports["derper"]
        ours = self.spawn("ringscale", [self.ringscale, "serve", "--config", self.config])
        tls = self.spawn("derper-tls", [
            self.derper, "-a", f"{HOST}:{ports['tls']}", "-http-port", "-1", "-certmode", "manual",
            "-certdir", folder / "certs", "-hostname", HOST, "-c", folder / "derper-tls.key",
            "-stun-port", ports["stun"]])
        plain = self.spawn("derper-plain", [
            self.derper, "-a", f"{HOST}:{ports['plain']}", "-http-port", "-1", "-stun=false",
            "-c", folder / "derper-plain.key"])
        self.pids = {"ringscale": {"tls": ours, "plain": ours, "stun": ours},
                     "derper": {"tls": tls, "plain": plain, "stun": tls}}
        for port in (self.ports["ringscale"]["tls"], ports["tls"], ports["plain"]):
            self.await_port(port)

    @contextlib.contextmanager
    def ordinary(self):
        """While it lasts, they run as they place and weight themselves: started without
        real-time priority."""
        if not self.real_time:
            yield
            return
        self.real_time = False
        self.restart()
        try:
            yield
        finally:
            self.real_time = True
            self.restart()

    def restart(self):
        self.close()
        self.start()

    def spawn(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, "GOMAXPROCS": "1"},
                preexec_fn=pinned_to(self.core, self.real_time))
        self.processes.append(process)
        return process.pid

    def await_port(self, port):
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((HOST, port), 1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    for log in sorted(self.folder.glob("*.log")):
                        sys.stderr.write(f"--- {log.name}\n"
                                         f"{log.read_text(errors='replace')[-2000:]}")
                    raise SystemExit(f"nobody listens on port {port}") from None
                time.sleep(0.1)

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


def cpu_controller():
    """A folder of cgroups with CPU quotas and whether it is of version 2; None without."""
    first, second = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
    if (first / "cpu.cfs_quota_us").exists() or (first / "cgroup.procs").exists():
        return first, False
    with contextlib.suppress(OSError):
        if "cpu" in (second / "cgroup.subtree_control").read_text().split():
            return second, True
    return None


@contextlib.contextmanager
def quota(pid):
    """While it lasts, the process gets QUOTA_MS of CPU time in each PERIOD_MS, and before
    all others: it would else get less on a busy machine."""
    controller, version_2 = cpu_controller()
    group = controller / f"ringscale-compare-{pid}"
    group.mkdir()
    try:
        if version_2:
            (group / "cpu.max").write_text(f"{QUOTA_MS * 1000} {PERIOD_MS * 1000}")
            (group / "cpu.weight").write_text("10000")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_MS * 1000))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA_MS * 1000))
            (group / "cpu.shares").write_text("262144")
        (group / "cgroup.procs").write_text(str(pid))
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                (controller / "cgroup.procs").write_text(str(pid))
    finally:
        group.rmdir()
