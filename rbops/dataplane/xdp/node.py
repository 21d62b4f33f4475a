"""The XDP data plane as rbops-node asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.dataplane.base import NodeHalf, Plane
from rbops.dataplane.xdp.config import XdpConfig
from rbops.node.schema.dataplane import Dataplane
from rbops.node.schema.fields import Fields

__all__ = ["HALF"]


class _Xdp(NodeHalf):
    secrets = ("ipsec.keys",)

    def parse(self, fields: Fields) -> XdpConfig:
        return XdpConfig.parse(fields)

    def open(self, config: Dataplane, devices: Mapping[str, str]) -> Plane:
        from rbops.dataplane.xdp.loader import DataPlane  # libbpf only where it is used

        if not isinstance(config, XdpConfig):
            raise TypeError(config.kind)
        return DataPlane(config, devices)


HALF = _Xdp()
