"""What a data plane that samples frames is to rbops-node: beside the contract of base.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Sample", "Sampled", "SampledPort", "Sampling"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame as an external port received it: ``size`` bytes without FCS, the first of them in ``header``.

    One frame in ``rate`` was taken then.
    """

    port: str
    size: int
    rate: int
    header: bytes


@dataclass(frozen=True, slots=True)
class SampledPort:
    """Frames that an external port has ``received``, and its samples for which there was no room."""

    name: str
    received: int
    lost: int


class Sampling(Protocol):
    """Sampling of the frames that external ports receive."""

    def set_rate(self, rate: int) -> None:
        """Take one frame in ``rate``; 0: none."""

    def take(self) -> list[Sample]:
        """Those that came since it was asked last."""

    def ports(self) -> list[SampledPort]:
        """The external ports' counts, which only grow."""


@runtime_checkable
class Sampled(Protocol):
    """A data plane that can sample frames."""

    def sampling(self) -> Sampling:
        """That of what is loaded; Mismatch while nothing is."""

    def instance(self) -> object:
        """As :meth:`Plane.instance`."""
