"""Path choice for whole traces: the rules of ``rbops.vlb.model``, a tick's packets at a time.

The model decides packet by packet; this engine takes all packets that enter the cluster in one tick
of 1 ms together, on every server and core at once, in numpy. Buckets, headroom, flowlets,
table collisions and rotations are the model's. What differs is the order within a tick: first the packets
of running flowlets take their paths, then new flowlets are placed, then flowlets that outgrew their paths move, then
single packets. Where no bucket
runs dry, flowlets that start by headroom alone aside, the paths are the model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rbops.vlb.model import BURST_TICKS, FLOWLET_ENTRIES, MAX_FRAME, flowlet_ticks
from rbops.vlb.network import Network
from rbops.vlb.order import grouped
from rbops.vlb.sums import sums
from rbops.vlb.trace import TICK_NS, Trace

__all__ = ["LOCAL", "Chosen", "Paths", "choose_paths"]

LOCAL = -1
"""The ``via`` of a packet whose output port is on its own server."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Narrow = npt.NDArray[np.int32]


class Paths:
    """The state of all cores. A core is numbered ``server * cores + core``, a pair ``core number * M + dest``."""

    def __init__(self, network: Network, trace: Trace) -> None:
        forwarder = network.forwarder
        self._servers = network.port_servers
        self._cores = forwarder.cores
        self._quota = forwarder.routing == "direct-vlb"
        self._timeout = flowlet_ticks(forwarder.flowlet_timeout_s)
        self._alone_only = self._servers <= 2  # noqa: PLR2004  no intermediate: always direct
        self._flows(network, trace)
        self._buckets(network)
        pairs = self._servers * self._servers * self._cores
        self._trash = 2 * pairs
        self._position = np.zeros(pairs, dtype=np.int64)
        self._slot_count = self._servers - 1 if self._quota else self._servers
        count = len(self._pair)
        self._expiry = np.full(count, -1, dtype=np.int32)
        self._code = np.full(count, self._trash)
        self._next = np.full(count, self._no_link)
        self._first = np.zeros(count, dtype=np.int64)
        self._tables()
        self.several = np.zeros(count, dtype=bool)
        self._expiry[self._local] = np.iinfo(np.int32).max

    def _flows(self, network: Network, trace: Trace) -> None:
        source, dest = network.owners[trace.flow_in], network.owners[trace.flow_out]
        core = (trace.flow_hash >> np.uint64(40)).astype(np.int64) % self._cores
        number = source * self._cores + core
        self._local = source == dest
        self._pair = number * self._servers + dest
        self._dest = dest
        entry = (trace.flow_hash & np.uint64(FLOWLET_ENTRIES - 1)).astype(np.int64)
        # Only entries that some flow uses are kept.
        self._entry = np.unique(number * FLOWLET_ENTRIES + entry, return_inverse=True)[1].reshape(-1)
        self._owner = np.full(len(self._entry), -1)

    def _buckets(self, network: Network) -> None:
        """Link buckets are numbered ``core * links + link``; the last one takes what needs no link."""
        servers, cores, links = self._servers, self._cores, len(network.ends)
        refill = network.link_bps // (8000 * cores)
        self._refill = np.append(np.tile(refill, cores), 0).astype(np.float64)
        self._depth = _depth(self._refill)
        self._join = _join(self._depth)
        self._no_link = links * cores
        quota = network.forwarder.direct_quota_bps // (8000 * cores) if self._quota else 0
        self._direct_refill = float(quota)
        self._direct_depth = float(_depth(np.array([float(quota)]))[0])
        self._direct_join = _join(self._direct_depth)
        pairs = np.arange(servers * cores * servers)
        number, dest = pairs // servers, pairs % servers
        first = network.routes[number // cores * servers + dest, 0]
        self._link_of = np.where(first >= 0, number % cores * links + first, self._no_link)
        self._links = self._depth.copy()
        self._links[-1] = np.inf
        self._direct = np.full(servers * cores * servers, self._direct_depth)
        self._used_links = np.zeros_like(self._links)
        self._used_direct = np.zeros_like(self._direct)

    def _tables(self) -> None:
        """What would be divided again and again: of each pair, and of each server's slots."""
        servers, cores = self._servers, self._cores
        number, via = np.divmod(np.arange(servers * cores * servers), servers)
        self._source, self._target = number // cores, via
        # Where the link buckets of the code's first server begin, on the core of the same number.
        self._onward = (via * cores + number % cores) * servers
        self._own_slot = (via - number // cores - 1) % servers
        server, slot = np.divmod(np.arange(servers * servers), servers)
        self._via = (server + 1 + slot) % servers

    def tick(self, now: int, elapsed: int, flows: Ints, sizes: Floats) -> Ints:
        """The code of each packet: ``2 * (core number * M + via)``, one more when it counts against the direct quota.

        ``elapsed`` ticks went by since the last call; ``sizes`` are bytes.
        """
        np.minimum(self._links[:-1] + self._refill[:-1] * elapsed, self._depth[:-1], out=self._links[:-1])
        np.minimum(self._direct + self._direct_refill * elapsed, self._direct_depth, out=self._direct)
        if self._timeout:
            expiry = self._expiry[flows]
            missed = np.flatnonzero(expiry < now)
            gone = self._start(flows[missed], sizes[missed]) if len(missed) else missed
            # A flow on its own server never expires.
            self._expiry[flows] = np.maximum(expiry, now + self._timeout)
            self._expiry[gone] = -1
            codes, following = self._code[flows], self._next[flows]
            used = sums(codes, sizes, self._trash + 1)
            denied = self._denied(codes, sizes, used)
        else:
            codes = np.full(len(flows), self._trash)
            following = np.full(len(flows), self._no_link)
            used = np.zeros(self._trash + 1)
            denied = np.flatnonzero(~self._local[flows])
        self._charge(used)
        if len(denied):
            codes[denied] = self._move(flows[denied], sizes[denied])
            following[denied] = self._following(flows[denied], codes[denied])
        phase2 = sums(following, sizes, len(self._links))
        np.maximum(self._links - phase2, 0, out=self._links)
        return codes

    def _charge(self, used: Floats) -> None:
        self._used_direct = used[1:-1:2].copy()
        self._used_links = sums(self._link_of, used[0:-1:2] + self._used_direct, len(self._links))
        np.maximum(self._direct - self._used_direct, 0, out=self._direct)
        np.maximum(self._links - self._used_links, 0, out=self._links)

    def _following(self, flows: Ints, codes: Ints) -> Ints:
        """The link bucket that phase 2 takes from, at the intermediate; no link where that is the destination."""
        following: Ints = self._link_of[self._onward[codes >> 1] + self._dest[flows]]
        return following

    def _denied(self, codes: Ints, sizes: Floats, used: Floats) -> Ints:
        """Packets that do not fit their flowlet's path; ``used`` is reduced to those that do."""
        direct = used[1:-1:2]
        links = sums(self._link_of, used[0:-1:2] + direct, len(self._links))
        full_direct, full_links = direct > self._direct, links > self._links
        if not (self._quota and full_direct.any()) and not full_links.any():
            return np.empty(0, dtype=np.int64)
        full = np.zeros(self._trash + 1, dtype=bool)
        full[0:-1:2] = full_links[self._link_of]
        full[1:-1:2] = full_direct | full[0:-1:2]
        concerned = np.flatnonzero(full[codes])
        pair, size = codes[concerned] >> 1, sizes[concerned]
        counted = (codes[concerned] & 1).astype(bool)
        fits = np.ones(len(concerned), dtype=bool)
        fits[counted] = _claim(pair[counted], size[counted], self._direct)
        fits[fits] = _claim(self._link_of[pair[fits]], size[fits], self._links)
        denied = concerned[~fits]
        used -= sums(codes[denied], sizes[denied], len(used))
        return denied

    def _start(self, flows: Ints, sizes: Floats) -> Ints:
        """Place new flowlets, in order of their first packets, by headroom; the flows whose entries they took."""
        place = np.arange(len(flows))
        # Written backwards, so that each flow is left with the place of its first packet.
        self._first[flows[::-1]] = place[::-1]
        starting = flows[self._first[flows] == place]
        self._first[starting] = place[: len(starting)]
        size = sums(self._first[flows], sizes, len(starting))
        pair = self._pair[starting]
        entry = self._entry[starting]
        before = self._owner[entry]
        self._owner[entry] = starting
        # Of two that start in one entry the later one has it.
        gone = np.concatenate((before[(before >= 0) & (before != starting)], starting[self._owner[entry] != starting]))
        codes = 2 * pair + self._quota if self._alone_only else self._place(pair, size)
        old = self._code[starting]
        self.several[starting[(old != codes) & (old != self._trash)]] = True
        self._code[starting] = codes
        self._next[starting] = self._following(starting, codes)
        return gone

    def _place(self, pair: Ints, size: Floats) -> Ints:
        """Codes of new flowlets: direct with headroom, else the rotation, with headroom where there is any."""
        # A new flowlet comes when half of its tick's packets are through; the last tick's use tells how many.
        headroom = self._links - self._used_links / 2 >= self._join
        if not self._quota:
            return self._rotate(pair, headroom)
        free = self._direct - self._used_direct / 2 - self._direct_join
        free *= headroom[self._link_of]
        np.maximum(free, 0, out=free)
        if not free[pair].any():
            return self._rotate(pair, headroom)
        joins = _claim(pair, size, free, whole=False)
        codes = 2 * pair + 1
        rest = np.flatnonzero(~joins)
        if len(rest):
            codes[rest] = self._rotate(pair[rest], headroom)
        return codes

    def _move(self, flows: Ints, sizes: Floats) -> Ints:
        """Codes of packets that their flowlets' paths do not hold: a flowlet moves where there is room, or is split.

        Flowlets of one core and destination that move in one tick are dealt to the paths with room in turn: the
        model's, one after another, each look for the most.
        """
        self.several[flows] = True
        if self._alone_only or not self._timeout:
            return self._alone(self._pair[flows], sizes)
        moving, group = np.unique(flows, return_inverse=True)
        group = group.reshape(-1)
        room = self._room(self._pair[moving])
        codes = np.empty(len(flows), dtype=np.int64)
        goes = room[group]
        if room.any():
            total = sums(group, sizes, len(moving))
            placed = np.zeros(len(moving), dtype=np.int64)
            placed[room] = self._alone(self._pair[moving[room]], total[room])
            self._code[moving[room]] = placed[room]
            self._next[moving[room]] = self._following(moving[room], placed[room])
            codes[goes] = placed[group[goes]]
        if not goes.all():
            codes[~goes] = self._alone(self._pair[flows[~goes]], sizes[~goes])
        return codes

    def _room(self, pair: Ints) -> Bools:
        """Which of the pairs have a path with room for a frame."""
        ready = self._links >= MAX_FRAME
        if ready.all():
            return np.ones(len(pair), dtype=bool)
        direct = ready[self._link_of[pair]] & (self._direct[pair] >= MAX_FRAME)
        slot = np.broadcast_to(np.arange(self._slot_count), (len(pair), self._slot_count))
        via, allowed = self._paths(pair[:, None], slot)
        target = self._target[pair][:, None]
        onward: Bools = np.any(allowed & ready[self._link_of[pair[:, None] - target + via]], axis=1)
        return onward | direct if self._quota else onward

    def _paths(self, pair: Ints, slot: Ints) -> tuple[Ints, Bools]:
        """The first servers of slots, and whether the rotation may take them: under a quota not the destination."""
        target = self._target[pair]
        via = self._vias(pair, target, slot)
        return via, via != target if self._quota else np.ones_like(via, dtype=bool)

    def _alone(self, pair: Ints, size: Floats) -> Ints:
        """Codes of packets that are chosen for alone, or of flowlets with all their bytes; takes them."""
        codes = np.full(len(pair), -1)
        rest = np.arange(len(pair))
        if self._alone_only:
            codes[:] = 2 * pair + self._quota
        elif self._quota:
            fits = _claim(pair, size, self._direct)
            fits[fits] = _claim(self._link_of[pair[fits]], size[fits], self._links)
            codes[fits] = 2 * pair[fits] + 1
            rest = np.flatnonzero(~fits)
        if not self._alone_only and len(rest):
            codes[rest] = self._rotate(pair[rest], self._links >= MAX_FRAME)
            links = self._link_of[codes[rest] >> 1]
            late = rest[~_claim(links, size[rest], self._links)]
            if len(late):
                left = self._links - sums(self._link_of[codes >> 1], size, len(self._links))
                codes[late] = self._rotate(pair[late], left >= MAX_FRAME)
        self._charge(sums(codes, size, self._trash + 1))
        return codes

    def _rotate(self, pair: Ints, ready: Bools) -> Ints:
        """The rotation's next ready slots for packets in order; all slots count where none is ready."""
        count = self._slot_count
        rank = _ranks(pair)
        start = self._position[pair]
        if not ready.all():
            slot = self._next_ready(pair, start, rank, ready)
        elif self._quota:
            own = self._own_slot[pair]
            slot = (start - (start > own) + rank) % (count - 1)
            slot += slot >= own
        else:
            slot = (start + rank) % count
        self._position[pair] = (slot + 1) % count
        target = self._target[pair]
        return 2 * (pair - target + self._vias(pair, target, slot))

    def _vias(self, pair: Ints, target: Ints, slot: Ints) -> Ints:
        """Slot k is the server k + 1 behind the own one; VLB's last slot is the server itself: the direct link."""
        via: Ints = self._via[self._source[pair] * self._servers + slot]
        return via if self._quota else np.where(slot == self._servers - 1, target, via)

    def _next_ready(self, pair: Ints, start: Ints, rank: Ints, ready: Bools) -> Ints:
        pair, target = pair[:, None], self._target[pair][:, None]
        slot = (start[:, None] + np.arange(self._slot_count)) % self._slot_count
        via, allowed = self._paths(pair, slot)
        good: Bools = allowed & ready[self._link_of[pair - target + via]]
        good = np.where(np.any(good, axis=1, keepdims=True), good, allowed)
        turn: Ints = np.cumsum(good, axis=1)
        wanted = rank % turn[:, -1] + 1
        chosen = np.argmax(turn == wanted[:, None], axis=1)
        return np.asarray(slot[np.arange(len(chosen)), chosen], dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A code per packet, and what each code means: ``via`` and ``row``, the row of the network's routes to it.

    ``several[f]``: flow f may have taken more than one path.
    """

    codes: Narrow
    via: npt.NDArray[np.int16]
    row: Narrow
    several: Bools


def choose_paths(network: Network, trace: Trace) -> Chosen:
    """Each packet's path: ``via[codes]`` is its first server, LOCAL where it stays on its own."""
    paths = Paths(network, trace)
    ticks = trace.time // TICK_NS
    starts = np.flatnonzero(np.diff(ticks, prepend=-1))
    codes = np.empty(len(trace.time), dtype=np.int32)
    sizes = trace.size.astype(np.float64)
    last = -BURST_TICKS
    for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(ticks)], strict=True):
        now = int(ticks[begin])
        codes[begin:end] = paths.tick(now, now - last, trace.flow[begin:end].astype(np.int64), sizes[begin:end])
        last = now
    servers, cores = network.port_servers, network.forwarder.cores
    number, via = np.divmod(np.arange(2 * servers * servers * cores) >> 1, servers)
    row = np.append(number // cores * servers + via, 0).astype(np.int32)
    return Chosen(codes, np.append(via, LOCAL).astype(np.int16), row, paths.several)


def _depth(refill: Floats) -> Floats:
    return np.where(refill > 0, np.maximum(BURST_TICKS * refill, 2 * MAX_FRAME), 0)


def _join(depth: Any) -> Any:
    return np.maximum(1, depth - depth // 8)


def _claim(bucket: npt.NDArray[Any], size: Floats, tokens: Floats, *, whole: bool = True) -> Bools:
    """Which packets, in order, their buckets grant; not ``whole``: something must be left before the packet."""
    wanted = sums(bucket, size, len(tokens))
    granted = np.ones(len(bucket), dtype=bool)
    short = wanted > tokens
    if not short.any():
        return granted if whole else tokens[bucket] > 0
    concerned = np.flatnonzero(short[bucket])
    order = concerned[grouped(bucket[concerned])]
    sorted_bucket, sorted_size = bucket[order], size[order]
    total = np.cumsum(sorted_size)
    begins = _begins(sorted_bucket)
    before = np.repeat((total - sorted_size)[begins], np.diff(np.append(begins, len(order))))
    taken = total - before
    have = tokens[sorted_bucket]
    granted[order] = taken <= have if whole else taken - sorted_size < have
    return granted


def _begins(ordered: npt.NDArray[Any]) -> Ints:
    """Where runs of equal values begin."""
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def _ranks(group: npt.NDArray[Any]) -> Ints:
    """Each element's number among the earlier ones of its group."""
    if len(group) and (group == group[0]).all():
        return np.arange(len(group))
    order = grouped(group)
    ordered = group[order]
    begins = _begins(ordered)
    first = np.repeat(begins, np.diff(np.append(begins, len(ordered))))
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - first
    return ranks
