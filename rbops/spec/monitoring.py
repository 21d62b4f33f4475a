"""The section ``monitoring:``: what the servers tell of themselves to programs that collect figures."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from rbops.common.limits import MAX_SAMPLING
from rbops.spec import words
from rbops.spec.scalars import Scalar, Time, number
from rbops.spec.section import CONFIG, Section, default, key
from rbops.spec.units import InvalidValue

__all__ = ["Exporter", "Monitoring", "Sflow"]

PORT = 9482
SFLOW_PORT = 6343
"""IANA: sflow, UDP."""
_FASTEST_S, _SLOWEST_S = 1.0, 3600.0

_NETWORK = {"type": "string", "examples": ["10.20.0.0/24", "2001:db8:20::/64"]}

Network = Annotated[str, Scalar(words.network, _NETWORK)]
Collector = Annotated[str, Scalar(words.collector, {"type": "string", "examples": ["10.20.0.9", "2001:db8:20::9"]})]


def _polling(seconds: float) -> float:
    if not _FASTEST_S <= seconds <= _SLOWEST_S:
        raise InvalidValue(f"{seconds:g}s is outside 1s to 3600s", "for example 20s", code="spec.range")
    return seconds


@dataclass(frozen=True, slots=True, config=CONFIG)
class Exporter(Section):
    """Metrics for Prometheus on every server, by HTTP on its management addresses alone."""

    port: Annotated[int, number(1024, 65535)] = PORT
    """The TCP port."""
    network: Annotated[Network | None, Field(examples=["10.20.0.0/24"])] = None
    """The management network: left out, the addresses of the device with the server's default route."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Sflow(Section):
    """Samples of the frames that external ports receive, and ports' counters, sent to a collector (sFlow version 5)."""

    collector: Annotated[Collector, Field(examples=["10.20.0.9"])]
    """The collector's address, IPv4 or IPv6, which the servers reach by their management network."""
    port: Annotated[int, number(1, 65535)] = SFLOW_PORT
    """Its UDP port."""
    sampling: Annotated[int, number(1, MAX_SAMPLING)] = 1000
    """One frame in so many is sampled."""
    polling_s: Annotated[Time, key("polling"), AfterValidator(_polling)] = default(20.0, "20s")
    """How often the ports' counters are sent, 1s to 3600s."""
    network: Annotated[Network | None, Field(examples=["10.20.0.0/24"])] = None
    """The management network: left out, the address of the device with the server's default route is the agent's."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Monitoring(Section):
    """What the servers tell of themselves to programs that collect figures."""

    exporter: Exporter | None = None
    """Metrics for Prometheus; left out: none."""
    sflow: Sflow | None = None
    """Samples for an sFlow collector; left out: none."""
