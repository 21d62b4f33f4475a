"""From a spec to the whole router: topology, cabling, cores, addresses, routes and prediction.

Pure: the same spec gives the same plan, byte for byte. What the spec asks for and no plan can give
is a SpecError at the field that asks for it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeVar

from rbops import hardware
from rbops.affinity.cores import assign
from rbops.affinity.rules import check
from rbops.affinity.servers import Built, build
from rbops.errors import Diagnostic, SpecError, UsageError
from rbops.hardware.costs import SOCKET_CYCLES
from rbops.hardware.model import Machine
from rbops.nic.mistakes import nic_mistakes
from rbops.plan import ClusterPlan, Forwarding, Fragment, LinkRate, Processing, Topology, Tunnel, Violation
from rbops.predict.bottleneck import server_rate
from rbops.predict.calibrate import Measurement
from rbops.predict.cluster import Setting
from rbops.predict.forecast import Forecast, forecast
from rbops.predict.packets import PacketMix, mix
from rbops.predict.warnings import warnings
from rbops.spec import Spec, load_spec
from rbops.spec.model import Hardware
from rbops.topology.choice import Choice, Demand, Impossible, Limits, choose
from rbops.topology.external import externals, routes
from rbops.topology.names import server_index, server_name

if TYPE_CHECKING:
    from rbops.click import Fragment as Parsed

__all__ = ["Assumptions", "Planning", "calibrated", "load_plan", "plan_spec", "planning"]

Path = tuple[str | int, ...]

_CALIBRATION_STEPS = 12

_ARCHIVE = re.compile(r".*\.(?:tar(?:\.[a-z0-9]+)?|t[gx]z)")
_UNPACKED = "/opt/rbops-click"
"""Where the role click makes a link to an archive that it unpacked; the same names are archives there."""

_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a prediction supposes beyond the spec: a packet costs ``cost_factor`` times the profile's cycles,
    and packets are of ``packets`` (None: the spec's).
    """

    cost_factor: float = 1.0
    packets: PacketMix | None = None


@dataclass(frozen=True, slots=True)
class Planning:
    """A plan and the considerations behind it, for ``explain`` and ``predict``."""

    spec: Spec
    demand: Demand
    choice: Choice
    built: Built
    forecast: Forecast
    plan: ClusterPlan


def load_plan(path: str | PathLike[str], overrides: Mapping[str, str] | None = None) -> ClusterPlan:
    """The plan of the spec file ``path``; ``overrides`` as for ``load_spec``. Raises SpecError."""
    return plan_spec(load_spec(path, overrides))


def plan_spec(spec: Spec) -> ClusterPlan:
    """The plan of ``spec``. Raises SpecError with the field that cannot be served."""
    return planning(spec).plan


def planning(spec: Spec, assumptions: Assumptions = Assumptions()) -> Planning:
    """The plan of ``spec`` with what led to it. Raises SpecError."""
    packets = assumptions.packets or mix(spec.router.packets)
    known, pins = _both(lambda: _machines(spec), lambda: _pins(spec))
    machines = {index: _scaled(_reserved(spec, machine), assumptions.cost_factor) for index, machine in known.items()}
    demand = _demand(spec, machines, packets, pins)
    choice, ports = _both(lambda: _choose(spec, demand), lambda: externals(spec))
    default = demand.default.machine
    built = build(spec, choice, lambda index: machines.get(index, default), ports)
    setting = _setting(spec, choice)
    made = forecast(spec, setting, built.kinds, choice.stages, packets)
    fragment = _own_fragment(spec)
    _check(spec, demand, choice, built, made)
    plan = ClusterPlan(
        name=spec.name,
        topology=_topology(spec, choice, made),
        links=built.links,
        servers=built.servers,
        forwarding=_forwarding(spec, setting, fragment),
        routes=routes(spec, ports),
        violations=(*_breaches(built), *_fragment_breaches(fragment, built)),
        warnings=warnings(spec, choice, demand, built, made),
        prediction=made.prediction,
    )
    told = {(breach.rule, breach.server) for breach in plan.violations}
    found = tuple(breach for breach in check(plan) if (breach.rule, breach.server) not in told)
    if found:
        plan = replace(plan, violations=plan.violations + found)
    return Planning(spec, demand, choice, built, made, plan)


