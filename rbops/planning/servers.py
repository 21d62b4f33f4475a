"""Servers and cables of the chosen topology, with every port's place on a card, queues and cores.

Ports are in cabling order: external ones by id, then internal ones by the index of their peer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rbops.affinity.cores import Assignment, CorePolicy, assign
from rbops.affinity.kernel import kernel
from rbops.affinity.steering import steering
from rbops.dataplane import registry
from rbops.hardware.model import Card, Machine
from rbops.nic.planning import setups, userspace
from rbops.nic.settings import NicSetup
from rbops.plan import Batching, Kernel, Link, Port, Selector, Server
from rbops.planning.machines import Machines
from rbops.spec.document import Spec
from rbops.spec.nic import NicTuning
from rbops.topology.cabling import Joint, degrees, joints
from rbops.topology.choice import Choice
from rbops.topology.external import External
from rbops.topology.names import external_port, server_name
from rbops.topology.slots import CardPort, Layout, common_rate, layout

__all__ = ["Built", "Kind", "build"]

_BY_NAME = Selector()


@dataclass(frozen=True, slots=True)
class Kind:
    """Servers of one machine that use the same cards: they share cores, queues and rate."""

    machine: Machine
    layout: Layout
    card_ports: tuple[CardPort, ...]
    assignment: Assignment
    servers: tuple[int, ...]

    def internal_card(self, number: int) -> Card:
        """The card of the internal port that is ``number`` in cabling order."""
        return self.card_ports[len(self.layout.external) + number].card

    @property
    def nic_bps(self) -> int:
        """What the used cards carry per direction."""
        cards = {card_port.slot: card_port.card for card_port in self.card_ports}
        return sum(card.rate_bps for card in cards.values())


@dataclass(frozen=True, slots=True)
class Built:
    """All servers, all cables, and the kinds of server there are."""

    servers: tuple[Server, ...]
    links: tuple[Link, ...]
    kinds: tuple[Kind, ...]


def build(spec: Spec, choice: Choice, machines: Machines, ports: Sequence[External]) -> Built:
    """The servers of ``choice``, made of ``machines``, with the external ``ports`` and all cables."""
    count = choice.trial.servers
    cables = joints(choice)
    owned: list[list[External]] = [[] for _ in range(count)]
    for port, owner in zip(ports, choice.owners, strict=True):
        owned[owner].append(port)
    kinds = _kinds(spec, machines, choice.trial.rate_bps, owned, degrees(count, cables))
    kind_of = {server: kind for kind in kinds for server in kind.servers}
    links, internal = _cabled(cables, [kind_of[index] for index in range(count)])
    common = _Common(spec, ports)
    servers = tuple(common.server(index, kind_of[index], owned[index], internal[index]) for index in range(count))
    return Built(servers, links, kinds)


class _Internal(NamedTuple):
    """An internal port: its name, the far end's ``server:port``, and the cable's rate."""

    name: str
    peer: str
    rate_bps: int


def _cabled(cables: Sequence[Joint], kinds: Sequence[Kind]) -> tuple[tuple[Link, ...], list[list[_Internal]]]:
    """The cables at the fastest rate that the cards at both ends do, and each server's ends in order."""
    links: list[Link] = []
    ends: list[list[_Internal]] = [[] for _ in kinds]
    for joint in cables:
        here, there = ends[joint.a], ends[joint.b]
        rate = common_rate(kinds[joint.a].internal_card(len(here)), kinds[joint.b].internal_card(len(there)))
        # Both ends' names are in the link and in the other's port: one string each, not two.
        a_end, b_end = joint.a_end, joint.b_end
        links.append(Link(a_end, b_end, rate))
        here.append(_Internal(joint.a_port, b_end, rate))
        there.append(_Internal(joint.b_port, a_end, rate))
    return tuple(links), ends


def _kinds(
    spec: Spec, machines: Machines, rate_bps: int, owned: Sequence[Sequence[External]], cables: Sequence[int]
) -> tuple[Kind, ...]:
    groups: dict[tuple[int, int, int], list[int]] = {}
    for index, (mine, internal) in enumerate(zip(owned, cables, strict=True)):
        groups.setdefault((id(machines.of(index)), len(mine), internal), []).append(index)
    return tuple(
        _kind(spec, machines.of(members[0]), external, internal, rate_bps, tuple(members))
        for (_, external, internal), members in groups.items()
    )


