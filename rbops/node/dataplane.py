"""The data plane as one more thing that can differ and be applied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rbops.dataplane import registry
from rbops.dataplane.base import Plane
from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting

__all__ = ["Opener", "open_plane", "settings"]

SUBJECT = "data plane"


class Opener(Protocol):
    """Makes the data plane of a configuration."""

    def __call__(self, config: NodeConfig, devices: Mapping[str, str]) -> Plane:
        """``devices``: planned port -> device."""


def open_plane(config: NodeConfig, devices: Mapping[str, str]) -> Plane:
    """The planned data plane."""
    return registry.node_half(config.dataplane.kind).open(config.dataplane, devices)


def settings(plane: Plane) -> list[Setting]:
    """The loader's differences as settings; it carries them out itself."""
    return [Setting(diff.subject, diff.setting, str(diff.have), str(diff.want)) for diff in plane.diff()]
