"""What a lab is made of, written to its folder before any of it is made.

The manifest alone is enough to remove a lab: ``down`` needs neither plan nor spec.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rbops.errors import Mismatch, StateUnknown, Where
from rbops.hardware.profiles import profile
from rbops.lab import names
from rbops.plan import ClusterPlan, Port, Server

__all__ = [
    "LabPort",
    "LabServer",
    "LabTester",
    "Manifest",
    "System",
    "finished",
    "from_plan",
    "read",
    "read_subnet",
    "write",
]

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class LabPort:
    """A server's port: ``device`` inside the server, ``panel`` while the server is off.

    ``peer`` is ``server:port`` or ``tester:device`` of the cable's other end.
    """

    name: str
    device: str
    panel: str
    mac: str
    queues: int
    mtu: int
    peer: str


@dataclass(frozen=True, slots=True)
class LabServer:
    """One Debian system; ``address`` is on the management network, without prefix length.

    ``release`` is Debian's, ``base`` the image of it that the server starts from.
    ``cpus`` counts those of a virtual machine; None where servers share this machine's.
    """

    name: str
    index: int
    machine: str
    netns: str
    address: str
    management_port: str
    management_mac: str
    release: str
    base: str
    ports: tuple[LabPort, ...]
    cpus: int | None = None


@dataclass(frozen=True, slots=True)
class LabTester:
    """The neighbour on external port ``port``: a namespace with one device.

    ``address`` carries its prefix length; ``gateway`` is the router's address there. Both are None
    on a port without addresses. ``panel`` is the router's end of the cable.
    """

    name: str
    port: int
    netns: str
    device: str
    mac: str
    queues: int
    mtu: int
    address: str | None
    gateway: str | None
    panel: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A lab. ``state`` is ``building`` until ``up`` is done.

    ``tester_systems``: those testers that are Debian systems too, under the tester's name and in its namespace.
    ``emulated``: its servers are virtual machines without KVM, tens of times slower than this machine.
    ``folder`` is one of this machine that the servers see at the same place, for their data plane; None: none.
    """

    name: str
    provider: str
    plan_digest: str
    subnet: int
    state: Literal["building", "up"]
    servers: tuple[LabServer, ...]
    testers: tuple[LabTester, ...]
    emulated: bool = False
    folder: str | None = None
    tester_systems: tuple[LabServer, ...] = ()

    @property
    def systems(self) -> tuple[LabServer, ...]:
        """All that boots."""
        return (*self.servers, *self.tester_systems)

    @property
    def bridge(self) -> str:
        """The management bridge on the host; with virtual machines, the host's link to it."""
        return names.bridge(self.subnet)

    @property
    def gateway(self) -> str:
        """The host's address on the management network."""
        return names.gateway(self.subnet)

    @property
    def panel(self) -> str:
        """The namespace where unplugged ports lie; with virtual machines, all cables."""
        return names.panel(self.name)

    @property
    def namespaces(self) -> list[str]:
        """The network namespaces of servers and testers."""
        return [server.netns for server in self.servers] + [tester.netns for tester in self.testers]

    def server(self, name: str) -> LabServer:
        """The server ``name``; Mismatch with the names of the servers when there is none."""
        for server in self.servers:
            if server.name == name:
                return server
        have = ", ".join(server.name for server in self.servers)
        raise Mismatch(f"lab {self.name} has no server {name}", code="lab.no-server", hint=f"its servers: {have}")

    def system(self, name: str) -> LabServer:
        """The server ``name``, or the tester that is a system; Mismatch as :meth:`server`."""
        return next((system for system in self.tester_systems if system.name == name), None) or self.server(name)

    def tester(self, name: str) -> LabTester:
        """The tester ``name`` (``t0``); Mismatch with the names of servers and testers when there is none."""
        for tester in self.testers:
            if tester.name == name:
                return tester
        servers = ", ".join(server.name for server in self.servers)
        testers = ", ".join(tester.name for tester in self.testers)
        raise Mismatch(
            f"lab {self.name} has no server and no tester {name}",
            code="lab.no-target",
            hint=f"servers: {servers}; testers: {testers}",
        )


@dataclass(frozen=True, slots=True)
class System:
    """What a server is to run: a Debian release, and the image of it."""

    release: str
    base: str


def from_plan(
    plan: ClusterPlan,
    name: str,
    subnet: int,
    systems: Mapping[str, System],
    provider: str,
    folder: str | None = None,
    tester_system: System | None = None,
) -> Manifest:
    """Everything the lab ``name`` will hold for ``plan``; ``systems`` has one for each server's name.

    ``tester_system`` is that of testers that are systems; None: they are namespaces.

    Raises Mismatch where a plan cannot be cabled on one machine (:mod:`rbops.lab.fit` checks the rest).
    """
    # Click on sockets takes one queue a port: the others are for the xdp plan that may follow in the same lab.
    least = profile("lab").possible_cpus if folder is not None else 1
    servers = tuple(_server(server, name, subnet, systems[server.name], least) for server in plan.servers)
    testers = tuple(
        _tester(server, position, port, name, least)
        for server in plan.servers
        for position, port in enumerate(server.ports)
        if port.kind == "external"
    )
    booted = () if tester_system is None else tuple(_booted(tester, subnet, tester_system) for tester in testers)
    return Manifest(
        name, provider, plan.digest, subnet, "building", servers, testers, folder=folder, tester_systems=booted
    )


