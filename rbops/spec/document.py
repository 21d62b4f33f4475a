"""The spec as it is written: one pydantic model a section, which validates it and makes its JSON Schema.

The values here have the document's shape; ``build`` turns them into the ``Spec`` of ``model``.
Descriptions and examples are what an editor shows.
"""

from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic_core import CoreSchema

from rbops.common.limits import HIGHEST_CPU, MAX_EXTERNAL_PORTS
from rbops.dataplane import registry
from rbops.spec import model
from rbops.spec import scalars as kind
from rbops.spec.batching import Batching
from rbops.spec.interconnect import Interconnect
from rbops.spec.kernel_document import KernelSection
from rbops.spec.nic import NicTuningSection
from rbops.spec.scalars import number, one_of
from rbops.spec.section import BaseSection


def _default(of: type, name: str, written: Any = None) -> Any:
    """A field with the default of the model's dataclass ``of``; ``written`` is how a spec would say it."""
    value = next(field.default for field in fields(of) if field.name == name)
    if value is MISSING:
        raise LookupError(name)
    return Field(default=value, json_schema_extra={"default": written} if written is not None else None)


__all__ = [
    "BoundSection",
    "BoundsSection",
    "HardwareSection",
    "HostSection",
    "PortSection",
    "RouteFileSection",
    "RouteSection",
    "RouterSection",
    "SpecDocument",
    "TunnelSection",
]


class RouterSection(BaseSection):
    """What the router must do."""

    external_ports: Annotated[int, number(1, MAX_EXTERNAL_PORTS)] = Field(examples=[4, 32])
    """How many external ports the router has: N, at most 4096."""
    line_rate: kind.Rate
    """The rate R of each external port."""
    application: Annotated[model.Application, one_of(model.Application)] = _default(model.Router, "application")
    """forward: from port to port; route: IPv4 longest-prefix match; ipsec: encrypt every packet (Click only)."""
    traffic: Annotated[model.Traffic, one_of(model.Traffic)] = _default(model.Router, "traffic")
    """uniform: servers process 2R per port; worst-case: 3R, for any traffic matrix."""
    packets: kind.Packets = _default(model.Router, "packets", "64B")
    """The size of packets to plan for, 64B to 1518B, or the mix abilene or imix."""
    guarantee: Annotated[model.Guarantee, one_of(model.Guarantee)] = _default(model.Router, "guarantee")
    """line-rate makes it an error when the servers cannot sustain R on every port; best-effort warns."""
    allow: tuple[Annotated[model.Rule, one_of(model.Rule)], ...] = ()
    """Rules of the paper's section 4.2 that may be broken, and are then reported as violations with their cost."""
    fragment: kind.FilePath | None = None
    """A Click file whose compound element is put in the packets' way at the input server (Click only)."""


class BoundSection(BaseSection):
    """What a component carries; a plain rate is the empirical one."""

    nominal: kind.Rate | None = None
    """By the data sheet."""
    empirical: kind.Rate | None = None
    """As a benchmark achieved it."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"empirical": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        full = handler(schema)
        return {"anyOf": [handler.resolve_ref_schema(full), {"type": "string", "pattern": "bps$"}]}


class BoundsSection(BaseSection):
    """What the server's components carry; one left out never is the bottleneck."""

    memory: BoundSection | None = None
    """Memory buses, all sockets together."""
    io: BoundSection | None = None
    """The socket's I/O links."""
    inter_socket: BoundSection | None = None
    """The link between sockets."""
    pcie: BoundSection | None = None
    """PCIe, all slots together."""


class CpuSection(BaseSection):
    """One logical CPU as the kernel numbers it."""

    id: Annotated[int, number(0, HIGHEST_CPU)] = Field(examples=[0])
    """The kernel's number."""
    socket: Annotated[int, number(0, 63)] = Field(examples=[0])
    """Its physical package."""
    core: Annotated[int, number(0, HIGHEST_CPU)] = Field(examples=[0])
    """Its core within the socket; CPUs of one core are SMT siblings."""
    numa_node: Annotated[int, number(0, 1023)] = 0
    """Its NUMA node."""


class SlotSection(BaseSection):
    """A PCIe slot."""

    name: kind.Word = Field(examples=["slot1"])
    """What NICs call it by."""
    pcie: kind.PcieGeneration = Field(examples=[3])
    """Its PCIe generation."""
    lanes: Annotated[int, number(1, 32)] = Field(examples=[8])
    """How many lanes are wired."""
    numa_node: kind.NumaNode = None
    """The NUMA node it hangs on; -1 or left out: unknown."""


