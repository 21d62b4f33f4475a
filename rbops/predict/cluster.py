"""The rate of the whole router, between VLB's 2R and 3R (paper 3.2, 6.2).

Every packet is processed at its input server (the application) and at its output server (minimal
forwarding); what is not sent directly is forwarded once more. Direct VLB sends up to a quota per pair
of servers directly (``rbops.predict.quota``; the paper's is R/N per pair of ports), so with the worst
traffic matrix (all of an input's traffic for one output) the part above that takes the second hop.
"""

from __future__ import annotations

from dataclasses import dataclass

from rbops.plan import PerComponent
from rbops.predict.bottleneck import ServerRate

__all__ = ["Bounds", "ClusterRate", "Setting", "bounds", "cluster_rate", "passing_rate"]


@dataclass(frozen=True, slots=True)
class Setting:
    """The router's side of the question, rates in bps.

    ``most`` is the largest number of external ports on one server, ``link_bps`` what is provided
    between two port servers, ``quota_bps`` what one may send another directly.
    """

    ports: int
    line_rate_bps: int
    servers: int
    most: int
    link_bps: int
    quota_bps: int
    worst_case: bool
    direct: bool


@dataclass(frozen=True, slots=True)
class ClusterRate:
    """The rate the cluster sustains, what limits it, and how much of it takes two hops (0 to 1)."""

    rate_bps: int
    bottleneck: str
    indirect: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the router can do at least and at most, in bps; a single server has no hops to divide by.

    ``low_bps`` to ``high_bps`` is the paper's expectation (6.2): all packets at the application's cost over
    ``low_factor`` R, or all merely forwarded over 2R. ``at_3r_bps`` is the application's rate over 3R, which
    no traffic matrix goes below.
    """

    low_bps: int
    high_bps: int
    low_factor: int
    at_3r_bps: int


def bounds(setting: Setting, app: ServerRate, forward: ServerRate) -> Bounds:
    """The paper takes 3R for the low end, or 2R where no pair's traffic fills its link."""
    share = setting.ports / setting.most
    if setting.servers == 1:
        return Bounds(round(app.rate_bps * share), round(forward.rate_bps * share), 1, round(app.rate_bps * share))
    factor = 2 if app.rate_bps / 2 <= setting.link_bps else 3
    low = round(app.rate_bps * share / factor)
    return Bounds(low, round(forward.rate_bps * share / 2), factor, round(app.rate_bps * share / 3))


def cluster_rate(setting: Setting, app: ServerRate, forward: ServerRate) -> ClusterRate:
    """The sustained rate of all external ports together: the smallest over the components, and the line rate."""
    names = ("cpu", "memory", "io", "inter_socket", "pcie", "nic")
    worst: tuple[float, str] = (float(setting.line_rate_bps * setting.most), "line_rate")
    for name in names:
        rate = _component(setting, name, app.per_component, forward.per_component)
        if rate is not None and rate < worst[0]:
            worst = (rate, name)
    per_server, name = worst
    share = per_server / setting.most
    return ClusterRate(round(share * setting.ports), name, _indirect(setting, per_server))


def passing_rate(setting: Setting, forward: ServerRate) -> ClusterRate:
    """What servers without external ports allow: a stage's M servers pass on all traffic, once per round.

    A packet makes two rounds, VLB's phases, unless the matrix is uniform and goes directly.
    """
    rounds = 1 if setting.direct and not setting.worst_case else 2
    per_server = min(forward.rate_bps / rounds, float(setting.line_rate_bps * setting.most))
    limited = per_server < setting.line_rate_bps * setting.most
    rate = round(per_server / setting.most * setting.ports)
    return ClusterRate(rate, forward.bottleneck if limited else "line_rate", _indirect(setting, per_server))


def _component(setting: Setting, name: str, app: PerComponent, forward: PerComponent) -> float | None:
    """The external traffic per server that component ``name`` allows: input at 1/app, later hops at 1/forward."""
    first: int | None = getattr(app, name)
    later: int | None = getattr(forward, name)
    if first is None or later is None:
        return None
    if setting.servers == 1:
        return float(first)
    unit = 1 / first + 1 / later
    plain = 1 / unit
    if not setting.worst_case and setting.direct:
        return plain
    if not setting.direct:
        return 1 / (unit + (setting.servers - 2) / setting.servers / later)
    quota = float(setting.quota_bps)
    if plain <= quota or setting.servers <= 2:  # noqa: PLR2004  two servers have no third to go over
        return plain
    return (1 + quota / later) / (unit + 1 / later)


def _indirect(setting: Setting, per_server: float) -> float:
    if setting.servers <= 2 or per_server == 0:  # noqa: PLR2004
        return 0.0
    if not setting.direct:
        return (setting.servers - 2) / setting.servers
    if not setting.worst_case:
        return 0.0
    return max(0.0, 1 - setting.quota_bps / per_server)
