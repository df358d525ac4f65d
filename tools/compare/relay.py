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
from servers import (HOST, PERIOD_MS, QUOTA_MS, RELAYS, Servers, cpu_controller, own_network,
                     pinned_to, quota, two_cores)

NOTHING = float("nan")
KIND_NAMES = {"tls": "TLS", "plain": "plain"}


class Comparison:
    """What rows measure with."""

    def __init__(self, arguments, servers, load_core):
        self.servers, self.load_core = servers, load_core
        self.program, self.seconds = arguments.bench, arguments.seconds
        self.wait_quiet = arguments.wait_quiet
        self.clients = pathlib.Path(arguments.clients)

    def bench(self, kind, mode, relays, *options):
        """{relay: its rows, as --json has them} of one run of ringscale-bench relay."""
        command = [self.program, "relay", "--json", "--quiet", "--wait-quiet", self.wait_quiet]
        for relay in relays:
            port = self.servers.ports[relay]["plain" if kind == "plain" else "tls"]
            scheme = "derp" if kind == "plain" else "derps"
            command += ["--url", f"{scheme}://{HOST}:{port}", "--name", relay,
                        "--pid", self.servers.pids[relay][kind]]
        command = [str(word) for word in [*command, mode, *options]]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              preexec_fn=pinned_to(self.load_core, self.servers.real_time))
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        rows = json.loads(done.stdout)["records"]
        return {relay: [row for row in rows if row["relay"] == relay] for relay in relays}

    def pairs(self, kind, mode, relay, *options):
        """The rows of a mode with pairs of clients, of one relay."""
        return self.bench(kind, mode, [relay], "--seconds", self.seconds, "--warm-up", 0.5,
                          *options)[relay]


# --- rows: each yields (what, {relay: figure}) of one round ---

def carried(runs, loss_percent=0.1):
    """The run that delivered most with less than that loss; None without any."""
    good = [run for run in runs if run["loss_percent"] < loss_percent]
    return max(good, key=lambda run: run["delivered_mbit"], default=None)


def each(runs, read):
    """{relay: what is read of its run}"""
    return {relay: NOTHING if run is None else read(run) for relay, run in runs.items()}


def packets(run):
    return run["delivered_mbit"] / 8 / run["packet_bytes"]  # millions a second


# Up to where each loses; ours ends with "as fast as the generator can".
SWEEP = {"ringscale": [4000, 6000, 8000, 0], "derper": [300, 500, 700, 1000]}
SMALL_SWEEP = {"ringscale": [300, 0], "derper": [20, 35, 50, 80, 110]}
OVERLOAD = 3
GENERATOR_FULL = 0.93  # of a core; real-time programs get 0.95 of one at most
OVERLOAD_FROM = {"ringscale": 500, "derper": 50}  # Mbit/s, under the quota


def row_carried(kind):
    def measure(with_):
        runs = {relay: carried(with_.pairs(kind, "throughput", relay, "--coalesce", 16, "--rate",
                                           *SWEEP[relay]))
                for relay in RELAYS}
        name = KIND_NAMES[kind]
        yield f"{name}, 1,400 B, 10 pairs: most with < 0.1 % loss, Mbit/s", \
            each(runs, lambda run: run["delivered_mbit"])
        yield f"{name}: server's cores there", each(runs, lambda run: run["server_cores"])
        yield f"{name}: that for a whole core, Mbit/s", \
            each(runs, lambda run: run["delivered_mbit"] / run["server_cores"])
        yield f"{name}: CPU s/GB there", each(runs, lambda run: run["server_cpu_s_per_gb"])
    return measure


def row_uncoalesced(with_):
    for kind, name in KIND_NAMES.items():
        runs = {relay: with_.pairs(kind, "throughput", relay, "--rate", 200)[0] for relay in RELAYS}
        yield f"{name}, 200 Mbit/s over 10 pairs, a packet a write: CPU s/GB", \
            each(runs, lambda run: run["server_cpu_s_per_gb"])


def row_small(with_):
    for kind, name in KIND_NAMES.items():
        runs = {relay: carried(with_.pairs(kind, "throughput", relay, "--size", 100, "--coalesce",
                                           64, "--rate", *SMALL_SWEEP[relay]), 1)
                for relay in RELAYS}
        yield f"{name}, 100 B packets, < 1 % loss: millions a second", each(runs, packets)
        yield f"{name}, 100 B packets: CPU us each", \
            each(runs, lambda run: run["server_cpu_us_per_packet"])


def row_overload(with_):
    if cpu_controller() is None or os.geteuid() != 0:
        raise NotHere("needs root and cgroups with CPU quotas")
    runs = {}
    for relay in RELAYS:
        with with_.servers.ordinary(), quota(with_.servers.pids[relay]["tls"]):
            *ramp, over = with_.pairs("tls", "overload", relay, "--coalesce", 16, "--times",
                                      OVERLOAD, "--first-rate", OVERLOAD_FROM[relay])
        over["peak_mbit"] = max(run["delivered_mbit"] for run in ramp)
        # A generator without CPU left says nothing about the relay.
        runs[relay] = over if over["busiest_generator_thread"] < GENERATOR_FULL else None
    yield f"TLS, {QUOTA_MS} ms of CPU in {PERIOD_MS} ms: most delivered, Mbit/s", \
        each(runs, lambda run: run["peak_mbit"])
    yield f"offered {OVERLOAD} times that: delivered of it, %", \
        each(runs, lambda run: run["share_of_peak_percent"])
    yield f"offered {OVERLOAD} times that: slowest pair / fastest", \
        each(runs, lambda run: run["slowest_pair"])


