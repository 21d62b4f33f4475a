"""Direct VLB with flowlets, packet by packet: what one input server decides (paper 3.2, 6.1).

This is the reference. The XDP program, a Click element and the simulator do what this file does;
``tests/vlb/vectors`` drives them all. Integers only: sizes in bytes, time in ticks of 1 ms, rates
in bits per second. No clock and no randomness: the caller says which tick it is.

*Path.* A path is named by the server it goes through first, ``via``. ``via == dest`` is the direct
path (one hop); any other ``via`` is the intermediate (two hops). The port to ``via`` comes from
``next_hop``; servers may share a port (fly) and then share its link bucket.

*State.* Everything is kept per core, and each core holds ``1/cores`` of every rate: for each
destination a direct bucket and a rotation position, for each internal port a link bucket, and one
table of flowlets. Zero is the state of a rotation and of an empty flowlet entry.

*Buckets.* ``refill = rate_bps // (8000 * cores)`` whole bytes a tick (rounded down: all cores
together never exceed the rate). ``depth = max(10 * refill, 2 * max_frame)``, or 0 when refill is 0.
A bucket starts full. ``tokens = min(depth, tokens + elapsed * refill)``; done lazily at first touch
or for every bucket at every tick, the result is the same. A frame *fits* a bucket that holds at
least its size (L2 frame without FCS). Taking stops at zero. ``join = depth - depth // 8`` (at least
1): a bucket holding that much has *headroom*. All of refill, depth and join are constants of the
configuration: nothing is divided per packet.

*Headroom.* A new flowlet looks for a path with headroom first. It will stay, and a path that takes
newcomers as long as any token is left ends up with twice what it can carry, so that its flowlets
are split for ever. Single packets take whatever is left.

*Rotation.* ``direct-vlb``: the slots are ``intermediates`` in the configured order; the slot of
``dest`` is skipped. Server S of M is configured with S+1 ... M-1, 0 ... S-1: bursts that enter several servers
at once then begin at different intermediates, not all at server 0.
``vlb``: the slots are ``intermediates`` and then the server itself; a slot that is ``dest`` or the
server itself means the direct path. With the server among them each slot carries 1/M of the traffic,
which is what holds every link of a mesh at 2R/M; without it, it would be 2R/(M-1).
The position is kept per core *and destination*: one position for all would send what
was meant for ``dest`` to its successor, which would then carry twice its share. It starts at 0 and,
when a slot is taken, moves to the one behind it.

*Choice* of a path for a packet, first that applies; "path fits" means that its link bucket fits, for
the direct path under ``direct-vlb`` also the direct bucket, and that it is alive:

1. only when the packet starts a flowlet: the direct path if it has headroom (``direct-vlb``), then
   the next slot in rotation that has;
2. the direct path if it fits (``direct-vlb``);
3. the next slot in rotation that fits;
4. the next slot in rotation that is alive: the link's queue decides;
5. the direct path if it is alive;
6. none: the packet is dropped and counted as ``no_path``.

*Flowlets.* ``flowlet_ticks`` 0 turns them off: every packet is chosen for alone. Otherwise the entry
at ``flow_hash & (flowlet_entries - 1)`` belongs to the flow when its tag is ``(flow_hash >> 32) | 1``
(0 is an empty entry). It holds the low 16 bits of its last packet's tick, so an entry is 8 bytes. When
``(tick - last) & 0xFFFF <= flowlet_ticks`` and its path is alive, the packet takes that path if it
fits. If not, the flowlet moves as a whole: this packet and those behind it take the path with the most room that
the packet fits, and the entry says so. Only when no path has the room is the packet chosen for alone (a split,
steps 4 to 6) and the entry keeps its path. Its tick is renewed each time. In all other cases the packet starts a
flowlet: the chosen path, its tag and the tick overwrite whatever is there. (A flow silent for a multiple of 65.5 s
may be taken for a running flowlet; it keeps its old path.)

*Room* of a path is what its buckets hold: the tokens of its link bucket, for the direct path under ``direct-vlb`` the
smaller of those and the direct bucket's. Paths are compared in the order direct (``direct-vlb``), then the
rotation's slots from the position of ``dest``, which stays where it is; the first of equals is taken. A flowlet that
moves where most room is does not come back soon: split packet by packet, it would be reordered as long as it lasts.

*Charging.* Every frame put on an internal link takes its size from that port's bucket, whatever
the phase (``forward`` for phase 2); one on the direct path under ``direct-vlb`` also from the direct bucket.

*Shares.* Where one core needs more than ``1/cores`` of a rate and others less, the clock deals the rate anew
(``rbops.vlb.shares``).

*Liveness* may change between any two packets; a path whose link is down is left out everywhere.

*Bundles.* Several cables to one server (``bundles``) have a bucket each. The link of a path is then the live cable of
the bundle whose bucket holds the most tokens, of equals the first, and a flowlet keeps to its cable as it keeps to its
path: where the cable is full it moves, where it is down it starts anew. A phase-2 frame takes the live cable number
``(flow_hash >> 40) mod`` their number. A bundle is down when all of its cables are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from rbops.vlb.shares import BURST_TICKS, MAX_FRAME, Bucket, deal

__all__ = [
    "BURST_TICKS",
    "FLOWLET_ENTRIES",
    "MAX_FLOWLET_TICKS",
    "MAX_FRAME",
    "Bucket",
    "Choice",
    "Core",
    "Flow",
    "InputServer",
    "VlbConfig",
    "flow_hash",
    "flowlet_ticks",
    "refill_bytes",
]

FLOWLET_ENTRIES = 1 << 14
"""Flowlet table entries per core, a power of two; the data plane's loader has the same."""

