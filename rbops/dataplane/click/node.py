"""The Click data plane as rbops-node asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.dataplane.base import NodeHalf, Plane
from rbops.dataplane.click.config import ClickConfig
from rbops.dataplane.click.keys import NAME as KEYS
from rbops.node.schema.dataplane import Dataplane
from rbops.node.schema.fields import Fields

__all__ = ["HALF"]


class _Click(NodeHalf):
    unit = "rbops-click.service"
    # Its unit, the Click that an archive brought, the elements compiled for it, its modules.
    started_by = (
        "etc/systemd/system/rbops-click.service",
        "opt/rbops-click",
        "var/lib/rbops/click/rbops.uo",
        "var/lib/rbops/click/rbops.ko",
        "etc/modules-load.d/rbops-click.conf",
        "etc/modprobe.d/zz-rbops-click.conf",
    )
    secrets = (f"click/{KEYS}",)

    def parse(self, fields: Fields) -> ClickConfig:
        return ClickConfig.parse(fields)

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        from rbops.dataplane.click.plane import ClickPlane

        if not isinstance(config, ClickConfig):
            raise TypeError(config.kind)
        return ClickPlane(config, devices)


HALF = _Click()
