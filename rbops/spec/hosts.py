"""The sections ``servers:``, what all servers are, and ``hosts:``, the real ones by name."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from rbops.spec.hardware import HardwareOrFile
from rbops.spec.nic import NicTuning, NicTuningSection, tuning
from rbops.spec.scalars import InterfaceName, Mac, Pci, PortName, Word, one_of
from rbops.spec.section import CONFIG, From, Section

__all__ = ["Host", "NicSection", "Numa", "Selector", "Servers"]

Numa = Literal["prefer", "ignore"]
NicSection = Annotated[NicTuning, From(NicTuningSection, tuning)]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Servers(Section):
    """What the servers are made of: a profile or hardware."""

    # Where there is hardware, the profile does not count.
    profile: Word | None = Field(default="nehalem", examples=["nehalem", "lab"])
    """A hardware profile that rbops ships."""
    hardware: HardwareOrFile | None = None
    """The hardware itself, or the YAML file that describes it."""
    numa: Annotated[Numa, one_of(Numa)] = "prefer"
    """prefer: a queue's core is on its NIC's node where possible."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Selector(Section):
    """Which device of the server is this planned port: exactly one of the three."""

    name: InterfaceName | None = None
    """The kernel's name; it may change when hardware does."""
    pci: Pci | None = None
    """The PCI address."""
    mac: Mac | None = None
    """The device's own MAC."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Host(Section):
    """A real server."""

    profile: Word | None = None
    """Its hardware profile, where it differs from servers.profile."""
    hardware: HardwareOrFile | None = None
    """Its own hardware, or the YAML file that describes it."""
    ports: Mapping[PortName, Selector] = Field(default_factory=dict, examples=[{"ext0": {"pci": "0000:03:00.0"}}])
    """Which device is which planned port: ext0 is external port 0, int1 the port towards server 1."""
    rack: Word | None = Field(default=None, examples=["R12-U07"])
    """Where it stands, for the cable sheet."""
    nic: NicSection = Field(default_factory=NicTuning)
    """How its devices are set, where that differs from the spec's own nic."""
