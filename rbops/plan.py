"""The cluster plan: what every server, port, queue and core is to be, as frozen values.

The plan is pure data between the planner (left of it) and everything that renders, pushes or
checks (right of it). Its JSON form is canonical: sorted keys, no spaces, no floats that depend on
the machine, so that equal plans have equal digests (SHA-256 over the JSON without the digest).

Units are in the names: ``_bps`` bits per second, ``_pps`` packets per second, ``_s`` seconds,
``_w`` watts, ``_usd`` US dollars.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from rbops.canonical import Encoder
from rbops.nic.settings import NicSetup
from rbops.spec.hosts import Selector
from rbops.spec.ipsec import Tunnel
from rbops.spec.punts import Punts
from rbops.spec.router import Urpf

__all__ = [
    "Adjacency",
    "Batching",
    "BgpNeighbor",
    "ClusterPlan",
    "Cores",
    "Daemon",
    "Forwarding",
    "Fragment",
    "Ipv6",
    "Kernel",
    "KernelModule",
    "Latency",
    "Link",
    "LinkRate",
    "OspfPort",
    "PerComponent",
    "Port",
    "Port6",
    "Prediction",
    "Processing",
    "Punts",
    "Queue",
    "Route",
    "Routes",
    "Routing",
    "Selector",
    "Server",
    "Sflow",
    "Speaker",
    "Steering",
    "Topology",
    "Tunnel",
    "Userspace",
    "Violation",
]

SCHEMA_VERSION = 1
_OPTIONAL = ("exporter", "ipv6", "routing", "sflow")
"""Parts that are in the JSON only where the spec asks for them."""

PUNT = 0
"""The adjacency index that means "to the kernel of the server that owns the port" (local delivery, glean)."""


@dataclass(frozen=True, slots=True)
class LinkRate:
    """Per direction, for one internal link (all parallel cables between two servers together)."""

    required_bps: int
    provided_bps: int


@dataclass(frozen=True, slots=True)
class Processing:
    """What one server must process (paper 3.2: 2R and 3R per port) against what it can."""

    uniform: int
    worst_case: int
    available: int


@dataclass(frozen=True, slots=True)
class Topology:
    """The chosen interconnect (paper 3.3); ``stages`` is 0 for a mesh, n for a k-ary n-fly."""

    kind: Literal["mesh", "fly"]
    degree: int
    stages: int
    ports_per_server: int
    port_servers: int
    intermediate_servers: int
    servers: int
    internal_link: LinkRate
    processing_bps: Processing


@dataclass(frozen=True, slots=True)
class Link:
    """One cable; ``a`` and ``b`` are ``server:port``, ``a`` sorted before ``b``."""

    a: str
    b: str
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Queue:
    """Receive and transmit queue ``index`` of a port and the one core that touches each (rule 1)."""

    index: int
    rx_core: int
    tx_core: int


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A neighbour on an external port.

    ``index`` counts from 1 within the port and is what the destination MAC carries
    (``02:52:PP:PP:AA:AA``); ``PUNT`` (0) is the owning server's kernel. ``mac`` None: resolved by
    the owning server's kernel, so its packets take the slow path.
    """

    index: int
    address: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """A planned port. ``peer`` is ``server:port`` of the far end, or None for an external port.

    ``id`` is the external port's number in the router, None for internal ports. ``addresses`` are
    the router's own, with prefix length.
    """

    name: str
    kind: Literal["external", "internal"]
    peer: str | None
    rate_bps: int
    queues: tuple[Queue, ...]
    id: int | None = None
    addresses: tuple[str, ...] = ()
    adjacencies: tuple[Adjacency, ...] = ()
    selector: Selector = field(default_factory=Selector)
    mtu: int = 1500
    driver: str = "veth"
    urpf: Urpf = "off"


@dataclass(frozen=True, slots=True)
class Cores:
    """CPU ids: those that touch packets, in queue order, and those left to everything else."""

    dataplane: tuple[int, ...]
    housekeeping: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Steering:
    """Frames for destination ``mac`` arriving on ``port`` go to receive queue ``queue`` (paper 6.1)."""

    port: str
    mac: str
    queue: int


@dataclass(frozen=True, slots=True)
class Batching:
    """``poll`` packets per poll (kp), ``nic`` descriptors per NIC transaction (kn), ``timeout_s``."""

    poll: int
    nic: int
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Userspace:
    """What a program that has the devices to itself needs: ``hugepages`` of ``hugepage_kb`` KiB on each NUMA node."""

    hugepage_kb: int
    hugepages: int
    unsafe_noiommu: bool = False


