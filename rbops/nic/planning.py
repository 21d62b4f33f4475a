"""How the devices of a server's ports are set: what the spec says, and by driver what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable

from rbops.dataplane import registry
from rbops.nic.drivers import Driver, driver
from rbops.nic.settings import NicSetup, Situation, plan_settings
from rbops.plan import Port, Userspace
from rbops.spec.document import Spec
from rbops.spec.nic import NicTuning

__all__ = ["setups", "userspace"]

_WIRE_BITS = 84 * 8
"""The smallest frame with preamble and gap (IEEE 802.3): the most frames a link brings."""
_PAGES_KB, _PAGES = 2048, 512


def setups(spec: Spec, tuning: NicTuning, ports: Iterable[Port]) -> tuple[NicSetup, ...]:
    """One setup for each driver of these ports of a server, whose settings are ``tuning``."""
    by_driver: dict[str, list[Port]] = {}
    for port in ports:
        by_driver.setdefault(port.driver, []).append(port)
    return tuple(_setup(spec, tuning, driver(name), by_driver[name]) for name in sorted(by_driver))


def userspace(spec: Spec, tuning: NicTuning) -> Userspace | None:
    """Huge pages, for a program that has the devices for itself or where the spec asks for them."""
    pages = tuning.hugepages
    if pages is None and not registry.controller(spec.dataplane).hands_over(spec):
        return None
    size, count = (pages.size_kb, pages.count) if pages else (_PAGES_KB, _PAGES)
    return Userspace(size, count, bool(tuning.unsafe_noiommu))


def _setup(spec: Spec, tuning: NicTuning, known: Driver, ports: list[Port]) -> NicSetup:
    mode = tuning.steering or "auto"
    plane = registry.controller(spec.dataplane)
    hardware = plane.no_steering(spec) is None and (mode == "hardware" or (mode == "auto" and known.mac_rules == "all"))
    place = Situation(
        driver=known,
        timeout_usecs=round(spec.batching.timeout_s * 1_000_000),
        batch=spec.batching.tx_burst,
        queue_pps=max(port.rate_bps / _WIRE_BITS / len({queue.rx_core for queue in port.queues}) for port in ports),
        offloads=tuple(plane.offloads(spec, known.name, steering=hardware)),
    )
    return NicSetup(
        known.name,
        ring_fit=tuning.rx_ring is None and tuning.tx_ring is None,
        rss_queues=known.rss_queues,
        steering="hardware" if hardware else "software",
        steering_fallback=mode != "hardware",
        bind="vfio-pci" if plane.hands_over(spec) and not known.bifurcated else None,
        **plan_settings(tuning, place),
    )
