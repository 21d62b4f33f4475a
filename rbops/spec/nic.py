"""The section ``nic:`` of the spec and of a host: how the ports' devices are to be set.

Its keys are the table's (``rbops.nic.settings``), and those by which rbops computes settings.
"""

from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from rbops.nic.kinds import Features
from rbops.nic.settings import GROUPS, ROWS
from rbops.nic.tuning import Hugepages, HugepageSize, NicTuning, SteeringMode
from rbops.spec import scalars as kind
from rbops.spec.nic_kinds import written
from rbops.spec.scalars import number, one_of
from rbops.spec.section import BaseSection

__all__ = ["NicTuningSection", "tuning"]


class RunTimeHugepagesSection(BaseSection):
    """Huge pages taken while the server runs, on each NUMA node with data-plane cores."""

    size: Annotated[HugepageSize, one_of(HugepageSize)] = "2MB"
    """The size of each."""
    count: Annotated[int, number(0, 1_048_576)] = Field(examples=[512])
    """How many on each node."""


def _table() -> type[BaseSection]:
    """A section with the table's keys; those with a dot are in sections within it."""
    sections: dict[str, dict[str, Any]] = {}
    for row in ROWS:
        group, _, name = row.key.rpartition(".")
        examples = list(row.examples) if isinstance(row.kind, Features) else None
        parts = sections.setdefault(group, {})
        parts[name] = (written(row) | None, Field(default=None, description=row.text, examples=examples))
    top = sections.pop("")
    groups = {
        name: create_model(f"{name.capitalize()}Section", __base__=BaseSection, __doc__=GROUPS[name], **parts)
        for name, parts in sections.items()
    }
    nested = {name: (made, made()) for name, made in groups.items()}
    everything: dict[str, Any] = {**nested, **top}
    return create_model("_Table", __base__=BaseSection, **everything)


if TYPE_CHECKING:
    _Table = BaseSection
else:
    _Table = _table()


class NicTuningSection(_Table):
    """How the devices of the ports are set; what is left out rbops chooses by driver."""

    steering: Annotated[SteeringMode, one_of(SteeringMode)] | None = Field(
        default=None, json_schema_extra={"default": "auto"}
    )
    """hardware: queue by destination MAC in the NIC, or no apply; software: in the data plane; auto: where it works."""
    hugepages: RunTimeHugepagesSection | None = None
    """Huge pages for Click on DPDK; left out: 512 of 2MB on each node there, none otherwise."""
    unsafe_noiommu: kind.Flag | None = None
    """Whether Click on DPDK may have the devices on a server without an IOMMU."""


def tuning(said: NicTuningSection) -> NicTuning:
    """What a section says."""
    values: dict[str, Any] = {row.name: reduce(getattr, row.key.split("."), said) for row in ROWS}
    pages = said.hugepages
    return NicTuning(
        **{**values, "offloads": tuple((values["offloads"] or {}).items())},
        steering=said.steering,
        hugepages=Hugepages(pages.size, pages.count) if pages else None,
        unsafe_noiommu=said.unsafe_noiommu,
    )
