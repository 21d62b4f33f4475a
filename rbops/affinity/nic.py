"""How the devices of a server's ports are set: what the spec says, and by driver what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rbops.nic.drivers import driver
from rbops.plan import NicSetup, Port, Userspace
from rbops.spec.model import Spec
from rbops.spec.nic_model import Keep, NicTuning

__all__ = ["setups", "userspace"]

_SMALLEST_RING, _LARGEST_RING = 512, 4096
_WIRE_BITS = 84 * 8
"""The smallest frame with preamble and gap (IEEE 802.3): the most frames a link brings."""
_DPDK = frozenset({"dpdk", "fastclick"})
_PAGES_KB, _PAGES = 2048, 512


def setups(spec: Spec, host: str, ports: Iterable[Port]) -> tuple[NicSetup, ...]:
    """One setup for each driver of these ports of server ``host``."""
    tuning = _tuning(spec, host)
    by_driver: dict[str, list[Port]] = {}
    for port in ports:
        by_driver.setdefault(port.driver, []).append(port)
    return tuple(_setup(spec, tuning, name, by_driver[name]) for name in sorted(by_driver))


def userspace(spec: Spec, host: str) -> Userspace | None:
    """Huge pages, for Click on DPDK or where the spec asks for them."""
    tuning = _tuning(spec, host)
    pages = tuning.hugepages
    if pages is None and not _handed(spec):
        return None
    size, count = (pages.size_kb, pages.count) if pages else (_PAGES_KB, _PAGES)
    return Userspace(size, count, bool(tuning.unsafe_noiommu))


def _tuning(spec: Spec, host: str) -> NicTuning:
    found = spec.host(host)
    return found.nic.over(spec.nic) if found else spec.nic


def _handed(spec: Spec) -> bool:
    return spec.dataplane == "click" and spec.click.dialect in _DPDK


def _setup(spec: Spec, tuning: NicTuning, name: str, ports: list[Port]) -> NicSetup:
    known = driver(name)
    usecs = _usecs(spec, tuning, name)
    rings = _rings(spec, tuning, name, ports)
    mode = tuning.steering or "auto"
    hardware = not _handed(spec) and (mode == "hardware" or (mode == "auto" and known.mac_rules == "all"))
    adaptive = tuning.adaptive
    if adaptive is None and "adaptive" in known.has and tuning.rx_usecs != "keep":
        adaptive = False
    return NicSetup(
        driver=name,
        rx_ring=rings[0],
        tx_ring=rings[1],
        ring_fit=tuning.rx_ring is None and tuning.tx_ring is None,
        adaptive=adaptive,
        rx_usecs=None if adaptive else usecs,
        tx_usecs=_number(tuning.tx_usecs),
        rx_frames=_frames(spec, tuning, name, adaptive=bool(adaptive)),
        tx_frames=tuning.tx_frames,
        rss_queues=known.rss_queues,
        rss_key=None if tuning.rss_key == "keep" else tuning.rss_key,
        threaded_napi=tuning.threaded_napi,
        defer_hard_irqs=tuning.defer_hard_irqs,
        flush_timeout_ns=tuning.flush_timeout_ns,
        offloads=_offloads(spec, tuning, name, hardware=hardware),
        steering="hardware" if hardware else "software",
        steering_fallback=mode != "hardware",
        bind="vfio-pci" if _handed(spec) and not known.bifurcated else None,
    )


def _number(value: int | Keep | None) -> int | None:
    return None if value == "keep" else value


def _usecs(spec: Spec, tuning: NicTuning, name: str) -> int | None:
    """The batching's timeout as far as the driver has words for it."""
    if tuning.rx_usecs is not None:
        return _number(tuning.rx_usecs)
    return round(spec.batching.timeout_s * 1_000_000) if "usecs" in driver(name).has else None


def _frames(spec: Spec, tuning: NicTuning, name: str, *, adaptive: bool) -> int | None:
    if tuning.rx_frames is not None or adaptive or tuning.rx_usecs == "keep":
        return tuning.rx_frames
    return spec.batching.nic if "frames" in driver(name).has else None


def _rings(spec: Spec, tuning: NicTuning, name: str, ports: list[Port]) -> tuple[int | None, int | None]:
    """Room for twice what a queue may get, at line rate in smallest frames, while the interrupt waits."""
    chosen = None
    if "rings" in driver(name).has:
        wait_s = (_usecs(spec, tuning, name) or 0) / 1_000_000
        frames = max(port.rate_bps / _WIRE_BITS / len({queue.rx_core for queue in port.queues}) for port in ports)
        room = 2 * frames * wait_s
        chosen = _SMALLEST_RING
        while chosen < min(room, _LARGEST_RING):
            chosen *= 2
    rx = chosen if tuning.rx_ring is None else _number(tuning.rx_ring)
    tx = chosen if tuning.tx_ring is None else _number(tuning.tx_ring)
    return rx, tx


def _offloads(spec: Spec, tuning: NicTuning, name: str, *, hardware: bool) -> tuple[tuple[str, bool], ...]:
    found = dict(_xdp_offloads(name, hardware=hardware) if spec.dataplane == "xdp" else _click_offloads(spec, name))
    return tuple({**found, **dict(tuning.offloads)}.items())


def _xdp_offloads(name: str, *, hardware: bool) -> Iterator[tuple[str, bool]]:
    """GRO keeps veth's NAPI running, which a redirect needs; merged frames and cut-off tags must not reach XDP.

    A veth computes no checksum: it hands frames on unfinished, and the far end's XDP forwards them so.
    """
    yield from (("gro", True), ("lro", False))
    if name == "veth":
        yield "tx", False
        return
    yield from (("rx-gro-hw", False), ("rxvlan", False))
    if hardware:
        yield "ntuple", True


def _click_offloads(spec: Spec, name: str) -> Iterator[tuple[str, bool]]:
    """Click gets frames from the kernel as they are: none merged, none still to be cut, no tag taken off."""
    if _handed(spec):
        return
    # A veth takes frames that a program redirected to it only while NAPI runs, which GRO turns on.
    yield from (("gro", name == "veth"), ("lro", False), ("gso", False), ("tso", False))
    if name == "veth":
        yield "tx", False
        return
    yield from (("rx-gro-hw", False), ("rxvlan", False))
