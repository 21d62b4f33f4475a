"""False alarms of the probes between servers under full load: on a lab that is up and applied.

Run as ``python bench/liveness.py SPEC [--minutes N]`` as root. Every tester sends as many datagrams to the next port's
neighbour as a core can, so that all processors of the machine are taken by packets and their senders. The table has,
by server: probes sent, those without an answer in time, cables that were taken for dead or alive again (each one is a
false alarm: nothing is broken), and the longest round trip of those that were looked at, one a second and cable.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.flood import FRAME, STRANGER, command, ipv4, start
from rbops.plan import ClusterPlan
from rbops.planner import load_plan

UDP = bytes.fromhex("7530753000080000")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", help="the lab's spec")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    plan, seconds = load_plan(options.spec), options.minutes * 60
    servers = [server.name for server in plan.servers]
    before = {name: probes(options.spec, name) for name in servers}
    floods = [flood(options.spec, plan, port, seconds) for port in sorted(plan.port_owner)]
    longest = watch(options.spec, servers, seconds)
    sent = sum(int(process.communicate()[0]) for process in floods)
    after = {name: probes(options.spec, name) for name in servers}
    print(f"{sent / seconds:,.0f} datagrams a second for {seconds:.0f} s")
    print("server   probes  missed  changes  longest round trip")
    for name in servers:
        moved = [
            sum(after[name][port][key] - cable[key] for port, cable in before[name].items())
            for key in ("sent", "missed", "transitions")
        ]
        print(f"{name:6} {moved[0]:8,} {moved[1]:7,} {moved[2]:8,}  {longest[name] / 1000:.2f} ms")
    return 0


def watch(spec: str, servers: Sequence[str], seconds: float) -> dict[str, float]:
    """The longest round trip seen by each server, in us."""
    longest, end = dict.fromkeys(servers, 0.0), time.monotonic() + seconds
    while time.monotonic() < end:
        for name in servers:
            times = [cable["round_trip_us"] or 0 for cable in probes(spec, name).values()]
            longest[name] = max(longest[name], *times)
        time.sleep(max(0, min(1, end - time.monotonic())))
    return longest


def flood(spec: str, plan: ClusterPlan, port: int, seconds: float) -> subprocess.Popen[str]:
    """Port's tester sends to the next port's neighbour."""
    ports = {each.id: each for server in plan.servers for each in server.ports if each.id is not None}
    order = sorted(ports)
    target = ports[order[(order.index(port) + 1) % len(order)]].adjacencies[0].address
    address = f"/sys/class/net/{ports[port].name}/address"
    mac = bytes.fromhex(command(spec, plan.port_owner[port].name, "cat", address).strip().replace(":", ""))
    source = str(IPv4Interface(ports[port].addresses[0]).network.network_address + 66)
    content = (mac + STRANGER + b"\x08\x00" + ipv4(source, target, 17, UDP)).ljust(FRAME, b"\0")
    links = json.loads(command(spec, f"t{port}", "ip", "-json", "link", "show", "type", "veth"))
    script = str(Path(__file__).with_name("flood.py"))
    words = ["--seconds", str(seconds), "--frame", content.hex(), "--device", str(links[0]["ifname"])]
    return start(spec, f"t{port}", sys.executable, script, spec, *words)


def probes(spec: str, server: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(command(spec, server, "rbops-node", "counters"))["probes"]
    return found


if __name__ == "__main__":
    sys.exit(main())
