"""The parts of node.json that say how a port's device is set."""

from __future__ import annotations

from typing import Any

from rbops.plan import NicSetup, Port, Server

__all__ = ["device_settings", "server_settings"]


def device_settings(port: Port, server: Server) -> dict[str, Any]:
    """The keys of a port; null where the device's own value is left alone."""
    nic = server.nic(port.driver)
    return {
        "bind": nic.bind,
        "ring": _said({"rx": nic.rx_ring, "tx": nic.tx_ring}),
        "ring_fit": nic.ring_fit,
        "coalesce": _coalesce(nic),
        "threaded_napi": nic.threaded_napi,
        "napi": _said({"napi_defer_hard_irqs": nic.defer_hard_irqs, "gro_flush_timeout": nic.flush_timeout_ns}),
        "offloads": dict(nic.offloads),
        "rss_key": nic.rss_key,
        "steering_fallback": nic.steering_fallback,
    }


def server_settings(server: Server) -> dict[str, Any]:
    """The keys of a server whose devices are handed to a program; none for others."""
    needs = server.userspace
    if needs is None:
        return {}
    return {"hugepages": {str(needs.hugepage_kb): needs.hugepages}, "noiommu": needs.unsafe_noiommu}


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
