"""Why the plan is as it is: formula, inputs, binding constraint and paper section of each choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rbops.affinity.steering import STEERED_PORTS
from rbops.dataplane import registry
from rbops.planning.prediction import Forecast
from rbops.planning.servers import Built
from rbops.planning.topology import logical_mesh, setting
from rbops.predict.quota import Mesh, safe_quotas, worst_link
from rbops.spec.document import Spec
from rbops.topology.choice import Choice, Demand, Trial
from rbops.topology.wiring import imbalance

__all__ = ["Reason", "reasons"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One choice: what was chosen, by which formula from which numbers, and what decided it."""

    choice: str
    value: str
    formula: str
    inputs: str
    constraint: str
    section: str


def reasons(spec: Spec, demand: Demand, choice: Choice, built: Built, made: Forecast) -> tuple[Reason, ...]:
    """The reasons in the order in which the choices are made."""
    return (
        *_hardware(built),
        _ports_per_server(demand, choice),
        _port_servers(demand, choice),
        _topology(demand, choice),
        *_links(demand, choice),
        *_worst_link(spec, demand, choice),
        *_cores(spec, built),
        _steering(spec, built),
        _quota(spec, demand, choice),
        _batching(spec, made),
        *_rate(spec, made),
        _latency(spec, choice, made),
        *_tunnels(spec),
    )


def _hardware(built: Built) -> Iterator[Reason]:
    for machine in {kind.machine.name: kind.machine for kind in built.kinds}.values():
        ports = sum(max(card.ports for card in slot.options) for slot in machine.slots)
        yield Reason(
            f"server {machine.name}",
            f"{machine.sockets} sockets, {len(machine.cores)} CPUs at {machine.clock_hz / 1e9:g} GHz, "
            f"{len(machine.slots)} NICs with {ports} ports",
            "none: data sheets, measurements and estimates go in as they are",
            machine.source,
            "costs measured on this kind of server" if machine.calibrated else "costs are estimates until calibrated",
            "4.1",
        )


def _tunnels(spec: Spec) -> Iterator[Reason]:
    if not registry.controller(spec.dataplane).kernel_ipsec:
        return
    static = [str(tunnel.spi) for tunnel in spec.ipsec if tunnel.ike is None]
    negotiated = [str(tunnel.spi) for tunnel in spec.ipsec if tunnel.ike is not None]
    if negotiated:
        yield Reason(
            "tunnels by IKE",
            "one server encrypts, that with the tunnel's address; the others send to its kernel",
            "none: a peer negotiates with one host",
            f"tunnel {', '.join(negotiated)}",
            "an association is one host's: servers cannot share its sequence numbers (RFC 7296, RFC 9611)",
            "5.1",
        )
    if static:
        numbers = ", ".join(static)
        yield Reason(
            "tunnels",
            "an association for each server that sends, one for what the peer sends",
            "SPI = spi * 65536 + server * 256; a server's salt is the key file's XOR its number",
            f"spi {numbers}",
            "servers share no sequence numbers (RFC 9611); a nonce is never used twice with a key (RFC 4106)",
            "5.1",
        )


def _ports_per_server(demand: Demand, choice: Choice) -> Reason:
    need = demand.factor * demand.line_rate_bps
    cap = demand.default.machine.external_ports
    limits = {"processing": choice.capacity, "slots": choice.room, "the router's ports": demand.ports}
    if cap is not None:
        limits[f"the {demand.default.machine.name} profile"] = cap
    least = min(limits, key=lambda name: limits[name])
    taken = choice.trial.ports_per_server
    why = f"{least}: {limits[least]}"
    if choice.capacity == 0:
        why = f"processing: {_g(demand.default.available_bps)} of the {_g(need)} a port needs, so one, and a warning"
    if taken < max(1, limits[least]):
        why = f"fewest servers: {limits[least]} ports a server would leave too few internal ports"
    return Reason(
        "external ports per server",
        f"s = {taken}",
        "s = min(floor(available / cR), ports its slots hold, N), at least 1",
        f"available {_g(demand.default.available_bps)}, c {demand.factor}, R {_g(demand.line_rate_bps)}, "
        f"slots {choice.room}, N {demand.ports}",
        why,
        "3.2, 3.3",
    )


