#!/usr/bin/env python3
"""Our relay and derper under the same load, in turn, on the same core.

relay.py RINGSCALE RINGSCALE_BENCH CLIENTS [options]

CLIENTS is the folder with derper, derpprobe, tailscale and tailscaled of one release.
Prints a Markdown table: the median of each relay over the rounds, the ratio of the
medians, and the smallest and largest ratio of a round. Progress goes to stderr.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from programs import Probe, RealClients
from servers import (HOST, PERIOD_MS, QUOTA_MS, RELAYS, Servers, cpu_controller, pinned_to, quota,
                     two_cores)

NOTHING = float("nan")
KIND_NAMES = {"tls": "TLS", "plain": "plain"}


def same(value):
    return dict.fromkeys(RELAYS, value)


class Comparison:
    """What rows measure with."""

    def __init__(self, arguments, servers, load_core):
        self.servers, self.load_core = servers, load_core
        self.program, self.seconds = arguments.bench, arguments.seconds
        self.wait_quiet = arguments.wait_quiet
        self.clients = pathlib.Path(arguments.clients)

    def bench(self, kind, mode, relays, *options):
        """The parsed rows of one run of ringscale-bench relay."""
        command = [self.program, "relay", "--json", "--quiet", "--wait-quiet", self.wait_quiet]
        for relay in relays:
            ports = self.servers.ports[relay]
            scheme = "derp" if kind == "plain" else "derps"
            command += ["--url", f"{scheme}://{HOST}:{ports['plain' if kind == 'plain' else 'tls']}",
                        "--name", relay, "--pid", self.servers.pids[relay][kind]]
        command = [str(word) for word in [*command, mode, *options]]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              preexec_fn=pinned_to(self.load_core))
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)[mode]

    def throughput(self, kind, relay, rates, *options):
        """A run for each rate (Mbit/s; 0: as fast as possible), in their order."""
        return self.bench(kind, "throughput", [relay], "--seconds", self.seconds,
                          "--warm-up", 0.5, *options, "--rate", *rates)

    def by_relay(self, mode, *options):
        """{relay: its row} of one run of both."""
        return {row["relay"]: row for row in self.bench("tls", mode, RELAYS, *options)}


# --- rows: each yields (what, {relay: figure}) of one round ---

def carried(runs, loss=0.001):
    """The run that delivered most with less than that loss; None without any."""
    good = [run for run in runs if run["loss"] < loss]
    return max(good, key=lambda run: run["delivered_mbit"], default=None)


def figure(run, read):
    return NOTHING if run is None else read(run)


def packets(run):
    return run["delivered_mbit"] / 8 / run["packet_bytes"]  # millions a second


# Up to where each loses; ours ends with "as fast as the generator can".
SWEEP = {"ringscale": [4000, 6000, 8000, 0], "derper": [300, 500, 700, 1000]}
SMALL_SWEEP = {"ringscale": [300, 0], "derper": [50, 80, 110]}
QUOTA_SWEEP = {"ringscale": [1000, 1500, 2000, 2500, 3000], "derper": [50, 100, 150, 200, 300]}
OVERLOAD = 3


def row_carried(kind):
    def measure(with_):
        runs = {relay: carried(with_.throughput(kind, relay, SWEEP[relay], "--coalesce", 16))
                for relay in RELAYS}

        def each(read):
            return {relay: figure(run, read) for relay, run in runs.items()}
        name = KIND_NAMES[kind]
        yield f"{name}, 1,400 B, 10 pairs: most with < 0.1 % loss, Mbit/s", \
            each(lambda run: run["delivered_mbit"])
        yield f"{name}: server's cores there", \
            each(lambda run: run["server_cpu_s"] / run["seconds"])
        yield f"{name}: that for a whole core, Mbit/s", \
            each(lambda run: run["delivered_mbit"] * run["seconds"] / run["server_cpu_s"])
        yield f"{name}: CPU s/GB there", each(lambda run: run["server_cpu_s_per_gb"])
    return measure


def row_uncoalesced(with_):
    for kind, name in KIND_NAMES.items():
        runs = {relay: with_.throughput(kind, relay, [200])[0] for relay in RELAYS}
        yield f"{name}, 200 Mbit/s over 10 pairs, a packet a write: CPU s/GB", \
            {relay: run["server_cpu_s_per_gb"] for relay, run in runs.items()}


def row_small(with_):
    for kind, name in KIND_NAMES.items():
        runs = {relay: carried(with_.throughput(kind, relay, SMALL_SWEEP[relay], "--size", 100,
                                                "--coalesce", 64), 0.01)
                for relay in RELAYS}
        yield f"{name}, 100 B packets, < 1 % loss: millions a second", \
            {relay: figure(run, packets) for relay, run in runs.items()}
        yield f"{name}, 100 B packets: CPU us each", \
            {relay: figure(run, lambda r: r["server_cpu_s"] / r["seconds"] / packets(r))
             for relay, run in runs.items()}


def row_overload(with_):
    if cpu_controller() is None or os.geteuid() != 0:
        raise NotHere("needs root and cgroups with CPU quotas")
    peaks, shares, pairs = {}, {}, {}
    for relay in RELAYS:
        with quota(with_.servers.pids[relay]["tls"]):
            runs = with_.throughput("tls", relay, QUOTA_SWEEP[relay], "--coalesce", 16)
            peak = max(run["delivered_mbit"] for run in runs)
            run = with_.throughput("tls", relay, [round(OVERLOAD * peak)], "--coalesce", 16)[0]
        peaks[relay] = peak
        # A generator without CPU left says nothing about the relay.
        void = run["busiest_generator_thread"] > 0.97
        shares[relay] = NOTHING if void else 100 * run["delivered_mbit"] / peak
        pairs[relay] = NOTHING if void else run["slowest_pair"]
    yield f"TLS, {QUOTA_MS} ms of CPU in {PERIOD_MS} ms: most delivered, Mbit/s", peaks
    yield f"offered {OVERLOAD} times that: delivered of it, %", shares
    yield f"offered {OVERLOAD} times that: slowest pair / fastest", pairs


def row_latency(with_):
    # 20,000 packets of 1,400 B at 50 Mbit/s take 4.5 s.
    for load, rate in (("290 TLS clients/s log in", 290), ("TLS clients log in at full speed", 0)):
        runs = with_.by_relay("connect", "--rate", rate, "--seconds", 4.5)
        if rate != 0:
            for quantile in ("p50", "p99"):
                yield f"TLS, one way at 50 Mbit/s, idle: {quantile} us", \
                    {relay: run["alone"]["delay"][f"{quantile}_us"] for relay, run in runs.items()}
        yield f"while {load}: p99 us", \
            {relay: run["during_logins"]["delay"]["p99_us"] for relay, run in runs.items()}
        yield f"while {load}: p99 / idle p99", \
            {relay: run["during_logins"]["delay"]["p99_us"] / run["alone"]["delay"]["p99_us"]
             for relay, run in runs.items()}
    # The last run was at full speed.
    yield "TLS and DERP logins a second", \
        {relay: run["logins"]["done"] / run["logins"]["seconds"] for relay, run in runs.items()}
    yield "TLS and DERP login: server CPU ms", \
        {relay: run["logins"]["server_cpu_ms_each"] for relay, run in runs.items()}


def row_memory(with_):
    with_.servers.restart()  # memory that an earlier run has left behind would be used again
    runs = with_.by_relay("storm", "--clients", 4000, "--settle", 10)
    yield "4,000 idle TLS connections, 10 s after all came back: server's bytes each", \
        {relay: run["bytes_per_client"] for relay, run in runs.items()}


def row_stun(with_):
    figures = {}
    for relay in RELAYS:
        run = with_.bench("stun", "stun", [relay], "--port", with_.servers.ports[relay]["stun"],
                          "--seconds", with_.seconds)[0]
        figures[relay] = run["answers"] / run["server_cpu_s"] / 1e3
    yield "STUN: thousand answers a second of a core", figures


def row_probe(with_):
    if os.geteuid() != 0:
        raise NotHere("needs root for a TUN device")
    probe = Probe(with_.clients / "derpprobe", with_.servers, with_.load_core)
    runs = {relay: probe.once(relay) for relay in RELAYS}
    yield "derpprobe, 50 MB over TUN: s", {relay: run[0] for relay, run in runs.items()}
    yield "derpprobe, 50 MB over TUN: server CPU s/GB", {relay: run[1] for relay, run in runs.items()}


def row_clients(with_):
    clients = RealClients(with_.clients / "derper")
    with contextlib.closing(clients):
        for _ in range(2):
            runs = {relay: clients.once(relay) for relay in RELAYS}
            for i, what in enumerate(("Mbit/s", "relay's CPU s/GB", "packets the relay dropped")):
                yield f"two real clients without UDP, iperf3: {what}", \
                    {relay: run[i] for relay, run in runs.items()}


class NotHere(Exception):
    """Why a row cannot be measured on this machine."""


# name -> (how it is measured, in how many of the rounds at most)
ROWS = {"tls": (row_carried("tls"), 9), "plain": (row_carried("plain"), 9),
        "overload": (row_overload, 2), "uncoalesced": (row_uncoalesced, 9), "small": (row_small, 9),
        "latency": (row_latency, 9), "memory": (row_memory, 1), "stun": (row_stun, 9),
        "derpprobe": (row_probe, 9), "clients": (row_clients, 1)}


def show(value):
    if value != value:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def print_rows(figures):
    for what, rounds in figures.items():
        median = {relay: statistics.median(values[relay] for values in rounds) for relay in RELAYS}
        ratios = sorted(values["ringscale"] / values["derper"] if values["derper"] else NOTHING
                        for values in rounds)
        ratio = median["ringscale"] / median["derper"] if median["derper"] else NOTHING
        print(f"| {what} | {show(median['ringscale'])} | {show(median['derper'])} | {show(ratio)} "
              f"| {show(ratios[0])} to {show(ratios[-1])} |", flush=True)


def measure(name, with_, rounds):
    """{what: [{relay: figure} of each round]}"""
    row, most = ROWS[name]
    figures = {}
    for number in range(min(rounds, most)):
        print(f"{name}: round {number + 1} of {min(rounds, most)}", file=sys.stderr, flush=True)
        for what, values in row(with_):
            figures.setdefault(what, []).append(values)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ringscale")
    parser.add_argument("bench")
    parser.add_argument("clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement of throughput")
    parser.add_argument("--wait-quiet", type=float, default=5,
                        help="seconds to wait for other processes before each measurement")
    parser.add_argument("--only", default="", metavar="REGEX",
                        help="the rows whose name matches: " + ", ".join(ROWS))
    arguments = parser.parse_args()
    names = [name for name in ROWS if re.search(arguments.only, name)]
    if not names:
        parser.error(f"no row matches {arguments.only!r}; there are {', '.join(ROWS)}")
    # A signal ends the servers and the clients, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server_core, load_core = two_cores()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="compare-relay-") as folder, contextlib.closing(
            Servers(arguments.ringscale, pathlib.Path(arguments.clients) / "derper", server_core,
                    pathlib.Path(folder))) as servers:
        print("| what | ringscale | derper | ratio | in each round |\n|---|---|---|---|---|",
              flush=True)
        for name in names:
            try:
                print_rows(measure(name, Comparison(arguments, servers, load_core),
                                   arguments.rounds))
            except NotHere as why:
                print(f"{name}: left out: {why}", file=sys.stderr)
    print(f"done in {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
