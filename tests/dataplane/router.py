"""A router of one server in a network namespace of its own, driven by BPF_PROG_RUN: no frame is sent."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import numpy as np

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.config import XdpConfig
from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.libbpf import Program, ProgramRun, xdp_context
from rbops.dataplane.xdp.loader import DataPlane
from rbops.dataplane.xdp.netdev import find_device
from rbops.node.schema.fields import Fields
from rbops.resources import bpf_object

CLONE_NEWNET = 0x40000000
NEIGHBOR = "02:4e:00:00:00:02"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def enter(namespace: int) -> None:
    """Move this thread into the namespace of a descriptor."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def route(text: str, port: int, adjacency: int) -> tuple[int, int, int]:
    """("198.18.0.0/24", port, adjacency) as numbers: prefix, length, value."""
    address, length = text.split("/")
    prefix = int.from_bytes(bytes(int(part) for part in address.split(".")), "big")
    return prefix, int(length), port << 16 | adjacency


def route6(text: str, port: int, adjacency: int) -> tuple[int, int, int]:
    """The same of an IPv6 prefix."""
    network = IPv6Network(text)
    return int(network.network_address), network.prefixlen, port << 16 | adjacency


def fib_of(routes: list[tuple[int, int, int]], routes6: list[tuple[int, int, int]] | None = None) -> bytes:
    prefixes, lengths, values = (np.array(column, np.uint32) for column in zip(*routes, strict=True))
    return compile_fib(prefixes, lengths, values, routes6 or ())


@dataclasses.dataclass
class Router:
    """Server 0 of ``servers``, external port 0 on ext0 and port P on server P; veths whose far ends are idle."""

    folder: Path
    config: dict[str, Any]
    plane: DataPlane
    options: dict[str, Any]

    def write(self, name: str, content: bytes) -> None:
        """Change a file of the configuration and its digest."""
        path = Path(self.config[name])
        path.write_bytes(content)
        self.config[f"{name}_sha256"] = digest(path)

    def reopen(self, **changes: Any) -> None:
        """Another configuration, as after a push; not applied yet."""
        self.config = json.loads(json.dumps({**self.config, **changes}))
        names = {port["name"]: port["name"] for port in self.config["ports"]}
        self.plane = DataPlane(typed(self.config), names, self.folder / "bpf" / "rbops", **self.options)

    def program(self, kind: str) -> Program:
        return Program.pinned(self.folder / "bpf" / "rbops" / "live" / kind)

    def mac(self, port: str) -> bytes:
        return find_device(port, port).mac

    def receive(self, port: str, frame: bytes) -> ProgramRun:
        """What happens to a frame that arrives on ``port``."""
        kind = next(entry["kind"] for entry in self.config["ports"] if entry["name"] == port)
        context = xdp_context(len(frame), find_device(port, port).ifindex)
        return self.program(kind).run(frame, context=context)

    def set_tick(self, tick: int) -> None:
        """Set the time, in ms; only without the clock."""
        control = self.plane._pins.load().memory("control")
        control[shape.TICK_AT : shape.TICK_AT + 4] = tick.to_bytes(4, "little")

    def next_tick(self) -> None:
        """A second later: all buckets are full again, all flowlets over."""
        control = self.plane._pins.load().memory("control")
        tick = int.from_bytes(control[shape.TICK_AT : shape.TICK_AT + 4], "little")
        self.set_tick(tick + 1000)

    def counted(self) -> dict[str, int]:
        """Every counter that is not zero, as ``dropped.checksum``; packets only."""
        flat: dict[str, int] = {}
        for group, reasons in self.plane.counters()["total"].items():
            if isinstance(reasons, dict):
                flat |= {f"{group}.{reason}": number for reason, number in reasons.items() if number}
        return flat


def typed(config: dict[str, Any]) -> XdpConfig:
    """As rbops-node reads it."""
    return XdpConfig.parse(Fields("dataplane", config))


def node_config(folder: Path, servers: int, **changes: Any) -> dict[str, Any]:
    """node.json's ``dataplane`` of server 0 in a full mesh with one external port a server."""
    internal = [
        {"name": f"int{peer}", "kind": "internal", "peer_server": peer, "rate_bps": 10**9} for peer in range(1, servers)
    ]
    config = {
        "kind": "xdp",
        "object": str(bpf_object("dataplane/xdp", "router.bpf.o")),
        "object_sha256": digest(bpf_object("dataplane/xdp", "router.bpf.o")),
        "fib": str(folder / "fib.bin"),
        "fib_sha256": "",
        "server": 0,
        "servers": servers,
        "cores": [0],
        "routing": "direct-vlb",
        "flowlet_timeout_s": 0.1,
        "direct_quota_bps": 250_000_000,
        "probe_interval_s": 0.01,
        "probe_multiplier": 3,
        "ports": [{"name": "ext0", "kind": "external", "id": 0, "rate_bps": 10**9}, *internal],
        "owners": list(range(servers)),
        "next_hop": {str(peer): f"int{peer}" for peer in range(1, servers)},
        "intermediates": list(range(1, servers)),
        "adjacencies": [{"port": 0, "index": 1, "mac": NEIGHBOR}],
        "punts": dict.fromkeys(PUNTED, 100_000),
        "addresses": [f"198.18.{port}.1" for port in range(servers)],
        "urpf": {},
    }
    return {**config, **changes}


@contextmanager
def own_namespace() -> Iterator[str]:
    """A namespace that this thread is in meanwhile; on one CPU, because state is per CPU."""
    name, before, cpus = (
        f"rbx-{secrets.token_hex(3)}",
        os.open("/proc/self/ns/net", os.O_RDONLY),
        os.sched_getaffinity(0),
    )
    run("ip", "netns", "add", name)
    inside = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        enter(inside)
        # No router solicitations and the like among the frames that are counted.
        run("sysctl", "-q", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        os.sched_setaffinity(0, {0})
        yield name
    finally:
        enter(before)
        os.sched_setaffinity(0, cpus)
        os.close(inside)
        os.close(before)
        run("ip", "netns", "del", name)


@contextmanager
def own_bpffs(folder: Path) -> Iterator[Path]:
    """``folder`` with a bpf file system of its own at ``bpf``."""
    (folder / "bpf").mkdir()
    run("mount", "-t", "bpf", "bpf", str(folder / "bpf"))
    try:
        yield folder
    finally:
        run("umount", str(folder / "bpf"))


def build_router(
    folder: Path,
    servers: int,
    routes: list[tuple[int, int, int]],
    *,
    clock: bool = False,
    flowlet_entries: int = 1 << 12,
    routes6: list[tuple[int, int, int]] | None = None,
    **changes: Any,
) -> Router:
    """Make the devices and apply the configuration."""
    config = node_config(folder, servers, **changes)
    for port in config["ports"]:
        run("ip", "link", "add", port["name"], "type", "veth", "peer", "name", f"far-{port['name']}")
        run("ip", "link", "set", port["name"], "up")
        run("ip", "link", "set", f"far-{port['name']}", "up")
    router = Router(folder, config, DataPlane(typed(config), {}), {"clock": clock, "flowlet_entries": flowlet_entries})
    router.write("fib", fib_of(routes or default_routes(servers), routes6))
    router.reopen()
    router.plane.apply()
    return router


def default_routes(servers: int) -> list[tuple[int, int, int]]:
    """198.18.P.0/24 by port P, of which .1 is the router's own for ports 0 and 1."""
    subnets = [route(f"198.18.{port}.0/24", port, 1) for port in range(servers)]
    return [*subnets, route("198.18.0.1/32", 0, 0), route("198.18.1.1/32", 1, 0)]