def _port_servers(demand: Demand, choice: Choice) -> Reason:
    trial = choice.trial
    pinned = f", {len(demand.pins)} ports pinned" if demand.pins else ""
    return Reason(
        "port servers",
        f"M = {trial.port_servers}",
        "M = ceil(N / s)",
        f"N {demand.ports}, s {trial.ports_per_server}{pinned}",
        "every external port has one server",
        "3.3",
    )


def _topology(demand: Demand, choice: Choice) -> Reason:
    trial = choice.trial
    refused = [_refusal(other) for other in choice.trials if other.kind == "mesh" and not other.works]
    asked = f"; the spec asks for a {demand.kind}" if demand.kind != "auto" else ""
    if trial.kind == "mesh":
        value = f"full mesh of {trial.port_servers}"
        why = f"M - 1 = {trial.port_servers - 1} peers, {trial.fanout} internal ports{asked}"
    else:
        value = (
            f"{trial.fanout_needed}-ary {choice.stages}-fly, {trial.servers - trial.port_servers} intermediate servers"
        )
        why = "; ".join(refused) + asked if refused else f"fewest servers{asked}"
    return Reason(
        "topology",
        value,
        "mesh if M - 1 <= k (times parallel cables), else a k-ary n-fly, n = ceil(log_k M) intermediates a port server",
        f"M {trial.port_servers}, k {trial.fanout}",
        why,
        "3.3",
    )


def _refusal(trial: Trial) -> str:
    if trial.fanout < trial.fanout_needed:
        cables = f" ({trial.parallel} parallel)" if trial.parallel > 1 else ""
        return f"a mesh over {_g(trial.rate_bps)} ports needs {trial.fanout_needed}{cables} of {trial.fanout}"
    return f"a mesh needs {_g(trial.required_bps)} a link of {_g(trial.rate_bps)}"


def _links(demand: Demand, choice: Choice) -> Iterator[Reason]:
    trial = choice.trial
    if trial.servers == 1:
        return
    most = choice.most
    slower = sorted(
        {other.rate_bps for other in choice.trials if other.kind == trial.kind and other.rate_bps < trial.rate_bps}
    )
    why = (
        f"slower ports ({', '.join(_g(rate) for rate in slower)}) do not do"
        if slower
        else "the slowest port there is carries it"
    )
    if trial.port_servers > 2:  # noqa: PLR2004
        why += "; links are made for one rate, since VLB puts the same on each"
    if trial.parallel > 1:
        why = f"{trial.parallel} parallel cables: one {_g(trial.rate_bps)} port is too slow, faster ones too few"
    formula, inputs = "2sR/M", f"s {most}, R {_g(demand.line_rate_bps)}, M {trial.port_servers}"
    if trial.kind == "fly":
        formula = "sR/d x imbalance: half of a stage's 2sR goes each way round, over d ports a server (2sR/k)"
        factor = imbalance(trial.port_servers, trial.fanouts)
        inputs = f"s {most}, R {_g(demand.line_rate_bps)}, d {min(trial.fanouts)}, imbalance {factor:.3f}"
    provided = trial.rate_bps * trial.parallel
    yield Reason(
        "internal links", f"{_g(trial.required_bps)} needed, {_g(provided)} provided", formula, inputs, why, "3.2, 3.3"
    )


def _worst_link(spec: Spec, demand: Demand, choice: Choice) -> Iterator[Reason]:
    """Direct VLB's worst case, which the paper does not work out."""
    trial = choice.trial
    if spec.interconnect.routing != "direct-vlb" or trial.port_servers < 3:  # noqa: PLR2004
        return
    mesh, quota = logical_mesh(choice, demand.line_rate_bps), setting(spec, choice).quota_bps
    provided = trial.rate_bps * trial.parallel
    most = worst_link(mesh.servers, mesh.rate_bps, quota) * provided / mesh.link_bps
    more = "q + 2 x max(0, sR - 2q)/(M - 2): direct to D, S's rest through D, D's rest through S"
    three = "max(q, 2 x (sR - q)): direct to D; or all of S's rest through D, and all that is for D through S"
    yield Reason(
        "worst case of an internal link with Direct VLB",
        _g(most),
        more if trial.port_servers > 3 else three,  # noqa: PLR2004
        f"s {choice.most}, R {_g(demand.line_rate_bps)}, M {trial.port_servers}, q {_g(quota)}"
        + (", spread over the fly's links as VLB's 2sR/M is" if trial.kind == "fly" else ""),
        f"{_g(provided)} provided: {'enough for' if provided >= most else 'too little for'} the worst matrix "
        f"(plain VLB needs {_g(trial.required_bps)} with any)",
        "3.2 (the paper gives plain VLB's 2R/N only)",
    )


