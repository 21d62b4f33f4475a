"""Path choice for whole traces: ``rbops.vlb.model``'s rules, compiled, on every server and core at once.

The model decides the same packet by packet and is the text to read first; ``tests/vlb`` holds the two together. Links
are all up here. A core's part of a bucket is fixed, or, where it is asked for, dealt anew once a tick as in
:mod:`rbops.vlb.shares`. What an intermediate server sends on takes from its link's bucket when the packet enters the
cluster, on the core of the same number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rbops.vlb.compiled import Records, compiled
from rbops.vlb.model import BURST_TICKS, FLOWLET_ENTRIES, MAX_FRAME, flowlet_ticks, refill_bytes
from rbops.vlb.network import Network
from rbops.vlb.shares import MAX_REFILL
from rbops.vlb.trace import TICK_NS, Trace

__all__ = ["LOCAL", "Chosen", "choose_paths"]

LOCAL = -1
"""The ``via`` of a packet whose output port is on its own server."""

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Narrow = npt.NDArray[np.int32]

_FITS, _HEADROOM, _ALIVE = 0, 1, 2
"""What a path must have to be chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A code per packet, and what each code means: ``via`` and ``row``, the row of the network's routes to it.

    ``several[f]``: flow f took more than one path.
    """

    codes: Narrow
    via: npt.NDArray[np.int16]
    row: Narrow
    several: Bools


class _Shape(NamedTuple):
    """M, cores of a server, slots of a rotation, whether there is a direct quota, the flowlet timeout in ticks.

    ``links``, and whether the cores' parts are ``dealt``.
    """

    servers: int
    cores: int
    slots: int
    quota: bool
    timeout: int
    links: int
    dealt: bool


# Records keep what is used together in one cache line. A core is numbered ``server * cores + core``; a path, or a
# destination as its core sees it, ``core number * M + server``. Times are in ticks, sizes in bytes.
_BUCKET = np.dtype(
    [
        (name, np.int64)
        for name in ("tokens", "touched", "refill", "depth", "join", "base", "offered", "seen", "peak", "need")
    ]
)
_PATH = np.dtype([("link", np.int64), ("direct", np.int64), ("position", np.int64)])
"""The buckets of the link and of the direct path, and where the rotation towards it is."""
_FLOWLET = np.dtype([("owner", np.int64), ("seen", np.int64), ("path", np.int64)])
_FLOW = np.dtype([("dest", np.int64), ("entry", np.int64), ("last", np.int64), ("several", np.bool_)])
"""``dest`` -1: on its own server; ``last``: the path it took last, -1 before the first packet."""


def choose_paths(network: Network, trace: Trace, *, dealt: bool = False) -> Chosen:
    """Each packet's path: ``via[codes]`` is its first server, LOCAL where it stays on its own.

    ``dealt``: the cores of a server share each bucket anew in every tick.
    """
    forwarder, servers = network.forwarder, network.port_servers
    quota = forwarder.routing == "direct-vlb"
    timeout = flowlet_ticks(forwarder.flowlet_timeout_s)
    slots = servers - 1 if quota else servers
    shape = _Shape(servers, forwarder.cores, slots, quota, timeout, len(network.ends), dealt)
    ticks = trace.time // TICK_NS
    flows, flowlets = _flows(network, trace)
    codes = np.empty(trace.packets, dtype=np.int32)
    _choose(
        shape, _buckets(network, int(ticks[0])), _paths(network), flowlets, flows, ticks, trace.flow, trace.size, codes
    )
    number, via = np.divmod(np.arange(servers * servers * forwarder.cores), servers)
    row = np.append(number // forwarder.cores * servers + via, 0).astype(np.int32)
    return Chosen(codes, np.append(via, LOCAL).astype(np.int16), row, flows["several"].copy())


def _flows(network: Network, trace: Trace) -> tuple[Records, Records]:
    """The flows, and the entries of the flowlet tables that they use: only those are kept."""
    source, dest = network.owners[trace.flow_in], network.owners[trace.flow_out]
    cores = network.forwarder.cores
    number = source * cores + (trace.flow_hash >> np.uint64(40)).astype(np.int64) % cores
    entry = number * FLOWLET_ENTRIES + (trace.flow_hash & np.uint64(FLOWLET_ENTRIES - 1)).astype(np.int64)
    used, entry = np.unique(entry, return_inverse=True)
    flows, flowlets = np.zeros(len(entry), dtype=_FLOW), np.zeros(len(used), dtype=_FLOWLET)
    flows["dest"] = np.where(source == dest, -1, number * network.port_servers + dest)
    flows["entry"], flows["last"], flowlets["owner"] = entry.reshape(-1), -1, -1
    return flows, flowlets


def _buckets(network: Network, tick: int) -> Records:
    """Those of links, ``core * links + link``, then those of direct paths, by path; all full."""
    forwarder, cores = network.forwarder, network.forwarder.cores
    links = [refill_bytes(int(rate), cores) for rate in network.link_bps] * cores
    direct = [refill_bytes(forwarder.direct_quota_bps, cores)] * (network.port_servers**2 * cores)
    buckets = np.zeros(len(links) + len(direct), dtype=_BUCKET)
    buckets["refill"] = buckets["base"] = refill = np.array(links + direct)
    buckets["depth"] = depth = np.where(refill > 0, np.maximum(BURST_TICKS * refill, 2 * MAX_FRAME), 0)
    buckets["join"] = np.maximum(1, depth - depth // 8)
    buckets["tokens"], buckets["touched"] = depth, tick
    return buckets


def _paths(network: Network) -> Records:
    servers, cores, links = network.port_servers, network.forwarder.cores, len(network.ends)
    paths = np.zeros(servers * cores * servers, dtype=_PATH)
    number, via = np.divmod(np.arange(len(paths)), servers)
    paths["link"] = number % cores * links + network.routes[number // cores * servers + via, 0]
    paths["direct"] = links * cores + np.arange(len(paths))
    return paths


@compiled
def _choose(
    shape: _Shape,
    buckets: Records,
    paths: Records,
    flowlets: Records,
    flows: Records,
    ticks: Ints,
    flow: Narrow,
    size: Narrow,
    codes: Narrow,
) -> None:
    local, now = len(paths), ticks[0]
    for packet in range(len(flow)):
        f, tick, octets = flow[packet], ticks[packet], size[packet]
        if shape.dealt and now < tick:
            _tick(shape, buckets, tick - now)
            now = tick
        dest = flows[f].dest
        if dest < 0:
            codes[packet] = local
            continue
        path = _decide(shape, buckets, paths, flowlets, flows[f].entry, f, dest, tick, octets)
        codes[packet] = path
        if flows[f].last != path:
            flows[f].several |= flows[f].last >= 0
            flows[f].last = path
        # For the quota all that is for that server, whatever path it takes.
        buckets[paths[dest].direct].offered += octets
        _put(buckets, paths[path].link, tick, octets)
        if path != dest:
            _put(buckets, paths[_onward(shape, path, dest)].link, tick, octets)
        elif shape.quota:
            _take(buckets, paths[dest].direct, tick, octets)


@compiled
def _put(buckets: Records, link: int, tick: int, size: int) -> None:
    _take(buckets, link, tick, size)
    buckets[link].offered += size


@compiled
def _tick(shape: _Shape, buckets: Records, ticks: int) -> None:
    """Deal the parts of each link and each direct quota, once a tick."""
    for _ in range(min(ticks, 200)):
        for link in range(shape.links):
            _deal(buckets, link, shape.links, shape.cores)
        for pair in range(shape.servers * shape.servers):
            source, dest = divmod(pair, shape.servers)
            first = shape.links * shape.cores + source * shape.cores * shape.servers + dest
            _deal(buckets, first, shape.servers, shape.cores)


@compiled
def _deal(buckets: Records, first: int, step: int, cores: int) -> None:
    """``rbops.vlb.shares.deal`` for the buckets ``first``, ``first + step``, ... of a server's cores."""
    kept = wanted = 0
    base = buckets[first].base
    for core in range(cores):
        at = first + core * step
        rate = buckets[at].offered - buckets[at].seen
        buckets[at].seen = buckets[at].offered
        peak = buckets[at].peak
        faded = peak - (peak // 16 + 1) if peak else 0
        buckets[at].peak = peak = max(rate, faded)
        buckets[at].need = need = peak + peak // 8 if peak < MAX_REFILL else MAX_REFILL
        kept += min(need, base)
        wanted += max(0, need - base)
    spare = max(0, base * cores - kept)
    for core in range(cores):
        at = first + core * step
        need = buckets[at].need
        if not wanted:
            refill = base
        elif wanted >= spare:
            refill = min(need, base) + spare * max(0, need - base) // wanted
        else:
            refill = need + (spare - wanted) // cores
        refill = min(refill, MAX_REFILL)
        if refill != buckets[at].refill:
            missing = buckets[at].depth - buckets[at].tokens
            depth = max(BURST_TICKS * refill, 2 * MAX_FRAME) if refill else 0
            buckets[at].refill, buckets[at].depth = refill, depth
            buckets[at].join = max(1, depth - depth // 8)
            buckets[at].tokens = depth - missing


@compiled
def _onward(shape: _Shape, path: int, dest: int) -> int:
    """The path from the intermediate to the destination, on the core of the same number."""
    core = path // shape.servers % shape.cores
    return (path % shape.servers * shape.cores + core) * shape.servers + dest % shape.servers


@compiled
def _decide(
    shape: _Shape,
    buckets: Records,
    paths: Records,
    flowlets: Records,
    entry: int,
    f: int,
    dest: int,
    tick: int,
    size: int,
) -> int:
    """The model's ``Core._decide``."""
    if not shape.timeout:
        return _select(shape, buckets, paths, dest, tick, size, joining=False)
    if flowlets[entry].owner == f and tick - flowlets[entry].seen <= shape.timeout:
        flowlets[entry].seen = tick
        path: int = flowlets[entry].path
        if _room(shape, buckets, paths, path, dest, tick) >= size:
            return path
        path = _roomiest(shape, buckets, paths, dest, tick, size)
        if path < 0:
            return _select(shape, buckets, paths, dest, tick, size, joining=False)
    else:
        path = _select(shape, buckets, paths, dest, tick, size, joining=True)
        flowlets[entry].owner, flowlets[entry].seen = f, tick
    flowlets[entry].path = path
    return path


@compiled
def _select(shape: _Shape, buckets: Records, paths: Records, dest: int, tick: int, size: int, joining: bool) -> int:
    """The model's ``Core._select``."""
    if joining:
        if shape.quota and _headroom(shape, buckets, paths, dest, dest, tick):
            return dest
        path = _rotate(shape, buckets, paths, dest, tick, size, _HEADROOM)
        if path >= 0:
            return path
    if shape.quota and _room(shape, buckets, paths, dest, dest, tick) >= size:
        return dest
    path = _rotate(shape, buckets, paths, dest, tick, size, _FITS)
    if path < 0:
        path = _rotate(shape, buckets, paths, dest, tick, size, _ALIVE)
    return path if path >= 0 else dest


@compiled
def _slot(shape: _Shape, dest: int, position: int) -> int:
    """The path of a slot of the rotation; -1 where the rotation leaves it out."""
    server = dest // shape.servers // shape.cores
    via = (server + 1 + position) % shape.servers
    path = dest - dest % shape.servers + via
    if via == server:
        return dest
    return -1 if shape.quota and path == dest else path


@compiled
def _rotate(shape: _Shape, buckets: Records, paths: Records, dest: int, tick: int, size: int, condition: int) -> int:
    for step in range(shape.slots):
        position = (paths[dest].position + step) % shape.slots
        path = _slot(shape, dest, position)
        if path < 0:
            continue
        if (
            condition == _ALIVE
            or (condition == _FITS and _room(shape, buckets, paths, path, dest, tick) >= size)
            or (condition == _HEADROOM and _headroom(shape, buckets, paths, path, dest, tick))
        ):
            paths[dest].position = (position + 1) % shape.slots
            return path
    return -1


@compiled
def _roomiest(shape: _Shape, buckets: Records, paths: Records, dest: int, tick: int, size: int) -> int:
    best, most = -1, size - 1
    if shape.quota and _room(shape, buckets, paths, dest, dest, tick) > most:
        best, most = dest, _room(shape, buckets, paths, dest, dest, tick)
    for step in range(shape.slots):
        path = _slot(shape, dest, (paths[dest].position + step) % shape.slots)
        if path >= 0 and _room(shape, buckets, paths, path, dest, tick) > most:
            best, most = path, _room(shape, buckets, paths, path, dest, tick)
    return best


@compiled
def _room(shape: _Shape, buckets: Records, paths: Records, path: int, dest: int, tick: int) -> int:
    room = _tokens(buckets, paths[path].link, tick)
    if shape.quota and path == dest:
        return min(room, _tokens(buckets, paths[dest].direct, tick))
    return room


@compiled
def _headroom(shape: _Shape, buckets: Records, paths: Records, path: int, dest: int, tick: int) -> bool:
    link, direct = paths[path].link, paths[dest].direct
    if _tokens(buckets, link, tick) < buckets[link].join:
        return False
    return not (shape.quota and path == dest) or _tokens(buckets, direct, tick) >= buckets[direct].join


@compiled
def _tokens(buckets: Records, bucket: int, tick: int) -> int:
    """What a bucket holds, with the ticks since the last touch credited."""
    if buckets[bucket].touched != tick:
        gained = (tick - buckets[bucket].touched) * buckets[bucket].refill
        buckets[bucket].tokens = min(buckets[bucket].depth, buckets[bucket].tokens + gained)
        buckets[bucket].touched = tick
    tokens: int = buckets[bucket].tokens
    return tokens


@compiled
def _take(buckets: Records, bucket: int, tick: int, size: int) -> None:
    tokens = _tokens(buckets, bucket, tick)
    # Below zero where another core has what was there: no more is taken then.
    buckets[bucket].tokens = min(tokens, max(0, tokens - size))
