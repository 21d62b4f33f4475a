"""The Click data plane as rbops-node asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.dataplane.base import Plane
from rbops.dataplane.click.config import ClickConfig
from rbops.node.schema.dataplane import Dataplane
from rbops.node.schema.fields import Fields

__all__ = ["HALF"]


class _Click:
    def parse(self, fields: Fields) -> ClickConfig:
        return ClickConfig.parse(fields)

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        from rbops.dataplane.click.plane import ClickPlane

        if not isinstance(config, ClickConfig):
            raise TypeError(config.kind)
        return ClickPlane(config, devices)


HALF = _Click()
