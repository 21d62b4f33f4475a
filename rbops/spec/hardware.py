"""One server's hardware, written in the spec or in a file of its own."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema

from rbops.common.limits import HIGHEST_CPU
from rbops.spec.scalars import (
    CpuIds,
    Flag,
    Frequency,
    InterfaceName,
    Mac,
    NumaNode,
    Pci,
    PcieGeneration,
    Power,
    Price,
    Rate,
    Size,
    Word,
    number,
)
from rbops.spec.section import CONFIG, Section, key

__all__ = ["Bound", "Bounds", "Cpu", "Device", "Hardware", "HardwareOrFile", "Nic", "Slot"]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Bound(Section):
    """What a component carries; a plain rate is the empirical one."""

    nominal_bps: Annotated[Rate | None, key("nominal")] = None
    """By the data sheet."""
    empirical_bps: Annotated[Rate | None, key("empirical")] = None
    """As a benchmark achieved it."""


class _OrText:
    """Marks a section that may be text too, of which ``schema`` is the JSON Schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(schema), self._schema]}


def _rate_is_empirical(value: object) -> object:
    return {"empirical": value} if isinstance(value, str) else value


BoundOrRate = Annotated[Bound, BeforeValidator(_rate_is_empirical), _OrText({"type": "string", "pattern": "bps$"})]


@dataclass(frozen=True, slots=True, config=CONFIG)
class Bounds(Section):
    """What the server's components carry; one left out never is the bottleneck."""

    memory: BoundOrRate | None = None
    """Memory buses, all sockets together."""
    io: BoundOrRate | None = None
    """The socket's I/O links."""
    inter_socket: BoundOrRate | None = None
    """The link between sockets."""
    pcie: BoundOrRate | None = None
    """PCIe, all slots together."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Cpu(Section):
    """One logical CPU as the kernel numbers it."""

    id: Annotated[int, number(0, HIGHEST_CPU), Field(examples=[0])]
    """The kernel's number."""
    socket: Annotated[int, number(0, 63), Field(examples=[0])]
    """Its physical package."""
    core: Annotated[int, number(0, HIGHEST_CPU), Field(examples=[0])]
    """Its core within the socket; CPUs of one core are SMT siblings."""
    numa_node: Annotated[int, number(0, 1023)] = 0
    """Its NUMA node."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Slot(Section):
    """A PCIe slot."""

    name: Annotated[Word, Field(examples=["slot1"])]
    """What NICs call it by."""
    generation: Annotated[PcieGeneration, key("pcie", examples=[3])]
    """Its PCIe generation."""
    lanes: Annotated[int, number(1, 32), Field(examples=[8])]
    """How many lanes are wired."""
    numa_node: NumaNode = None
    """The NUMA node it hangs on; -1 or left out: unknown."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Device(Section):
    """One port of a NIC as the server knows it."""

    name: InterfaceName | None = None
    """The kernel's name for it."""
    pci: Pci | None = None
    """Its PCI address."""
    mac: Mac | None = None
    """Its own MAC."""
    management: Flag = False
    """The server is managed over it: it is never given to the data plane."""


@dataclass(frozen=True, slots=True, config=CONFIG)
class Nic(Section):
    """A network card."""

    driver: Annotated[Word, Field(examples=["ixgbe", "ice", "mlx5_core"])]
    """The kernel driver."""
    ports: Annotated[int, number(1, 64), Field(examples=[2])]
    """How many ports the card has."""
    port_rate_bps: Annotated[Rate, key("port_rate")]
    """The rate of each port."""
    queues: Annotated[int, number(1, 1024), Field(examples=[16])]
    """Receive and transmit queue pairs per port."""
    slot: Word | None = None
    """The name of its PCIe slot."""
    numa_node: NumaNode = None
    """Its NUMA node where no slot says it; -1: unknown."""
    # Paper 4.1: 12.3 Gbps of a 2 x 10 Gbps card.
    achievable_bps: Annotated[Rate | None, key("achievable")] = None
    """What the whole card really carries per direction; left out: the sum of its ports."""
    devices: tuple[Device, ...] = ()
    """Its ports as the server knows them."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Hardware(Section):
    """One server's hardware."""

    name: Word = "inline"
    """What plans call this kind of server."""
    sockets: Annotated[int, number(1, 64), Field(examples=[2])]
    """Physical CPU packages."""
    cores_per_socket: Annotated[int, number(1, 1024), Field(examples=[16])]
    """Physical cores in each."""
    threads_per_core: Annotated[int, number(1, 8)] = 1
    """2 with SMT on."""
    clock_hz: Annotated[Frequency, key("clock")]
    """The rate at which a core does its work, without boost."""
    numa_nodes: Annotated[int, number(1, 1024)] | None = None
    """NUMA nodes; left out: one a socket."""
    l3_bytes_per_socket: Annotated[Size | None, key("l3_per_socket")] = None
    """Last-level cache of each socket."""
    cpus: tuple[Cpu, ...] = ()
    """The kernel's CPU numbers; left out: first threads socket by socket, then the second threads."""
    housekeeping: CpuIds | None = None
    """CPU ids left to everything but packets, [] for none; left out: the planner chooses."""
    offline: CpuIds = ()
    """CPU ids that are switched off."""
    slots: tuple[Slot, ...] = ()
    """PCIe slots."""
    nics: Annotated[tuple[Nic, ...], Field(min_length=1)]
    """Network cards."""
    bounds: Bounds = Field(default_factory=Bounds, kw_only=True)
    """Limits of memory, I/O and links."""
    power_w: Annotated[Power | None, key("power")] = None
    """What one server draws."""
    price_usd: Annotated[Price | None, key("price")] = None
    """What one server costs."""
    rack_units: Annotated[int, number(1, 48)] = 1
    """Its height."""


HardwareOrFile = Annotated[
    Hardware,
    _OrText({"type": "string", "description": "A YAML file that holds this section", "examples": ["hardware/n0.yml"]}),
]