def _breaches(built: Built) -> Iterator[Violation]:
    """What cannot be kept, of each kind of server once; of all its servers where they differ in their ports' cores."""
    for kind in built.kinds:
        for breach in kind.assignment.violations:
            for member in kind.servers if kind.assignment.by_port else kind.servers[:1]:
                yield replace(breach, server=server_name(member))


def _both(first: Callable[[], _A], second: Callable[[], _B]) -> tuple[_A, _B]:
    """The results of both; raises SpecError with the mistakes that either finds."""
    try:
        one = first()
    except SpecError as error:
        try:
            second()
        except SpecError as other:
            raise SpecError(error.diagnostics + other.diagnostics) from error
        raise
    return one, second()


def calibrated(spec: Spec, measured: Measurement) -> Assumptions:
    """The cost factor with which the prediction for packets of the measured size meets the measurement.

    Raises UsageError when the measured rate is not one that the CPU limits.
    """
    size = PacketMix(f"{measured.size}B", ((measured.size, 1.0),))
    factor = 1.0
    for _ in range(_CALIBRATION_STEPS):
        made = planning(spec, Assumptions(factor, size)).forecast
        if made.cluster.bottleneck != "cpu" and made.prediction.rate_bps <= measured.rate_bps:
            raise UsageError(
                f"the measured {measured.rate_bps / 1e9:.2f} Gbps of {size.name} packets say nothing about the CPU: "
                f"the prediction ends at {made.cluster.bottleneck}, {made.prediction.rate_bps / 1e9:.2f} Gbps",
                hint="measure with smaller packets",
            )
        factor *= made.prediction.rate_bps / measured.rate_bps
    return Assumptions(factor)


def _machines(spec: Spec) -> dict[int, Machine]:
    """The servers that are unlike the others; -1 is what all others are."""
    wrong: list[Diagnostic] = []
    found: dict[int, Machine] = {}
    default = _machine(spec, spec.servers.profile, spec.servers.hardware, ("servers", "profile"), wrong)
    for host in spec.hosts:
        index = server_index(host.name)
        own = _machine(spec, host.profile, host.hardware, ("hosts", host.name, "profile"), wrong)
        if index is not None and own is not None:
            found[index] = own
    if wrong or default is None:
        raise SpecError(wrong)
    found[-1] = default
    return found


def _reserved(spec: Spec, machine: Machine) -> Machine:
    """With isolated cores one is left for everything else, whatever the profile says; sockets cost more a packet."""
    if spec.dataplane == "click" and spec.click.dialect == "socket":
        costs = tuple(replace(cost, cycles=cost.cycles + SOCKET_CYCLES) for cost in machine.costs)
        machine = replace(machine, costs=costs)
    many = len({(core.socket, core.core) for core in machine.cores}) > 1
    return replace(machine, reserve=max(machine.reserve, 1)) if spec.kernel.isolate and many else machine


def _scaled(machine: Machine, factor: float) -> Machine:
    if factor == 1.0:
        return machine
    costs = tuple(
        replace(cost, cycles=cost.cycles * factor, cycles_per_byte=cost.cycles_per_byte * factor)
        for cost in machine.costs
    )
    latency = replace(machine.latency, cpu_s=machine.latency.cpu_s * factor)
    return replace(machine, costs=costs, batching=machine.batching.scaled(factor), latency=latency, calibrated=True)


def _machine(
    spec: Spec, profile: str | None, inline: Hardware | None, path: Path, wrong: list[Diagnostic]
) -> Machine | None:
    if inline is not None:
        return hardware.machine(inline)
    if profile is None:
        return None
    try:
        return hardware.profile(profile)
    except KeyError:
        names = hardware.names()
        near = difflib.get_close_matches(profile, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(names)}"
        wrong.append(spec.source.mistake(path, f"no hardware profile is called {profile!r}", hint))
        return None


def _pins(spec: Spec) -> tuple[tuple[int, int], ...]:
    """Which ports are fixed to which servers; raises SpecError with all that name no server of a plan."""
    pins: list[tuple[int, int]] = []
    wrong: list[Diagnostic] = []
    for position, port in enumerate(spec.ports):
        index = server_index(port.server) if port.server is not None else None
        if port.server is not None and index is None:
            where: Path = ("ports", position, "server")
            wrong.append(spec.source.mistake(where, f"{port.server!r} is no planned server", "servers are n0, n1, ..."))
        if index is not None:
            pins.append((port.id, index))
    if wrong:
        raise SpecError(wrong)
    return tuple(sorted(pins))


