"""The spec as the rest of rbops sees it: frozen values, units parsed, defaults filled in.

Units are in the names: ``_bps`` bits per second, ``_hz`` hertz, ``_s`` seconds, ``_bytes``,
``_w`` watts, ``_usd`` US dollars. What the user left out and the planner generates is None or
empty. Nothing here reads files; ``rbops.spec.load_spec`` does.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rbops.nic.tuning import NicTuning
from rbops.spec.batching import Batching
from rbops.spec.interconnect import Interconnect
from rbops.spec.kernel_model import Kernel
from rbops.spec.scalars import PacketMix
from rbops.spec.source import Source

__all__ = [
    "Application",
    "Bound",
    "Bounds",
    "Click",
    "ClickDialect",
    "Cpu",
    "DataPlane",
    "Device",
    "Guarantee",
    "Hardware",
    "Host",
    "Neighbor",
    "Nic",
    "Numa",
    "PortSelector",
    "PortSpec",
    "RouteColumns",
    "RouteFile",
    "Router",
    "Routes",
    "Rule",
    "Servers",
    "Slot",
    "Spec",
    "StaticRoute",
    "Traffic",
]

Application = Literal["forward", "route", "ipsec"]
ClickDialect = Literal["socket", "dpdk", "fastclick", "kernel"]
Rule = Literal["rule1", "rule2"]
Traffic = Literal["uniform", "worst-case"]
Guarantee = Literal["best-effort", "line-rate"]
Numa = Literal["prefer", "ignore"]
DataPlane = str
"""One of ``rbops.dataplane.registry.KINDS``."""


@dataclass(frozen=True, slots=True)
class Router:
    """What the router must do: N external ports of rate R (paper 2), and with which packets.

    ``packets`` is a size in bytes without preamble, gap and FCS as the paper counts it (64 to
    1518), or the name of a mix. ``allow`` names the rules of paper 4.2 that may be broken (and are
    then reported as violations) where keeping them would cost data-plane cores. ``fragment`` is
    the user's own Click element, an absolute path.
    """

    external_ports: int
    line_rate_bps: int
    application: Application = "route"
    traffic: Traffic = "worst-case"
    packets: int | PacketMix = 64
    guarantee: Guarantee = "best-effort"
    allow: tuple[Rule, ...] = ()
    fragment: Path | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """What a component carries: by its data sheet, and as a benchmark achieved it (paper Table 2)."""

    nominal_bps: int | None = None
    empirical_bps: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per server. None: no bound known, so the component is never the bottleneck."""

    memory: Bound | None = None
    io: Bound | None = None
    inter_socket: Bound | None = None
    pcie: Bound | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU as the kernel numbers it; CPUs with equal (socket, core) are SMT siblings."""

    id: int
    socket: int
    core: int
    numa_node: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A PCIe slot; ``generation`` as in "PCIe 3.0" -> 3. ``numa_node`` None: unknown."""

    name: str
    generation: int
    lanes: int
    numa_node: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One port of a NIC as the server knows it; ``management`` ones are never given to the data plane."""

    name: str | None = None
    pci: str | None = None
    mac: str | None = None
    management: bool = False


@dataclass(frozen=True, slots=True)
class Nic:
    """A network card with ``ports`` ports of ``port_rate_bps`` each and ``queues`` queue pairs per port.

    ``achievable_bps`` is what the whole card really carries per direction (paper 4.1: 12.3 Gbps of
    a 2 x 10 Gbps card), None: the sum of its ports. ``slot`` names a ``Slot``. ``numa_node`` None:
    that of the slot, or unknown (the kernel's -1). ``devices`` are its ports as the server knows them.
    """

    driver: str
    ports: int
    port_rate_bps: int
    queues: int
    slot: str | None = None
    numa_node: int | None = None
    achievable_bps: int | None = None
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Hardware:
    """One server, given inline or in a file of its own.

    ``cpus`` lists the kernel's CPU numbers where they are known; when empty,
    CPU ids follow Linux's usual order: first thread of every core, socket by socket, then the
    second threads. ``housekeeping`` CPUs are left to everything but packets (empty: the planner
    chooses), ``offline`` ones do not exist for the planner.
    """

    sockets: int
    cores_per_socket: int
    clock_hz: int
    nics: tuple[Nic, ...]
    name: str = "inline"
    threads_per_core: int = 1
    numa_nodes: int | None = None
    l3_bytes_per_socket: int | None = None
    cpus: tuple[Cpu, ...] = ()
    housekeeping: tuple[int, ...] = ()
    offline: tuple[int, ...] = ()
    slots: tuple[Slot, ...] = ()
    bounds: Bounds = Bounds()
    power_w: float | None = None
    price_usd: float | None = None
    rack_units: int = 1


@dataclass(frozen=True, slots=True)
class Servers:
    """What the servers are made of, unless ``hosts`` says otherwise for one of them.

    Exactly one of ``profile`` (a name that rbops.hardware knows) and ``hardware`` is set.
    ``numa`` ``prefer`` keeps a queue's core on its NIC's node where possible.
    """

    profile: str | None = "nehalem"
    hardware: Hardware | None = None
    numa: Numa = "prefer"


@dataclass(frozen=True, slots=True)
class Click:
    """Which Click runs, and where it comes from: a package (name, archive or .deb) or an installed prefix."""

    dialect: ClickDialect = "socket"
    package: str | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A next hop on an external port; ``mac`` None: the owning server's kernel resolves it."""

    address: str
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class PortSpec:
    """An external port as far as the user fixed it.

    ``server`` None: the planner places it. ``address`` (``198.18.0.1/24``) None: generated, see
    ``rbops.spec.addressing``. ``neighbors`` None: not written, so the generated neighbour when
    ``address`` is generated too and none otherwise. MACs are lower case with colons.
    """

    id: int
    server: str | None = None
    address: str | None = None
    neighbors: tuple[Neighbor, ...] | None = None


@dataclass(frozen=True, slots=True)
class PortSelector:
    """Which device of a real server is the planned port ``port`` (``ext0``, ``int1``): one of three ways.

    ``pci`` is ``dddd:bb:dd.f`` in lower case, ``mac`` lower case with colons.
    """

    port: str
    name: str | None = None
    pci: str | None = None
    mac: str | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A real server; ``hardware`` and ``profile`` (at most one set) replace those of ``servers``.

    ``nic`` goes before the spec's own, key by key.
    """

    name: str
    profile: str | None = None
    hardware: Hardware | None = None
    ports: tuple[PortSelector, ...] = ()
    nic: NicTuning = field(default_factory=NicTuning)


@dataclass(frozen=True, slots=True)
class StaticRoute:
    """``prefix`` in canonical form (``203.0.113.0/24``), ``via`` a neighbour's address."""

    prefix: str
    via: str


@dataclass(frozen=True, slots=True)
class RouteColumns:
    """A route file by columns, row i of each being one route, sorted by network, then length.

    ``networks`` and ``vias`` are IPv4 addresses as integers in host order (array type "I"),
    ``lengths`` prefix lengths (array type "B"); ``numpy.frombuffer`` reads them without a copy.
    """

    networks: array[int]
    lengths: array[int]
    vias: array[int]

    def __len__(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True, slots=True)
class RouteFile:
    """A CSV of ``prefix,via``; ``path`` is absolute, ``sha256`` (hex) that of its bytes."""

    path: Path
    sha256: str
    columns: RouteColumns = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Routes:
    """Written in the spec, or in a file, never both."""

    static: tuple[StaticRoute, ...] = ()
    file: RouteFile | None = None


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What goes through an ESP tunnel to ``peer``: ``spi`` is the upper half of its SPIs, ``keys`` an absolute path."""

    peer: str
    prefixes: tuple[str, ...]
    spi: int
    keys: Path


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec, lists in the order of the file.

    ``source`` knows where each value was written, for errors that the planner finds.
    """

    name: str
    router: Router
    servers: Servers = Servers()
    interconnect: Interconnect = field(default_factory=Interconnect)
    batching: Batching = field(default_factory=Batching)
    dataplane: DataPlane = "xdp"
    click: Click = Click()
    ipsec: tuple[Tunnel, ...] = ()
    nic: NicTuning = field(default_factory=NicTuning)
    kernel: Kernel = field(default_factory=Kernel)
    ports: tuple[PortSpec, ...] = ()
    hosts: tuple[Host, ...] = ()
    routes: Routes = Routes()
    source: Source = field(default_factory=Source, compare=False, repr=False)

    def port(self, port_id: int) -> PortSpec:
        """What the user fixed of external port ``port_id``; an empty PortSpec when nothing."""
        return next((port for port in self.ports if port.id == port_id), PortSpec(port_id))

    def host(self, name: str) -> Host | None:
        """The real server called ``name``, if the spec has it."""
        return next((host for host in self.hosts if host.name == name), None)
