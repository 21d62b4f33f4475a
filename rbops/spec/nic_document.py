"""The section ``nic:`` as it is written, in the spec and in a host."""

from typing import Annotated, Any

from pydantic import Field

from rbops.spec import nic_model as model
from rbops.spec import nic_words as words
from rbops.spec import scalars as kind
from rbops.spec.scalars import Scalar, number, one_of
from rbops.spec.section import BaseSection

__all__ = ["NicTuningSection"]

_KEEP = {"const": "keep"}
_TIME = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ns|us|ms|s)$"}


def _schema(*kinds: dict[str, Any], examples: list[Any]) -> dict[str, Any]:
    return {"anyOf": list(kinds), "examples": examples}


Ring = Annotated[
    int | model.Keep,
    Scalar(words.ring, _schema({"type": "integer", "minimum": 64, "maximum": 16384}, _KEEP, examples=[1024, "keep"])),
]
Microseconds = Annotated[
    int | model.Keep,
    Scalar(words.microseconds, _schema({"const": 0}, _KEEP, _TIME, examples=["50us", 0])),
]
Nanoseconds = Annotated[int, Scalar(words.nanoseconds, _schema({"const": 0}, _TIME, examples=["200us", 0]))]
RssKey = Annotated[
    str,
    Scalar(
        words.rss_key,
        {
            "type": "string",
            "pattern": "^(keep|symmetric|[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){7,255})$",
            "examples": ["symmetric"],
        },
    ),
]
Offload = Annotated[str, Scalar(words.offload, {"enum": list(words.OFFLOADS)})]


class RingsSection(BaseSection):
    """Descriptors a queue (`ethtool -G`)."""

    rx: Ring | None = None
    """Receive; left out: enough for twice what may come in during the coalescing time."""
    tx: Ring | None = None
    """Transmit; left out: as many as receive."""


class CoalescingSection(BaseSection):
    """When a NIC interrupts (`ethtool -C`)."""

    adaptive: kind.Flag | None = None
    """Whether the driver may change the times by itself; left out: no."""
    rx: Microseconds | None = None
    """The longest a received frame waits; left out: batching.timeout."""
    tx: Microseconds | None = None
    """The longest a sent frame's memory waits; left out: the driver's own."""
    rx_frames: Annotated[int, number(1, 1024)] | None = None
    """Interrupt after as many frames; left out: batching.nic where the driver knows it."""
    tx_frames: Annotated[int, number(1, 1024)] | None = None
    """The same for sent frames; left out: the driver's own."""


class RunTimeHugepagesSection(BaseSection):
    """Huge pages taken while the server runs, on each NUMA node with data-plane cores."""

    size: Annotated[model.HugepageSize, one_of(model.HugepageSize)] = "2MB"
    """The size of each."""
    count: Annotated[int, number(0, 1_048_576)] = Field(examples=[512])
    """How many on each node."""


class NicTuningSection(BaseSection):
    """How the devices of the ports are set; what is left out rbops chooses by driver."""

    rings: RingsSection = RingsSection()
    """Descriptors a queue."""
    coalescing: CoalescingSection = CoalescingSection()
    """When a NIC interrupts."""
    rss_key: RssKey | None = None
    """The key of the receive hash: keep, symmetric (both directions of a flow to one queue) or bytes."""
    threaded_napi: kind.Flag | None = None
    """Whether each queue is polled by a kernel thread of its own, pinned to the queue's core."""
    defer_hard_irqs: Annotated[int, number(0, 1000)] | None = None
    """How many empty polls before the interrupt is switched on again; needs flush_timeout."""
    flush_timeout: Nanoseconds | None = None
    """How long the kernel waits between two polls while the interrupt is off (gro_flush_timeout)."""
    offloads: dict[Offload, kind.Flag] = Field(default={}, examples=[{"gro": True, "lro": False}])
    """Features by ethtool's short names, over what the data plane needs."""
    steering: Annotated[model.SteeringMode, one_of(model.SteeringMode)] | None = Field(
        default=None, json_schema_extra={"default": "auto"}
    )
    """hardware: queue by destination MAC in the NIC, or no apply; software: in the data plane; auto: where it works."""
    hugepages: RunTimeHugepagesSection | None = None
    """Huge pages for Click on DPDK; left out: 512 of 2MB on each node there, none otherwise."""
    unsafe_noiommu: kind.Flag | None = None
    """Whether Click on DPDK may have the devices on a server without an IOMMU."""
