"""The ends of a lab's cables, as ``NODE:PORT``, and being in the namespace that holds one."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbops.errors import CheckFailed, Mismatch, UsageError
from rbops.lab import net
from rbops.lab.manifest import Manifest

__all__ = ["End", "all_ends", "find_ends", "inside", "link_of", "one_end", "require_namespaces"]

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class End:
    """One end of a cable: ``n0:int1`` or ``t0:ext0``, where its device is, and the name of the other end.

    ``mac`` finds the device also when it was renamed inside its server. ``tester``: it is a tester's.
    """

    node: str
    port: str
    netns: str
    device: str
    mac: str
    peer: str
    tester: bool

    @property
    def name(self) -> str:
        """``NODE:PORT``, as ``lab status`` shows it."""
        return f"{self.node}:{self.port}"


def all_ends(manifest: Manifest) -> dict[str, End]:
    """Every end of every cable by its name, servers' first."""
    ends = [
        End(server.name, port.name, server.netns, port.device, port.mac, port.peer, tester=False)
        for server in manifest.servers
        for port in server.ports
    ]
    far = {end.peer: end.name for end in ends}
    ends += [
        End(
            tester.name,
            tester.device,
            tester.netns,
            tester.device,
            tester.mac,
            far[f"{tester.name}:{tester.device}"],
            tester=True,
        )
        for tester in manifest.testers
    ]
    return {end.name: end for end in ends}


def find_ends(manifest: Manifest, wanted: Iterable[str]) -> tuple[End, ...]:
    """The ends that ``wanted`` names: ``n0:int1``, or ``n0`` for all ports of a node; each once, in that order.

    Raises Mismatch with what there is for a node or a port that the lab does not have.
    """
    ends, found = all_ends(manifest), dict[str, End]()
    for text in wanted:
        node, colon, port = text.partition(":")
        own = [end for end in ends.values() if end.node == node]
        if not own:
            nodes = ", ".join(dict.fromkeys(end.node for end in ends.values()))
            raise Mismatch(
                f"lab {manifest.name} has no server and no tester {node}",
                code="lab.no-target",
                hint=f"there are {nodes}",
            )
        chosen = [end for end in own if not colon or end.port == port]
        if not chosen:
            ports = ", ".join(end.port for end in own)
            raise Mismatch(f"{node} has no port {port}", code="lab.no-port", hint=f"its ports: {ports}")
        found |= {end.name: end for end in chosen}
    return tuple(found.values())


def one_end(manifest: Manifest, text: str) -> End:
    """The end ``NODE:PORT``; UsageError for a node alone, Mismatch as for :func:`find_ends`."""
    if ":" not in text:
        raise UsageError(
            f"{text!r} is not a port of a node", code="lab.end", hint="write NODE:PORT, for example n0:int1"
        )
    return find_ends(manifest, [text])[0]


def require_namespaces(manifest: Manifest) -> None:
    """Raise Mismatch for a lab whose servers are virtual machines: their ports are out of reach."""
    if manifest.provider != "nspawn":
        raise Mismatch(
            f"lab {manifest.name} has virtual machines, whose ports are out of reach from here",
            code="lab.virtual-machines",
            hint="use a lab of the provider nspawn",
        )


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Have this thread in a named network namespace for a while (setns(2)); sockets made there stay there.

    Raises CheckFailed when it is not there: the server is off.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        there = os.open(Path("/run/netns", netns), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CheckFailed(f"network namespace {netns}: {error.strerror}", code="lab.no-namespace") from error
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(there, _CLONE_NEWNET) != 0:
            raise CheckFailed(f"cannot enter network namespace {netns}", code="lab.no-namespace")
        try:
            yield
        finally:
            libc.setns(back, _CLONE_NEWNET)
    finally:
        os.close(there)
        os.close(back)


def link_of(end: End) -> dict[str, Any] | None:
    """The end's device as ``ip -json link`` shows it, found by its MAC; None while its server is off."""
    return next((link for link in net.links(end.netns) if link.get("address") == end.mac), None)
