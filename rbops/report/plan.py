"""The plan as a person cables and checks from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rbops.hardware.model import Card
from rbops.plan import ClusterPlan, Port, Prediction, Queue, Server
from rbops.planner import Planning
from rbops.report.plan_kernel import kernel_table
from rbops.report.plan_ports import device, places
from rbops.report.tables import Block, Table
from rbops.report.words import gbps, microseconds
from rbops.topology.slots import Seat

__all__ = ["plan_blocks", "prediction_rows"]

_LISTED_ONE_BY_ONE = 16
_CORES_ONE_BY_ONE = 64
_NAMED_PORTS = 12


def plan_blocks(planning: Planning) -> Iterator[Block]:
    """Summary, external ports, cabling, cores, prediction, violations and warnings."""
    plan = planning.plan
    yield _summary(plan)
    yield _external(plan)
    if any(port.driver != "veth" for server in plan.servers for port in server.ports):
        yield _cards(planning)
    if plan.links:
        yield _cabling(plan)
    yield _cores(plan)
    steering = _steering(plan)
    if steering.rows:
        yield steering
    kernel = kernel_table(plan.servers)
    if kernel is not None:
        yield kernel
    yield Table("Prediction", ("what", "value"), tuple(prediction_rows(planning)))
    if plan.violations:
        rows = tuple((v.rule, v.server, v.detail, f"{v.predicted_loss:.0%}") for v in plan.violations)
        yield Table("Violations (paper 4.2)", ("rule", "server", "what", "predicted loss"), rows)
    else:
        yield "Violations: none; each queue and each packet has one core."
    if plan.warnings:
        yield "Warnings\n" + "\n".join(f"  - {text}" for text in plan.warnings)


def _summary(plan: ClusterPlan) -> Table:
    top = plan.topology
    kind = "full mesh" if top.kind == "mesh" else f"{top.degree}-ary {top.stages}-fly"
    link, how = top.internal_link, plan.forwarding
    needs = f"{gbps(top.processing_bps.uniform)} uniform, {gbps(top.processing_bps.worst_case)} worst case"
    quota = gbps(how.direct_quota_bps) if how.routing == "direct-vlb" else "nothing"
    rows = [
        ("topology", f"{kind} of {top.servers} servers" if top.servers > 1 else "one server"),
        ("port servers", f"{top.port_servers}, up to {top.ports_per_server} external port(s) each"),
        ("intermediate servers", str(top.intermediate_servers)),
        ("cables", str(len(plan.links))),
        ("internal link", f"{gbps(link.required_bps)} needed, {gbps(link.provided_bps)} provided, per direction"),
        ("processing per server", f"{needs}; {gbps(top.processing_bps.available)} available"),
        ("data plane", f"{how.dataplane}, {how.application}, {how.routing}, {quota} direct per pair of servers"),
        ("routes", str(plan.routes.count)),
        ("digest", plan.digest),
    ]
    return Table(f"Plan of {plan.name}", ("what", "value"), tuple(rows))


def _external(plan: ClusterPlan) -> Table:
    rows = []
    for server in plan.servers:
        for port in server.ports:
            if port.kind == "external":
                near = ", ".join(f"{hop.address} {hop.mac or '(resolved)'}" for hop in port.adjacencies)
                rows.append(
                    (
                        str(port.id),
                        f"{server.name}:{port.name}",
                        gbps(port.rate_bps),
                        ", ".join(port.addresses),
                        near,
                        device(port) or port.name,
                    )
                )
    return Table("External ports", ("port", "at", "rate", "address", "neighbours", "device"), tuple(rows))


def _cards(planning: Planning) -> Table:
    """Which planned port is which port of which card; of many equal servers the first stands for all."""
    servers = planning.plan.servers
    rows: list[tuple[str, ...]] = []
    many = len(servers) > _LISTED_ONE_BY_ONE
    for kind in planning.built.kinds:
        for index in kind.servers[:1] if many else kind.servers:
            cards: dict[int, tuple[Card, list[str]]] = {}
            seated = [(place.seat, place.port) for place in places(planning, kind, servers[index])]
            for seat, port in sorted(((seat, port) for seat, port in seated if seat is not None), key=_seat):
                cards.setdefault(seat.slot, (seat.card, []))[1].append(f"{port.name}@{seat.position}")
            who = servers[index].name if len(kind.servers) == 1 or not many else _ranges(kind.servers, "n")
            for slot, (card, ports) in cards.items():
                what = f"{card.ports} x {gbps(card.port_rate_bps)} {card.driver}"
                rows.append((who, str(slot), what, " ".join(ports)))
            lost = [f"{port.name} ({device(port)})" for seat, port in seated if seat is None]
            if lost:
                rows.append((who, "?", "devices that the hardware does not list", " ".join(lost)))
    others = "; of equal servers the first one's ports, the others have theirs in the same order" if many else ""
    return Table(f"Cards (port@position on the card{others})", ("server", "NIC", "card", "ports"), tuple(rows))


def _seat(pair: tuple[Seat, Port]) -> tuple[int, int]:
    return pair[0].slot, pair[0].position


def _cabling(plan: ClusterPlan) -> Table:
    """A row a cable; in a fly with the columns that it joins, column 0 being the port servers."""
    fly = plan.topology.kind == "fly"
    known = {f"{server.name}:{port.name}": device(port) for server in plan.servers for port in server.ports}
    column = {server.name: server.index // plan.topology.port_servers for server in plan.servers}
    rows: list[tuple[str, ...]] = []
    for number, link in enumerate(plan.links, 1):
        ends = [end if known[end] is None else f"{end} ({known[end]})" for end in (link.a, link.b)]
        row: tuple[str, ...] = (str(number), *ends, gbps(link.rate_bps))
        if fly:
            row += ("-".join(str(column[end.partition(":")[0]]) for end in (link.a, link.b)),)
        rows.append(row)
    return Table("Cabling", ("cable", "from", "to", "rate", *(("columns",) if fly else ())), tuple(rows))


def _cores(plan: ClusterPlan) -> Table:
    rows: list[tuple[str, ...]] = []
    for same in _alike(plan.servers):
        names, server = _ranges([one.index for one in same], "n"), same[0]
        for shape, ports in _shapes(same):
            for cpu in server.cores.dataplane:
                rx = _ranges([queue.index for queue in shape if queue.rx_core == cpu])
                tx = _ranges([queue.index for queue in shape if queue.tx_core == cpu])
                rows.append((names, str(cpu), rx, tx, ports))
        if server.cores.housekeeping:
            rows.append((names, _ranges(server.cores.housekeeping), "-", "-", "housekeeping"))
    return Table("Cores", ("server", "CPU", "rx queue", "tx queue", "of ports"), tuple(rows))


def _alike(servers: Sequence[Server]) -> list[list[Server]]:
    """Servers one by one, or in groups of equal cores, queues and steering where one by one is too much to read."""
    if len(servers) <= _LISTED_ONE_BY_ONE and sum(len(one.cores.dataplane) for one in servers) <= _CORES_ONE_BY_ONE:
        return [[server] for server in servers]
    groups: dict[object, list[Server]] = {}
    for server in servers:
        rules = frozenset((rule.mac, rule.queue) for rule in server.steering)
        key = (server.cores, tuple(port.queues for port in server.ports), rules)
        groups.setdefault(key, []).append(server)
    return list(groups.values())


def _shapes(same: Sequence[Server]) -> list[tuple[tuple[Queue, ...], str]]:
    """The ports of each set of queues: by name, or how many where servers whose names differ stand in one row."""
    groups: dict[tuple[Queue, ...], list[str]] = {}
    for port in same[0].ports:
        groups.setdefault(port.queues, []).append(port.name)
    if len(groups) == 1 and (len(same) > 1 or len(same[0].ports) > _NAMED_PORTS):
        return [(queues, f"all {len(names)}") for queues, names in groups.items()]
    return [(queues, " ".join(names)) for queues, names in groups.items()]


def _steering(plan: ClusterPlan) -> Table:
    """One line per output port and queue; every internal port has the same rules."""
    rows: list[tuple[str, ...]] = []
    for same in _alike(plan.servers):
        names, server = _ranges([one.index for one in same], "n"), same[0]
        first = server.steering[0].port if server.steering else None
        rows += [(names, rule.mac, str(rule.queue)) for rule in server.steering if rule.port == first]
    return Table("Steering on every internal port", ("server", "destination MAC", "rx queue"), tuple(rows))


def prediction_rows(planning: Planning) -> list[tuple[str, str]]:
    """Label and value of everything that is predicted."""
    made = planning.forecast
    one: Prediction = made.prediction
    wanted = planning.spec.router.external_ports * planning.spec.router.line_rate_bps
    parts, app = one.per_component, planning.spec.router.application
    span = made.bounds
    bounds = {"CPU": parts.cpu, "memory": parts.memory, "I/O": parts.io, "between sockets": parts.inter_socket}
    bounds |= {"PCIe": parts.pcie, "NICs": parts.nic}
    rows = [
        (
            "router",
            f"{gbps(one.rate_bps)} of {gbps(wanted)}, {one.rate_pps / 1e6:.2f} Mpps of {made.packets.name} packets",
        ),
        ("servers allow", f"{gbps(span.at_3r_bps)} at 3R to {gbps(span.high_bps)} at 2R and mere forwarding"),
        ("the paper would expect", f"{gbps(span.low_bps)} to {gbps(span.high_bps)} (6.2: {span.low_factor}R, 2R)"),
        ("bottleneck", one.bottleneck.replace("_", " ")),
        ("second hop", f"{made.cluster.indirect:.0%} of the packets with the {planning.spec.router.traffic} matrix"),
        ("one server", f"{gbps(made.app.rate_bps)} of {app}, {gbps(made.forward.rate_bps)} of forwarding"),
    ]
    rows += [(f"  {name} allows", gbps(rate)) for name, rate in bounds.items() if rate is not None]
    rows += [
        ("latency, direct", microseconds(one.latency_s.direct)),
        ("latency, two hops", microseconds(one.latency_s.indirect)),
        ("power", f"{one.power_w / 1000:.2f} kW" if one.power_w is not None else "unknown: the profile has none"),
        ("price", f"{one.price_usd:,.0f} USD" if one.price_usd is not None else "unknown: the profile has none"),
        ("rack units", str(sum(kind.machine.rack_units * len(kind.servers) for kind in planning.built.kinds))),
    ]
    return rows


def _ranges(numbers: Sequence[int], prefix: str = "") -> str:
    """``0-3,7``."""
    parts: list[str] = []
    ordered = sorted(numbers)
    start = 0
    for place, number in enumerate(ordered):
        if place + 1 == len(ordered) or ordered[place + 1] != number + 1:
            first = ordered[start]
            parts.append(f"{prefix}{first}" if first == number else f"{prefix}{first}-{prefix}{number}")
            start = place + 1
    return ",".join(parts) or "-"