def _cores(spec: Spec, built: Built) -> Iterator[Reason]:
    for kind in built.kinds:
        cores = kind.assignment.cores
        queues = min(card_port.card.queues for card_port in kind.card_ports)
        note = "; ".join(kind.assignment.notes) or "both rules hold: each core has a queue of its own at every port"
        yield Reason(
            f"cores of {kind.machine.name} ({len(kind.servers)} servers)",
            f"{len(cores.dataplane)} for packets, {len(cores.housekeeping)} for housekeeping, "
            f"{len(kind.assignment.queues)} queues a port",
            "m cores, m receive and m transmit queues a port, queue i on core i; one thread of each core",
            f"{len(kind.machine.cores)} CPUs online, {queues} queues a port at most, numa {spec.servers.numa}",
            note,
            "4.2",
        )


def _steering(spec: Spec, built: Built) -> Reason:
    setups = {(nic.driver, nic.steering) for server in built.servers for nic in server.nics}
    drivers = sorted({driver for driver, _ in setups})
    modes = ", ".join(f"{driver} {mode}" for driver, mode in sorted(setups))
    many = spec.router.external_ports > STEERED_PORTS
    return Reason(
        "later servers find the output port",
        "in software, by MAC address" if many else modes,
        "02:52:PP:PP:AA:AA carries port and adjacency; a receive queue per external port on each internal port",
        f"{spec.router.external_ports} external ports, drivers {', '.join(drivers)}",
        f"more than {STEERED_PORTS} ports cannot be steered" if many else "what the driver can do",
        "6.1",
    )


def _quota(spec: Spec, demand: Demand, choice: Choice) -> Reason:
    mesh, quota = logical_mesh(choice, demand.line_rate_bps), setting(spec, choice).quota_bps
    surplus = spec.interconnect.direct_quota == "surplus"
    balances = spec.interconnect.routing == "direct-vlb"
    formula = "C - sR/M: sR/M and what the link carries beyond VLB's 2sR/M; within what no matrix overloads a link with"
    why = _quota_limit(mesh, quota) if surplus else "the spec asks for the paper's"
    if not balances:
        why = "the spec asks for vlb"
    return Reason(
        "direct quota per pair of servers",
        _g(quota) if balances else "none: every packet takes two phases",
        formula if surplus else "R/N per pair of ports, sR/M per pair of servers; the rest over the others equally",
        f"s {choice.most}, R {_g(demand.line_rate_bps)}, M {mesh.servers}, C {_g(mesh.link_bps)}",
        f"{why}; {_flowlets(spec)}",
        "3.2, 6.1 (the paper's quota is R/N)",
    )


def _flowlets(spec: Spec) -> str:
    if spec.interconnect.flowlet_timeout_s == 0:
        return "no flowlets: packets of a flow may overtake each other"
    return f"flowlets of {spec.interconnect.flowlet_timeout_s * 1000:g} ms keep to one path"


def _quota_limit(mesh: Mesh, quota: int) -> str:
    """Which side of the formula decided the surplus quota."""
    if mesh.servers <= 2:  # noqa: PLR2004
        return "no third server: everything goes direct"
    safe = safe_quotas(mesh)
    if safe is None or safe[1] < mesh.paper_bps:
        return "sR/M: the links are too thin for any quota from there on to be safe with every matrix"
    least, most = safe
    bounds = f"no matrix overloads a link with {_g(least)} to {_g(most)}"
    if quota == most:
        return f"{bounds}: the most"
    return f"{bounds}: the least" if quota == least else bounds


