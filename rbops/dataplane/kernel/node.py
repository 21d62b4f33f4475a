"""The kernel as data plane as rbops-node asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.dataplane.base import NodeHalf, Plane
from rbops.dataplane.kernel.config import KernelPlaneConfig
from rbops.node.schema.dataplane import Dataplane
from rbops.node.schema.fields import Fields

__all__ = ["HALF"]


class _Kernel(NodeHalf):
    def parse(self, fields: Fields) -> KernelPlaneConfig:
        return KernelPlaneConfig.parse(fields)

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        from rbops.dataplane.kernel.plane import KernelPlane

        if not isinstance(config, KernelPlaneConfig):
            raise TypeError(config.kind)
        return KernelPlane(config, devices)


HALF = _Kernel()
