"""A running lab against a plan: what stays, what is to be added, what is to go. Touches nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rbops.errors import Mismatch, Where
from rbops.lab import names
from rbops.lab.manifest import LabPort, LabServer, LabTester, Manifest

__all__ = ["Cable", "Changes", "changes"]


@dataclass(frozen=True, slots=True)
class Cable:
    """An internal cable: a server and its port at each end."""

    one: LabServer
    port: LabPort
    other: LabServer
    other_port: LabPort


@dataclass(frozen=True, slots=True)
class Changes:
    """How a lab gets from ``old`` to ``target``. A cable or tester with another shape goes and is added."""

    old: Manifest
    target: Manifest
    new_servers: tuple[LabServer, ...]
    gone_servers: tuple[LabServer, ...]
    new_cables: tuple[Cable, ...]
    gone_ports: tuple[tuple[LabServer, LabPort], ...]
    new_testers: tuple[LabTester, ...]
    gone_testers: tuple[LabTester, ...]
    readdressed: tuple[LabTester, ...]

    @property
    def empty(self) -> bool:
        """Whether the lab is as planned."""
        servers, testers = (self.new_servers, self.gone_servers), (self.new_testers, self.gone_testers)
        return not any((*servers, *testers, self.new_cables, self.gone_ports, self.readdressed))

    @property
    def both(self) -> Manifest:
        """What may be there in the middle: enough to remove the lab, or to go on."""
        testers = {tester.name: tester for tester in (*self.old.testers, *self.target.testers)}
        return dataclasses.replace(
            self.target, servers=(*self.target.servers, *self.gone_servers), testers=tuple(testers.values())
        )


def changes(old: Manifest, planned: Manifest) -> Changes:
    """What to do to make the lab ``old`` what the plan's manifest says; Mismatch (3) for what needs a new lab."""
    _check_places(old, planned)
    before = {server.name: server for server in old.servers}
    kept = _kept_ports(old, planned)
    servers = tuple(_server(server, before.get(server.name), kept) for server in planned.servers)
    panels = {port.peer: port.panel for server in servers for port in server.ports}
    testers = tuple(
        dataclasses.replace(tester, panel=panels[f"{tester.name}:{tester.device}"]) for tester in planned.testers
    )
    target = dataclasses.replace(
        planned, servers=servers, testers=testers, state="up", tester_systems=old.tester_systems
    )
    had = {tester.name: tester for tester in old.testers}
    same = {tester.name for tester in testers if tester.name in had and _shape(had[tester.name]) == _shape(tester)}
    staying = {server.name for server in servers}
    return Changes(
        old=old,
        target=target,
        new_servers=tuple(server for server in servers if server.name not in before),
        gone_servers=tuple(server for server in old.servers if server.name not in staying),
        new_cables=tuple(_cables(target, kept)),
        gone_ports=tuple(
            (server, port) for server in old.servers for port in server.ports if (server.name, port.name) not in kept
        ),
        new_testers=tuple(tester for tester in testers if tester.name not in same),
        gone_testers=tuple(tester for tester in old.testers if tester.name not in same),
        readdressed=tuple(tester for tester in testers if tester.name in same and had[tester.name] != tester),
    )


def _check_places(old: Manifest, planned: Manifest) -> None:
    indexes = {server.name: server.index for server in old.servers}
    owners = {server.index: server.name for server in old.servers}
    for server in planned.servers:
        if (
            indexes.get(server.name, server.index) != server.index
            or owners.get(server.index, server.name) != server.name
        ):
            have = owners.get(server.index, "none")
            raise Mismatch(
                f"is number {server.index} of the plan, in the lab that is {have}",
                code="lab.moved",
                where=Where(server=server.name),
                hint=f"keep the servers' names and order, or make a new lab: rbops lab down {old.name}",
            )
    if [system.name for system in old.tester_systems] != [system.name for system in planned.tester_systems]:
        raise Mismatch(
            "testers that are systems cannot join or leave a running lab",
            code="lab.testers",
            hint=f"make a new lab: rbops lab down {old.name}, then up",
        )
    if old.folder != planned.folder:
        raise Mismatch(
            "the servers of this lab do not see the folder that the data plane needs",
            code="lab.folder",
            hint=f"make a new lab: rbops lab down {old.name}, then up",
        )


def _kept_ports(old: Manifest, planned: Manifest) -> dict[tuple[str, str], LabPort]:
    """(server, port) -> the port there is, of cables that both ends keep as they are."""
    had = {(server.name, port.name): port for server in old.servers for port in server.ports}
    wanted = {(server.name, port.name): port for server in planned.servers for port in server.ports}
    same = {key: had[key] for key, port in wanted.items() if key in had and _plug(had[key]) == _plug(port)}
    ends = {f"{server}:{port}" for server, port in same}
    testers = {tester.name: _shape(tester) for tester in old.testers}
    fixed = {
        f"{tester.name}:{tester.device}" for tester in planned.testers if testers.get(tester.name) == _shape(tester)
    }
    return {key: port for key, port in same.items() if port.peer in ends or port.peer in fixed}


def _plug(port: LabPort) -> tuple[object, ...]:
    """What cannot be changed on a cable that is in use; its MTU belongs to rbops on the server."""
    return (port.device, port.mac, port.queues, port.peer)


def _shape(tester: LabTester) -> tuple[object, ...]:
    """A tester without its addresses, and without where on the panel its cable ends."""
    return (tester.port, tester.netns, tester.device, tester.mac, tester.queues)


def _server(server: LabServer, before: LabServer | None, kept: Mapping[tuple[str, str], LabPort]) -> LabServer:
    if before is None:
        return server
    taken = {port.panel for port in before.ports}
    free = (names.panel_device(server.index, position) for position in range(len(taken) + len(server.ports)))
    fresh = (panel for panel in free if panel not in taken)
    ports = tuple(
        kept.get((server.name, port.name)) or dataclasses.replace(port, panel=next(fresh)) for port in server.ports
    )
    return dataclasses.replace(before, ports=ports)


def _cables(target: Manifest, kept: Mapping[tuple[str, str], LabPort]) -> Iterator[Cable]:
    ends = {f"{server.name}:{port.name}": (server, port) for server in target.servers for port in server.ports}
    for name, (server, port) in ends.items():
        if port.peer in ends and name < port.peer and (server.name, port.name) not in kept:
            yield Cable(server, port, *ends[port.peer])
