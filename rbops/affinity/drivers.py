"""What each NIC driver can do for queues and steering (Linux 6.12 sources).

``xdp_ring_by_cpu``: XDP redirect picks the transmit ring by CPU id, and an id at or above the
number of rings fails with -ENXIO, so data-plane CPUs must have low ids. ``xdp_ring_wraps``: it takes ring CPU id
modulo rings, under a lock, so two CPUs with the same remainder share one.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Driver", "driver"]


@dataclass(frozen=True, slots=True)
class Driver:
    """``mac_rules``: ``ethtool -N`` takes destination MACs.

    ``rss_queues``: over how many queues receive hashing spreads at most (None: over all).
    ``xdp_locked_above``: with more CPUs, rings are shared under a lock (None: never);
    ``xdp_none_above``: with more CPUs, XDP is refused.
    """

    name: str
    native_xdp: bool
    mac_rules: bool = False
    xdp_ring_by_cpu: bool = False
    xdp_ring_wraps: bool = False
    xdp_locked_above: int | None = None
    xdp_none_above: int | None = None
    rss_queues: int | None = None


def driver(name: str) -> Driver:
    """What is known of ``name``; a driver not listed has native XDP and steers in software."""
    known = {
        "ice": Driver("ice", native_xdp=True, mac_rules=True, xdp_ring_by_cpu=True),
        "mlx5_core": Driver("mlx5_core", native_xdp=True, mac_rules=True, xdp_ring_by_cpu=True),
        "i40e": Driver("i40e", native_xdp=True, xdp_ring_by_cpu=True),
        "ixgbe": Driver("ixgbe", native_xdp=True, xdp_locked_above=64, xdp_none_above=128, rss_queues=16),
        "igc": Driver("igc", native_xdp=True, mac_rules=True),
        "virtio_net": Driver("virtio_net", native_xdp=True, xdp_ring_wraps=True),
        "e1000e": Driver("e1000e", native_xdp=False),
    }
    return known.get(name, Driver(name, native_xdp=True))
