"""How fast routes of BGP neighbours reach the data planes of all servers: on a lab of its own, as root.

    python -m bench.convergence [update] [burst] [bfd] [table] [--routes 1000000] [--json]

Four servers with BIRD, and BIRD of other ASs at ports 0, 1 and 3, which have networks of their own. In every server a
process looks at the data plane's memory, each ms (of the burst each 40 ms), and says when what it sees changes.

    update  milliseconds from the command that announces, or withdraws, one prefix at port 0's neighbour until the last
            of the four data planes has it, 20 times each
    burst   10,000 prefixes withdrawn and announced at once, while port 3's neighbour sends to a prefix that stays and
            lies among them: seconds until the last data plane has it, and packets lost
    bfd     port 0's neighbour is killed, whose prefix port 1's has too: milliseconds until the last data plane leads
            there, until packets arrive there, and what BFD's time is
    table   port 0's neighbour announces --routes prefixes: seconds until all servers' kernels have them while no data
            plane follows, and until all data planes have them too; memory of BIRD and of the follower

The parts that are named, or the first three.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from bench.routes import bgp_like
from tests.system.conftest import applied, make_cluster
from tests.system.driver import Cluster
from tests.system.peers import Peer, kill, peer

SPEC = """\
name: converge
router: {{external_ports: 4, line_rate: 1Gbps}}
servers: {{profile: lab}}
routing:
  daemon: bird
  routes: {routes}
  as: 64512
  bfd: 100ms
  neighbors:
    - {{address: 198.18.0.2, as: 65000, bfd: true}}
    - {{address: 198.18.1.2, as: 65001, bfd: true}}
    - {{address: 198.18.3.2, as: 65003}}
"""
SERVERS = ("n0", "n1", "n2", "n3")
TARGET, SOURCE = "100.64.0.1", "192.0.2.1"
ORDER = ("table", "update", "burst", "bfd")
"""The last one kills a neighbour."""
ROUNDS, BURST = 20, 10_000
BFD_MS = 300
PACKETS_S = 1000

WATCH = """\
import sys, time
sys.path.insert(0, "/usr/sbin/rbops-node")
from pathlib import Path
from rbops.node.commands import Node
from rbops.node.dataplane import open_plane
from rbops.node.state import State
from rbops.node.system import Kernel
node = Node(Kernel(), State(Path("/var/lib/rbops")), Path("/etc/rbops/node.json"), None, open_plane)
table = node._followed().reading()
tops, before = [int(word) for word in sys.argv[1:]], None
while True:
    covered = 0
    for top in tops:
        ranges = [*table.read(top), (1 << 16, 0)]
        covered += sum(end - start for (start, number), (end, _) in zip(ranges, ranges[1:]) if number) >> 8
    first = max((start, number) for start, number in table.read(100 << 8 | 64) if start <= 1)[1]
    seen = covered, table.read_entry(first)[0]
    if seen != before:
        print(time.monotonic(), *seen, flush=True)
        before = seen
    time.sleep(0.001 * len(tops))
"""
SEND = """\
import socket, sys, time
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.bind((sys.argv[1], 0))
sent, began = 0, time.monotonic()
while (now := time.monotonic()) - began < float(sys.argv[3]):
    while sent < (now - began) * int(sys.argv[4]):
        link.sendto(b"%d" % sent, (sys.argv[2], 7000))
        sent += 1
    time.sleep(0.002)
print(sent)
"""
RECEIVE = """\
import socket, sys, time
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
link.bind((sys.argv[1], 7000))
link.settimeout(float(sys.argv[2]))
received, first = 0, 0.0
try:
    while True:
        link.recv(64)
        received += 1
        first = first or time.monotonic()
        link.settimeout(5)
except TimeoutError:
    print(received, first)
