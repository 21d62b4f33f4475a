"""Servers and cables of the chosen topology, with every port's seat, queues and cores.

Ports stand in cabling order: external ones by id, then internal ones by the index of their peer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rbops.affinity.cores import Assignment, assign
from rbops.affinity.kernel import kernel
from rbops.affinity.steering import steering
from rbops.hardware.model import Card, Machine
from rbops.nic.planning import setups, userspace
from rbops.plan import Batching, Link, Port, Selector, Server
from rbops.spec.model import Spec
from rbops.topology.choice import Choice
from rbops.topology.external import External
from rbops.topology.names import external_port, internal_port, server_name
from rbops.topology.slots import Layout, Seat, common_rate, layout
from rbops.topology.wiring import Cable, fly_cables, mesh_cables

__all__ = ["Built", "Kind", "build"]

End = tuple[int, int, int]
"""Peer's index, which of the parallel cables, how many there are."""

Numbered = tuple[int, int, int]
"""A cable: the lower and the higher index of its servers, and which of the parallel ones it is."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Servers of one machine that use the same cards: they share cores, queues and rate."""

    machine: Machine
    layout: Layout
    seats: tuple[Seat, ...]
    assignment: Assignment
    servers: tuple[int, ...]

    @property
    def nic_bps(self) -> int:
        """What the used cards carry per direction."""
        cards = {seat.slot: seat.card for seat in self.seats}
        return sum(card.rate_bps for card in cards.values())


@dataclass(frozen=True, slots=True)
class Built:
    """All servers, all cables, and the kinds of server there are."""

    servers: tuple[Server, ...]
    links: tuple[Link, ...]
    kinds: tuple[Kind, ...]


def build(spec: Spec, choice: Choice, machine_of: Callable[[int], Machine], ports: Sequence[External]) -> Built:
    """The servers of ``choice``; ``machine_of`` gives the machine of a server by index."""
    cables = _cables(choice)
    pairs = Counter((min(cable.a, cable.b), max(cable.a, cable.b)) for cable in cables)
    ends = _ends(cables, pairs, choice.trial.servers)
    owned: list[list[External]] = [[] for _ in range(choice.trial.servers)]
    for port, owner in zip(ports, choice.owners, strict=True):
        owned[owner].append(port)
    kinds = _kinds(spec, choice, machine_of, owned, ends)
    kind_of = {server: kind for kind in kinds for server in kind.servers}
    adjacencies = [(port.id, near.index) for port in ports for near in port.adjacencies]
    seats = [kind_of[index].seats[len(mine) :] for index, mine in enumerate(owned)]
    rates = _link_rates(ends, seats)
    batching = Batching(spec.batching.poll, spec.batching.nic, spec.batching.timeout_s)
    hosts = {host.name: host.ports for host in spec.hosts}
    servers: list[Server] = []
    for index, mine in enumerate(owned):
        kind = kind_of[index]
        name = server_name(index)
        selectors = {pick.port: Selector(pick.name, pick.pci, pick.mac) for pick in hosts.get(name, ())}
        internal = _internal(index, zip(ends[index], seats[index], strict=True), rates, kind, selectors)
        built = _external(spec, mine, kind, selectors) + internal
        nics = setups(spec, name, built)
        steered = {nic.driver for nic in nics if nic.steering == "hardware"}
        servers.append(
            Server(
                name=name,
                index=index,
                role="port" if mine else "intermediate",
                external_ports=tuple(port.id for port in mine),
                cores=kind.assignment.cores,
                ports=built,
                steering=tuple(steering([p for p in built if p.driver in steered], adjacencies, len(ports))),
                batching=batching,
                profile=kind.machine.name,
                nics=nics,
                userspace=userspace(spec, name),
                kernel=kernel(spec.kernel, kind.assignment.cores, kind.machine),
            )
        )
    return Built(tuple(servers), _links(cables, pairs, rates), kinds)


def _link_rates(ends: Sequence[Sequence[End]], seats: Sequence[Sequence[Seat]]) -> dict[Numbered, int]:
    """What each cable runs at: the fastest that the cards at both ends do."""
    cards: dict[Numbered, Card] = {}
    rates: dict[Numbered, int] = {}
    for index, (own_ends, own_seats) in enumerate(zip(ends, seats, strict=True)):
        for (peer, number, _), seat in zip(own_ends, own_seats, strict=True):
            if peer > index:
                cards[index, peer, number] = seat.card
            else:
                rates[peer, index, number] = common_rate(cards[peer, index, number], seat.card)
    return rates


