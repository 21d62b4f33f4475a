"""The shapes of layout.h, for the loader: one generation's bytes from node.json, counters out of a CPU's block.

Sizes and offsets stand here once; the tests compare them with the object's type information.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from rbops.common.limits import MAX_EXTERNAL_PORTS, MAX_XDP_BUNDLE, MAX_XDP_DEVICES, MAX_XDP_SERVERS
from rbops.dataplane.xdp.guard import OWN_BUCKET, OWN_BUCKETS, PUNTED, Guard, own_addresses, own_addresses6
from rbops.errors import Mismatch, Where
from rbops.node.schema.dataplane import Fabric

__all__ = ["Device", "Fib", "Layout", "config_digest", "generation_bytes", "mac_number", "read_fib"]

MAGIC = 0x52423031
MAX_SERVERS, MAX_DEVICES, MAX_INGRESS = MAX_XDP_SERVERS, MAX_XDP_DEVICES, 1024
MAX_PORTS, MAX_ADJACENCIES, MAX_NEXT_HOPS = MAX_EXTERNAL_PORTS, 8192, 16384
NOWHERE = 0xFFFF
NO_ROUTE, LOCAL, REMOTE, PUNT, PUNT_REMOTE, GROUP, BLACKHOLE, UNREACHABLE, TUNNEL = range(9)
GROUP_BUCKETS = 256
NO_ROUTE_VALUE, TUNNEL_VALUE = 0xFFFFFFFF, 0xFFFFFFFE
TUNNEL_ADJACENCY = 0xFFFF
"""In place of a neighbour's number: the kernel of the port's server encrypts, whichever server takes the packet in."""
_KIND_OF = {NO_ROUTE_VALUE: NO_ROUTE, TUNNEL_VALUE: TUNNEL}
_URPF = {"off": 0, "loose": 2, "strict": 4}
_RELAYS = 8
BURST_TICKS, MAX_FLOWLET_TICKS = 10, 60_000
MAX_REFILL = 200_000_000  # 1.6 Tbit/s: a bucket's bytes fit 31 bits
ETHERNET_HEADER, VLAN_TAG = 14, 4

# How many of each a CPU's block has room for; the names are those of layout.h, in its order.
FORWARDED_COUNT, PUNTED_COUNT, DROPPED_COUNT = 8, 32, 32
PUNT_CLASSES = 8
FORWARDED = ("local", "phase2", "egress")
DROPPED = (
    "other_host",
    "short",
    "version",
    "header_length",
    "total_length",
    "checksum",
    "martian_source",
    "martian_destination",
    "no_path",
    "no_port",
    "no_adjacency",
    "no_device",
    "unknown_ingress",
    "own_source",
    "reverse_path",
    "fabric_mac",
    "unknown_neighbor",
    "blackhole",
    "unreachable",
)
POLICED = tuple(f"policed_{reason}" for reason in PUNTED)

HEAD = struct.Struct("<8IIiiI32s32s4I")
RATES = struct.Struct(f"<{PUNTED_COUNT}I")
DEVICE = struct.Struct("<QIIIiiI")
INGRESS = struct.Struct("<II")
PORT = struct.Struct("<HHHH")
NEXT_HOP = struct.Struct("<QHHHH")
RATES_AT = HEAD.size
ANSWERS_AT = RATES_AT + RATES.size
DEVICES_AT = ANSWERS_AT + 4 * MAX_DEVICES
INGRESS_AT = DEVICES_AT + MAX_DEVICES * DEVICE.size
LINK_AT = INGRESS_AT + MAX_INGRESS * INGRESS.size
ROTATION_AT = LINK_AT + 2 * MAX_SERVERS
PORTS_AT = ROTATION_AT + 2 * MAX_SERVERS
ADJACENCIES_AT = PORTS_AT + MAX_PORTS * PORT.size
NEXT_HOPS_AT = ADJACENCIES_AT + 8 * MAX_ADJACENCIES
OWN_AT = NEXT_HOPS_AT + MAX_NEXT_HOPS * NEXT_HOP.size
OWN6 = struct.Struct("<IIII48x")  # and how the quota is shared: cores, two frames
OWN6_AT = OWN_AT + 4 * OWN_BUCKET * OWN_BUCKETS
ANSWERS6_AT = OWN6_AT + OWN6.size + 16 * OWN_BUCKET * OWN_BUCKETS
GENERATION_SIZE = ANSWERS6_AT + 16 * MAX_DEVICES
ROOT6_AT = 124

CORE_COUNTS = struct.Struct(f"<{FORWARDED_COUNT + 2 * PUNTED_COUNT + DROPPED_COUNT}Q64x")
TRAFFIC = struct.Struct("<QQ")
PORT_TRAFFIC_AT = CORE_COUNTS.size
LINKS_AT = PORT_TRAFFIC_AT + MAX_DEVICES * 32
BUCKET = struct.Struct("<iIIiiiII")
DESTS_AT = LINKS_AT + MAX_DEVICES * BUCKET.size
PUNTS_AT = DESTS_AT + MAX_SERVERS * BUCKET.size
SAMPLED_AT = PUNTS_AT + MAX_DEVICES * PUNTED_COUNT * PUNT_CLASSES * 8
SAMPLED = struct.Struct("<QQ")  # taken, lost
PATHS_AT = SAMPLED_AT + MAX_DEVICES * SAMPLED.size

LAYOUT = struct.Struct("<6I")
LAYOUT_VERSION = 13
TICK_AT, ACTIVE_AT, OBJECT_AT, LINK_STATES_AT = 0, 64, 72, 104
LINK_STATE = struct.Struct("<BBBB")  # no carrier, silent, drained, partial
NO_CARRIER, SILENT, DRAINED, PARTIAL = range(4)
LAYOUT_AT = LINK_STATES_AT + LINK_STATE.size * MAX_SERVERS
PEERS_AT = LAYOUT_AT + LAYOUT.size
PROBES_AT = PEERS_AT + 8 * MAX_DEVICES
PROBE = struct.Struct("<QQIIIIIIII")
CUT_AT = PROBES_AT + PROBE.size * MAX_DEVICES
CUT_BYTES = MAX_SERVERS // 8
CABLES_AT = CUT_AT + CUT_BYTES * MAX_SERVERS
CABLE = struct.Struct("<BB")  # NO_CARRIER, SILENT
SAID_AT = CABLES_AT + CABLE.size * MAX_DEVICES
SAID = struct.Struct(f"<IHH{CUT_BYTES}s")
SAMPLING_AT = SAID_AT + SAID.size * MAX_DEVICES
SAMPLING = struct.Struct("<I4x")
CONTROL_SIZE = SAMPLING_AT + SAMPLING.size
SAMPLE = struct.Struct("<IIII128s")  # device, size, captured bytes, rate, header

_FIB_HEADER = struct.Struct("<8sIIIIII28x")
_FIB_MAGIC, _FIB_VERSION = b"RBFIB\0\0\0", 1
_ROOT6_BYTES = 65536 * 4
_SLACK = 576  # a look-up may read that far behind the last chunk


@dataclass(frozen=True, slots=True)
class Device:
    """A network device of the data plane: its number is its place in the list. ``mac`` is 6 bytes, ``mtu`` bytes.

    ``driver`` is empty where it is not known.
    """

    name: str
    ifindex: int
    mac: bytes
    mtu: int
    driver: str = ""

    @property
    def keeps_packet_type(self) -> bool:
        """Whether the kernel's packet type is from before XDP rewrote the MAC (layout.h)."""
        return self.driver == "veth"


