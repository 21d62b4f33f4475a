"""The section ``nic:`` of the spec: how the ports' devices are to be set. None: not written, so rbops chooses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

__all__ = ["HugepageSize", "Hugepages", "Keep", "NicTuning", "SteeringMode"]

Keep = Literal["keep"]
"""The device's own value is left alone."""

SteeringMode = Literal["auto", "hardware", "software"]
HugepageSize = Literal["2MB", "1GB"]


@dataclass(frozen=True, slots=True)
class Hugepages:
    """``count`` pages of ``size`` on each NUMA node with data-plane cores, taken while the server runs."""

    size: HugepageSize
    count: int

    @property
    def size_kb(self) -> int:
        """The size in KiB, as sysfs names it."""
        return {"2MB": 2048, "1GB": 1048576}[self.size]


@dataclass(frozen=True, slots=True)
class NicTuning:
    """What a spec says of all NICs, or a host of its own; see docs/spec.md for what each means.

    Rings count descriptors, ``_usecs`` microseconds, ``_ns`` nanoseconds. ``offloads`` are ethtool's names.
    """

    rx_ring: int | Keep | None = None
    tx_ring: int | Keep | None = None
    adaptive: bool | None = None
    rx_usecs: int | Keep | None = None
    tx_usecs: int | Keep | None = None
    rx_frames: int | None = None
    tx_frames: int | None = None
    rss_key: str | None = None
    threaded_napi: bool | None = None
    defer_hard_irqs: int | None = None
    flush_timeout_ns: int | None = None
    offloads: tuple[tuple[str, bool], ...] = ()
    steering: SteeringMode | None = None
    hugepages: Hugepages | None = None
    unsafe_noiommu: bool | None = None

    def over(self, general: NicTuning) -> NicTuning:
        """What this section says, and what it leaves out of ``general``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        said = {name: value for name, value in values.items() if value is not None and name != "offloads"}
        offloads = tuple({**dict(general.offloads), **dict(self.offloads)}.items())
        rest = {name: getattr(general, name) for name in values if name not in said}
        return NicTuning(**{**rest, **said, "offloads": offloads})
