"""What the plan cannot give, and by how much: one sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rbops.affinity.steering import STEERED_PORTS
from rbops.common.limits import MAX_XDP_DEVICES, MAX_XDP_SERVERS
from rbops.hardware.costs import DESCRIPTORS_PER_TRANSACTION
from rbops.nic.drivers import driver
from rbops.planning.prediction import Forecast
from rbops.planning.servers import Built
from rbops.predict.cluster import direct_vlb_factor
from rbops.spec.model import Spec
from rbops.topology.choice import Choice, Demand
from rbops.topology.wiring import fly_stages

__all__ = ["warnings"]

_DPDK_TIMEOUT_S = 0.0005
_NAPI_BUDGET = 64
_XDP_BULK = 16


def warnings(spec: Spec, choice: Choice, demand: Demand, built: Built, made: Forecast) -> tuple[str, ...]:
    """All warnings of a plan, most important first."""
    found = [
        *_rate(spec, demand, made),
        *_calibration(built),
        *_fly(choice),
        *_slowed(built),
        *_direct_vlb(spec, choice),
        *_xdp_limits(spec, choice, built),
        *_native(spec, built),
        *_steering(spec, built),
    ]
    found += [note for kind in built.kinds for note in kind.assignment.notes]
    found += _batching(spec)
    return tuple(dict.fromkeys(found))


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
            f"ceil(log_k M) = {fly_stages(trial.port_servers, trial.fanout)}: half of the ports lead each way"
        )


def _slowed(built: Built) -> Iterator[str]:
    """Internal ports that run below their own rate because the other end is slower."""
    slowed: Counter[tuple[int, int]] = Counter()
    for kind in built.kinds:
        for index in kind.servers:
            for port, seat in zip(built.servers[index].ports, kind.seats, strict=True):
                if port.kind == "internal" and port.rate_bps < seat.card.port_rate_bps:
                    slowed[seat.card.port_rate_bps, port.rate_bps] += 1
    for (own, rate), count in sorted(slowed.items()):
        yield (
            f"{count} internal port{'s' if count > 1 else ''} of {own / 1e9:g} Gbps: the other end has "
            f"{rate / 1e9:g} Gbps, so take cables or modules of {rate / 1e9:g} Gbps there"
        )


def _direct_vlb(spec: Spec, choice: Choice) -> Iterator[str]:
    """Direct VLB's worst case is above the 2sR/M that the topology is made for (``direct_vlb_factor``)."""
    trial = choice.trial
    factor = direct_vlb_factor(trial.port_servers)
    provided, needed = trial.rate_bps * trial.parallel, trial.required_bps * factor
    if spec.interconnect.routing == "direct-vlb" and provided < needed:
        bound = "4sR/M" if trial.port_servers == 3 else "3sR/M"  # noqa: PLR2004
        yield (
            f"an internal link provides {provided / 1e9:.4g} Gbps: enough for vlb with any traffic matrix "
            f"({trial.required_bps / 1e9:.4g} Gbps, 2sR/M), but the worst one makes direct-vlb put up to "
            f"{needed / 1e9:.4g} Gbps ({bound}) on a link"
        )


def _xdp_limits(spec: Spec, choice: Choice, built: Built) -> Iterator[str]:
    """What the XDP data plane cannot do of the plan."""
    if spec.dataplane != "xdp":
        return
    if choice.trial.kind == "fly":
        yield (
            "the xdp data plane does not balance load over a fly: each pair of port servers uses one shortest way, so "
            "rates, latency and link loads given here for VLB do not hold; use a mesh, or take this plan as a study"
        )
    cables, rate = choice.trial.parallel, choice.trial.rate_bps
    if cables > 1:
        yield (
            f"{cables} cables run between each two servers, and the xdp data plane uses the first: {rate / 1e9:.4g} of "
            f"the {choice.trial.required_bps / 1e9:.4g} Gbps that a link must carry; take faster internal ports, or "
            "more servers with fewer external ports each"
        )
    ports = max(len(server.ports) for server in built.servers)
    for what, count, most in (
        ("servers", choice.trial.servers, MAX_XDP_SERVERS),
        ("ports a server", ports, MAX_XDP_DEVICES),
    ):
        if count > most:
            yield f"{count} {what}: the xdp data plane holds {most}, so this plan cannot be loaded"


def _native(spec: Spec, built: Built) -> Iterator[str]:
    used = sorted({seat.card.driver for kind in built.kinds for seat in kind.seats})
    slow = [name for name in used if spec.dataplane == "xdp" and not driver(name).native_xdp]
    if slow:
        yield f"{', '.join(slow)}: no native XDP, so packets take the generic path at a fraction of the rate"


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


def _click_batching(spec: Spec) -> Iterator[str]:
    """What each dialect's elements cannot express of kp, kn and the timeout."""
    poll, nic, timeout = spec.batching.poll, spec.batching.nic, f"{spec.batching.timeout_s * 1e6:g}us"
    if spec.click.dialect == "socket":
        yield (
            f"Click's sockets read and send up to poll {poll} packets a turn (BURST) and nothing waits: "
            f"nic {nic} and timeout {timeout} enter the prediction only"
        )
    elif spec.click.dialect == "kernel":
        yield f"MQPushToDevice has no timeout: what waits for nic {nic} packets goes at the next turn"
        yield (
            "kernel-mode Click runs on Linux 2.6.24 to 3.18, and a core for each queue needs RouteBricks's multi-queue "
            "elements (MQPollDevice): other servers are refused at apply"
        )
    elif spec.click.dialect == "fastclick" and spec.batching.timeout_s > 0:
        yield f"FastClick's ToDPDKDevice refuses a timeout: what waits for nic {nic} packets goes at the next turn"
    elif 0 < spec.batching.timeout_s < _DPDK_TIMEOUT_S:
        yield f"timeout {timeout} is less than the millisecond that ToDPDKDevice counts in: it sends without waiting"


def _batching(spec: Spec) -> Iterator[str]:
    if spec.dataplane == "click" and spec.batching.nic > DESCRIPTORS_PER_TRANSACTION:
        most = DESCRIPTORS_PER_TRANSACTION
        yield f"nic {spec.batching.nic}: a PCIe transaction of 256 bytes holds {most} descriptors of 16 bytes"
    yield from _click_batching(spec) if spec.dataplane == "click" else ()
    if spec.dataplane == "xdp" and (spec.batching.poll, spec.batching.nic) != (_NAPI_BUDGET, _XDP_BULK):
        yield (
            f"xdp polls up to {_NAPI_BUDGET} packets and sends in bulks of {_XDP_BULK}: "
            f"poll {spec.batching.poll} and nic {spec.batching.nic} enter the prediction only"
        )