def _kind(spec: Spec, machine: Machine, external: int, internal: int, rate_bps: int, members: tuple[int, ...]) -> Kind:
    plan = layout(machine, external, spec.router.line_rate_bps, rate_bps)
    if plan is None or len(plan.internal) < internal:
        raise ValueError(f"{machine.name} has no card ports for {external} external and {internal} internal ports")
    card_ports = plan.external + plan.internal[:internal]
    plane = registry.controller(spec.dataplane)
    assignment = assign(
        machine,
        tuple(card_port.card for card_port in card_ports),
        CorePolicy(
            xdp=plane.rings_by_cpu,
            one_queue=plane.one_queue(spec),
            near_nic=spec.servers.numa == "prefer",
            allow=spec.router.allow,
        ),
        server=server_name(members[0]),
        nodes=frozenset(card_port.numa_node for card_port in card_ports if card_port.numa_node is not None),
    )
    return Kind(machine, plan, card_ports, assignment, members)


class _Common:
    """Makes servers; what servers share is one value, made once."""

    __slots__ = ("_adjacencies", "_batching", "_hosts", "_kernels", "_nics", "_ports", "_spec")

    def __init__(self, spec: Spec, ports: Sequence[External]) -> None:
        self._spec = spec
        self._ports = len(ports)
        self._adjacencies = [(port.id, near.index) for port in ports for near in port.adjacencies]
        self._batching = Batching(spec.batching.rx_burst, spec.batching.tx_burst, spec.batching.timeout_s)
        self._kernels: dict[int, Kernel] = {}
        self._nics: dict[object, tuple[NicSetup, ...]] = {}

    def server(self, index: int, kind: Kind, mine: Sequence[External], internal: Sequence[_Internal]) -> Server:
        """Server ``index`` of ``kind`` with the external ports ``mine``."""
        name = server_name(index)
        host = self._spec.hosts.get(name)
        picks = host.ports if host else {}
        ports = (*self._external(mine, kind, picks), *_internal_ports(internal, kind, picks))
        tuning = host.nic.over(self._spec.nic) if host else self._spec.nic
        nics = self._setups(tuning, ports)
        steered = {nic.driver for nic in nics if nic.steering == "hardware"}
        kernels = self._kernels
        if id(kind) not in kernels:
            kernels[id(kind)] = kernel(self._spec.kernel, kind.assignment.cores, kind.machine)
        return Server(
            name=name,
            index=index,
            role="port" if mine else "intermediate",
            external_ports=tuple(port.id for port in mine),
            cores=kind.assignment.cores,
            ports=ports,
            steering=tuple(steering([p for p in ports if p.driver in steered], self._adjacencies, self._ports)),
            batching=self._batching,
            profile=kind.machine.name,
            nics=nics,
            userspace=userspace(self._spec, tuning),
            kernel=kernels[id(kind)],
        )

    def _setups(self, tuning: NicTuning, ports: Sequence[Port]) -> tuple[NicSetup, ...]:
        # Of ports alike one says what all need. Queues are one value in all servers of a kind, so its identity does.
        alike = {(port.driver, port.rate_bps, id(port.queues)): port for port in ports}
        key = (tuning, *alike)
        if key not in self._nics:
            self._nics[key] = setups(self._spec, tuning, alike.values())
        return self._nics[key]

    def _external(self, mine: Sequence[External], kind: Kind, picks: Mapping[str, Selector]) -> Iterator[Port]:
        for number, (port, card_port) in enumerate(zip(mine, kind.card_ports, strict=False)):
            name = external_port(port.id)
            yield Port(
                name=name,
                kind="external",
                peer=None,
                rate_bps=self._spec.router.line_rate_bps,
                queues=kind.assignment.queues_of(number),
                id=port.id,
                addresses=(str(port.address),),
                adjacencies=port.adjacencies,
                selector=picks.get(name, _BY_NAME),
                driver=card_port.card.driver,
                urpf=self._spec.port(port.id).urpf or self._spec.router.urpf,
            )


def _internal_ports(ends: Sequence[_Internal], kind: Kind, picks: Mapping[str, Selector]) -> Iterator[Port]:
    first = len(kind.layout.external)
    for place, (end, card_port) in enumerate(zip(ends, kind.card_ports[first:], strict=True), first):
        yield Port(
            name=end.name,
            kind="internal",
            peer=end.peer,
            rate_bps=end.rate_bps,
            queues=kind.assignment.queues_of(place),
            selector=picks.get(end.name, _BY_NAME),
            driver=card_port.card.driver,
        )