def row_latency(with_):
    # 20,000 packets of 1,400 B at 50 Mbit/s take 4.5 s.
    for load, rate in (("290 TLS clients/s log in", 290), ("TLS clients log in at full speed", 0)):
        with with_.servers.ordinary():
            runs = with_.bench("tls", "connect", RELAYS, "--rate", rate, "--seconds", 4.5)
        for quantile in ("p50", "p99") if rate != 0 else ():
            yield f"TLS, one way at 50 Mbit/s, idle: {quantile} us", \
                each(runs, lambda run, q=quantile: run[0][f"delay_{q}_us"])
        yield f"while {load}: p99 us", each(runs, lambda run: run[1]["delay_p99_us"])
        yield f"while {load}: p99 / idle p99", \
            each(runs, lambda run: run[1]["delay_p99_us"] / run[0]["delay_p99_us"])
    # The last runs were at full speed.
    yield "TLS and DERP logins a second", each(runs, lambda run: run[1]["logins_per_s"])
    yield "TLS and DERP login: server CPU ms", \
        each(runs, lambda run: run[1]["server_cpu_ms_per_login"])


def row_memory(with_):
    with_.servers.restart()  # memory that an earlier run has left behind would be used again
    runs = with_.bench("tls", "storm", RELAYS, "--clients", 4000, "--settle", 10)
    yield "4,000 idle TLS connections, 10 s after all came back: server's bytes each", \
        each(runs, lambda run: run[-1]["bytes_per_client"])


def row_stun(with_):
    runs = {relay: with_.bench("stun", "stun", [relay], "--port",
                               with_.servers.ports[relay]["stun"], "--seconds",
                               with_.seconds)[relay][0] for relay in RELAYS}
    yield "STUN: thousand answers a second of a core", \
        each(runs, lambda run: run["stun_answers_per_core_s"] / 1e3)


def row_probe(with_):
    if os.geteuid() != 0:
        raise NotHere("needs root for a TUN device")
    probe = Probe(with_.clients / "derpprobe", with_.servers)
    with with_.servers.ordinary():  # the probe uses their core, too
        runs = {relay: probe.once(relay) for relay in RELAYS}
    yield "derpprobe, 50 MB over TUN: s", each(runs, lambda run: run[0])
    yield "derpprobe, 50 MB over TUN: server CPU s/GB", each(runs, lambda run: run[1])


def row_clients(with_):
    clients = RealClients(with_.clients / "derper")
    with contextlib.closing(clients):
        for _ in range(2):
            runs = {relay: clients.once(relay) for relay in RELAYS}
            for i, what in enumerate(("Mbit/s", "relay's CPU s/GB", "packets the relay dropped")):
                yield f"two real clients without UDP, iperf3: {what}", \
                    each(runs, lambda run, i=i: run[i])


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


def median(values):
    known = [value for value in values if value == value]
    return statistics.median(known) if known else NOTHING


def print_rows(figures):
    for what, rounds in figures.items():
        ours, other = (median(values[relay] for values in rounds) for relay in RELAYS)
        ratios = sorted(values["ringscale"] / values["derper"] for values in rounds
                        if values["derper"] and values["ringscale"] / values["derper"] > 0)
        spread = f"{show(ratios[0])} to {show(ratios[-1])}" if ratios else show(NOTHING)
        ratio = ours / other if other else NOTHING
        print(f"| {what} | {show(ours)} | {show(other)} | {show(ratio)} "
              f"| {spread} |", flush=True)


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
    parser.add_argument("--wait-quiet", type=float, default=0,
                        help="seconds to wait for other processes before each measurement")
    parser.add_argument("--real-time", action="store_true",
                        help="real-time priority, for a machine with other work (root); waking "
                             "costs more under it, which counts where packets come one by one")
    parser.add_argument("--only", default="", metavar="REGEX",
                        help="the rows whose name matches: " + ", ".join(ROWS))
    arguments = parser.parse_args()
    names = [name for name in ROWS if re.search(arguments.only, name)]
    if arguments.real_time and os.geteuid() != 0:
        parser.error("--real-time needs root")
    if not names:
        parser.error(f"no row matches {arguments.only!r}; there are {', '.join(ROWS)}")
    # A signal ends the servers and the clients, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server_core, load_core = two_cores()
    own_network()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="compare-relay-") as folder, contextlib.closing(
            Servers(arguments.ringscale, pathlib.Path(arguments.clients) / "derper", server_core,
                    pathlib.Path(folder), arguments.real_time)) as servers:
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
