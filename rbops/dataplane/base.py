"""What a data plane is to everything else: the contract that each folder beside this file fulfils.

The node half runs on servers and needs Python's standard library only. Outside of these folders nothing asks which
data plane it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rbops.node.schema.dataplane import Dataplane
    from rbops.node.schema.fields import Fields

__all__ = ["Difference", "NodeHalf", "Plane"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as planned: ``subject`` is "data plane" or "port NAME"."""

    subject: str
    setting: str
    have: str
    want: str


class Plane(Protocol):
    """A data plane of this server, opened: compared, changed and read.

    All methods raise Mismatch (exit code 3) when the server cannot do what is planned, CheckFailed (1) when the data
    plane refuses something.
    """

    def diff(self) -> Sequence[Difference]:
        """What ``apply`` would change, in its order; empty when all is as planned. Changes nothing."""

    def apply(self) -> Sequence[str]:
        """Make everything as planned and say what was done; an empty list when nothing was to do."""

    def detach(self) -> None:
        """Take it off its devices and leave nothing of it. Fine when it does not run."""

    def counters(self) -> dict[str, Any]:
        """What was counted since it was started, as ``rbops-node counters`` prints it."""

    def status(self) -> dict[str, Any]:
        """What runs, as ``rbops-node status`` prints it; ``loaded`` False when nothing does."""

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use, or leave out at once, the direct link towards ``server``; Mismatch while nothing is loaded."""

    def instance(self) -> object:
        """Another value after each start, since when all links are believed alive; None while nothing is loaded."""


class NodeHalf(Protocol):
    """What rbops-node asks of a kind of data plane."""

    def parse(self, fields: Fields) -> Dataplane:
        """Its part of node.json. FieldError for what is wrong."""

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        """The data plane that ``config`` plans; ``devices``: planned port -> device. Touches nothing."""