@dataclass(frozen=True, slots=True)
class Fib:
    """A compiled forwarding table (fib.py): next-hop values by number, bytes per number, the body to search.

    ``root6``: where its IPv6 part begins, 0 where there is none.
    """

    values: tuple[int, ...]
    width: int
    body: memoryview
    sha256: bytes
    root6: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """What must be equal for maps to be used again by another program.

    ``flowlets`` counts entries per CPU, ``devices`` is a digest of the ports' names in order, ``body``
    has bytes.
    """

    cpus: int
    servers: int
    flowlets: int
    devices: int
    body: int

    @property
    def generation(self) -> int:
        """One generation: configuration, then the table's body."""
        return GENERATION_SIZE + self.body

    @property
    def core(self) -> int:
        """One CPU's block, in whole pages."""
        return -(-(PATHS_AT + TRAFFIC.size * self.servers**2 + 8 * self.flowlets) // 4096) * 4096

    def pack(self) -> bytes:
        """As it stands in ``struct control``."""
        return LAYOUT.pack(LAYOUT_VERSION, self.cpus, self.servers, self.flowlets, self.devices, self.body)

    @classmethod
    def unpack(cls, raw: bytes) -> Layout | None:
        """The layout of loaded maps; None when another version of the loader made them."""
        version, *fields = LAYOUT.unpack(raw)
        return cls(*fields) if version == LAYOUT_VERSION else None

    @classmethod
    def wanted(cls, fabric: Fabric, *, cpus: int, flowlets: int, fib: Fib, routes: int = 0) -> Layout:
        """Room for ``fib`` and a quarter more, so that a growing table does not need new maps each time.

        ``routes`` that come later have room besides: of the densest tables each takes 8 bytes, and as much while it
        is replaced.
        """
        # Counters belong to a device's number: other devices, or the same in another order, need new ones.
        names = "\0".join(f"{port.name} {port.kind}" for port in fabric.ports)
        devices = int.from_bytes(hashlib.sha256(names.encode()).digest()[:4], "little")
        body = -(-(len(fib.body) * 5 // 4 + 12 * routes + _SLACK) // (1 << 18)) * (1 << 18)
        return cls(cpus, fabric.servers, flowlets, devices, body)

    def is_outgrown_by(self, other: Layout) -> bool:
        """Whether ``other`` differs in nothing but more room for the table."""
        return replace(self, body=other.body) == other and other.body > self.body

    def holds(self, other: Layout, fib: Fib, routes: int = 0) -> bool:
        """Whether ``fib`` goes into maps of this layout, where ``other`` is what would be made anew."""
        room = other.body if routes else len(fib.body) + _SLACK
        return replace(self, body=other.body) == other and room <= self.body


def read_fib(blob: bytes, name: str) -> Fib:
    """The table in ``blob``; raises Mismatch naming the file when it is cut, foreign or of another version."""
    hint = "render and push it again with the rbops that this server runs"
    if len(blob) < _FIB_HEADER.size:
        raise Mismatch(
            f"not a forwarding table: {len(blob)} bytes", hint=hint, code="fib.damaged", where=Where(file=name)
        )
    magic, version, _routes, count, width, size, root6 = _FIB_HEADER.unpack_from(blob)
    if magic != _FIB_MAGIC:
        raise Mismatch("not a forwarding table", hint=hint, code="fib.damaged", where=Where(file=name))
    if version != _FIB_VERSION:
        raise Mismatch(
            f"table format {version}, expected {_FIB_VERSION}",
            hint=hint,
            code="fib.version",
            where=Where(file=name),
        )
    at = _FIB_HEADER.size + 4 * count
    start = at + -at % 64
    whole = start + size == len(blob) and (not root6 or (root6 % 4 == 0 and root6 + _ROOT6_BYTES <= size))
    if not whole or not 1 <= count <= MAX_NEXT_HOPS or width not in (1, 2):
        raise Mismatch(
            f"the file is damaged: {len(blob)} bytes, expected {start + size}",
            hint=hint,
            code="fib.damaged",
            where=Where(file=name),
        )
    values = struct.unpack_from(f"<{count}I", blob, _FIB_HEADER.size)
    return Fib(values, width, memoryview(blob)[start:], hashlib.sha256(blob).digest(), root6)


def generation_bytes(fabric: Fabric, guard: Guard, devices: Sequence[Device], fib: Fib, serial: int) -> bytes:
    """The configured part of a generation; the table's body goes behind it.

    ``devices`` are in the order of the fabric's ``ports``. Raises Mismatch for
    what the data plane cannot hold.
    """
    _check_sizes(fabric, devices)
    out = bytearray(GENERATION_SIZE)
    cores, quota = len(fabric.cores), fabric.routing == "direct-vlb"
    rotation = list(fabric.intermediates)
    if not quota:
        rotation.append(fabric.server)
    ticks = _flowlet_ticks(fabric.flowlet_timeout_s)
    frame = max((device.mtu for device in devices), default=1500) + ETHERNET_HEADER
    direct = _rate(fabric.direct_quota_bps, cores, frame)
    head = (MAGIC, fabric.server, int(quota), len(rotation), ticks, fib.width - 1, (1 << 8 * fib.width) - 1, serial)
    buckets = max(len(devices), fabric.servers)
    own = own_addresses(guard.addresses)
    digest = config_digest(fabric, guard, devices)
    HEAD.pack_into(out, 0, *head, *direct, fib.sha256, digest, buckets, own.factor, own.shift, fib.root6)
    struct.pack_into(f"<{len(PUNTED)}I", out, RATES_AT, *(guard.punts.get(reason, 0) for reason in PUNTED))
    out[OWN_AT : OWN_AT + len(own.table)] = own.table
    own6 = own_addresses6(guard.addresses)
    OWN6.pack_into(out, OWN6_AT, own6.factor, own6.shift, cores, 2 * frame)
    out[OWN6_AT + OWN6.size : OWN6_AT + OWN6.size + len(own6.table)] = own6.table
    _write_devices(out, fabric, guard, devices, frame)
    number = {port.name: at for at, port in enumerate(fabric.ports)}
    links = [number[fabric.next_hop[to]] if to in fabric.next_hop else NOWHERE for to in range(MAX_SERVERS)]
    struct.pack_into(f"<{MAX_SERVERS}H", out, LINK_AT, *links)
    struct.pack_into(f"<{len(rotation)}H", out, ROTATION_AT, *rotation)
    adjacencies = _write_ports(out, fabric)
    for at, value in enumerate(fib.values):
        NEXT_HOP.pack_into(out, NEXT_HOPS_AT + at * NEXT_HOP.size, *_next_hop(fabric, adjacencies, value))
    return bytes(out)


def config_digest(fabric: Fabric, guard: Guard, devices: Sequence[Device]) -> bytes:
    """SHA-256 over what a generation holds besides the table."""
    facts = [[device.name, device.ifindex, device.mac.hex(), device.mtu, device.driver] for device in devices]
    text = json.dumps([fabric.to_json(), guard.to_json(), facts], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def mac_number(mac: bytes) -> int:
    """A MAC as the data plane loads it from a frame."""
    return int.from_bytes(mac, "little")


def _flowlet_ticks(timeout_s: float) -> int:
    return min(MAX_FLOWLET_TICKS, max(1, round(timeout_s * 1000))) if timeout_s > 0 else 0


def _rate(rate_bps: int, cores: int, frame: int) -> tuple[int, int, int, int]:
    """A bucket's refill, depth and slack (depth - join), as rbops/vlb/model.py defines them."""
    refill = min(rate_bps // (8000 * cores), MAX_REFILL)
    depth = max(BURST_TICKS * refill, 2 * frame) if refill else 0
    return refill, depth, depth - max(1, depth - depth // 8), 0


def _check_sizes(fabric: Fabric, devices: Sequence[Device]) -> None:
    limits = (
        ("servers", fabric.servers, MAX_SERVERS),
        ("external ports", len(fabric.owners), MAX_PORTS),
        ("devices on one server", len(devices), MAX_DEVICES),
        ("neighbours on one server", len(fabric.adjacencies), MAX_ADJACENCIES),
        (
            "cables to one server",
            max((len(fabric.bundle(n)) for n in fabric.next_hop.values()), default=0),
            MAX_XDP_BUNDLE,
        ),
    )
    for what, count, limit in limits:
        if count > limit:
            raise Mismatch(
                f"{count} {what}: the XDP data plane holds {limit}",
                hint="plan fewer servers with more external ports each",
                code="xdp.capacity",
            )


def _write_devices(out: bytearray, fabric: Fabric, guard: Guard, devices: Sequence[Device], frame: int) -> None:
    taken: dict[int, str] = {}
    siblings = _siblings(fabric)
    for at, (port, device) in enumerate(zip(fabric.ports, devices, strict=True)):
        rate = _rate(port.rate_bps, len(fabric.cores), frame) if port.kind == "internal" else (0, 0, 0, 0)
        rate = (*rate[:3], siblings.get(at, at))
        longest = device.mtu + ETHERNET_HEADER
        flags = int(device.keeps_packet_type) | _URPF[guard.urpf.get(port.name, "off")]
        flags |= _RELAYS if fabric.relays and port.kind == "internal" else 0
        DEVICE.pack_into(out, DEVICES_AT + at * DEVICE.size, mac_number(device.mac), longest, flags, *rate)
        if port.name in guard.answer_from:
            place = ANSWERS_AT + 4 * at
            out[place : place + 4] = IPv4Address(guard.answer_from[port.name]).packed
        if port.name in guard.answer_from6:
            place = ANSWERS6_AT + 16 * at
            out[place : place + 16] = IPv6Address(guard.answer_from6[port.name]).packed
        place = device.ifindex % MAX_INGRESS
        if place in taken:
            hint = "create one of the devices anew, so that it gets another index"
            raise Mismatch(
                f"{device.name} and {taken[place]} have interface indexes {MAX_INGRESS} apart",
                hint=hint,
                code="xdp.interface-index",
            )
        taken[place] = device.name
        INGRESS.pack_into(out, INGRESS_AT + place * INGRESS.size, device.ifindex, at)


def _siblings(fabric: Fabric) -> dict[int, int]:
    """Port -> the next cable to the same server, by places in the fabric's list; of those that packets leave by."""
    place = {port.name: at for at, port in enumerate(fabric.ports)}
    found: dict[int, int] = {}
    for first in fabric.next_hop.values():
        ring = [place[name] for name in fabric.bundle(first)]
        found |= dict(zip(ring, (*ring[1:], ring[0]), strict=True))
    return found


def _write_ports(out: bytearray, fabric: Fabric) -> dict[tuple[int, int], tuple[int, int]]:
    """Ports and their adjacencies; returns (port, adjacency) -> (device, MAC) for those of this server.

    Adjacency 0 is the kernel's, its MAC 0.
    """
    owners, server = fabric.owners, fabric.server
    own = {port.id: at for at, port in enumerate(fabric.ports) if port.id is not None}
    macs: dict[int, dict[int, int]] = {port: {} for port in own}
    for entry in fabric.adjacencies:
        macs[entry.port][entry.index] = mac_number(bytes.fromhex(entry.mac.replace(":", "")))
    first, found = 0, {(port, 0): (at, 0) for port, at in own.items()}
    for port in range(MAX_PORTS):
        owner = owners[port] if port < len(owners) else NOWHERE
        count = max(macs.get(port, {}), default=0)
        if owner == server and port not in own:
            raise Mismatch(
                f"port {port} belongs to this server, but has no device",
                hint="render the server again",
                code="xdp.no-device",
            )
        PORT.pack_into(out, PORTS_AT + port * PORT.size, owner, own.get(port, 0), first, count)
        for index in range(1, count + 1):
            mac = macs[port].get(index, 0)
            struct.pack_into("<Q", out, ADJACENCIES_AT + 8 * (first + index - 1), mac)
            found[port, index] = (own[port], mac)
        first += count
    return found


def _next_hop(
    fabric: Fabric, adjacencies: Mapping[tuple[int, int], tuple[int, int]], value: int
) -> tuple[int, int, int, int, int]:
    """One resolved next hop: MAC, kind, owner, device."""
    if value in _KIND_OF:
        return 0, _KIND_OF[value], 0, 0, 0
    port, adjacency = value >> 16, value & 0xFFFF
    if port >= len(fabric.owners):
        raise Mismatch(f"the forwarding table leads to port {port}, which does not exist", code="fib.port")
    owner = fabric.owners[port]
    if owner != fabric.server:
        mac = mac_number(struct.pack(">HHH", 0x0252, port, adjacency))
        # The kernel that encrypts counts the hop, as of all that kernels are given.
        return mac, PUNT_REMOTE if adjacency in (0, TUNNEL_ADJACENCY) else REMOTE, owner, 0, 0
    if adjacency == TUNNEL_ADJACENCY:
        return 0, TUNNEL, owner, 0, 0
    if (port, adjacency) not in adjacencies:
        raise Mismatch(
            f"the forwarding table leads to neighbour {adjacency} of port {port}, which is not configured",
            code="fib.neighbour",
        )
    device, mac = adjacencies[port, adjacency]
    return mac, LOCAL if adjacency else PUNT, owner, device, 0
