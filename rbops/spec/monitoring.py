"""The section ``monitoring:``: what the servers tell of themselves to programs that collect figures."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec import words
from rbops.spec.scalars import Scalar, number
from rbops.spec.section import CONFIG, Section

__all__ = ["Exporter", "Monitoring"]

PORT = 9482

_NETWORK = {"type": "string", "examples": ["10.20.0.0/24", "2001:db8:20::/64"]}

Network = Annotated[str, Scalar(words.network, _NETWORK)]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Exporter(Section):
    """Metrics for Prometheus on every server, by HTTP on its management addresses alone."""

    port: Annotated[int, number(1024, 65535)] = PORT
    """The TCP port."""
    network: Annotated[Network | None, Field(examples=["10.20.0.0/24"])] = None
    """The management network: left out, the addresses of the device with the server's default route."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Monitoring(Section):
    """What the servers tell of themselves to programs that collect figures."""

    exporter: Exporter | None = None
    """Metrics for Prometheus; left out: none."""
