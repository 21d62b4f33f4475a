"""How a port's device is set, as node.json says it."""

from __future__ import annotations

from typing import Any

from rbops.nic.settings import NicSetup
from rbops.node.schema import PortNic, Rule, Userspace
from rbops.plan import Port, Server

__all__ = ["device_settings", "server_settings"]


def device_settings(port: Port, server: Server) -> PortNic:
    """The settings of a port; None where the device's own value is left alone."""
    nic = server.nic(port.driver)
    return PortNic(
        bind=nic.bind,
        ring=_said({"rx": nic.rx_ring, "tx": nic.tx_ring}),
        ring_fit=nic.ring_fit,
        coalesce=_coalesce(nic),
        threaded_napi=nic.threaded_napi,
        napi=_said({"napi_defer_hard_irqs": nic.defer_hard_irqs, "gro_flush_timeout": nic.flush_timeout_ns}),
        offloads=dict(nic.offloads),
        rss_key=nic.rss_key,
        steering_fallback=nic.steering_fallback,
        rss=None if port.driver == "veth" or len(port.queues) == 1 else _spread(port, server),
        steering=tuple(Rule(s.mac, s.queue) for s in server.steering if s.port == port.name),
    )


def server_settings(server: Server) -> Userspace:
    """What a server needs whose devices are handed to a program; nothing for others."""
    needs = server.userspace
    if needs is None:
        return Userspace()
    return Userspace({needs.hugepage_kb: needs.hugepages}, needs.unsafe_noiommu)


def _spread(port: Port, server: Server) -> int:
    """Over how many of the port's queues frames are spread: one a core, where transmit rings by CPU id make more."""
    cores = len({queue.rx_core for queue in port.queues})
    return min(cores, server.nic(port.driver).rss_queues or cores)


def _coalesce(nic: NicSetup) -> dict[str, int | bool] | None:
    return _said(
        {
            "adaptive-rx": nic.adaptive,
            "adaptive-tx": nic.adaptive,
            "rx-usecs": nic.rx_usecs,
            "tx-usecs": nic.tx_usecs,
            "rx-frames": nic.rx_frames,
            "tx-frames": nic.tx_frames,
        }
    )


def _said(values: dict[str, Any]) -> dict[str, Any] | None:
    return {key: value for key, value in values.items() if value is not None} or None
