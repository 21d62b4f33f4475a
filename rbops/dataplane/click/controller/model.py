"""One server's configuration as the template sees it: frozen values, every text from a closed alphabet."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Adjacent", "Association", "Batching", "Core", "Device", "Hop", "Router", "Thread", "UserClass"]


@dataclass(frozen=True, slots=True)
class Device:
    """A port. ``device`` is a parameter (``$EXT0``), ``default`` its value unless the server says otherwise.

    ``mac`` and ``arp`` (the address that ARP answers for, None on internal ports) are as Click reads them;
    ``receives`` maps a core's number to the receive queue that it polls.
    """

    name: str
    device: str
    default: str
    id: int | None
    mac: str
    arp: str | None
    mtu: int
    rate_bps: int
    tx_cpu: int
    receives: dict[int, int]


@dataclass(frozen=True, slots=True)
class Core:
    """Core ``k`` of the data plane: CPU ``cpu``, Click's thread ``thread``."""

    k: int
    cpu: int
    thread: int


@dataclass(frozen=True, slots=True)
class Hop:
    """An output of the look-up, of (``port``, ``adjacency``): ``device`` where ``own``, the frame's new addresses."""

    output: int
    port: int
    adjacency: int
    own: bool
    device: str
    address: str
    mtu: int
    source: str
    mac: str | None


@dataclass(frozen=True, slots=True)
class Adjacent:
    """A neighbour on an own port; ``mac`` None: found by ARP."""

    port: int
    index: int
    mac: str | None


@dataclass(frozen=True, slots=True)
class Thread:
    """The thread that schedules ``element``."""

    element: str
    thread: int


@dataclass(frozen=True, slots=True)
class Batching:
    """Packets per poll, per transaction, ring and queue lengths, and the longest wait of a packet."""

    poll: int
    nic: int
    descriptors: int
    queue: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class UserClass:
    """The user's element class, called Fragment: its text is Click source, as the parser accepted it."""

    text: str
    outputs: int


@dataclass(frozen=True, slots=True)
class Association:
    """A prefix that goes through tunnel ``number`` to ``peer``; ``spi`` of server and tunnel, without the core."""

    prefix: str
    peer: str
    spi: int
    number: int


@dataclass(frozen=True, slots=True)
class Router:
    """Everything that the template writes; ``owners`` and ``via`` are DirectVLB's lists, ``relays`` as in a fly."""

    cluster: str
    server: str
    index: int
    application: str
    dialect: str
    cores: tuple[Core, ...]
    ports: tuple[Device, ...]
    externals: tuple[Device, ...]
    links: tuple[Device, ...]
    hops: tuple[Hop, ...]
    adjacencies: tuple[Adjacent, ...]
    threads: tuple[Thread, ...]
    batching: Batching
    address: str
    owners: str
    via: str
    intermediates: str
    relays: bool
    routing: str
    quota_bps: int
    flowlet_ms: int
    host_device: str
    host_mac: str
    host_peer: str
    fragment: UserClass | None
    associations: tuple[Association, ...]
    own_addresses: tuple[str, ...]