def _batching(spec: Spec, made: Forecast) -> Reason:
    cost = made.kind.machine.batching
    poll, nic = spec.batching.rx_burst, spec.batching.tx_burst
    return Reason(
        "batching",
        f"kp = {poll}, kn = {nic}: {cost.cycles(poll, nic):.0f} cycles of minimal forwarding",
        "cycles = a + b/kp + d/kn, fitted to Table 1",
        f"a {cost.base:.0f}, b {cost.per_poll:.0f}, d {cost.per_transaction:.0f}",
        "kn is 16 at most: 256 bytes of PCIe payload hold 16 descriptors of 16 bytes",
        "4.2, Table 1",
    )


def _rate(spec: Spec, made: Forecast) -> Iterator[Reason]:
    app, machine = made.app, made.kind.machine
    cores = len(made.kind.assignment.cores.dataplane)
    cost = machine.cost(spec.router.application)
    table = ""
    if cost.instructions:
        product = cost.instructions * cost.cycles_per_instruction
        table = f"; Table 3 has {cost.instructions} x {cost.cycles_per_instruction} = {product:.0f} at 64 B"
    given = " (the profile's given rate)" if machine.processing_bps is not None else ""
    yield Reason(
        "rate of one server",
        f"{_g(app.rate_bps)} of {spec.router.application}{given}",
        "min over components of bound / load per packet, times the packet's bits",
        f"{cores} x {machine.clock_hz / 1e9:g} GHz, {app.cycles_per_packet:.0f} cycles a packet{table}; "
        f"packets of {made.packets.mean_bytes:.0f} B on average",
        f"{app.bottleneck}" + ("" if machine.calibrated else "; the costs are estimates until calibrated"),
        "5.3",
    )
    for name, part in (
        ("memory", machine.components.memory),
        ("io", machine.components.io),
        ("inter_socket", machine.components.inter_socket),
        ("pcie", machine.components.pcie),
    ):
        if part is not None and part.usable_bps is not None:
            nominal = _g(part.nominal_bps) if part.nominal_bps is not None else "unknown"
            empirical = _g(part.empirical_bps) if part.empirical_bps is not None else "not measured"
            yield Reason(
                f"bound of {name}", _g(part.usable_bps), "bytes a packet moves, P its size: fixed + slope x P",
                f"nominal {nominal}, empirical {empirical}", part.reason, "5.3, Table 2",
            )  # fmt: skip
    wanted = spec.router.external_ports * spec.router.line_rate_bps
    yield Reason(
        "rate of the router",
        f"{_g(made.prediction.rate_bps)} of {_g(wanted)}",
        "per server: input at the application's cost, output at forwarding's, what is above the direct quota once more",
        f"{_g(made.app.rate_bps)} and {_g(made.forward.rate_bps)} of forwarding; "
        f"{made.cluster.indirect:.0%} take a second hop with {spec.router.traffic} traffic",
        f"{made.cluster.bottleneck}; the servers allow {_g(made.bounds.at_3r_bps)} at 3R to "
        f"{_g(made.bounds.high_bps)} at 2R and mere forwarding; the paper's estimate (6.2) is "
        f"{_g(made.bounds.low_bps)} ({made.bounds.low_factor}R) to {_g(made.bounds.high_bps)} (2R)",
        "3.2, 6.2",
    )


def _latency(spec: Spec, choice: Choice, made: Forecast) -> Reason:
    terms = made.kind.machine.latency
    direct, indirect = made.prediction.latency_s.direct, made.prediction.latency_s.indirect
    return Reason(
        "latency",
        f"{direct * 1e6:.1f} us direct, {indirect * 1e6:.1f} us over an intermediate server",
        "per server: DMA transfers + wait for kn packets (at most the timeout) + CPU; times the servers on the path",
        f"{terms.dma_transfers} x {terms.dma_s * 1e6:g} us, kn {spec.batching.tx_burst}, CPU {terms.cpu_s * 1e6:g} us, "
        f"timeout {spec.batching.timeout_s * 1e6:g} us: {made.per_server_latency_s * 1e6:.2f} us",
        f"{2 + choice.stages} servers direct, {3 + 2 * choice.stages} in two phases",
        "6.2",
    )


def _g(rate: float) -> str:
    return f"{rate / 1e9:.4g} Gbps"
