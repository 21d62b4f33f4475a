"""TCP through a lab's router beside the same connections over a bare redirect, by iperf3 on two testers.

    python bench/tcp.py SPEC [--rates 500Mbps,1Gbps,max] [--runs N]     as root; the spec's lab is up and applied

For each rate (of all connections together; max: what one core may put on a path) and 1, 8 and 64 connections: what
the router's self-test measures (``rbops selftest --tcp``) beside the same two programs with one XDP redirect between
them, in turn. Segments out of order left a gap before them, by another order or by a loss in a full queue.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from rbops.dataplane.xdp.controller.compile import compile_one
from rbops.dataplane.xdp.libbpf import Object
from rbops.deploy.inventory import load_inventory
from rbops.lab.providers import load
from rbops.planner import load_plan
from rbops.selftest.device import enter_namespace
from rbops.selftest.local import local_tester
from rbops.selftest.options import SelftestOptions
from rbops.selftest.phases import tcp
from rbops.selftest.programs import Link
from rbops.selftest.run import run_selftest
from rbops.selftest.tcprun import TcpRun
from rbops.selftest.tester import Agents
from rbops.spec.units import RATE

ENDS = (("left", "10.255.0.1"), ("right", "10.255.0.2"))
LIFETIME_S = 600.0
MIDDLE = "rbops-bench"


def main() -> int:
    if sys.argv[1:2] == ["--redirect"]:
        return redirect(sys.argv[2])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--rates", default="max")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    plan = load_plan(options.spec)
    testers = load_inventory([str(load(plan.name).inventory)]).testers
    print("                        ------------ router ------------   --------- redirect ----------")
    print("offered    connections   Gbps  retransmitted  out of order   Gbps  retransmitted  out of order  ratio")
    for _ in range(options.runs):
        for rate in options.rates.split(","):
            bps = None if rate == "max" else float(RATE(rate))
            wanted = SelftestOptions(phases=(tcp.NAME,), tcp_bps=bps)
            found = run_selftest(plan, testers, None, wanted).tcp_runs
            for run, bare in zip(found, list(over_redirect(found)), strict=True):
                ratio = run.rate_bps / bare.rate_bps if bare.rate_bps else 0.0
                print(f"{rate:10} {run.connections:11}  {cells(run)}  {cells(bare)}  {ratio:5.2f}", flush=True)
    return 0


def cells(run: TcpRun) -> str:
    return run.failure or f"{run.rate_bps / 1e9:5.2f}  {run.retransmitted:13,}  {run.share:12.3%}"


def over_redirect(wanted: tuple[TcpRun, ...]) -> Iterator[TcpRun]:
    """The same connections between two namespaces with one redirect between them."""
    with (
        bare_redirect(),
        Agents([local_tester(0, "eth0", f"{MIDDLE}-{n}", lifetime_s=LIFETIME_S) for n, _ in ENDS]) as two,
    ):
        two.start()
        two.each("pin", [{"cpu": 0}, {"cpu": 1}])
        two.call("attach", testers=2, flows=2, words=64)
        for run in wanted:
            asked = TcpRun(run.connections, 0, 1, run.offered_bps)
            yield tcp.measure(asked, *two.all, *(address for _, address in ENDS))[0]


@contextmanager
def bare_redirect() -> Iterator[None]:
    """Namespaces ``rbops-bench-left`` and ``-right``, a veth each to ``rbops-bench``, whose program redirects."""
    names = [MIDDLE, *(f"{MIDDLE}-{name}" for name, _ in ENDS)]
    for name in names:
        ip("netns", "del", name, check=False)
    try:
        for name in names:
            ip("netns", "add", name)
        for at, (name, address) in enumerate(ENDS):
            far, mac = f"{MIDDLE}-{name}", f"02:00:00:00:00:{at + 1:02x}"
            shape = ["numrxqueues", "2", "numtxqueues", "2"]
            ip(
                "-n",
                far,
                "link",
                "add",
                "eth0",
                "address",
                mac,
                *shape,
                "type",
                "veth",
                "peer",
                "name",
                name,
                "netns",
                MIDDLE,
                *shape,
            )
            ip("-n", far, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", far, "neigh", "add", ENDS[1 - at][1], "lladdr", f"02:00:00:00:00:{2 - at:02x}", "dev", "eth0")
            for space, device in ((far, "eth0"), (MIDDLE, name)):
                command = ["ip", "netns", "exec", space, "ethtool"]
                subprocess.run([*command, "-L", device, "rx", "2", "tx", "2"], check=True)
                subprocess.run(
                    [*command, "-K", device, "gro", "on", "tx", "off", "tso", "off"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                ip("-n", space, "link", "set", device, "up")
            ip("-n", far, "link", "set", "lo", "up")
        with tempfile.TemporaryDirectory() as folder:
            compile_one(Path(__file__).with_name("dataplane.bpf.c"), Path(folder) / "bench.bpf.o")
            command = [sys.executable, __file__, "--redirect", str(Path(folder) / "bench.bpf.o")]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
                if process.stdout is None or not process.stdout.readline():
                    raise SystemExit("the redirect did not start")
                try:
                    yield
                finally:
                    process.kill()
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


def redirect(path: str) -> int:
    """In a process of its own: redirect between both veths until standard input ends."""
    import socket

    enter_namespace(MIDDLE)
    numbers = [socket.if_nametoindex(name) for name, _ in ENDS]
    kept = []
    for at, number in enumerate(numbers):
        obj = Object(path)
        for program in ("generate", "spread", "count"):
            obj.skip(program)
        obj.load()
        obj.map("redirect_out").update(bytes(4), numbers[1 - at].to_bytes(4, "little"))
        kept.append((obj, Link(obj.program("redirect"), number)))
    print("ready", flush=True)
    sys.stdin.read()
    return 0


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


if __name__ == "__main__":
    sys.exit(main())
