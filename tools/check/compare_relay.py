#!/usr/bin/env python3
"""Our relay and derper under the same load, in turn, each alone on the same core.

compare_relay.py RINGSCALE RINGSCALE_BENCH DERPER [options]

Prints one line a figure: the median of each relay over the rounds, the ratio of the
medians, and the smallest and largest ratio of a round.
"""
import argparse
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SERVER_CORE, LOAD_CORE = 0, 1
SECONDS, WAIT_QUIET = 3, 20  # defaults of the options
HOST = "127.0.0.1"
PORTS = {"ringscale": {"tls": 18443, "plain": 18443, "stun": 13478},
         "derper": {"tls": 28443, "plain": 28080, "stun": 23478}}


class Servers:
    def __init__(self, ringscale, derper, folder):
        self.ringscale, self.derper, self.folder = ringscale, derper, folder
        self.config = folder / "ringscale.toml"
        self.config.write_text(f"""
listen = ["{HOST}:{PORTS['ringscale']['tls']}"]
data_dir = "{folder}/data"
[metrics]
listen = ""
[derp]
verify_clients = false
stun_listen = ["{HOST}:{PORTS['ringscale']['stun']}"]
[limits]
connections_per_source = 0
[engine]
relay_shards = 1
fronts = 1
""")
        self.processes = []
        self.start()

    def start(self):
        folder, ports = self.folder, PORTS["derper"]
        ours = self.spawn("ringscale", [self.ringscale, "serve", "--config", str(self.config)])
        tls = self.spawn("derper-tls", [
            self.derper, "-a", f"{HOST}:{ports['tls']}", "-http-port", "-1", "-certmode", "manual",
            "-certdir", str(folder), "-hostname", HOST, "-c", f"{folder}/derper-tls.key",
            "-stun-port", str(ports["stun"])])
        plain = self.spawn("derper-plain", [
            self.derper, "-a", f"{HOST}:{ports['plain']}", "-http-port", "-1", "-stun=false",
            "-c", f"{folder}/derper-plain.key"])
        self.pids = {"ringscale": {"tls": ours, "plain": ours, "stun": ours},
                     "derper": {"tls": tls, "plain": plain, "stun": tls}}
        for port in (PORTS["ringscale"]["tls"], ports["tls"], ports["plain"]):
            self.await_port(port)

    def restart(self):
        self.stop()
        self.start()

    def spawn(self, name, command):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
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
                        sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}")
                    raise SystemExit(f"nobody listens on port {port}")
                time.sleep(0.1)

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []


class Bench:
    def __init__(self, program, seconds, wait_quiet):
        self.program, self.seconds, self.wait_quiet = program, seconds, wait_quiet


def bench(program, servers, kind, arguments, relays):
    """The parsed JSON of one run of ringscale-bench relay."""
    command = [program.program, "relay", "--json", "--quiet",
               "--wait-quiet", str(program.wait_quiet)]
    for relay in relays:
        scheme = "derp" if kind == "plain" else "derps"
        port = PORTS[relay]["tls" if kind == "stun" else kind]
        command += ["--url", f"{scheme}://{HOST}:{port}", "--name", relay,
                    "--pid", str(servers.pids[relay][kind])]
    command += [word.replace("STUN_PORT", str(PORTS[relays[0]]["stun"])) for word in arguments]
    if "storm" not in arguments:
        command += ["--seconds", str(program.seconds)]
    result = subprocess.run(command, capture_output=True, text=True,
                            preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}))
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{result.stderr}")
    return json.loads(result.stdout)


RELAYS = ["ringscale", "derper"]


def throughput(program, servers, kind, rates, options):
    """Of one round: relay -> runs, in the order of its rates (Mbit/s; 0 = no limit)."""
    runs = {}
    for relay in RELAYS:
        arguments = ["throughput", *options, "--rate", *[str(rate) for rate in rates[relay]]]
        runs[relay] = bench(program, servers, kind, arguments, [relay])["throughput"]
    return runs


def same(rate):
    return {relay: [rate] for relay in RELAYS}


def carried(runs):
    """The most that was delivered with less than 0.1 % loss."""
    good = [run["delivered_mbit"] for run in runs
            if run["loss"] < 0.001 and run["offered_mbit"] > 0.98 * run["attempted_mbit"]]
    return max(good, default=float("nan"))


def packets(run):
    return run["delivered_mbit"] / 8 / run["packet_bytes"]  # millions a second


SWEEP = {"ringscale": [2000, 4000, 6000, 8000, 0], "derper": [200, 500, 700, 1000, 0]}


def row_carried(kind):
    def measure(program, servers):
        runs = throughput(program, servers, kind, SWEEP, ["--coalesce", "16"])
        yield f"{kind}, 1400 B, 10 pairs: most with < 0.1 % loss, Mbit/s", \
            {relay: carried(runs[relay]) for relay in RELAYS}
        yield f"{kind}: offered without limit, delivered Mbit/s", \
            {relay: runs[relay][-1]["delivered_mbit"] for relay in RELAYS}
        yield f"{kind}: the same, loss %", \
            {relay: 100 * runs[relay][-1]["loss"] for relay in RELAYS}
        yield f"{kind}: the same, slowest pair over fastest", \
            {relay: runs[relay][-1]["slowest_pair"] for relay in RELAYS}
    return measure