"""


class Watched:
    """What every server's data plane shows: (time, /24s with a route among ``tops``, MAC that TARGET goes to)."""

    def __init__(self, lab: Cluster, stack: ExitStack, tops: list[int]) -> None:
        self.seen: dict[str, list[tuple[float, int, int]]] = {}
        self._lines = {}
        for server in SERVERS:
            command = lab.lab.command(server, ("python3", "-I", "-c", WATCH, *map(str, tops)))
            path = lab.folder / f"watch-{server}"
            process = subprocess.Popen(command, stdout=stack.enter_context(path.open("w")))
            stack.callback(process.wait)
            stack.callback(process.kill)
            self._lines[server] = path

    def last(self) -> dict[str, tuple[float, int, int]]:
        """What each shows now; servers that said nothing yet are not there."""
        found = {}
        for server, path in self._lines.items():
            lines = [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if lines:
                found[server] = float(lines[-1][0]), int(lines[-1][1]), int(lines[-1][2])
        return found

    def when(self, condition: Callable[[int, int], bool]) -> float:
        """When the last of the servers began to show that."""
        until(lambda: len(self.last()) == len(SERVERS) and all(condition(*now[1:]) for now in self.last().values()))
        return max(now[0] for now in self.last().values())


def until(condition: Callable[[], Any], seconds: float = 600, every_s: float = 0.02) -> None:
    """Return when it holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("it takes too long")
        time.sleep(every_s)


@contextmanager
def traffic(lab: Cluster, receiver: str, seconds: float) -> Iterator[dict[str, float]]:
    """From port 3's neighbour to TARGET; how many were sent and received is there at the end."""
    found: dict[str, float] = {}
    script = ("python3", "-c")
    waits = subprocess.Popen(
        lab.lab.command(receiver, (*script, RECEIVE, TARGET, str(seconds + 5))), stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    sends = subprocess.Popen(
        lab.lab.command("t3", (*script, SEND, SOURCE, TARGET, str(seconds), str(PACKETS_S))),
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    try:
        yield found
        found["sent"] = int(sends.communicate(timeout=seconds + 60)[0])
        received, first = waits.communicate(timeout=seconds + 60)[0].split()
        found |= {"received": int(received), "first": float(first)}
    finally:
        sends.kill()
        waits.kill()


def announce(peers: dict[int, Peer], name: str, prefixes: list[str]) -> None:
    """Give port 0's neighbour a set of prefixes more, which ``enable`` and ``disable`` announce and withdraw."""
    path = peers[0].folder / "bird.conf"
    routes = "\n".join(f"route {prefix} blackhole;" for prefix in prefixes)
    path.write_text(f"{path.read_text()}\nprotocol static {name} {{ disabled; ipv4;\n{routes}\n}}\n")
    peers[0].ask("configure")


def update(lab: Cluster, peers: dict[int, Peer]) -> dict[str, Any]:
    """One prefix comes and goes."""
    announce(peers, "one", ["100.64.9.0/24"])
    delays: dict[str, list[float]] = {"enable": [], "disable": []}
    with ExitStack() as stack:
        watched = Watched(lab, stack, [100 << 8 | 64])
        had = 1  # TARGET's
        watched.when(lambda covered, _: covered == had)
        for _ in range(ROUNDS):
            for verb, want in (("enable", had + 1), ("disable", had)):
                begin = time.monotonic()
                peers[0].ask(f"{verb} one")
                end = watched.when(lambda covered, _, want=want: covered == want)  # type: ignore[misc]
                delays[verb].append((end - begin) * 1000)
    return {
        name: {"median_ms": round(statistics.median(found), 1), "most_ms": round(max(found), 1)}
        for name, found in (("announced", delays["enable"]), ("withdrawn", delays["disable"]))
    }


def burst(lab: Cluster, peers: dict[int, Peer]) -> dict[str, Any]:
    """10,000 prefixes go and come at once, beside one that stays."""
    tops = [100 << 8 | 64, *(10 << 8 | low for low in range(39))]
    prefixes = [f"100.64.{octet}.0/24" for octet in range(1, 256) if octet != 9]
    prefixes += [f"10.{low}.{octet}.0/24" for low in range(39) for octet in range(256)][: BURST - len(prefixes)]
    announce(peers, "many", prefixes)
    took = {}
    with ExitStack() as stack:
        watched = Watched(lab, stack, tops)
        peers[0].ask("enable many")
        watched.when(lambda covered, _: covered == BURST + 1)
        with traffic(lab, "t0", 15) as sent:
            for name, verb, want in (("withdrawn", "disable", 1), ("announced", "enable", BURST + 1)):
                begin = time.monotonic()
                peers[0].ask(f"{verb} many")
                took[f"{name}_s"] = round(watched.when(lambda covered, _, want=want: covered == want) - begin, 2)  # type: ignore[misc]
    peers[0].ask("disable many")
    return {**took, "packets": int(sent["sent"]), "lost": int(sent["sent"] - sent["received"])}


def bfd(lab: Cluster, peers: dict[int, Peer]) -> dict[str, Any]:
    """Port 0's neighbour dies."""
    with ExitStack() as stack:
        watched = Watched(lab, stack, [100 << 8 | 64])
        watched.when(lambda covered, _: covered == 1)
        before = {server: now[2] for server, now in watched.last().items()}
        with traffic(lab, "t1", 15) as sent:
            begin = time.monotonic()
            kill(peers[0], "KILL")
            until(lambda: all(now[2] not in (0, before[server]) for server, now in watched.last().items()))
            moved = max(now[0] for now in watched.last().values()) - begin
    return {
        "bfd_ms": BFD_MS,
        "moved_ms": round(moved * 1000),
        "first_packet_ms": round((sent["first"] - begin) * 1000),
    }


def table(lab: Cluster, peers: dict[int, Peer], routes: int) -> dict[str, Any]:
    """A whole table, at first into the kernels alone."""
    prefixes, lengths, _ = bgp_like(routes + 1, [1])
    own = IPv4Address("198.16.0.0"), IPv4Address("198.19.255.255")
    wanted = [
        f"{IPv4Address(prefix)}/{length}"
        for prefix, length in zip(prefixes.tolist(), lengths.tolist(), strict=True)
        if length and not own[0] <= IPv4Address(prefix) <= own[1] and prefix >> 24 not in (100, 192)
    ]
    announce(peers, "whole", wanted)
    for server in SERVERS:
        lab.on(server, "systemctl", "stop", "rbops-fib.service")

    def each(count: Callable[[Cluster, str], int], verb: str, most: int | None = None) -> float:
        """Seconds until all servers have so many, or at most that."""
        begin = time.monotonic()
        peers[0].ask(f"{verb} whole")
        for server in SERVERS:
            whole = lambda server=server: count(lab, server) >= len(wanted)  # noqa: E731
            gone = lambda server=server: count(lab, server) <= (most or 0)  # noqa: E731
            until(whole if most is None else gone, 1200, 0.3)
        return time.monotonic() - begin

    kernel = each(exported, "enable")
    each(exported, "disable", 100)
    for server in SERVERS:
        lab.on(server, "systemctl", "start", "rbops-fib.service")
        until(lambda: followed(lab, server) > 0)  # noqa: B023
    filled = each(followed, "enable")
    said = [json.loads(lab.on(server, "cat", "/run/rbops-fib.json")) for server in SERVERS]
    memory = {unit: max(resident(lab, server, unit) for server in SERVERS) >> 10 for unit in ("bird", "fib")}
    withdrawn = each(followed, "disable", 100)
    return {
        "routes": len(wanted),
        "kernels_s": round(kernel, 1),
        "filled_s": round(filled, 1),
        "filled_to_kernels": round(filled / kernel, 2),
        "withdrawn_s": round(withdrawn, 1),
        "overruns": sum(each["overruns"] for each in said),
        "table_mib": max(each["memory_bytes"] for each in said) >> 20,
        "bird_mib": memory["bird"],
        "follower_mib": memory["fib"],
    }


def exported(lab: Cluster, server: str) -> int:
    """How many routes a server's BIRD has written to its kernel."""
    command = ("birdc", "-s", "/run/rbops-bird/bird.ctl", "show protocols all rbops_kernel")
    try:
        said = lab.on(server, *command, check=False)
    except subprocess.TimeoutExpired:  # it waits for the kernel
        return -1
    found = re.search(r"(\d+) exported", said)
    return int(found[1]) if found else -1


def followed(lab: Cluster, server: str) -> int:
    """How many of BIRD's routes a server's follower has applied, as it says once a second."""
    said = lab.on(server, "cat", "/run/rbops-fib.json", check=False)
    return int(json.loads(said)["protocols"].get("12", 0)) if said else -1


def resident(lab: Cluster, server: str, unit: str) -> int:
    """KiB of a service's main process."""
    pid = lab.on(server, "systemctl", "show", "-P", "MainPID", f"rbops-{unit}.service").strip()
    return int(lab.on(server, "cat", f"/proc/{pid}/status").split("VmRSS:")[1].split()[0])


def measured(lab: Cluster, parts: list[str], routes: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts, in that order. A whole table is announced while there are no other neighbours, which would take it."""
    if "table" in parts:
        with peer(lab, 0, 65000, ("100.64.0.0/24",)) as alone:
            until(alone.since)
            yield "table", table(lab, {0: alone}, routes)
    if parts == ["table"]:
        return
    with (
        peer(lab, 0, 65000, ("100.64.0.0/24",)) as zero,
        peer(lab, 1, 65001, ("100.64.0.0/24",), prepend="bgp_path.prepend(65001);") as one,
        peer(lab, 3, 65003, ("192.0.2.0/24",), options="") as three,
    ):
        peers = {0: zero, 1: one, 3: three}
        until(lambda: all(each.since() for each in peers.values()))
        until(lambda: three.path_to("100.64.0.0/24") and zero.path_to("192.0.2.0/24"))
        for part in parts:
            if part != "table":
                yield part, {"update": update, "burst": burst, "bfd": bfd}[part](lab, peers)


def main() -> None:
    """Print a line a part, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*ORDER, []], metavar="part")
    parser.add_argument("--routes", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = options.parts or ORDER[1:]
    if os.getuid():
        parser.error("needs root")
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        lab = make_cluster(Path(stack.enter_context(tempfile.TemporaryDirectory())), "rbb-converge")
        room = options.routes + 20_000 if "table" in parts else 30_000
        stack.enter_context(applied(lab, SPEC.format(routes=room), seconds=900))
        for part, result in measured(lab, [part for part in ORDER if part in parts], options.routes):
            found[part] = result
            if not options.json:
                print(f"{part}: {json.dumps(result)}", flush=True)
    if options.json:
        print(json.dumps({"schema_version": 1, **found}))


if __name__ == "__main__":
    main()