MAX_FLOWLET_TICKS = 60_000
"""The longest flowlet timeout in ticks: an entry keeps 16 bits of the time."""

_MASK64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Flow:
    """An IPv4 flow: addresses as 32-bit numbers, ports 0 for protocols without and for fragments."""

    source: int
    destination: int
    protocol: int = 17
    source_port: int = 0
    destination_port: int = 0


def flow_hash(flow: Flow) -> int:
    """The 64-bit hash of a flow: multiply and xor-shift.

    The words are what a little-endian machine loads from the packet: the eight bytes of both
    addresses at offset 12 of the IP header, the four bytes of both ports, the protocol above them.
    """
    addresses = int.from_bytes(flow.source.to_bytes(4, "big") + flow.destination.to_bytes(4, "big"), "little")
    ports = int.from_bytes(flow.source_port.to_bytes(2, "big") + flow.destination_port.to_bytes(2, "big"), "little")
    value = addresses * 0x9E3779B97F4A7C15 & _MASK64
    value ^= value >> 32
    value = (value ^ (ports | flow.protocol << 32)) * 0xBF58476D1CE4E5B9 & _MASK64
    value ^= value >> 29
    value = value * 0x94D049BB133111EB & _MASK64
    return value ^ value >> 32


def refill_bytes(rate_bps: int, cores: int) -> int:
    """Bytes one core's bucket gains per tick."""
    return rate_bps // (8000 * cores)


def flowlet_ticks(timeout_s: float) -> int:
    """A flowlet timeout in ticks: rounded, at least 1 unless it is 0 (off), at most 60 s."""
    return min(MAX_FLOWLET_TICKS, max(1, round(timeout_s * 1000))) if timeout_s > 0 else 0