def _cables(choice: Choice) -> tuple[Cable, ...]:
    trial = choice.trial
    if trial.kind == "mesh":
        return tuple(mesh_cables(trial.port_servers, trial.parallel))
    return tuple(fly_cables(trial.port_servers, trial.fanouts))


def _ends(cables: Sequence[Cable], pairs: Counter[tuple[int, int]], servers: int) -> list[list[End]]:
    """Each server's cable ends, by peer and then by cable."""
    ends: list[list[End]] = [[] for _ in range(servers)]
    for a, b, number, total in _numbered(cables, pairs):
        ends[a].append((b, number, total))
        ends[b].append((a, number, total))
    for own in ends:
        own.sort()
    return ends


def _numbered(cables: Sequence[Cable], pairs: Counter[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    seen: Counter[tuple[int, int]] = Counter()
    numbered = []
    for cable in cables:
        pair = (min(cable.a, cable.b), max(cable.a, cable.b))
        numbered.append((*pair, seen[pair], pairs[pair]))
        seen[pair] += 1
    return numbered


def _links(cables: Sequence[Cable], pairs: Counter[tuple[int, int]], rates: Mapping[Numbered, int]) -> tuple[Link, ...]:
    return tuple(
        Link(
            f"{server_name(a)}:{internal_port(b, number, total)}",
            f"{server_name(b)}:{internal_port(a, number, total)}",
            rates[a, b, number],
        )
        for a, b, number, total in sorted(_numbered(cables, pairs))
    )


def _kinds(
    spec: Spec,
    choice: Choice,
    machine_of: Callable[[int], Machine],
    owned: Sequence[Sequence[External]],
    ends: Sequence[Sequence[End]],
) -> tuple[Kind, ...]:
    groups: dict[tuple[int, int, int], list[int]] = {}
    for index in range(choice.trial.servers):
        key = (id(machine_of(index)), len(owned[index]), len(ends[index]))
        groups.setdefault(key, []).append(index)
    return tuple(
        _kind(spec, machine_of(members[0]), external, internal, choice.trial.rate_bps, tuple(members))
        for (_, external, internal), members in groups.items()
    )


def _kind(spec: Spec, machine: Machine, external: int, internal: int, rate_bps: int, members: tuple[int, ...]) -> Kind:
    plan = layout(machine, external, spec.router.line_rate_bps, rate_bps)
    if plan is None or len(plan.internal) < internal:
        raise ValueError(f"{machine.name} has no seats for {external} external and {internal} internal ports")
    seats = plan.external + plan.internal[:internal]
    assignment = assign(
        machine,
        tuple(seat.card for seat in seats),
        frozenset(seat.numa_node for seat in seats if seat.numa_node is not None),
        dataplane=spec.dataplane,
        numa=spec.servers.numa,
        allow=spec.router.allow,
        server=server_name(members[0]),
        sockets=spec.dataplane == "click" and spec.click.dialect == "socket",
    )
    return Kind(machine, plan, seats, assignment, members)


def _external(spec: Spec, mine: Sequence[External], kind: Kind, selectors: dict[str, Selector]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=external_port(port.id),
            kind="external",
            peer=None,
            rate_bps=spec.router.line_rate_bps,
            queues=kind.assignment.queues_of(number),
            id=port.id,
            addresses=(str(port.address),),
            adjacencies=port.adjacencies,
            selector=selectors.get(external_port(port.id), Selector()),
            driver=seat.card.driver,
        )
        for number, (port, seat) in enumerate(zip(mine, kind.seats, strict=False))
    )


def _internal(
    index: int,
    seated: Iterable[tuple[End, Seat]],
    rates: Mapping[Numbered, int],
    kind: Kind,
    selectors: Mapping[str, Selector],
) -> tuple[Port, ...]:
    built: list[Port] = []
    first = len(kind.layout.external)
    for place, ((peer, number, total), seat) in enumerate(seated, first):
        name = internal_port(peer, number, total)
        built.append(
            Port(
                name=name,
                kind="internal",
                peer=f"{server_name(peer)}:{internal_port(index, number, total)}",
                rate_bps=rates[min(index, peer), max(index, peer), number],
                queues=kind.assignment.queues_of(place),
                selector=selectors.get(name, Selector()),
                driver=seat.card.driver,
            )
        )
    return tuple(built)
