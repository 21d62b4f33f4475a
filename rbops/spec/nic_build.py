"""The validated section ``nic:`` -> its model."""

from __future__ import annotations

from rbops.spec import nic_model as model
from rbops.spec.nic_document import NicTuningSection

__all__ = ["nic"]


def nic(written: NicTuningSection) -> model.NicTuning:
    """What ``nic:`` asks for."""
    pages = written.hugepages
    return model.NicTuning(
        rx_ring=written.rings.rx,
        tx_ring=written.rings.tx,
        adaptive=written.coalescing.adaptive,
        rx_usecs=written.coalescing.rx,
        tx_usecs=written.coalescing.tx,
        rx_frames=written.coalescing.rx_frames,
        tx_frames=written.coalescing.tx_frames,
        rss_key=written.rss_key,
        threaded_napi=written.threaded_napi,
        defer_hard_irqs=written.defer_hard_irqs,
        flush_timeout_ns=written.flush_timeout,
        offloads=tuple(written.offloads.items()),
        steering=written.steering,
        hugepages=model.Hugepages(pages.size, pages.count) if pages else None,
        unsafe_noiommu=written.unsafe_noiommu,
    )