def _demand(
    spec: Spec, machines: Mapping[int, Machine], packets: PacketMix, pins: tuple[tuple[int, int], ...]
) -> Demand:
    known: dict[int, Limits] = {}

    def limits(machine: Machine) -> Limits:
        if id(machine) not in known:
            known[id(machine)] = Limits(machine, _available(spec, machine, packets))
        return known[id(machine)]

    return Demand(
        ports=spec.router.external_ports,
        line_rate_bps=spec.router.line_rate_bps,
        factor=2 if spec.router.traffic == "uniform" else 3,
        default=limits(machines[-1]),
        special=tuple((index, limits(machine)) for index, machine in sorted(machines.items()) if index >= 0),
        pins=pins,
        kind=spec.interconnect.topology,
    )


def _available(spec: Spec, machine: Machine, packets: PacketMix) -> int:
    """What a server with all its slots filled processes of ``packets``, in bps."""
    cards = tuple(card for slot in machine.slots for card in slot.options)
    if not cards or not machine.cores:
        missing = "NIC" if machine.cores else "online CPU"
        raise SpecError([spec.source.mistake(("servers",), f"{machine.name} servers have no usable {missing}")])
    try:
        assigned = assign(
            machine,
            cards,
            frozenset(),
            dataplane=spec.dataplane,
            numa="ignore",
            allow=spec.router.allow,
            server=machine.name,
        )
    except ValueError as error:
        raise SpecError([spec.source.mistake(("servers",), str(error), "keep fewer housekeeping CPUs")]) from error
    rate = server_rate(
        machine,
        spec.router.application,
        packets,
        poll=spec.batching.poll,
        nic=spec.batching.nic,
        cores=len(assigned.cores.dataplane),
        nic_bps=sum(max(card.rate_bps for card in slot.options) for slot in machine.slots),
    )
    return rate.rate_bps


def _choose(spec: Spec, demand: Demand) -> Choice:
    try:
        return choose(demand)
    except Impossible as error:
        wrong = _mistakes(spec, error)
        if any(one.field.startswith("port ") for one in (error, *error.also)):
            # What is wrong whatever the pins are.
            try:
                wrong += _hosts(spec, choose(replace(demand, pins=())))
            except Impossible as other:
                wrong += _mistakes(spec, other)
        raise SpecError(wrong) from error


def _mistakes(spec: Spec, error: Impossible) -> list[Diagnostic]:
    pins: dict[str, Path] = {f"port {port.id}": ("ports", at, "server") for at, port in enumerate(spec.ports)}
    return [
        spec.source.mistake(pins.get(one.field, tuple(one.field.split("."))), str(one), one.hint)
        for one in (error, *error.also)
    ]


def _check(spec: Spec, demand: Demand, choice: Choice, built: Built, made: Forecast) -> None:
    """Raises SpecError with everything that the spec says of a plan that is another one."""
    wrong = [*_hosts(spec, choice), *_selectors(spec, built), *_isolation(spec, built)]
    wrong += [*_guarantee(spec, choice, demand, made), *nic_mistakes(spec, built.servers)]
    if wrong:
        raise SpecError(wrong)


def _hosts(spec: Spec, choice: Choice) -> Iterator[Diagnostic]:
    count = choice.trial.servers
    for host in spec.hosts:
        index = server_index(host.name)
        if index is None or index >= count:
            yield spec.source.node(("hosts", host.name)).diagnostic_at_key(
                f"hosts: {host.name} is not in the plan: the topology has {count} servers, n0 to n{count - 1}",
                "leave it out, or give the router more external ports",
            )


def _selectors(spec: Spec, built: Built) -> Iterator[Diagnostic]:
    for host in spec.hosts:
        index = server_index(host.name)
        if index is None or index >= len(built.servers):
            continue
        names = [port.name for port in built.servers[index].ports]
        for pick in host.ports:
            if pick.port not in names:
                node = spec.source.node(("hosts", host.name, "ports", pick.port))
                text = f"hosts.{host.name}.ports: {host.name} has no port {pick.port} in this plan"
                yield node.diagnostic_at_key(text, f"its ports are {', '.join(names)}")


def _isolation(spec: Spec, built: Built) -> Iterator[Diagnostic]:
    """Isolated CPUs need others that do the rest of the work."""
    bare = [server.name for server in built.servers if not server.cores.housekeeping]
    if spec.kernel.isolate and bare:
        text = f"{', '.join(bare[:3])}{' and others' if bare[3:] else ''}: every CPU carries packets, none is left over"
        yield spec.source.mistake(("kernel", "isolate"), text, "a server needs a CPU beside those: `isolate: off`")


