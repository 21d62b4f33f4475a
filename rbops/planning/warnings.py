"""What the plan cannot give, and by how much: one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rbops.affinity.steering import STEERED_PORTS
from rbops.dataplane import registry
from rbops.planning.prediction import Forecast
from rbops.planning.servers import Built
from rbops.planning.topology import logical_mesh, setting
from rbops.predict.quota import worst_link
from rbops.spec.document import Spec
from rbops.topology.choice import Choice, Demand
from rbops.topology.external import External, shadowed
from rbops.topology.wiring import fly_stages

__all__ = ["unused_routes", "warnings"]

_SHOWN = 4


def warnings(spec: Spec, choice: Choice, demand: Demand, built: Built, made: Forecast) -> tuple[str, ...]:
    """All warnings of a plan, most important first."""
    dataplane = registry.controller(spec.dataplane)
    found = [
        *_rate(spec, demand, made),
        *_calibration(built),
        *_fly(choice),
        *_slowed(built),
        *(_direct_vlb(spec, choice) if dataplane.balances else ()),
        *_ospf(spec),
        *dataplane.limits(spec, choice, built),
        *(_steering(spec, built) if dataplane.balances else ()),
    ]
    found += [note for kind in built.kinds for note in kind.assignment.notes]
    found += dataplane.batching(spec)
    return tuple(dict.fromkeys(found))


def unused_routes(spec: Spec, ports: Sequence[External]) -> tuple[str, ...]:
    """The user's routes that a port's own network or address stands before."""
    found = shadowed(spec, ports)
    if not found:
        return ()
    some = [f"{prefix} (port {port})" for prefix, port in found.items()]
    more = f" and {len(some) - _SHOWN} more" if len(some) > _SHOWN else ""
    what = "1 route is" if len(some) == 1 else f"{len(some)} routes are"
    return (f"{what} not used, since the router is connected to the same prefix: {', '.join(some[:_SHOWN])}{more}",)


def _rate(spec: Spec, demand: Demand, made: Forecast) -> Iterator[str]:
    wanted = spec.router.external_ports * spec.router.line_rate_bps
    rate = made.prediction.rate_bps
    if rate < wanted:
        yield (
            f"the router sustains {rate / 1e9:.1f} of {wanted / 1e9:g} Gbps with {made.packets.name} packets: "
            f"each {made.kind.machine.name} server processes {made.app.rate_bps / 1e9:.2f} Gbps of "
            f"{spec.router.application}, limited by {made.cluster.bottleneck}, and one port needs "
            f"{demand.factor * spec.router.line_rate_bps / 1e9:g} Gbps ({demand.factor}R)"
        )


def _calibration(built: Built) -> Iterator[str]:
    for name in sorted({kind.machine.name for kind in built.kinds if not kind.machine.calibrated}):
        yield f"the cost of a packet on {name} servers is estimated: calibrate the prediction with a self-test"


def _fly(choice: Choice) -> Iterator[str]:
    trial = choice.trial
    if trial.kind == "fly" and choice.stages > fly_stages(trial.port_servers, trial.fanout):
        yield (
            f"{trial.fanout} internal ports a server make a fly of {choice.stages} stages, more than "
            f"ceil(log_k M) = {fly_stages(trial.port_servers, trial.fanout)}: half of the ports lead to "
            "the stage before, half to the next"
        )


def _ospf(spec: Spec) -> Iterator[str]:
    """FRR's OSPF is version 2 here, and a port with IPv6 looks as if it spoke version 3 too."""
    if spec.routing is None or spec.routing.daemon != "frr":
        return
    with_ipv6 = {port.id for port in spec.ports if port.ipv6 is not None}
    found = [str(each.port) for each in spec.routing.ospf if each.port in with_ipv6]
    if found:
        what = f"port{'s' if len(found) > 1 else ''} {', '.join(found)}"
        yield f"{what}: OSPF with FRR is version 2, so no IPv6 route is learnt or announced; `daemon: bird` has both"


def _slowed(built: Built) -> Iterator[str]:
    """Internal ports that run below their own rate because the other end is slower."""
    slowed: Counter[tuple[int, int]] = Counter()
    for kind in built.kinds:
        for index in kind.servers:
            for port, card_port in zip(built.servers[index].ports, kind.card_ports, strict=True):
                if port.kind == "internal" and port.rate_bps < card_port.card.port_rate_bps:
                    slowed[card_port.card.port_rate_bps, port.rate_bps] += 1
    for (own, rate), count in sorted(slowed.items()):
        yield (
            f"{count} internal port{'s' if count > 1 else ''} of {own / 1e9:g} Gbps: the other end has "
            f"{rate / 1e9:g} Gbps, so take cables or modules of {rate / 1e9:g} Gbps there"
        )


def _direct_vlb(spec: Spec, choice: Choice) -> Iterator[str]:
    """Cables for VLB's 2sR/M may be too thin for Direct VLB's worst matrix, whatever its quota."""
    mesh, quota = logical_mesh(choice, spec.router.line_rate_bps), setting(spec, choice).quota_bps
    needed = worst_link(mesh.servers, mesh.rate_bps, quota)
    if spec.interconnect.routing != "direct-vlb" or needed <= mesh.link_bps:
        return
    trial = choice.trial
    provided = trial.rate_bps * trial.parallel
    yield (
        f"an internal link provides {provided / 1e9:.4g} Gbps: enough for vlb with any traffic matrix "
        f"({trial.required_bps / 1e9:.4g} Gbps), but the worst one makes direct-vlb with a quota of "
        f"{quota / 1e9:.4g} Gbps put up to {provided * needed / mesh.link_bps / 1e9:.4g} Gbps on a link"
    )


def _steering(spec: Spec, built: Built) -> Iterator[str]:
    internal = {port.driver for server in built.servers for port in server.ports if port.kind == "internal"}
    if not internal:
        return
    if spec.router.external_ports > STEERED_PORTS:
        yield (
            f"{spec.router.external_ports} external ports are more than the {STEERED_PORTS} that have queues of their "
            "own: later servers read the MAC address in software"
        )
        return
    hard = {nic.driver for server in built.servers for nic in server.nics if nic.steering == "hardware"}
    soft = sorted(internal - hard)
    if soft:
        yield f"{', '.join(soft)}: no queue by destination MAC, so later servers read the MAC address in software"
