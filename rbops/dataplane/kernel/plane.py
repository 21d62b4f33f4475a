"""The kernel as data plane on a server: nothing is loaded, its counters are those of its interfaces.

Routes, addresses and forwarding are rbops-node's work with every data plane. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rbops.dataplane.base import Difference
from rbops.dataplane.kernel.config import KernelPlaneConfig
from rbops.errors import Mismatch

__all__ = ["KernelPlane"]

_FORWARD, _DEVICES = Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/net/dev")
_RX_BYTES, _RX_PACKETS, _TX_BYTES, _TX_PACKETS = 0, 1, 8, 9


class KernelPlane:
    """``devices`` maps planned port names to devices."""

    def __init__(self, config: KernelPlaneConfig, devices: Mapping[str, str]) -> None:
        self._config = config
        self._devices = devices

    def diff(self) -> Sequence[Difference]:
        """Nothing: what there is to compare are sysctls and routes."""
        return []

    def apply(self) -> Sequence[str]:
        """Nothing to do."""
        return []

    def detach(self) -> None:
        """Nothing of it is left: addresses, routes and sysctls go as any others that are no longer planned."""

    def set_alive(self, server: int, *, alive: bool) -> None:
        """The kernel's routes stay: it has one path to each server."""

    def instance(self) -> object:
        """Never another one."""
        return "kernel"

    def counters(self) -> dict[str, Any]:
        """What the interfaces have counted, whatever it was. Of forwarded and dropped packets nothing is known.

        Raises Mismatch (3) where a device is gone.
        """
        fields = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
        columns = (_RX_PACKETS, _RX_BYTES, _TX_PACKETS, _TX_BYTES)
        counted = _interfaces(_DEVICES.read_text(encoding="ascii"))
        ports: dict[str, dict[str, int]] = {}
        received = {"external": 0, "internal": 0}
        for port in self._config.fabric.ports:
            device = self._devices.get(port.name, port.name)
            if device not in counted:
                raise Mismatch(f"port {port.name}: device {device} is not there", code="kernel.no-device")
            ports[port.name] = {name: counted[device][at] for name, at in zip(fields, columns, strict=True)}
            received[port.kind] += ports[port.name]["rx_packets"]
        total = {"received": received, "forwarded": {}, "punted": {}, "dropped": {}}
        return {"cores": {}, "total": total, "paths": [], "ports": ports}

    def status(self) -> dict[str, Any]:
        """``loaded``: whether the kernel forwards."""
        forwards = _FORWARD.read_text(encoding="ascii").strip() == "1"
        return {"loaded": forwards, "kind": self._config.kind, "ports": len(self._config.fabric.ports), "dead": []}


def _interfaces(text: str) -> dict[str, list[int]]:
    """Device -> the columns of /proc/net/dev."""
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name.strip(): [int(word) for word in numbers.split()] for name, _, numbers in lines}
