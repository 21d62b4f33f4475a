"""The data plane as one more thing that can differ and be applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rbops.errors import Mismatch
from rbops.node.config import NodeConfig
from rbops.node.settings import Setting

__all__ = ["Opener", "Plane", "open_plane", "settings"]

SUBJECT = "data plane"


class Difference(Protocol):
    """What a data plane says of one thing that is not as planned."""

    @property
    def subject(self) -> str:
        """What it belongs to."""

    @property
    def setting(self) -> str:
        """Which thing."""

    @property
    def have(self) -> str:
        """As it is."""

    @property
    def want(self) -> str:
        """As planned."""


class Plane(Protocol):
    """The loader of a data plane (``rbops.dataplane.xdp.loader.DataPlane``)."""

    def diff(self) -> Sequence[Difference]:
        """What is not as planned."""

    def apply(self) -> Sequence[str]:
        """Make it so, without losing packets."""

    def detach(self) -> None:
        """Take it off every device."""

    def counters(self) -> dict[str, Any]:
        """The counters since it was loaded."""

    def status(self) -> dict[str, Any]:
        """Programs, digests, generation."""

    def set_alive(self, server: int, *, alive: bool) -> None:
        """Use or leave out the direct link towards ``server``; Mismatch while nothing is loaded."""

    def instance(self) -> object:
        """Another value after each start, since when all links are believed alive; None while nothing is loaded."""


class Opener(Protocol):
    """Makes the data plane of a configuration."""

    def __call__(self, config: NodeConfig, devices: Mapping[str, str]) -> Plane:
        """``devices``: planned port -> device."""


def open_plane(config: NodeConfig, devices: Mapping[str, str]) -> Plane:
    """The planned data plane; Mismatch (3) for one that this program cannot load."""
    kind = config.dataplane.get("kind")
    if kind == "click":
        from rbops.dataplane.click.plane import ClickPlane

        return ClickPlane(config.dataplane, devices)
    if kind != "xdp":
        raise Mismatch(f"{config.server}: data plane {kind!r} is not known to this rbops-node")
    from rbops.dataplane.xdp.loader import DataPlane  # libbpf only where it is used

    return DataPlane(config.dataplane, devices)


def settings(plane: Plane) -> list[Setting]:
    """The loader's differences as settings; it carries them out itself."""
    return [Setting(diff.subject, diff.setting, str(diff.have), str(diff.want)) for diff in plane.diff()]
