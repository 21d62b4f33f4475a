"""What a server is: the values that ``rbops-node facts`` gives, and their JSON form.

Raw facts, as kernel and drivers report them; what they mean for a plan is worked out by the controller
(``rbops.hardware.facts``). None: the kernel does not say. Units are in the names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CacheFacts",
    "Channels",
    "CpuFacts",
    "Facts",
    "Feature",
    "HugepageFacts",
    "KernelFacts",
    "NicFacts",
    "NodeFacts",
    "PcieLink",
    "from_json",
    "to_json",
]


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """An online logical CPU; ``socket`` and ``core`` are the kernel's own numbers, ``siblings`` share the core.

    ``slower``: a processor with cores of several kinds has faster ones too.
    """

    id: int
    socket: int
    core: int
    numa_node: int | None
    siblings: tuple[int, ...]
    slower: bool = False


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """One cache; ``kind`` is Data, Instruction or Unified, ``cpus`` share it."""

    level: int
    kind: str
    size_bytes: int
    cpus: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A NUMA node with its CPUs and memory."""

    id: int
    cpus: tuple[int, ...]
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class HugepageFacts:
    """A pool of huge pages of one size."""

    size_bytes: int
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Feature:
    """Something the kernel can do; ``available`` None: the running system does not show it."""

    name: str
    available: bool | None


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """``isolated`` and ``nohz_full`` are CPU ids taken from the scheduler and its tick."""

    release: str
    architecture: str
    command_line: str
    features: tuple[Feature, ...]
    isolated: tuple[int, ...]
    nohz_full: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PcieLink:
    """A PCI device's link towards the CPU: gigatransfers per second and lanes, now and at most (LnkSta, LnkCap)."""

    address: str
    speed_gts: float | None
    lanes: int | None
    max_speed_gts: float | None
    max_lanes: int | None


@dataclass(frozen=True, slots=True)
class Channels:
    """Queues of a device (``ethtool -l``); zero where the kind does not exist."""

    rx: int
    tx: int
    combined: int

    @property
    def pairs(self) -> int:
        """Receive and transmit queue pairs."""
        return max(1, self.combined or min(self.rx, self.tx))


@dataclass(frozen=True, slots=True)
class NicFacts:
    """A network device that packets could go through: a NIC's port, or a lab's veth.

    ``pci`` is its function's address and ``pci_id`` vendor:device. ``links`` are the PCIe links from the
    NIC up to the root, its own first. ``supported_bps`` is the fastest mode it supports, ``speed_bps``
    what it is linked at. ``management`` says why it carries management, ``part_of`` what virtual device
    (bond, bridge) it belongs to; ``virtual_function`` covers SR-IOV functions and representors.
    """

    device: str
    driver: str
    driver_version: str | None
    firmware: str | None
    mac: str
    pci: str | None
    pci_id: str | None
    slot: str | None
    links: tuple[PcieLink, ...]
    numa_node: int | None
    up: bool
    carrier: bool | None
    mtu: int
    speed_bps: int | None
    supported_bps: int | None
    channels: Channels
    max_channels: Channels
    management: str | None
    part_of: str | None
    virtual_function: bool
    xdp: bool
    threaded_napi: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One server. ``virtualisation`` is systemd-detect-virt's word for a virtual machine, ``none`` on iron."""

    hostname: str
    machine_id: str | None
    vendor: str | None
    product: str | None
    virtualisation: str | None
    cpu_model: str | None
    clock_hz: int | None
    clock_source: str | None
    memory_bytes: int | None
    present: tuple[int, ...]
    online: tuple[int, ...]
    possible: tuple[int, ...]
    smt: str | None
    cpus: tuple[CpuFacts, ...]
    caches: tuple[CacheFacts, ...]
    nodes: tuple[NodeFacts, ...]
    hugepages: tuple[HugepageFacts, ...]
    kernel: KernelFacts
    nics: tuple[NicFacts, ...]

    @property
    def offline(self) -> tuple[int, ...]:
        """CPU ids that are there and switched off."""
        return tuple(sorted(set(self.present) - set(self.online)))


def to_json(facts: Facts) -> dict[str, Any]:
    """Plain values."""
    return dataclasses.asdict(facts)


def from_json(value: Mapping[str, Any]) -> Facts:
    """What :func:`to_json` gave; KeyError or TypeError for anything else."""
    known = {field.name: value[field.name] for field in dataclasses.fields(Facts)}
    kernel = known["kernel"]
    return Facts(
        **{
            **known,
            **{name: tuple(known[name]) for name in ("present", "online", "possible")},
            "cpus": tuple(CpuFacts(**{**cpu, "siblings": tuple(cpu["siblings"])}) for cpu in known["cpus"]),
            "caches": tuple(CacheFacts(**{**cache, "cpus": tuple(cache["cpus"])}) for cache in known["caches"]),
            "nodes": tuple(NodeFacts(**{**node, "cpus": tuple(node["cpus"])}) for node in known["nodes"]),
            "hugepages": tuple(HugepageFacts(**pool) for pool in known["hugepages"]),
            "kernel": KernelFacts(
                **{
                    **kernel,
                    "features": tuple(Feature(**feature) for feature in kernel["features"]),
                    "isolated": tuple(kernel["isolated"]),
                    "nohz_full": tuple(kernel["nohz_full"]),
                }
            ),
            "nics": tuple(_nic(nic) for nic in known["nics"]),
        }
    )


def _nic(value: Mapping[str, Any]) -> NicFacts:
    return NicFacts(
        **{
            **value,
            "links": tuple(PcieLink(**link) for link in value["links"]),
            "channels": Channels(**value["channels"]),
            "max_channels": Channels(**value["max_channels"]),
        }
    )
