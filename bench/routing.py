"""Routes that come and go: how fast the data plane has what the kernel has. One router in a network namespace.

    bench/routing.py [--routes 1000000] [--ipv6 200000]

``kernel``: seconds in which the kernel alone takes the routes, sent as fast as it takes them, into a table that nobody
follows. ``filled``: seconds from the first route to the last one in the data plane, while a follower runs beside.
``cpu``: the processor time of both, for machines that have other work. ``update``: milliseconds from one route's change
in the kernel to the data plane, at that size. ``burst``: seconds until 10,000 routes that were withdrawn at once are
gone from the data plane, and until they are back. Memory: of the table, and of the follower at its most. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script

from bench.routes import bgp_like
from bench.routes6 import bgp_like6
from rbops.dataplane.xdp.follow import XdpTable
from rbops.node.devices import TABLE
from rbops.node.fib import Follower, audit
from rbops.node.rtnetlink import Path as RoutePath
from rbops.node.rtnetlink import Route
from rbops.node.rtsocket import route_message
from tests.dataplane.router import Router, build_router, own_bpffs, own_namespace, run

PROTOCOL = 12
BATCH = 200
UPDATES = 200
BURST = 10_000
LAST, LAST6 = 223 << 24, 0x3FFE << 112


def index_of(name: str) -> int:
    """Interface index."""
    return socket.if_nametoindex(name)


def messages(count: int, count6: int, table: int) -> list[bytes]:
    """One request a route, to adjacency 1 of ports 1 to 3, ``BATCH`` in a datagram."""
    prefixes, lengths, values = bgp_like(count, [1, 2, 3])
    routes = zip(prefixes.tolist(), lengths.tolist(), values.tolist(), strict=True)
    single = [route_message(prefix << 6 | length, way(value >> 16), table) for prefix, length, value in routes]
    for network, length, value in bgp_like6(count6, [1, 2, 3], 1)[0] if count6 else ():
        single.append(route_message(network << 8 | length, way(value >> 16, 6), table, 6))
    return batches(single)


@cache
def way(port: int, family: int = 4) -> Route:
    """A route to adjacency 1 of another server's port."""
    if family == 4:
        return Route(1, 0, 0, PROTOCOL, 0, (RoutePath(index_of(f"int{port}"), 169 << 24 | 254 << 16 | port << 8 | 1),))
    gateway = int(IPv6Address(f"fe80::5252:{port:x}:1"))
    return Route(1, 0, 0, PROTOCOL, 0, (RoutePath(index_of(f"int{port}"), gateway),))


def batches(single: list[bytes]) -> list[bytes]:
    """Many requests in a datagram."""
    return [b"".join(single[at : at + BATCH]) for at in range(0, len(single), BATCH)]


def withdrawn(message: bytes) -> bytes:
    """The request that takes a route back."""
    return message[:4] + struct.pack("=HH", 25, 1) + message[8:]


def send(datagrams: list[bytes]) -> tuple[float, float]:
    """Seconds, and those of processor time, in which the kernel takes them: it works while they are sent."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        begin, used = time.monotonic(), time.process_time()
        for data in datagrams:
            link.send(data)
        return time.monotonic() - begin, time.process_time() - used


@contextmanager
def following(table: XdpTable, status: Path) -> Iterator[int]:
    """A follower in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            Follower(table, print, status, audits=False).run()
        finally:
            os._exit(1)
    try:
        while not status.exists():
            time.sleep(0.05)
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def entry(table: XdpTable, address: int) -> str:
    """What the data plane does with an address."""
    return str(table.get(address)["entry"])


