"""A server as the planner sees it: cores, cards, component bounds and what a packet costs.

Every source of hardware ends here: shipped profiles (``rbops.hardware.profiles``), and
``hardware:`` of a spec or in a file of its own (``rbops.hardware.convert``).

Units are in the names: ``_bps`` bits per second, ``_hz`` hertz, ``_s`` seconds, ``_w`` watts,
``_usd`` US dollars; loads are bytes that one packet moves over a component.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AppCost",
    "BatchingCost",
    "Card",
    "Component",
    "Components",
    "Core",
    "LatencyTerms",
    "Load",
    "Loads",
    "Machine",
    "Slot",
]


@dataclass(frozen=True, slots=True)
class Core:
    """One logical CPU that is online: CPUs with equal (socket, core) are SMT siblings."""

    id: int
    socket: int
    core: int
    numa_node: int


@dataclass(frozen=True, slots=True)
class Card:
    """A network card: ``ports`` of ``port_rate_bps`` each, ``queues`` queue pairs a port.

    ``achievable_bps`` is what the whole card carries per direction (paper 4.1: 12.3 Gbps of a
    2 x 10 Gbps card in a PCIe 1.1 x8 slot); None: the sum of its ports.
    """

    driver: str
    ports: int
    port_rate_bps: int
    queues: int
    achievable_bps: int | None = None

    @property
    def rate_bps(self) -> int:
        """What the card carries per direction."""
        total = self.ports * self.port_rate_bps
        return total if self.achievable_bps is None else min(total, self.achievable_bps)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a card and the cards it may hold; one option when the card is already in it."""

    options: tuple[Card, ...]
    numa_node: int | None = None


@dataclass(frozen=True, slots=True)
class Component:
    """A bus's capacity (paper Table 2): by data sheet, by benchmark, and the bound predictions use.

    ``reason`` says why ``usable_bps`` is what it is.
    """

    nominal_bps: int | None
    empirical_bps: int | None
    usable_bps: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Components:
    """The bounds of one server; None: not known, so never the bottleneck."""

    memory: Component | None = None
    io: Component | None = None
    inter_socket: Component | None = None
    pcie: Component | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Bytes one packet of P bytes moves over a component: ``fixed + per_byte * P``."""

    fixed: float
    per_byte: float

    def of(self, size: float) -> float:
        """The load in bytes of a packet of ``size`` bytes (or of that mean: the load is linear)."""
        return self.fixed + self.per_byte * size


@dataclass(frozen=True, slots=True)
class Loads:
    """Per-packet loads of the buses (paper 5.3, Fig. 10)."""

    memory: Load
    io: Load
    inter_socket: Load
    pcie: Load


@dataclass(frozen=True, slots=True)
class AppCost:
    """Cycles per packet of an application at the reference batching (kp 32, kn 16).

    ``cycles`` is for 64 bytes; each further byte costs ``cycles_per_byte``. ``instructions`` and
    ``cycles_per_instruction`` are paper Table 3's, ``measured_bps`` the loss-free rate they were
    read beside (0: not measured).
    """

    app: str
    cycles: float
    cycles_per_byte: float
    instructions: int = 0
    cycles_per_instruction: float = 0.0
    measured_bps: int = 0


@dataclass(frozen=True, slots=True)
class BatchingCost:
    """Book-keeping cycles per packet: ``base + per_poll / kp + per_transaction / kn`` (paper Table 1)."""

    base: float
    per_poll: float
    per_transaction: float

    def cycles(self, poll: int, nic: int) -> float:
        """Cycles per packet with ``poll`` packets a poll and ``nic`` descriptors a transaction."""
        return self.base + self.per_poll / poll + self.per_transaction / nic

    def scaled(self, factor: float) -> BatchingCost:
        """The same shape with every term times ``factor``."""
        return BatchingCost(self.base * factor, self.per_poll * factor, self.per_transaction * factor)


@dataclass(frozen=True, slots=True)
class LatencyTerms:
    """What one server adds (paper 6.2): DMA transfers, and ``cpu_s`` to route one 64-byte packet."""

    dma_transfers: int
    dma_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Machine:
    """A model of server.

    ``processing_bps`` (None: from the cost model) is a rate taken as given, as the paper does for
    the configurations of Fig. 3. ``external_ports`` caps the external ports one server takes unless
    the spec pins more to it. ``housekeeping`` are the requested CPU ids (None: not said), ``reserve`` how many cores
    to keep from the data plane when none were. ``possible_cpus`` counts the CPU ids the kernel
    reckons with, offline ones too. ``calibrated``: the costs come from measurements on this kind of
    server. ``source`` says where the numbers are from.
    """

    name: str
    source: str
    cores: tuple[Core, ...]
    clock_hz: int
    slots: tuple[Slot, ...]
    components: Components
    loads: Loads
    costs: tuple[AppCost, ...]
    batching: BatchingCost
    latency: LatencyTerms
    calibrated: bool
    processing_bps: int | None = None
    external_ports: int | None = None
    housekeeping: tuple[int, ...] | None = None
    reserve: int = 0
    possible_cpus: int = 0
    power_w: float | None = None
    price_usd: float | None = None
    rack_units: int = 1

    def cost(self, app: str) -> AppCost:
        """The cost of ``app`` (forward, route, ipsec); KeyError when the machine has none."""
        for cost in self.costs:
            if cost.app == app:
                return cost
        raise KeyError(app)

    @property
    def sockets(self) -> int:
        """How many sockets have an online core."""
        return len({core.socket for core in self.cores})
