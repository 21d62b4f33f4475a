"""The section ``interconnect:``: how the servers are joined (paper 3)."""

from typing import Annotated, Literal

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Time, number, one_of
from rbops.spec.section import CONFIG, Section, default, key
from rbops.spec.units import InvalidValue

__all__ = ["DirectQuota", "Interconnect", "Routing", "TopologyChoice"]

TopologyChoice = Literal["auto", "mesh", "fly"]
Routing = Literal["direct-vlb", "vlb"]
DirectQuota = Literal["surplus", "paper"]

_FASTEST_S, _SLOWEST_S = 0.005, 10.0


def _probing(seconds: float) -> float:
    if not _FASTEST_S <= seconds <= _SLOWEST_S:
        raise InvalidValue(f"{seconds * 1000:g}ms is outside 5ms to 10s", "for example 10ms", code="spec.range")
    return seconds


@dataclass(frozen=True, slots=True, config=CONFIG)
class Interconnect(Section):
    """How the servers are joined."""

    topology: Annotated[TopologyChoice, one_of(TopologyChoice)] = "auto"
    """mesh: every server to every other; fly: a k-ary n-fly of intermediate servers; auto: mesh while ports suffice."""
    routing: Annotated[Routing, one_of(Routing)] = "direct-vlb"
    """direct-vlb: between two servers a quota goes direct, the rest over two hops; vlb: all of it over two hops."""
    flowlet_timeout_s: Annotated[Time, key("flowlet_timeout")] = default(0.1, "100ms")
    """Packets of a flow that follow each other within it take one path; 0 turns flowlets off."""
    probe_interval_s: Annotated[Time, key("probe_interval"), AfterValidator(_probing)] = default(0.01, "10ms")
    """How often a server probes its neighbours' data planes over each internal cable, 5ms to 10s (xdp only)."""
    probe_multiplier: Annotated[int, number(2, 50)] = 3
    """So many intervals without an answer take a cable out, BFD's detection multiplier."""
    direct_quota: Annotated[DirectQuota, one_of(DirectQuota)] = "surplus"
    """surplus: R/N per two ports and what the cables carry beyond what VLB needs, as far as safe; paper: R/N."""