def measure(router: Router, routes: int, routes6: int, folder: Path) -> dict[str, Any]:
    """One run: the kernel alone, then with a follower."""
    alone, cpu_alone = send(messages(routes, routes6, TABLE + 1))
    datagrams = messages(routes, routes6, TABLE)
    table = router.plane.table()
    # The last routes of all, so that they are in the data plane when everything is.
    last = route_message(LAST << 6 | 32, Route(6, 0, 0, PROTOCOL, 0, ()), TABLE)
    last6 = [route_message(LAST6 << 8 | 128, way(1, 6), TABLE, 6)] if routes6 else []
    with following(table, folder / "fib.json") as child:
        before, begin = spent(child), time.monotonic()
        sent, _ = send([*datagrams, *last6, last])
        wait(table, "blackhole", ipv6=bool(routes6))
        filled, cpu = time.monotonic() - begin, spent(child) - before
        delays = list(updates(table))
        burst = bursts(table, last)
        memory = int(Path(f"/proc/{child}/status").read_text().split("VmHWM:")[1].split()[0])
        status = settled(folder / "fib.json", routes + routes6)
        found = audit(table)
    return {
        "routes": routes,
        "ipv6_routes": routes6,
        "kernel_s": round(alone, 2),
        "kernel_beside_s": round(sent, 2),
        "filled_s": round(filled, 2),
        "filled_to_kernel": round(filled / alone, 2),
        "kernel_cpu_s": round(cpu_alone, 2),
        "follower_cpu_s": round(cpu, 2),
        "update_ms": {
            "median": round(statistics.median(delays), 2),
            "p99": round(sorted(delays)[int(len(delays) * 0.99)], 2),
        },
        "burst_s": burst,
        "table_mib": status["memory_bytes"] >> 20,
        "follower_mib": memory >> 10,
        "overruns": status["overruns"],
        "differences": found["differences"],
    }


def spent(child: int) -> float:
    """Seconds of processor time that a process had."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settled(path: Path, routes: int) -> dict[str, Any]:
    """What the follower says of itself, when it knows of so many routes."""
    while True:
        status: dict[str, Any] = json.loads(path.read_text())
        if status["routes"] >= routes:
            return status
        time.sleep(0.1)


def wait(table: XdpTable, word: str, *, ipv6: bool = False) -> None:
    """Until the data plane says that of the last route of all; ``ipv6``: and has the last one of IPv6."""
    while word not in entry(table, LAST) or (ipv6 and "port 1" not in str(table.get6(LAST6)["entry"])):
        time.sleep(0.005)


def bursts(table: XdpTable, last: bytes) -> dict[str, float]:
    """10,000 routes withdrawn and announced again, each time followed by a change of the last one."""
    single = [route_message(LAST + (1 + number << 8) << 6 | 24, way(1 + number % 3), TABLE) for number in range(BURST)]
    again = route_message(LAST << 6 | 32, way(1), TABLE)
    send(batches([*single, again]))
    wait(table, "port 1")
    found = {}
    for name, requests, word in (
        ("withdrawn", [*map(withdrawn, single), last], "blackhole"),
        ("announced", [*single, again], "port 1"),
    ):
        begin = time.monotonic()
        send(batches(requests))
        wait(table, word)
        found[name] = round(time.monotonic() - begin, 2)
    return found


def updates(table: XdpTable) -> Iterator[float]:
    """Milliseconds of single changes."""
    reader = table.reading()
    for number in range(UPDATES):
        message = route_message((203 << 24 | 113 << 8) << 6 | 32, way(1 + number % 3), TABLE)
        want = 1 + number % 3
        begin = time.monotonic()
        send([message])
        while True:
            ranges = reader.read(203 << 8)
            hop = next(hop for start, hop in reversed(ranges) if start <= 113 << 8)
            mac = reader.read_entry(hop)[0].to_bytes(6, "little")
            if mac[3] == want:
                break
        yield (time.monotonic() - begin) * 1000
        time.sleep(0.01)


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--ipv6", type=int, default=0, metavar="ROUTES")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(own_namespace())
        stack.enter_context(own_bpffs(folder))
        addresses = [f"198.18.{port}.1" for port in range(4)]
        if options.ipv6:
            addresses += [f"2001:db8:0:{port}::1" for port in range(4)]
        follow = {"routes": options.routes + options.ipv6 + BURST, "neighbors": []}
        router = build_router(folder, 4, [], follow=follow, addresses=addresses)
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        stack.callback(router.plane.detach)
        # Without any address of its own a kernel refuses gateways.
        run("ip", "link", "set", "lo", "up")
        for port in (1, 2, 3):
            device, mac = f"int{port}", f"02:52:00:0{port}:00:01"
            run("sysctl", "-q", f"net.ipv6.conf.{device}.disable_ipv6={int(not options.ipv6)}")
            for address in (f"169.254.{port}.1", *([f"fe80::5252:{port}:1"] if options.ipv6 else ())):
                run("ip", "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
        print(json.dumps(measure(router, options.routes, options.ipv6, folder), indent=2))


if __name__ == "__main__":
    main()
