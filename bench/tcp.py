"""TCP through a lab's router, by iperf3 on two testers: throughput, retransmissions, segments out of order.

Run as ``python bench/tcp.py SPEC [SECONDS]`` while the lab of SPEC is up and its plan applied.
One line for 1, 8 and 64 connections from port 0's tester to the last port's. Out of order: segments that the
receiver's kernel queued behind a gap (TcpExtTCPOFOQueue, Linux Documentation/networking/snmp_counter.rst) over all
that it received; a receiver that merges segments (GRO) counts merged ones. Needs Debian's iperf3.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from rbops.planner import load_plan

CONNECTIONS = (1, 8, 64)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    spec, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    last = max(load_plan(spec).port_owner)
    address = command(spec, f"t{last}", "ip", "-4", "-json", "addr", "show", "scope", "global")
    target = json.loads(address)[0]["addr_info"][0]["local"]
    print("connections   Gbps  retransmitted  out of order")
    for number in CONNECTIONS:
        row(spec, f"t{last}", target, number, seconds)
    return 0


def row(spec: str, receiver: str, target: str, connections: int, seconds: int) -> None:
    server = subprocess.Popen(
        lab(spec, receiver, "iperf3", "--server", "--one-off", "--bind", target),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.5)  # iperf3 says nothing when it listens
        before = counters(spec, receiver)
        options = ["--client", target, "--time", str(seconds), "--parallel", str(connections), "--json"]
        end = json.loads(command(spec, "t0", "iperf3", *options))["end"]
        after = counters(spec, receiver)
    finally:
        server.kill()
        server.wait()
    received = after["InSegs"] - before["InSegs"]
    queued = after["TCPOFOQueue"] - before["TCPOFOQueue"]
    rate = end["sum_received"]["bits_per_second"] / 1e9
    share = queued / max(received, 1)
    print(f"{connections:11}  {rate:5.2f}  {end['sum_sent']['retransmits']:13,}  {share:12.3%}", flush=True)


def counters(spec: str, tester: str) -> dict[str, int]:
    """The tester's kernel's TCP counters by name."""
    found: dict[str, int] = {}
    for file in ("/proc/net/snmp", "/proc/net/netstat"):
        lines = [line.split() for line in command(spec, tester, "cat", file).splitlines()]
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            if names[0] in ("Tcp:", "TcpExt:"):
                found |= dict(zip(names[1:], map(int, values[1:]), strict=True))
    return found


def lab(spec: str, host: str, *words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("rbops")), "lab", "exec", spec, host, "--", *words]


def command(spec: str, host: str, *words: str) -> str:
    return subprocess.run(lab(spec, host, *words), check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