def row_cost(kind, label, rates, coalesce):
    def measure(program, servers):
        runs = throughput(program, servers, kind, rates, ["--coalesce", coalesce])
        yield f"{kind}: CPU s/GB {label}", \
            {relay: runs[relay][0]["server_cpu_s_per_gb"] for relay in RELAYS}
    return measure


def row_loaded(kind):
    return row_cost(kind, "when loaded (4,000 against 700 Mbit/s)",
                    {"ringscale": [4000], "derper": [700]}, "16")


def row_uncoalesced(kind):
    return row_cost(kind, "at 200 Mbit/s, a packet a write", same(200), "1")


def row_small(kind):
    def measure(program, servers):
        runs = throughput(program, servers, kind, {"ringscale": [0], "derper": [90]},
                          ["--size", "100", "--coalesce", "64"])
        yield f"{kind}: 100 B packets, millions a second", \
            {relay: packets(runs[relay][0]) for relay in RELAYS}
        yield f"{kind}: 100 B packets, server CPU us each", \
            {relay: runs[relay][0]["server_cpu_s"] / runs[relay][0]["seconds"]
             / packets(runs[relay][0]) for relay in RELAYS}
    return measure


def row_latency(program, servers):
    report = bench(program, servers, "tls", ["connect", "--rate", "290"], RELAYS)
    runs = {run["relay"]: run for run in report["connect"]}
    for name, phase in (("idle", "alone"), ("while 290 TLS clients/s log in", "during_logins")):
        for quantile in ("p50", "p99", "p999"):
            yield f"one way at 50 Mbit/s, {name}: {quantile} us", \
                {relay: runs[relay][phase]["delay"][f"{quantile}_us"] for relay in RELAYS}


def row_logins(program, servers):
    report = bench(program, servers, "tls", ["connect", "--rate", "0"], RELAYS)
    runs = {run["relay"]: run for run in report["connect"]}
    yield "TLS and DERP login: server CPU ms", \
        {relay: runs[relay]["logins"]["server_cpu_ms_each"] for relay in RELAYS}
    yield "logins a second", \
        {relay: runs[relay]["logins"]["done"] / runs[relay]["logins"]["seconds"]
         for relay in RELAYS}
    yield "meanwhile one way at 50 Mbit/s: p99 us", \
        {relay: runs[relay]["during_logins"]["delay"]["p99_us"] for relay in RELAYS}


def row_memory(program, servers):
    servers.restart()  # memory that an earlier storm has left behind would be used again
    report = bench(program, servers, "tls", ["storm", "--clients", "4000", "--settle", "10"],
                   RELAYS)
    runs = {run["relay"]: run for run in report["storm"]}
    yield "4,000 idle TLS clients after a storm: bytes each", \
        {relay: runs[relay]["bytes_per_client"] for relay in RELAYS}


def row_stun(program, servers):
    figures = {}
    for relay in RELAYS:
        run = bench(program, servers, "stun", ["stun", "--port", "STUN_PORT"],
                    [relay])["stun"][0]
        figures[relay] = run["answers"] / run["server_cpu_s"] / 1e3
    yield "STUN answers a second of a core, thousands", figures


ROWS = {"tls-carried": row_carried("tls"), "plain-carried": row_carried("plain"),
        "tls-loaded": row_loaded("tls"), "plain-loaded": row_loaded("plain"),
        "tls-uncoalesced": row_uncoalesced("tls"), "plain-uncoalesced": row_uncoalesced("plain"),
        "tls-small": row_small("tls"), "plain-small": row_small("plain"),
        "latency": row_latency, "logins": row_logins, "stun": row_stun, "memory": row_memory}


def show(value):
    if value != value:
        return "-"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ringscale")
    parser.add_argument("bench")
    parser.add_argument("derper")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    parser.add_argument("--wait-quiet", type=float, default=WAIT_QUIET,
                        help="seconds to wait for other processes before each measurement")
    parser.add_argument("--rows", default="", help="only those whose name matches: "
                        + ", ".join(ROWS))
    arguments = parser.parse_args()
    program = Bench(arguments.bench, arguments.seconds, arguments.wait_quiet)
    if os.cpu_count() < 2:
        raise SystemExit("needs two cores: one for the server, one for the load")
    with tempfile.TemporaryDirectory(prefix="compare-relay-") as name:
        servers = Servers(arguments.ringscale, arguments.derper, pathlib.Path(name))
        try:
            print(f"{'':<64} {'ringscale':>10} {'derper':>10} {'ratio':>8}  spread of "
                  f"{arguments.rounds} rounds", flush=True)
            for row_name, row in ROWS.items():
                if not re.search(arguments.rows, row_name):
                    continue
                figures = {}
                for _ in range(arguments.rounds):
                    for label, values in row(program, servers):
                        figures.setdefault(label, []).append(values)
                for label, rounds in figures.items():
                    median = {relay: statistics.median(values[relay] for values in rounds)
                              for relay in RELAYS}
                    ratios = sorted(values["ringscale"] / values["derper"] for values in rounds
                                    if values["derper"])
                    ratio = median["ringscale"] / median["derper"] if median["derper"] else \
                        float("nan")
                    spread = f"{show(ratios[0])} to {show(ratios[-1])}" if ratios else "-"
                    print(f"{label:<64} {show(median['ringscale']):>10} "
                          f"{show(median['derper']):>10} {show(ratio):>8}  {spread}", flush=True)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
