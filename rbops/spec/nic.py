"""The section ``nic:`` of the spec and of a host: how the ports' devices are to be set.

Its keys are the table's (``rbops.nic.settings``), and those by which rbops computes settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.nic.kinds import Features
from rbops.nic.settings import GROUPS, ROWS, NicSettings
from rbops.spec import scalars as kind
from rbops.spec.nic_kinds import written
from rbops.spec.scalars import number, one_of
from rbops.spec.section import CONFIG, Section, default

__all__ = ["HugepageSize", "NicTuning", "NicTuningSection", "RunTimeHugepages", "SteeringMode", "tuning"]

SteeringMode = Literal["auto", "hardware", "software"]
HugepageSize = Literal["2MB", "1GB"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class RunTimeHugepages(Section):
    """Huge pages taken while the server runs, on each NUMA node with data-plane cores."""

    count: Annotated[int, number(0, 1_048_576)] = Field(examples=[512])
    """How many on each node."""
    size: Annotated[HugepageSize, one_of(HugepageSize)] = "2MB"
    """The size of each."""

    @property
    def size_kb(self) -> int:
        """The size in KiB, as sysfs names it."""
        return {"2MB": 2048, "1GB": 1048576}[self.size]


@plain_dataclass(frozen=True, slots=True, kw_only=True)
class NicTuning(NicSettings):
    """What a spec says of all NICs, or a host of its own. None: not written, so rbops chooses."""

    steering: SteeringMode | None = None
    hugepages: RunTimeHugepages | None = None
    unsafe_noiommu: bool | None = None

    def over(self, general: "NicTuning") -> "NicTuning":
        """What this section says, and what it leaves out of ``general``."""
        rows = {row.name: row for row in ROWS}
        values = {}
        for part in fields(self):
            own, other = getattr(self, part.name), getattr(general, part.name)
            row = rows.get(part.name)
            values[part.name] = row.over(own, other) if row else other if own is None else own
        return NicTuning(**values)


def _section(name: str, text: str, parts: Mapping[str, tuple[Any, Any]]) -> type[Section]:
    """A section of fields (type, default)."""
    body = {
        "__doc__": text,
        "__module__": __name__,
        "__annotations__": {part: kind for part, (kind, _) in parts.items()},
    }
    made = type(name, (Section,), body | {part: value for part, (_, value) in parts.items()})
    decorate: Any = dataclass(frozen=True, slots=True, config=CONFIG)
    section: type[Section] = decorate(made)
    return section


def _table() -> type[Section]:
    """A section with the table's keys; those with a dot are in sections within it."""
    sections: dict[str, dict[str, tuple[Any, Any]]] = {}
    for row in ROWS:
        group, _, name = row.key.rpartition(".")
        examples = list(row.examples) if isinstance(row.kind, Features) else None
        parts = sections.setdefault(group, {})
        parts[name] = (written(row) | None, Field(default=None, description=row.text, examples=examples))
    top = sections.pop("")
    groups = {name: _section(name.capitalize(), GROUPS[name], parts) for name, parts in sections.items()}
    nested = {name: (made, Field(default_factory=made, description=GROUPS[name])) for name, made in groups.items()}
    return _section("_Table", "The table's keys.", nested | top)


if TYPE_CHECKING:
    _Table = Section
else:
    _Table = _table()


@dataclass(frozen=True, slots=True, config=CONFIG)
class NicTuningSection(_Table):
    """How the devices of the ports are set; what is left out rbops chooses by driver."""

    steering: Annotated[SteeringMode, one_of(SteeringMode)] | None = default(None, "auto")
    """hardware: queue by destination MAC in the NIC, or no apply; software: in the data plane; auto: where it works."""
    hugepages: RunTimeHugepages | None = None
    """Huge pages for Click on DPDK; left out: 512 of 2MB on each node there, none otherwise."""
    unsafe_noiommu: kind.Flag | None = None
    """Whether Click on DPDK may have the devices on a server without an IOMMU."""


def tuning(said: NicTuningSection) -> NicTuning:
    """What a section says."""
    values: dict[str, Any] = {row.name: reduce(getattr, row.key.split("."), said) for row in ROWS}
    return NicTuning(
        **{**values, "offloads": tuple((values["offloads"] or {}).items())},
        steering=said.steering,
        hugepages=said.hugepages,
        unsafe_noiommu=said.unsafe_noiommu,
    )
