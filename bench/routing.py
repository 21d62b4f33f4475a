"""Routes that come and go: how fast the data plane has what the kernel has. One router in a network namespace.

    python -m bench.routing [--routes 1000000]

``kernel``: seconds in which the kernel alone takes the routes, sent as fast as it takes them. ``filled``: seconds from
the first route to the last one in the data plane, while a follower runs beside. ``update``: milliseconds from one
route's change in the kernel to the data plane, at that size. Needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.routes import bgp_like
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


def index_of(name: str) -> int:
    """Interface index."""
    return socket.if_nametoindex(name)


def messages(count: int) -> list[bytes]:
    """One request a route, to adjacency 1 of ports 1 to 3, ``BATCH`` in a datagram."""
    prefixes, lengths, values = bgp_like(count, [1, 2, 3])
    ways = {}
    for port in (1, 2, 3):
        path = RoutePath(index_of(f"int{port}"), 169 << 24 | 254 << 16 | port << 8 | 1)
        ways[port] = Route(1, 0, 0, PROTOCOL, 0, (path,))
    routes = zip(prefixes.tolist(), lengths.tolist(), values.tolist(), strict=True)
    single = [route_message(prefix << 6 | length, ways[value >> 16], TABLE) for prefix, length, value in routes]
    return [b"".join(single[at : at + BATCH]) for at in range(0, len(single), BATCH)]


def send(datagrams: list[bytes]) -> float:
    """Seconds in which the kernel takes them: it works while they are sent."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        begin = time.monotonic()
        for data in datagrams:
            link.send(data)
        return time.monotonic() - begin


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


def measure(router: Router, routes: int, folder: Path) -> dict[str, Any]:
    """One run: the kernel alone, then with a follower."""
    datagrams = messages(routes)
    alone = send(datagrams)
    subprocess.run(["ip", "route", "flush", "table", str(TABLE)], check=True)
    router.plane.apply()
    table = router.plane.table()
    # The last route of all, so that it is in the data plane when everything is.
    last = route_message(223 << 24 << 6 | 32, Route(6, 0, 0, PROTOCOL, 0, ()), TABLE)
    with following(table, folder / "fib.json") as child:
        begin = time.monotonic()
        sent = send([*datagrams, last])
        while "blackhole" not in entry(table, 223 << 24):
            time.sleep(0.005)
        filled = time.monotonic() - begin
        delays = list(updates(table))
        memory = int(Path(f"/proc/{child}/status").read_text().split("VmRSS:")[1].split()[0])
        found = audit(table)
    return {
        "routes": routes,
        "kernel_s": round(alone, 2),
        "kernel_beside_s": round(sent, 2),
        "filled_s": round(filled, 2),
        "filled_to_kernel": round(filled / alone, 2),
        "update_ms": {
            "median": round(statistics.median(delays), 2),
            "p99": round(sorted(delays)[int(len(delays) * 0.99)], 2),
        },
        "follower_mib": memory >> 10,
        "differences": found["differences"],
    }


def updates(table: XdpTable) -> Iterator[float]:
    """Milliseconds of single changes."""
    device = index_of("int1")
    reader = table.reading()
    for number in range(UPDATES):
        gateway = 169 << 24 | 254 << 16 | (1 + number % 3) << 8 | 1
        route = Route(1, 0, 0, PROTOCOL, 0, (RoutePath(device, gateway),))
        message = route_message((203 << 24 | 113 << 8) << 6 | 32, route, TABLE)
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
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(own_namespace())
        stack.enter_context(own_bpffs(folder))
        router = build_router(folder, 4, [], follow={"routes": options.routes, "neighbors": []})
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        stack.callback(router.plane.detach)
        # Without any address of its own a kernel refuses gateways.
        run("ip", "link", "set", "lo", "up")
        for port in (1, 2, 3):
            mac = f"02:52:00:0{port}:00:01"
            run("ip", "neigh", "replace", f"169.254.{port}.1", "lladdr", mac, "dev", f"int{port}", "nud", "permanent")
        print(json.dumps(measure(router, options.routes, folder), indent=2))


if __name__ == "__main__":
    main()
