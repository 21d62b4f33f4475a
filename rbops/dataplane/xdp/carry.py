"""What new memory takes over from the memory that it replaces. Standard library only.

Another number of servers, or other ports, need new memory. Flowlets, buckets and what is known of cables are copied
into it before its programs are attached. Counters are not: packets count in the old memory until every port has its
new program, and in the new one from its first on. So what the old one counted in the end is kept beside the new one,
where no packet writes, and added whenever counters are read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.counters import added, read_counters, shown
from rbops.dataplane.xdp.libbpf import Map
from rbops.dataplane.xdp.pins import Loaded
from rbops.node.schema.dataplane import Fabric, FabricPort

__all__ = ["about", "counters_of", "seed"]

_TICK_AT = shape.CORE_COUNTS.size - 64
_TICK = struct.Struct("<I")
_POSITION = 8
"""A bucket's first bytes: what is missing to full, and the position in the rotation."""
_PUNTS = shape.PUNTED_COUNT * shape.PUNT_CLASSES * 8


def about(fabric: Fabric, before: Loaded | None) -> Map:
    """What is kept beside new memory: the names and kinds of its ports, and what was counted in the memory ``before``.

    All ports have new programs by then, and no packet is under way in the old ones.
    """
    carried = {} if before is None else _counted(before)
    if carried and not _is_numbered_alike(before, fabric):
        carried["paths"] = []
    text = json.dumps({"ports": [[port.name, port.kind] for port in fabric.ports], "carried": carried}).encode()
    made = Map.shared("rbops_about", len(text))
    made.memory()[: len(text)] = text
    return made


def counters_of(loaded: Loaded, fabric: Fabric) -> dict[str, Any]:
    """All counters, since the programs were loaded first."""
    found = read_counters(fabric.ports, fabric.cores, loaded.layout, loaded.memory("cores"))
    kept = _about(loaded)
    return shown(fabric, added(found, kept.carried) if kept else found)


def seed(before: Loaded, loaded: Loaded, fabric: Fabric) -> None:
    """Give new memory the old one's flowlets, buckets, and what is known of cables and servers; not who is drained.

    Nothing where servers have other numbers than before: then none of it would mean the same.
    """
    kept = _about(before)
    if kept is None or not _is_numbered_alike(before, fabric):
        return
    moved = _moved(kept, fabric)
    servers = min(before.layout.servers, loaded.layout.servers)
    _seed_control(before.memory("control"), loaded.memory("control"), servers, moved)
    cores, old_cores = loaded.memory("cores"), before.memory("cores")
    for cpu in range(min(before.layout.cpus, loaded.layout.cpus)):
        old = old_cores[cpu * before.layout.core : (cpu + 1) * before.layout.core]
        if _TICK.unpack_from(old, _TICK_AT)[0]:
            new = cores[cpu * loaded.layout.core : (cpu + 1) * loaded.layout.core]
            _seed_core(old, new, servers, moved)
            if before.layout.flowlets == loaded.layout.flowlets:
                _seed_flowlets(_flowlets(before, old), _flowlets(loaded, new), moved, frozenset(fabric.next_hop))


@dataclass(frozen=True, slots=True)
class _About:
    """``ports``: by number; ``carried``: counters of earlier memory."""

    ports: tuple[FabricPort, ...]
    carried: dict[str, Any]


def _about(loaded: Loaded) -> _About | None:
    """None for memory that was made by a version that kept nothing beside it."""
    if loaded.about is None:
        return None
    raw = json.loads(bytes(loaded.about.memory()[: loaded.about.value_size]))
    return _About(tuple(FabricPort(name, kind, 0) for name, kind in raw["ports"]), raw["carried"])


def _counted(before: Loaded) -> dict[str, Any]:
    kept = _about(before)
    if kept is None:
        return {}
    return added(read_counters(kept.ports, (), before.layout, before.memory("cores")), kept.carried)


def _moved(kept: _About, fabric: Fabric) -> dict[int, int]:
    """A port's number in the old memory -> in the new one, of ports that both have."""
    now = {(port.name, port.kind): number for number, port in enumerate(fabric.ports)}
    return {at: now[port.name, port.kind] for at, port in enumerate(kept.ports) if (port.name, port.kind) in now}


def _is_numbered_alike(before: Loaded | None, fabric: Fabric) -> bool:
    """Whether this server, and those behind each port, have the numbers that they had."""
    kept = _about(before) if before else None
    if before is None or kept is None:
        return False
    arena, at = before.memory("arena"), before.active * before.layout.generation
    if shape.HEAD.unpack_from(arena, at)[1] != fabric.server:
        return False
    links = struct.unpack_from(f"<{shape.MAX_SERVERS}H", arena, at + shape.LINK_AT)
    leads = {to: kept.ports[port].name for to, port in enumerate(links) if port < len(kept.ports)}
    return all(fabric.next_hop.get(to) == name for to, name in leads.items() if to < fabric.servers)


def _seed_control(old: memoryview, new: memoryview, servers: int, moved: Mapping[int, int]) -> None:
    if not any(new[shape.TICK_AT : shape.TICK_AT + 4]):  # no clock runs
        new[shape.TICK_AT : shape.TICK_AT + 4] = old[shape.TICK_AT : shape.TICK_AT + 4]
    for server in range(servers):
        at = shape.LINK_STATES_AT + shape.LINK_STATE.size * server
        for what in (shape.NO_CARRIER, shape.SILENT, shape.PARTIAL):
            new[at + what] = old[at + what]
    end = shape.CUT_AT + shape.CUT_BYTES * servers
    new[shape.CUT_AT : end] = old[shape.CUT_AT : end]
    for start, size in ((shape.PROBES_AT, shape.PROBE.size), (shape.CABLES_AT, shape.CABLE.size)):
        _copy(old, new, start, size, moved)


def _seed_core(old: memoryview, new: memoryview, servers: int, moved: Mapping[int, int]) -> None:
    _TICK.pack_into(new, _TICK_AT, *_TICK.unpack_from(old, _TICK_AT))
    _copy(old, new, shape.LINKS_AT, shape.BUCKET.size, moved, _POSITION)
    _copy(old, new, shape.DESTS_AT, shape.BUCKET.size, {server: server for server in range(servers)}, _POSITION)
    _copy(old, new, shape.PUNTS_AT, _PUNTS, moved)


def _copy(
    old: memoryview, new: memoryview, start: int, size: int, moved: Mapping[int, int], first: int | None = None
) -> None:
    """Of an array's elements the ``first`` bytes, or all."""
    for was, now in moved.items():
        source, target, count = start + size * was, start + size * now, first or size
        new[target : target + count] = old[source : source + count]


def _flowlets(loaded: Loaded, core: memoryview) -> memoryview:
    at = shape.PATHS_AT + shape.TRAFFIC.size * loaded.layout.servers**2
    return core[at : at + 8 * loaded.layout.flowlets].cast("Q")


def _seed_flowlets(old: memoryview, new: memoryview, moved: Mapping[int, int], reached: frozenset[int]) -> None:
    """Those whose path is still there: its cable, and its first server, which is one of ``reached``."""
    entries: Sequence[int] = old.tolist()
    for at, entry in enumerate(entries):
        if entry and (entry >> 16 & 0xFF) in reached and (cable := moved.get(entry >> 24 & 0xFF)) is not None:
            new[at] = entry & ~(0xFF << 24) | cable << 24
