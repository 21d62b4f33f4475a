"""What each NIC driver can do for queues, steering, XDP and ``ethtool`` (Linux 6.12, its ethtool operations)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["DRIVERS", "Capability", "Driver", "driver"]

Capability = Literal["adaptive", "frames", "rings", "usecs"]
"""Coalescing by an adaptive mode, by a number of frames, by a time; rings whose size can be set."""


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver by the name that it gives itself (``ethtool -i``).

    ``has``: what rbops gives a value of its own where the spec says nothing. ``mac_rules``: ``ethtool -N`` takes
    destination MACs, on ``some`` of its cards or on ``all``. ``rss_queues``: over how many queues receive hashing
    spreads at most (None: over all). ``fixed_channels``: ``ethtool -L`` changes nothing.

    ``xdp_ring_by_cpu``: XDP redirect picks the transmit ring by CPU id, and an id at or above the number of rings
    fails with -ENXIO. ``xdp_ring_wraps``: it takes ring CPU id modulo rings, under a lock, so that two CPUs with
    the same remainder share one. ``xdp_locked_above``: with more CPUs rings are shared under a lock (None: never);
    ``xdp_none_above``: with more CPUs XDP is refused; ``xdp_halves``: with XDP at most half of the channels, since
    each needs a transmit ring of XDP's own; ``xdp_since``: the first Linux whose driver takes XDP, where Debian 12's
    6.1 is older.

    ``bifurcated``: its DPDK driver works through the kernel's, which stays. ``paravirtual``: its PCIe link is the
    virtual machine monitor's invention.
    """

    name: str
    has: frozenset[Capability] = frozenset()
    native_xdp: bool = True
    mac_rules: Literal["none", "some", "all"] = "none"
    rss_queues: int | None = None
    fixed_channels: bool = False
    xdp_ring_by_cpu: bool = False
    xdp_ring_wraps: bool = False
    xdp_locked_above: int | None = None
    xdp_none_above: int | None = None
    xdp_halves: bool = False
    xdp_since: str | None = None
    bifurcated: bool = False
    paravirtual: bool = False


def _has(*names: Capability) -> frozenset[Capability]:
    return frozenset(names)


_WITHOUT_XDP = (
    *(
        "8139cp",
        "8139too",
        "alx",
        "asix",
        "atl1c",
        "atl1e",
        "ax88179_178a",
        "be2net",
        "bna",
        "bnx2",
        "bnx2x",
        "cdc_ether",
    ),
    *("cdc_ncm", "cxgb3", "cxgb4", "e100", "e1000", "enic", "fm10k", "forcedeth", "genet", "hinic", "hns3", "iavf"),
    *("igbvf", "jme", "liquidio", "macb", "ngbe", "ne2k-pci", "netxen_nic", "pcnet32", "qlcnic", "r8152"),
    *("r8169", "sky2", "skge", "tg3", "txgbe", "usbnet", "via-rhine", "amd-xgbe"),
)
"""Drivers of Linux 6.12 without the operation ``ndo_bpf`` for programs, so that none can be attached natively."""

DRIVERS = {
    known.name: known
    for known in (
        Driver("ixgbe", _has("usecs", "rings"), rss_queues=16, xdp_locked_above=64, xdp_none_above=128),
        Driver("i40e", _has("usecs", "adaptive", "rings"), xdp_ring_by_cpu=True),
        Driver("ice", _has("usecs", "adaptive", "rings"), mac_rules="all", xdp_ring_by_cpu=True),
        Driver(
            "mlx5_core",
            _has("usecs", "frames", "adaptive", "rings"),
            mac_rules="all",
            xdp_ring_by_cpu=True,
            bifurcated=True,
        ),
        Driver("mlx4_en", bifurcated=True),
        Driver("igb", _has("usecs", "rings"), mac_rules="some"),  # the i210
        Driver("igc", _has("usecs", "rings"), mac_rules="all"),
        Driver("e1000e", _has("usecs", "rings"), native_xdp=False),
        Driver("virtio_net", _has("usecs", "frames", "adaptive"), xdp_ring_wraps=True, paravirtual=True),
        # It takes a time or a number of frames, and refuses both together.
        Driver("vmxnet3", _has("usecs", "rings"), fixed_channels=True, xdp_since="6.3", paravirtual=True),
        Driver("ena", _has("usecs", "adaptive"), xdp_halves=True, paravirtual=True),
        Driver("bnxt_en", _has("usecs", "frames", "adaptive", "rings")),
        Driver("gve", xdp_halves=True, xdp_since="6.4", paravirtual=True),
        Driver("nicvf", xdp_halves=True),
        Driver("ionic", xdp_since="6.9"),
        Driver("hv_netvsc", paravirtual=True),
        Driver("vif", paravirtual=True),  # xen-netfront's name for itself
        *(Driver(name, native_xdp=False) for name in _WITHOUT_XDP),
    )
}
"""Those of which anything is known beside native XDP, by name."""


def driver(name: str) -> Driver:
    """What is known of ``name``; a driver not listed has native XDP, steers in software and keeps its own values."""
    return DRIVERS.get(name, Driver(name))