@dataclass(frozen=True, slots=True)
class KernelModule:
    """A module loaded at boot, with its parameters (name, value)."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Kernel:
    """Kernel settings of a server; none where the spec asks for none.

    ``boot`` are boot parameters (name, value) in order, an empty value being one without. ``irqbalance``
    ``ban``: it leaves data-plane cores and data ports alone. ``sysctl`` are the spec's own (key, value).
    """

    boot: tuple[tuple[str, str], ...] = ()
    governor: str | None = None
    irqbalance: Literal["keep", "ban", "off"] = "keep"
    modules: tuple[KernelModule, ...] = ()
    sysctl: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the cluster; ``index`` is its number in the data plane, ``ports`` in cabling order."""

    name: str
    index: int
    role: Literal["port", "intermediate"]
    external_ports: tuple[int, ...]
    cores: Cores
    ports: tuple[Port, ...]
    steering: tuple[Steering, ...]
    batching: Batching
    profile: str
    nics: tuple[NicSetup, ...] = ()
    userspace: Userspace | None = None
    kernel: Kernel = Kernel()

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """The router's addresses on its external ports, without their subnets' lengths."""
        ports = (port for port in self.ports if port.id is not None)
        return tuple(address.partition("/")[0] for port in ports for address in port.addresses)

    def nic(self, driver: str) -> NicSetup:
        """How devices of ``driver`` are set; nothing planned where the plan does not say it."""
        return next((setup for setup in self.nics if setup.driver == driver), NicSetup(driver))


@dataclass(frozen=True, slots=True)
class Fragment:
    """The user's own Click element, which packets pass at the input server, once a core.

    ``text`` is the file's; ``name`` its element class, empty where the file is a class's body. A second output
    drops. ``tasks`` are the elements inside that run by themselves.
    """

    text: str
    name: str
    outputs: int
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How the data plane balances (paper 3.2, 6.1), cluster-wide.

    ``direct_quota_bps`` is what an input server may send directly to each other port server:
    s*R/M, the paper's, or what the links bear beyond it; cores share it. ``flowlet_timeout_s`` 0 turns
    flowlets off. ``probe_multiplier`` intervals of ``probe_interval_s`` without an answer take a cable out.
    ``click_prefix`` is where Click is installed on the servers, an unpacked archive too (None: where
    systemd looks for programs), ``click_package`` what it is installed from. ``punts``: what a core may give its
    kernel from one port, in packets a second. ``separation`` is how servers keep their management network apart,
    ``services`` what listens on the router's addresses.
    """

    dataplane: str
    application: Literal["forward", "route", "ipsec"]
    routing: Literal["direct-vlb", "vlb"]
    direct_quota_bps: int
    flowlet_timeout_s: float
    click_dialect: str = "socket"
    click_prefix: str | None = None
    click_package: str | None = None
    fragment: Fragment | None = None
    tunnels: tuple[Tunnel, ...] = ()
    punts: Punts = field(default_factory=Punts)
    separation: str = "auto"
    services: tuple[str, ...] = ()
    probe_interval_s: float = 0.01
    probe_multiplier: int = 3


@dataclass(frozen=True, slots=True)
class Route:
    """``prefix`` leaves the router at external port ``port`` towards adjacency ``adjacency`` of it.

    ``via`` is the neighbour's address, None for connected prefixes and the router's own addresses.
    """

    prefix: str
    port: int
    adjacency: int
    via: str | None


@dataclass(frozen=True, slots=True)
class Routes:
    """The forwarding table's source.

    ``connected`` and ``static`` are small and in the plan. A route file of 256K and more
    lines does not: ``file`` is its absolute path, ``file_digest`` its SHA-256, ``count`` all routes.
    """

    connected: tuple[Route, ...]
    static: tuple[Route, ...]
    file: str | None = None
    file_digest: str | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Port6:
    """IPv6 on external port ``port``: the router's own ``address`` with the subnet's length, and neighbours.

    Their indexes follow those of the port's IPv4 neighbours: a frame of the fabric carries either.
    """

    port: int
    address: str
    adjacencies: tuple[Adjacency, ...]


@dataclass(frozen=True, slots=True)
class Ipv6:
    """IPv6 of the router, beside IPv4; ``connected`` and ``static`` as in :class:`Routes`."""

    ports: tuple[Port6, ...]
    connected: tuple[Route, ...]
    static: tuple[Route, ...]

    def port(self, number: int | None) -> Port6 | None:
        """That of an external port; None where it has no IPv6."""
        return next((port for port in self.ports if port.port == number), None)


@dataclass(frozen=True, slots=True)
class BgpNeighbor:
    """A BGP router of another AS on external port ``port``. ``password`` is a file on the controller.

    ``families``: those whose routes the session carries, ``ipv4`` and ``ipv6``. Filters are prefixes, ``PREFIX+`` or
    ``PREFIX{LOW,HIGH}``; None lets everything through.
    """

    port: int
    address: str
    as_number: int
    password: str | None
    imports: tuple[str, ...] | None
    exports: tuple[str, ...] | None
    bfd: bool
    families: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OspfPort:
    """External port ``port`` speaks OSPF in ``area``, and sending by it costs ``cost``.

    ``routers``: link-local addresses of routers there that all servers know.
    """

    port: int
    area: str
    cost: int
    routers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speaker:
    """A server with external ports: its router id, and the address at which other servers' daemons reach its own."""

    server: str
    router_id: str
    address: str
    reflector: bool