def _setting(spec: Spec, choice: Choice) -> Setting:
    trial = choice.trial
    most = choice.most
    return Setting(
        ports=spec.router.external_ports,
        line_rate_bps=spec.router.line_rate_bps,
        servers=trial.port_servers,
        most=most,
        link_bps=trial.rate_bps * trial.parallel,
        quota_bps=most * spec.router.line_rate_bps // trial.port_servers,
        worst_case=spec.router.traffic == "worst-case",
        direct=spec.interconnect.routing == "direct-vlb",
    )


def _topology(spec: Spec, choice: Choice, made: Forecast) -> Topology:
    trial = choice.trial
    most = choice.most
    rate = most * spec.router.line_rate_bps
    return Topology(
        kind=trial.kind,
        degree=trial.fanout_needed,
        stages=choice.stages,
        ports_per_server=most,
        port_servers=trial.port_servers,
        intermediate_servers=trial.servers - trial.port_servers,
        servers=trial.servers,
        internal_link=LinkRate(trial.required_bps, trial.rate_bps * trial.parallel),
        processing_bps=Processing(2 * rate, 3 * rate, made.app.rate_bps),
    )


def _forwarding(spec: Spec, setting: Setting, fragment: Parsed | None) -> Forwarding:
    return Forwarding(
        dataplane=spec.dataplane,
        application=spec.router.application,
        routing=spec.interconnect.routing,
        direct_quota_bps=setting.quota_bps,
        flowlet_timeout_s=spec.interconnect.flowlet_timeout_s,
        click_dialect=spec.click.dialect,
        click_prefix=_click_prefix(spec) if spec.dataplane == "click" else None,
        click_package=spec.click.package if spec.dataplane == "click" else None,
        fragment=None if fragment is None else Fragment(fragment.text, fragment.name, fragment.outputs, fragment.tasks),
        tunnels=tuple(Tunnel(each.peer, each.prefixes, each.spi, str(each.keys)) for each in spec.ipsec),
    )


def _click_prefix(spec: Spec) -> str | None:
    """Where Click is on the servers: the role unpacks an archive and makes a link lead to it."""
    if spec.click.package and _ARCHIVE.fullmatch(spec.click.package):
        return _UNPACKED
    return spec.click.prefix


def _own_fragment(spec: Spec) -> Parsed | None:
    """The user's Click element, read and checked. Raises SpecError, UsageError."""
    if spec.dataplane != "click" or spec.router.fragment is None:
        return None
    from rbops.click import bundled, fragment

    driver: Literal["linuxmodule", "userlevel"] = "linuxmodule" if spec.click.dialect == "kernel" else "userlevel"
    return fragment(spec.router.fragment, bundled(), driver, spec.router.allow)


def _fragment_breaches(fragment: Parsed | None, built: Built) -> Iterator[Violation]:
    """The allowed breaches of a fragment, on every server that packets come in at."""
    for breach in fragment.breaches if fragment else ():
        text = f"router.fragment, line {breach.place.line}: {breach.place.message}"
        for server in built.servers:
            if server.external_ports:
                yield Violation(breach.rule, server.name, text, round(breach.predicted_loss, 3))


def _guarantee(spec: Spec, choice: Choice, demand: Demand, made: Forecast) -> Iterator[Diagnostic]:
    if spec.router.guarantee != "line-rate":
        return
    wanted = spec.router.external_ports * spec.router.line_rate_bps
    short = wanted - made.prediction.rate_bps
    if short <= 0:
        return
    most = choice.most
    need = demand.factor * most * spec.router.line_rate_bps
    works = max(1, made.app.rate_bps // (demand.factor * most) // 10_000_000) * 10_000_000
    message = (
        f"line rate cannot be guaranteed: each {made.kind.machine.name} server must process {need / 1e9:g} Gbps "
        f"({demand.factor}R) and its {made.cluster.bottleneck} allows {made.app.rate_bps / 1e9:.2f} Gbps of "
        f"{made.packets.name} packets; "
        f"the router sustains {made.prediction.rate_bps / 1e9:.1f} of {wanted / 1e9:g} Gbps, {short / 1e9:.1f} short"
    )
    yield spec.source.mistake(("router", "guarantee"), message, f"line_rate: {works / 1e9:g}Gbps, or best-effort")