@dataclass(frozen=True, slots=True)
class VlbConfig:
    """One input server.

    ``next_hop``: server -> internal port; ``link_bps``: internal port -> rate; ``intermediates``: the
    rotation's servers without ``server`` itself; ``bundles``: server -> all ports to it, where it has several.
    Raises ValueError when they contradict each other.
    """

    server: int
    next_hop: dict[int, str]
    link_bps: dict[str, int]
    intermediates: tuple[int, ...]
    routing: Literal["direct-vlb", "vlb"] = "direct-vlb"
    cores: int = 1
    direct_quota_bps: int = 0
    flowlet_ticks: int = 100
    flowlet_entries: int = FLOWLET_ENTRIES
    max_frame: int = MAX_FRAME
    bundles: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def ports(self, via: int) -> tuple[str, ...]:
        """The internal ports of the cables to ``via``, in order."""
        return self.bundles.get(via, (self.next_hop[via],))

    def __post_init__(self) -> None:
        if self.cores < 1:
            raise ValueError(f"cores must be at least 1, not {self.cores}")
        if self.flowlet_entries < 1 or self.flowlet_entries & (self.flowlet_entries - 1):
            raise ValueError(f"flowlet_entries must be a power of two, not {self.flowlet_entries}")
        if not 0 <= self.flowlet_ticks <= MAX_FLOWLET_TICKS:
            raise ValueError(f"flowlet_ticks must be 0 to {MAX_FLOWLET_TICKS}, not {self.flowlet_ticks}")
        if self.server in self.next_hop or self.server in self.intermediates:
            raise ValueError(f"server {self.server} is its own next hop or intermediate")
        if unknown := set(self.intermediates) - set(self.next_hop):
            raise ValueError(f"no next hop towards intermediates {sorted(unknown)}")
        if unknown_ports := set(self.next_hop.values()) - set(self.link_bps):
            raise ValueError(f"no rate for ports {sorted(unknown_ports)}")


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a packet goes. ``via`` None: no path is alive. ``how`` says what the flowlet table did.

    ``kept`` the flowlet's path, ``new`` flowlet, ``moved`` with its flowlet, ``split`` from its flowlet, ``alone``
    without flowlets. ``port``: the cable.
    """

    via: int | None
    how: Literal["kept", "new", "moved", "split", "alone"]
    port: str | None = None


@dataclass(slots=True)
class _Flowlet:
    tag: int
    last: int
    via: int
    port: str


class Core:
    """One core's state and decisions."""

    def __init__(
        self, config: VlbConfig, alive: dict[int, bool], tick: int = 0, down: frozenset[str] | set[str] = frozenset()
    ) -> None:
        self._config = config
        self._alive = alive
        self._down = down
        self._quota = config.routing == "direct-vlb"
        self._slots = config.intermediates if self._quota else (*config.intermediates, config.server)
        link = {port: refill_bytes(rate, config.cores) for port, rate in config.link_bps.items()}
        quota = refill_bytes(config.direct_quota_bps, config.cores)
        self.links = {port: Bucket(refill, config.max_frame, tick) for port, refill in link.items()}
        self.direct = {dest: Bucket(quota, config.max_frame, tick) for dest in config.next_hop}
        self.position = dict.fromkeys(config.next_hop, 0)
        self.flowlets: dict[int, _Flowlet] = {}

    def choose(self, tick: int, hashed: int, dest: int, size: int) -> Choice:
        """Decide for and charge one packet of ``size`` bytes for server ``dest`` (never the own one)."""
        self._advance(tick)
        choice = self._decide(tick, hashed, dest, size)
        if choice.via is not None:
            choice = choice if choice.port else replace(choice, port=self._cable(choice.via))
            self._put(choice.port or "", size)
            self.direct[dest].offered += size
            if self._quota and choice.via == dest:
                self.direct[dest].take(size)
        return choice

    def forward(self, tick: int, dest: int, size: int, hashed: int = 0) -> str:
        """Charge a phase-2 frame that leaves for its output server by the direct link; the cable."""
        self._advance(tick)
        ports = self._config.ports(dest)
        live = [port for port in ports if port not in self._down] or ports[:1]
        port = live[(hashed >> 40) % len(live)]
        self._put(port, size)
        return port

    def _put(self, port: str, size: int) -> None:
        link = self.links[port]
        link.offered += size
        link.take(size)

    def _cable(self, via: int) -> str:
        ports = self._config.ports(via)
        live = [port for port in ports if port not in self._down] or ports[:1]
        return max(live, key=lambda port: self.links[port].tokens)

    def _advance(self, tick: int) -> None:
        for bucket in (*self.links.values(), *self.direct.values()):
            bucket.advance(tick)

    def _decide(self, tick: int, hashed: int, dest: int, size: int) -> Choice:
        config = self._config
        if not config.flowlet_ticks:
            return Choice(self._select(dest, size, joining=False), "alone")
        index, tag = hashed & (config.flowlet_entries - 1), hashed >> 32 | 1
        entry = self.flowlets.get(index)
        if entry and entry.tag == tag and self._running(entry, tick):
            entry.last = tick & 0xFFFF
            if all(bucket.tokens >= size for bucket in self._buckets(entry.via, dest, entry.port)):
                return Choice(entry.via, "kept", entry.port)
            if (via := self._roomiest(dest, size)) is not None:
                entry.via, entry.port = via, self._cable(via)
                return Choice(via, "moved", entry.port)
            return Choice(self._select(dest, size, joining=False), "split")
        via = self._select(dest, size, joining=True)
        if via is not None:
            self.flowlets[index] = _Flowlet(tag, tick & 0xFFFF, via, self._cable(via))
        return Choice(via, "new")

    def _running(self, entry: _Flowlet, tick: int) -> bool:
        runs = (tick - entry.last) & 0xFFFF <= self._config.flowlet_ticks
        return runs and self._alive[entry.via] and entry.port not in self._down

    def _select(self, dest: int, size: int, *, joining: bool) -> int | None:
        if joining and self._quota and self._headroom(dest, dest):
            return dest
        if joining and (slot := self._rotate(dest, "headroom", size)) is not None:
            return slot
        if self._quota and self._holds(dest, dest, size):
            return dest
        for condition in ("fits", "alive"):
            if (slot := self._rotate(dest, condition, size)) is not None:
                return slot
        return dest if self._alive[dest] else None

    def _turn(self, dest: int) -> Iterator[tuple[int, int]]:
        """The rotation towards ``dest`` from its position: the position behind each slot, and the slot's path."""
        count = len(self._slots)
        for step in range(count):
            position = (self.position[dest] + step) % count
            via = self._slots[position]
            if not (self._quota and via == dest):
                yield (position + 1) % count, dest if via == self._config.server else via

    def _rotate(self, dest: int, condition: str, size: int) -> int | None:
        for behind, via in self._turn(dest):
            ready = {
                "headroom": self._headroom(via, dest),
                "fits": self._holds(via, dest, size),
                "alive": self._alive[via],
            }
            if ready[condition]:
                self.position[dest] = behind
                return via
        return None

    def _roomiest(self, dest: int, size: int) -> int | None:
        paths = [*((dest,) if self._quota else ()), *(via for _, via in self._turn(dest))]
        fitting = [via for via in paths if self._holds(via, dest, size)]
        return max(fitting, key=lambda via: min(bucket.tokens for bucket in self._buckets(via, dest)), default=None)

    def _buckets(self, via: int, dest: int, port: str | None = None) -> list[Bucket]:
        link = self.links[port or self._cable(via)]
        return [link, self.direct[dest]] if self._quota and via == dest else [link]

    def _holds(self, via: int, dest: int, size: int) -> bool:
        return self._alive[via] and all(bucket.tokens >= size for bucket in self._buckets(via, dest))

    def _headroom(self, via: int, dest: int) -> bool:
        return self._alive[via] and all(bucket.tokens >= bucket.join for bucket in self._buckets(via, dest))


