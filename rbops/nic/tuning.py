"""What a spec says of its NICs: the table's settings, and by what rbops computes others."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from rbops.nic.settings import ROWS, NicSettings

__all__ = ["HugepageSize", "Hugepages", "NicTuning", "SteeringMode"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class NicTuning(NicSettings):
    """What a spec says of all NICs, or a host of its own. None: not written, so rbops chooses."""

    steering: SteeringMode | None = None
    hugepages: Hugepages | None = None
    unsafe_noiommu: bool | None = None

    def over(self, general: NicTuning) -> NicTuning:
        """What this section says, and what it leaves out of ``general``."""
        rows = {row.name: row for row in ROWS}
        values = {}
        for part in fields(self):
            own, other = getattr(self, part.name), getattr(general, part.name)
            row = rows.get(part.name)
            values[part.name] = row.over(own, other) if row else other if own is None else own
        return NicTuning(**values)