@dataclass(frozen=True, slots=True)
class Daemon:
    """How the servers' routing daemons are set. ``own`` is the user's own configuration instead, ``keys`` its file."""

    as_number: int | None
    speakers: tuple[Speaker, ...]
    neighbors: tuple[BgpNeighbor, ...] = ()
    announce: tuple[str, ...] = ()
    ospf: tuple[OspfPort, ...] = ()
    bfd_interval_s: float = 0.3
    graceful_restart: bool = True
    paths: int = 1
    own: str | None = None
    keys: str | None = None

    @property
    def has_reflectors(self) -> bool:
        """Whether servers tell each other by route reflectors, and not each one all others."""
        return any(speaker.reflector for speaker in self.speakers)


@dataclass(frozen=True, slots=True)
class Routing:
    """Routes that come and go besides: by ``daemon``, with memory for ``routes``; ``speaks`` how it is set."""

    daemon: str
    routes: int
    speaks: Daemon | None = None


@dataclass(frozen=True, slots=True)
class Exporter:
    """Metrics for Prometheus at TCP ``port`` of servers' addresses in ``network`` (None: those of their management)."""

    port: int
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Sflow:
    """sFlow to UDP ``port`` of ``collector``: one frame in ``sampling``, counters every ``polling_s`` seconds.

    Sent from servers' addresses in ``network`` (None: those of their management).
    """

    collector: str
    port: int
    sampling: int
    polling_s: float
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule of paper 4.2 that cannot be kept, and the part of the rate it costs (Fig. 6), 0 to 1."""

    rule: str
    server: str
    detail: str
    predicted_loss: float


@dataclass(frozen=True, slots=True)
class PerComponent:
    """The packet rate each component alone would allow on one server, in bps; None: no bound known."""

    cpu: int
    memory: int | None
    io: int | None
    inter_socket: int | None
    pcie: int | None
    nic: int | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds through the cluster on the direct (two servers) and the two-hop path (three)."""

    direct: float
    indirect: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the bottleneck model (paper 5.3) says of the whole cluster."""

    bottleneck: str
    rate_bps: int
    rate_pps: int
    per_component: PerComponent
    latency_s: Latency
    power_w: float | None
    price_usd: float | None


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The whole router, ready to be rendered."""

    name: str
    topology: Topology
    links: tuple[Link, ...]
    servers: tuple[Server, ...]
    forwarding: Forwarding
    routes: Routes
    violations: tuple[Violation, ...]
    warnings: tuple[str, ...]
    prediction: Prediction
    routing: Routing | None = None
    ipv6: Ipv6 | None = None
    exporter: Exporter | None = None
    sflow: Sflow | None = None

    def server(self, name: str) -> Server:
        """The server called ``name``; KeyError when there is none."""
        for server in self.servers:
            if server.name == name:
                return server
        raise KeyError(name)

    @property
    def port_owner(self) -> dict[int, Server]:
        """External port id -> the server that owns it."""
        return {port: server for server in self.servers for port in server.external_ports}

    @property
    def ports6(self) -> tuple[Port6, ...]:
        """The external ports that have IPv6."""
        return () if self.ipv6 is None else self.ipv6.ports

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON without the digest itself."""
        digest = hashlib.sha256()
        for piece in self._pieces(Encoder(), None):
            digest.update(piece.encode())
        return digest.hexdigest()

    def to_json(self, *, indent: int | None = None) -> str:
        """The plan as other tools read it; ``servers`` is an object keyed by name."""
        return "".join(self.json_pieces(indent=indent))

    def json_pieces(self, *, indent: int | None = None) -> Iterator[str]:
        """What ``to_json`` returns, piece by piece: a plan of 1,024 ports has more than half a gigabyte."""
        return self._pieces(Encoder(indent), self.digest)

    def _pieces(self, encoder: Encoder, digest: str | None) -> Iterator[str]:
        parts: dict[str, Iterable[str]] = {
            field.name: (encoder.text(getattr(self, field.name), 1),)
            for field in dataclasses.fields(self)
            if field.name not in ("routes", "servers", *_OPTIONAL)
        }
        for name in _OPTIONAL:
            if (value := getattr(self, name)) is not None:
                parts[name] = (encoder.text(value, 1),)
        parts["schema_version"] = (str(SCHEMA_VERSION),)
        # The path of a route file says where it lay, not what was planned.
        parts["routes"] = (encoder.text(self.routes, 1, omit="file"),)
        servers = sorted(self.servers, key=lambda server: server.name)
        parts["servers"] = encoder.mapping(((one.name, (encoder.text(one, 2, omit="name"),)) for one in servers), 1)
        if digest is not None:
            parts["digest"] = (encoder.text(digest),)
        return encoder.mapping(sorted(parts.items()))