class InputServer:
    """All cores of one server, which share nothing but the configuration and liveness."""

    def __init__(self, config: VlbConfig, tick: int = 0) -> None:
        self.config = config
        self.alive = dict.fromkeys(config.next_hop, True)
        self.down: set[str] = set()
        self.cores = [Core(config, self.alive, tick, self.down) for _ in range(config.cores)]

    def choose(self, tick: int, core: int, flow: Flow, dest: int, size: int) -> Choice:
        """Decide for one packet that ``core`` received; see the module's text."""
        return self.cores[core].choose(tick, flow_hash(flow), dest, size)

    def forward(self, tick: int, core: int, dest: int, size: int, flow: Flow | None = None) -> str:
        """Charge one phase-2 frame that ``core`` passes on to ``dest``; the port that it leaves by."""
        return self.cores[core].forward(tick, dest, size, flow_hash(flow) if flow else 0)

    def deal(self, elapsed: int = 1) -> None:
        """What the clock does after ``elapsed`` ticks: the cores' shares, by what each was offered."""
        cores, config = self.cores, self.config
        for port, rate in config.link_bps.items():
            deal([core.links[port] for core in cores], refill_bytes(rate, config.cores), config.cores, elapsed)
        if config.routing == "direct-vlb":
            base = refill_bytes(config.direct_quota_bps, config.cores)
            for dest in config.next_hop:
                deal([core.direct[dest] for core in cores], base, config.cores, elapsed)

    def set_alive(self, via: int, *, alive: bool) -> None:
        """The link towards ``via`` came up or went down."""
        self.alive[via] = alive

    def set_cable(self, port: str, *, alive: bool) -> None:
        """One cable of a bundle came up or went down; the bundle is down with the last of them."""
        (self.down.discard if alive else self.down.add)(port)
        for via, ports in self.config.bundles.items():
            if port in ports:
                self.alive[via] = not self.down.issuperset(ports)