class DeviceSection(BaseSection):
    """One port of a NIC as the server knows it."""

    name: kind.InterfaceName | None = None
    """The kernel's name for it."""
    pci: kind.Pci | None = None
    """Its PCI address."""
    mac: kind.Mac | None = None
    """Its own MAC."""
    management: kind.Flag = False
    """The server is managed over it: it is never given to the data plane."""


class NicSection(BaseSection):
    """A network card."""

    driver: kind.Word = Field(examples=["ixgbe", "ice", "mlx5_core"])
    """The kernel driver."""
    ports: Annotated[int, number(1, 64)] = Field(examples=[2])
    """How many ports the card has."""
    port_rate: kind.Rate
    """The rate of each port."""
    queues: Annotated[int, number(1, 1024)] = Field(examples=[16])
    """Receive and transmit queue pairs per port."""
    slot: kind.Word | None = None
    """The name of its PCIe slot."""
    numa_node: kind.NumaNode = None
    """Its NUMA node where no slot says it; -1: unknown."""
    achievable: kind.Rate | None = None
    """What the whole card really carries per direction; left out: the sum of its ports."""
    devices: tuple[DeviceSection, ...] = ()
    """Its ports as the server knows them."""


class HardwareSection(BaseSection):
    """One server's hardware."""

    name: kind.Word = _default(model.Hardware, "name")
    """What plans call this kind of server."""
    sockets: Annotated[int, number(1, 64)] = Field(examples=[2])
    """Physical CPU packages."""
    cores_per_socket: Annotated[int, number(1, 1024)] = Field(examples=[16])
    """Physical cores in each."""
    threads_per_core: Annotated[int, number(1, 8)] = _default(model.Hardware, "threads_per_core")
    """2 with SMT on."""
    clock: kind.Frequency
    """The rate at which a core does its work, without boost."""
    numa_nodes: Annotated[int, number(1, 1024)] | None = None
    """NUMA nodes; left out: one a socket."""
    l3_per_socket: kind.Size | None = None
    """Last-level cache of each socket."""
    cpus: tuple[CpuSection, ...] = ()
    """The kernel's CPU numbers; left out: first threads socket by socket, then the second threads."""
    housekeeping: kind.CpuIds = ()
    """CPU ids left to everything but packets; left out: the planner chooses."""
    offline: kind.CpuIds = ()
    """CPU ids that are switched off."""
    slots: tuple[SlotSection, ...] = ()
    """PCIe slots."""
    nics: tuple[NicSection, ...] = Field(min_length=1)
    """Network cards."""
    bounds: BoundsSection = BoundsSection()
    """Limits of memory, I/O and links."""
    power: kind.Power | None = None
    """What one server draws."""
    price: kind.Price | None = None
    """What one server costs."""
    rack_units: Annotated[int, number(1, 48)] = _default(model.Hardware, "rack_units")
    """Its height."""


class _OrFile:
    """Marks a section that may stand in a file of its own, its path being written instead."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        path = {"type": "string", "description": "A YAML file that holds this section", "examples": ["hardware/n0.yml"]}
        return {"anyOf": [handler(schema), path]}


HardwareOrFile = Annotated[HardwareSection, _OrFile()]


class ServersSection(BaseSection):
    """What the servers are made of: a profile or hardware."""

    profile: kind.Word | None = Field(
        default=None, examples=["nehalem", "lab"], json_schema_extra={"default": "nehalem"}
    )
    """A hardware profile that rbops ships."""
    hardware: HardwareOrFile | None = None
    """The hardware itself, or the YAML file that describes it."""
    numa: Annotated[model.Numa, one_of(model.Numa)] = _default(model.Servers, "numa")
    """prefer: a queue's core is on its NIC's node where possible."""


class ClickSection(BaseSection):
    """Which Click runs, for `dataplane: click`."""

    dialect: Annotated[model.ClickDialect, one_of(model.ClickDialect)] = _default(model.Click, "dialect")
    """socket: userlevel on AF_PACKET; dpdk: mainline with DPDK; fastclick; kernel: the multi-queue kernel module."""
    package: kind.Package | None = None
    """The Debian package, .deb or archive to install."""
    prefix: kind.FilePath | None = Field(default=None, examples=["/usr/local"])
    """Where an installed Click is, an absolute path on the servers."""


class TunnelSection(BaseSection):
    """An ESP tunnel to another gateway, for `application: ipsec`."""

    peer: kind.Address
    """The other gateway's IPv4 address; the routes lead there."""
    prefixes: Annotated[tuple[kind.Prefix, ...], Field(min_length=1)] = ("0.0.0.0/0",)
    """Destinations that go through the tunnel; the longest of all tunnels' counts."""
    spi: Annotated[int, number(1, 65535)] = Field(examples=[1])
    """The upper half of the tunnel's SPIs; the lower one is server and core, each with an association of its own."""
    keys: kind.FilePath = Field(examples=["peer.keys"])
    """A file for its owner alone (mode 0600) with two words of 32 hex digits: encryption key, authentication key."""


