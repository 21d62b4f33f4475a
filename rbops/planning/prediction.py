"""The prediction of a whole plan: each kind of server's rates, and the cluster's least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rbops.plan import Prediction
from rbops.planning.servers import Kind
from rbops.predict.bottleneck import ServerRate, server_rate
from rbops.predict.cluster import Bounds, ClusterRate, Setting, bounds, cluster_rate, passing_rate
from rbops.predict.latency import cluster_latency, server_latency_s
from rbops.predict.packets import PacketMix
from rbops.spec.document import Spec

__all__ = ["Forecast", "forecast", "kind_rate"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A prediction and what it was made of, for the weakest kind of server.

    ``loss`` is the part of the rate that violations cost (0 to 1); it is taken off ``cluster``.
    """

    prediction: Prediction
    kind: Kind
    packets: PacketMix
    app: ServerRate
    forward: ServerRate
    cluster: ClusterRate
    bounds: Bounds
    per_server_latency_s: float
    loss: float


def kind_rate(spec: Spec, kind: Kind, app: str, packets: PacketMix) -> ServerRate:
    """What a server of ``kind`` processes of ``app``."""
    return server_rate(
        kind.machine,
        app,
        packets,
        poll=spec.batching.rx_burst,
        nic=spec.batching.tx_burst,
        cores=len(kind.assignment.cores.dataplane),
        nic_bps=kind.nic_bps,
    )


def forecast(spec: Spec, setting: Setting, kinds: Sequence[Kind], stages: int, packets: PacketMix) -> Forecast:
    """The rate is that of the slowest kind; latency is that of the slowest server, too."""
    made = [_of_kind(spec, setting, kind, packets) for kind in kinds]
    weakest = min(made, key=lambda one: (one.cluster.rate_bps * (1 - one.loss), one.app.rate_bps))
    cluster, app = weakest.cluster, weakest.app
    rate = round(cluster.rate_bps * (1 - weakest.loss))
    latency = max(
        server_latency_s(other.machine, spec.router.application, spec.batching.tx_burst, spec.batching.timeout_s)
        for other in kinds
    )
    prediction = Prediction(
        bottleneck=cluster.bottleneck,
        rate_bps=rate,
        rate_pps=round(packets.pps(rate)),
        per_component=app.per_component,
        latency_s=cluster_latency(latency, stages),
        power_w=_total([(other.machine.power_w, len(other.servers)) for other in kinds]),
        price_usd=_total([(other.machine.price_usd, len(other.servers)) for other in kinds]),
    )
    span = bounds(weakest.setting, app, weakest.forward)
    return Forecast(prediction, weakest.kind, packets, app, weakest.forward, cluster, span, latency, weakest.loss)


@dataclass(frozen=True, slots=True)
class _Rated:
    """A kind of server, the router's setting as it meets that kind, and what the router would do if all were so."""

    kind: Kind
    setting: Setting
    app: ServerRate
    forward: ServerRate
    cluster: ClusterRate
    loss: float


def _of_kind(spec: Spec, setting: Setting, kind: Kind, packets: PacketMix) -> _Rated:
    app = kind_rate(spec, kind, spec.router.application, packets)
    forward = kind_rate(spec, kind, "forward", packets)
    loss = max((breach.predicted_loss for breach in kind.assignment.violations), default=0.0)
    own = len(kind.layout.external)
    if own == 0:
        return _Rated(kind, setting, app, forward, passing_rate(setting, forward), loss)
    met = replace(setting, most=own)
    return _Rated(kind, met, app, forward, cluster_rate(met, app, forward), loss)


def _total(parts: Sequence[tuple[float | None, int]]) -> float | None:
    total = 0.0
    for value, count in parts:
        if value is None:
            return None
        total += value * count
    return total
