"""What goes where in a rack: external ports, ports on cards, and cables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rbops.plan import ClusterPlan, Ipv6, Port, Port6, Selector, Server
from rbops.planner import Planning
from rbops.planning.servers import Kind
from rbops.report.plan_ports import Place, device, places
from rbops.report.sections import Section, View, listed, server_names
from rbops.report.tables import Table
from rbops.report.words import gbps

__all__ = ["cabling_table", "cards_table", "external_table"]

_LISTED_CABLES = 16


def external_table(servers: Sequence[Server], view: View, ipv6: Ipv6 | None = None) -> Table:
    """A row an external port: addresses, neighbours, device."""
    found = [(server, port) for server in servers for port in server.ports if port.kind == "external"]
    title, count = listed("External ports", len(found), Section.PORTS, view)

    def six(port: Port) -> list[Port6]:
        own = None if ipv6 is None else ipv6.port(port.id)
        return [] if own is None else [own]

    rows = tuple(
        (
            str(port.id),
            f"{server.name}:{port.name}",
            gbps(port.rate_bps),
            ", ".join((*port.addresses, *(own.address for own in six(port)))),
            ", ".join(
                f"{hop.address} {hop.mac or '(resolved)'}"
                for hop in (*port.adjacencies, *(near for own in six(port) for near in own.adjacencies))
            ),
            device(port) or port.name,
        )
        for server, port in found[:count]
    )
    return Table(title, ("port", "at", "rate", "address", "neighbours", "device"), rows)


def cards_table(planning: Planning, view: View) -> Table:
    """Which planned port is which port of which card; alike servers once, with the first one's ports."""
    rows: list[tuple[str, ...]] = []
    shared = False
    for kind in planning.built.kinds:
        for same in _alike(planning, kind, view):
            shared = shared or len(same) > 1
            names = server_names([server.index for server in same])
            rows += [(names, *cells) for cells in _cards(places(planning, kind, same[0]))]
    note = "; ports of the first of alike servers, the others' are in the same order" if shared else ""
    return Table(f"Cards (port@position on the card{note})", ("server", "NIC", "card", "ports"), tuple(rows))


def _alike(planning: Planning, kind: Kind, view: View) -> Iterator[list[Server]]:
    """Servers whose devices the spec selects are alone, the others of a kind have their ports in the same places."""
    servers = [planning.plan.servers[index] for index in kind.servers]
    servers = [server for server in servers if view.server in {None, server.name}]
    chosen = [server for server in servers if any(port.selector != Selector() for port in server.ports)]
    yield from ([server] for server in chosen)
    alone = {server.name for server in chosen}
    if others := [server for server in servers if server.name not in alone]:
        yield others


def _cards(seated: Sequence[Place]) -> Iterator[tuple[str, str, str]]:
    """Each used card with its ports, then the ports whose devices the hardware does not list."""
    cards: dict[int, tuple[str, list[str]]] = {}
    known = sorted(
        ((place.card_port, place.port) for place in seated if place.card_port is not None),
        key=lambda pair: (pair[0].slot, pair[0].position),
    )
    for card_port, port in known:
        what = f"{card_port.card.ports} x {gbps(card_port.card.port_rate_bps)} {card_port.card.driver}"
        cards.setdefault(card_port.slot, (what, []))[1].append(f"{port.name}@{card_port.position}")
    yield from ((str(slot), what, " ".join(ports)) for slot, (what, ports) in cards.items())
    if lost := [f"{place.port.name} ({device(place.port)})" for place in seated if place.card_port is None]:
        yield "?", "devices that the hardware does not list", " ".join(lost)


def cabling_table(plan: ClusterPlan, view: View) -> Table | None:
    """A row a cable; short and with many cables, a row for each two groups of servers. None without cables."""
    own = [
        (number, link)
        for number, link in enumerate(plan.links, 1)
        if view.server is None or view.server in {_server(link.a), _server(link.b)}
    ]
    if not own:
        return None
    if view.short and len(own) > _LISTED_CABLES:
        return _bundles(plan)
    fly = plan.topology.kind == "fly"
    ends = _devices(plan)
    column = {server.name: server.index // plan.topology.port_servers for server in plan.servers}
    rows = []
    for number, link in own:
        row: tuple[str, ...] = (str(number), ends.get(link.a, link.a), ends.get(link.b, link.b), gbps(link.rate_bps))
        rows.append((*row, f"{column[_server(link.a)]}-{column[_server(link.b)]}") if fly else row)
    return Table("Cabling", ("cable", "from", "to", "rate", *(("columns",) if fly else ())), tuple(rows))


def _bundles(plan: ClusterPlan) -> Table:
    """How many cables each two columns have; a mesh is one column, and a fly's column 0 are the port servers."""
    width = plan.topology.port_servers
    names = [server_names(range(start, start + width)) for start in range(0, len(plan.servers), width)]
    column = {server.name: server.index // width for server in plan.servers}
    counts = Counter((column[_server(link.a)], column[_server(link.b)], link.rate_bps) for link in plan.links)
    rows = tuple((names[a], names[b], str(count), gbps(rate)) for (a, b, rate), count in sorted(counts.items()))
    title = f"Cabling (--section {Section.CABLING} lists each cable)"
    return Table(title, ("from", "to", "cables", "rate"), rows)


def _devices(plan: ClusterPlan) -> dict[str, str]:
    """Ends whose device the spec names, with it: ``n0:int1 (0000:41:00.2)``."""
    named = ((server, port) for server in plan.servers for port in server.ports if device(port) is not None)
    return {f"{server.name}:{port.name}": f"{server.name}:{port.name} ({device(port)})" for server, port in named}


def _server(end: str) -> str:
    return end.partition(":")[0]