class NeighborSection(BaseSection):
    """A next hop on an external port."""

    address: kind.Address
    """Its IPv4 address, in the port's subnet."""
    mac: kind.Mac | None = None
    """Its MAC; left out: resolved by the kernel, on the slow path."""


class PortSection(BaseSection):
    """An external port, as far as it is not to be generated."""

    id: Annotated[int, number(0, 4095)] = Field(examples=[0])
    """Its number, from 0."""
    server: kind.HostName | None = None
    """The server that it is on."""
    address: kind.InterfaceAddress | None = None
    """The router's address and subnet on it."""
    neighbors: tuple[NeighborSection, ...] | None = None
    """The next hops on it."""


class SelectorSection(BaseSection):
    """Which device of the server is this planned port: exactly one of the three."""

    name: kind.InterfaceName | None = None
    """The kernel's name; it may change when hardware does."""
    pci: kind.Pci | None = None
    """The PCI address."""
    mac: kind.Mac | None = None
    """The device's own MAC."""


class HostSection(BaseSection):
    """A real server."""

    profile: kind.Word | None = None
    """Its hardware profile, where it differs from servers.profile."""
    hardware: HardwareOrFile | None = None
    """Its own hardware, or the YAML file that describes it."""
    ports: dict[kind.PortName, SelectorSection] = Field(default={}, examples=[{"ext0": {"pci": "0000:03:00.0"}}])
    """Which device is which planned port: ext0 is external port 0, int1 the port towards server 1."""
    nic: NicTuningSection = NicTuningSection()
    """How its devices are set, where that differs from the spec's own nic."""


class RouteSection(BaseSection):
    """A static route."""

    prefix: kind.Prefix
    """The destination, without host bits."""
    via: kind.Address
    """A neighbour on one of the external ports."""


class RouteFileSection(BaseSection):
    """Routes from a CSV file."""

    file: kind.FilePath
    """A CSV file with a line `prefix,via` per route."""


def _shape(value: object) -> str:
    return "file" if isinstance(value, dict) else "list"


RoutesSection = Annotated[
    Annotated[tuple[RouteSection, ...], Tag("list")] | Annotated[RouteFileSection, Tag("file")], Discriminator(_shape)
]


class SpecDocument(BaseSection):
    """A router built of commodity servers, for rbops."""

    name: kind.RouterName | None = None
    """The router's name; left out: the file's."""
    router: RouterSection
    """What the router must do; the only section that must be there."""
    servers: ServersSection = ServersSection()
    """What the servers are made of."""
    interconnect: Interconnect = Interconnect()
    """How the servers are joined."""
    batching: Batching = Batching()
    """How many packets are handled at once."""
    dataplane: Annotated[model.DataPlane, one_of(registry.KINDS)] = _default(model.Spec, "dataplane")
    """xdp: bundled, any recent kernel; click: the paper's own."""
    click: ClickSection = ClickSection()
    """Which Click runs, for `dataplane: click`."""
    ipsec: tuple[TunnelSection, ...] = ()
    """Tunnels, for `application: ipsec`."""
    nic: NicTuningSection = NicTuningSection()
    """How the devices of the ports are set."""
    kernel: KernelSection = KernelSection()
    """What the servers' kernels are told at boot, and what else of them is set."""
    ports: tuple[PortSection, ...] = ()
    """External ports; what is left out is generated."""
    hosts: dict[kind.HostName, HostSection] = Field(default={})
    """Real servers, by name."""
    routes: RoutesSection = ()
    """Static routes, or {file: routes.csv} for very many."""