def _booted(tester: LabTester, subnet: int, system: System) -> LabServer:
    """The system of a tester. Its ports are not its own: the namespace is there before it boots, and stays."""
    index = names.LAST_INDEX - tester.port
    return LabServer(
        name=tester.name,
        index=index,
        machine=names.machine(subnet, index),
        netns=tester.netns,
        address=names.management_address(subnet, index),
        management_port=names.management_port(subnet, index),
        management_mac=names.management_mac(subnet, index),
        release=system.release,
        base=system.base,
        ports=(),
    )


def _server(server: Server, lab: str, subnet: int, system: System, least: int) -> LabServer:
    names.check_server_name(server.name)
    return LabServer(
        name=server.name,
        index=server.index,
        machine=names.machine(subnet, server.index),
        netns=names.server_netns(lab, server.index),
        address=names.management_address(subnet, server.index),
        management_port=names.management_port(subnet, server.index),
        management_mac=names.management_mac(subnet, server.index),
        release=system.release,
        base=system.base,
        ports=tuple(_port(server, position, port, least) for position, port in enumerate(server.ports)),
    )


def _port(server: Server, position: int, port: Port, least: int) -> LabPort:
    if port.selector.pci:
        raise Mismatch(
            f"planned on PCI device {port.selector.pci}, a lab has no PCI devices",
            code="lab.pci",
            where=Where(server=server.name, device=port.name),
            hint="leave `hosts` out of the spec, or select the port by name or mac",
        )
    peer = port.peer if port.peer is not None else f"t{port.id}:ext{port.id}"
    return LabPort(
        name=port.name,
        device=names.check_device_name(port.selector.name or port.name),
        panel=names.panel_device(server.index, position),
        mac=port.selector.mac or names.device_mac(server.index, position),
        queues=max(1, len(port.queues), least),
        mtu=port.mtu,
        peer=peer,
    )


def _tester(server: Server, position: int, port: Port, lab: str, least: int) -> LabTester:
    if port.id is None:
        raise Mismatch(
            "external port without a port id", code="lab.port-id", where=Where(server=server.name, device=port.name)
        )
    neighbor = port.adjacencies[0] if port.adjacencies else None
    router = ipaddress.ip_interface(port.addresses[0]) if port.addresses else None
    address = f"{neighbor.address}/{router.network.prefixlen}" if neighbor and router else None
    mac = neighbor.mac if neighbor and neighbor.mac else f"02:4e:{port.id >> 8:02x}:{port.id & 0xFF:02x}:00:02"
    return LabTester(
        name=f"t{port.id}",
        port=port.id,
        netns=names.tester_netns(lab, port.id),
        device=f"ext{port.id}",
        mac=mac,
        queues=max(1, len(port.queues), least),
        mtu=port.mtu,
        address=address,
        gateway=str(router.ip) if address and router else None,
        panel=names.panel_device(server.index, position),
    )


def finished(manifest: Manifest) -> Manifest:
    """The same lab, up."""
    return dataclasses.replace(manifest, state="up")


def write(manifest: Manifest, directory: Path) -> None:
    """Write the manifest into the lab's folder, atomically."""
    body = json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(manifest)}, indent=1, sort_keys=True)
    fresh = directory / "lab.json.new"
    fresh.write_text(body + "\n", encoding="utf-8")
    os.replace(fresh, directory / "lab.json")  # noqa: PTH105 - rename over the old one


def read(directory: Path) -> Manifest | None:
    """The manifest in the lab's folder, or None when ``up`` did not get so far.

    Raises StateUnknown when the file is not valid.
    """
    path = directory / "lab.json"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return _from_json(body)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnknown(
            f"not a valid manifest of a lab: {error}",
            code="lab.manifest",
            where=Where(file=str(path)),
            hint="was it written by another version of rbops, or edited?",
        ) from error


def read_subnet(directory: Path) -> int | None:
    """Which management network the lab in ``directory`` has, even where another version of rbops wrote the manifest.

    None when there is no manifest. Raises StateUnknown when the manifest lacks it.
    """
    path = directory / "lab.json"
    try:
        subnet = json.loads(path.read_text(encoding="utf-8"))["subnet"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        subnet = None
    if type(subnet) is not int or not 0 <= subnet <= 255:  # noqa: PLR2004 - the third octet
        raise StateUnknown(
            "the management network of this lab is not known", code="lab.manifest", where=Where(file=str(path))
        )
    return subnet


def _from_json(body: dict[str, Any]) -> Manifest:
    version = body.pop("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version {version}, expected {SCHEMA_VERSION}")
    servers = tuple(
        LabServer(**{**server, "ports": tuple(LabPort(**port) for port in server["ports"])})
        for server in body["servers"]
    )
    testers = tuple(LabTester(**tester) for tester in body["testers"])
    systems = tuple(LabServer(**{**system, "ports": ()}) for system in body.get("tester_systems", ()))
    return Manifest(**{**body, "servers": servers, "testers": testers, "tester_systems": systems})
