"""The plan: what to cable, which core serves which queue, and what to expect of it."""

from __future__ import annotations

from collections.abc import Iterator

from rbops.plan import ClusterPlan, Prediction
from rbops.planner import Planning
from rbops.report.plan_cabling import cabling_table, cards_table, external_table
from rbops.report.plan_servers import cores_table, kernel_table, steering_table
from rbops.report.sections import SHORT, Section, View
from rbops.report.tables import Block, Table
from rbops.report.words import gbps, microseconds

__all__ = ["plan_blocks", "prediction_rows"]


def plan_blocks(planning: Planning, view: View = SHORT) -> Iterator[Block]:
    """Summary, external ports, cabling, cores, prediction, violations and warnings, as ``view`` asks for them."""
    plan = planning.plan
    if view.has(Section.SUMMARY):
        yield _summary(plan)
    yield from _servers(planning, view)
    if view.has(Section.PREDICTION):
        yield Table("Prediction", ("what", "value"), tuple(prediction_rows(planning)))
    if view.has(Section.WARNINGS):
        yield _violations(plan)
        if plan.warnings:
            yield "Warnings\n" + "\n".join(f"  - {text}" for text in plan.warnings)


def _servers(planning: Planning, view: View) -> Iterator[Block]:
    plan = planning.plan
    servers = [server for server in plan.servers if view.server in {None, server.name}]
    if view.has(Section.PORTS):
        yield external_table(servers, view, plan.ipv6)
    if view.has(Section.CARDS) and any(port.driver != "veth" for server in servers for port in server.ports):
        yield cards_table(planning, view)
    if view.has(Section.CABLING) and (cabling := cabling_table(plan, view)):
        yield cabling
    if view.has(Section.CORES):
        yield cores_table(servers, view)
    if view.has(Section.STEERING) and (steering := steering_table(servers, view)):
        yield steering
    if view.has(Section.KERNEL) and (kernel := kernel_table(servers)):
        yield kernel


def _violations(plan: ClusterPlan) -> Block:
    if not plan.violations:
        return "Violations: none; each queue and each packet has one core."
    rows = tuple((v.rule, v.server, v.detail, f"{v.predicted_loss:.0%}") for v in plan.violations)
    return Table("Violations (paper 4.2)", ("rule", "server", "what", "predicted loss"), rows)


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
        *_tunnels(plan),
        ("digest", plan.digest),
    ]
    return Table(f"Plan of {plan.name}", ("what", "value"), tuple(rows))


def _tunnels(plan: ClusterPlan) -> list[tuple[str, str]]:
    """Where each tunnel of the kernels ends, and with which SPIs."""
    owner = {address: server.name for server in plan.servers for address in server.own_addresses}
    indexes = sorted(server.index for server in plan.servers)
    found = []
    for tunnel in plan.forwarding.tunnels:
        if tunnel.local is not None:
            first, last = (tunnel.outward_spi(indexes[at]) for at in (0, -1))
            text = f"{tunnel.local} on {owner.get(tunnel.local)} to {tunnel.peer}, {tunnel.cipher}, "
            text += "in UDP, " if tunnel.udp else ""
            spis = f"SPI {first:#x} to {last:#x}, from the peer {tunnel.inward_spi:#x}"
            text += spis if tunnel.ike is None else "keys by IKE, that server encrypts for all"
            found.append((f"tunnel {tunnel.spi}", text))
    return found


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
        ("servers allow", f"{gbps(span.at_3r_bps)} at 3R to {gbps(span.high_bps)} at 2R (forwarding only)"),
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
