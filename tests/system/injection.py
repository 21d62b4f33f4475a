"""Faults put into a running cluster: a BPF program before the router of one port, a wrong forwarding table."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import numpy as np

from rbops.dataplane.xdp.controller.fib import compile_fib
from rbops.dataplane.xdp.libbpf import Map, Object, Program, xdp_attach, xdp_attached
from rbops.lab import layout
from rbops.selftest.wire import UDP_PORT, mac_bytes
from tests.support.netns import inside
from tests.system.driver import Cluster

__all__ = ["KINDS", "Injection", "inject", "inside", "misroute", "root_of"]

KINDS = ("none", "drop", "corrupt", "misdeliver", "ttl", "checksum", "duplicate")


@dataclass
class Injection:
    """A fault at work; the maps stay open with it: a program array is emptied when nobody has it open."""

    counts: Map
    offset: int
    router: Map

    @property
    def injected(self) -> int:
        """Packets that were spoiled."""
        value = self.counts.lookup(bytes(4))
        assert value is not None
        return int(struct.unpack_from("<Q", value, self.offset)[0])


@contextmanager
def inject(cluster: Cluster, compiled: Path, server: str, port: str, kind: str, every: int) -> Iterator[Injection]:
    """Spoil one test packet in ``every`` that comes in at an internal port; the router is put back at the end."""
    cluster.wait_for_cables()  # otherwise what is to be spoiled goes another way
    with inside(cluster.netns(server)):
        ifindex = socket.if_nametoindex(port)
        external = f"ext{server.removeprefix('n')}"
        out, mac = socket.if_nametoindex(external), Path(f"/sys/class/net/{external}/address")
        own = cluster.on(server, "cat", str(mac)).strip()
        router = Program.from_id(xdp_attached(ifindex)[0])
        with Object(compiled) as source:
            for name, value in (
                ("kind", KINDS.index(kind)),
                ("every", every),
                ("udp_port", UDP_PORT),
                ("wrong_port", 2),
            ):
                source.set_variable(name, value.to_bytes(4, "little"))
            source.set_variable("destination", mac_bytes(f"02:4e:00:0{server.removeprefix('n')}:00:02"))
            source.set_variable("source", mac_bytes(own))
            section, offset, _ = source.variable("injected")
            source.load()
            made = Injection(source.map(section), offset, source.map("router"))
            made.router.update(bytes(4), router.fd.to_bytes(4, "little"))
            for key in range(2):
                source.map("twice").update(key.to_bytes(4, "little"), out.to_bytes(4, "little"))
            fault = source.program("inject")
        xdp_attach(ifindex, fault, replaces=router)
    try:
        yield made
    finally:
        with inside(cluster.netns(server)):
            xdp_attach(ifindex, router, replaces=fault)


def root_of(cluster: Cluster, server: str) -> Path:
    """The server's root folder, as this machine sees it."""
    entry = next(entry for entry in cluster.lab.servers if entry.name == server)
    return layout.root_of(cluster.name, entry)


def misroute(cluster: Cluster, server: str, prefix: str, port: int) -> None:
    """Have a server's data plane forward ``prefix`` to external port ``port``, as if it had been told to."""
    etc = root_of(cluster, server) / "etc/rbops"
    rows = [line.split(",") for line in (etc / "routes.csv").read_text(encoding="ascii").splitlines()[1:]]
    networks = [IPv4Network(row[0]) for row in rows]
    values = [(port if row[0] == prefix else int(row[1])) << 16 | int(row[2]) for row in rows]
    assert prefix in [row[0] for row in rows]
    blob = compile_fib(
        np.array([int(network.network_address) for network in networks], np.uint32),
        np.array([network.prefixlen for network in networks], np.uint8),
        np.array(values, np.uint32),
    )
    node = (etc / "node.json").read_text(encoding="utf-8")
    planned = json.loads(node)["dataplane"]["fib_sha256"]
    (etc / "fib.bin").write_bytes(blob)
    (etc / "node.json").write_text(re.sub(planned, hashlib.sha256(blob).hexdigest(), node), encoding="utf-8")
    cluster.on(server, "rbops-node", "apply")
