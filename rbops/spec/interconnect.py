"""The section ``interconnect:``: how the servers are joined (paper 3)."""

from typing import Annotated, Literal

from pydantic.dataclasses import dataclass

from rbops.spec.scalars import Time, one_of
from rbops.spec.section import CONFIG, Section, default, key

__all__ = ["Interconnect", "Routing", "TopologyChoice"]

TopologyChoice = Literal["auto", "mesh", "fly"]
Routing = Literal["direct-vlb", "vlb"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Interconnect(Section):
    """How the servers are joined."""

    topology: Annotated[TopologyChoice, one_of(TopologyChoice)] = "auto"
    """mesh: every server to every other; fly: a k-ary n-fly of intermediate servers; auto: mesh while ports suffice."""
    routing: Annotated[Routing, one_of(Routing)] = "direct-vlb"
    """direct-vlb: R/N of the traffic between two ports goes direct; vlb: all of it over two hops."""
    flowlet_timeout_s: Annotated[Time, key("flowlet_timeout")] = default(0.1, "100ms")
    """Packets of a flow that follow each other within it take one path; 0 turns flowlets off."""
