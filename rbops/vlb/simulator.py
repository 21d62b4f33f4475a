"""The whole cluster: path choice, queues of links and external ports, and what comes out.

A frame's way: the input server, one link (mesh) or one round of links (fly) to its first server, again
as much to its output server when that was an intermediate, the external port. Every server adds its
latency and lets frames wait for their batch; every link and port is one FIFO queue with a limited
buffer. A link carries first and second legs together, and its queue delays what feeds other links: the
queues of one piece of the trace are computed again with the times found, until they agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbops.vlb.fairness import jain, max_min
from rbops.vlb.fluid import leg_loads, link_loads
from rbops.vlb.matrix import Floats, by_server
from rbops.vlb.network import Network
from rbops.vlb.paths import LOCAL, choose_paths
from rbops.vlb.queues import Line, serve
from rbops.vlb.reordering import Reordering, measure
from rbops.vlb.result import Latencies, LinkLoad, Reorder, ServerLoad, SimulationResult
from rbops.vlb.trace import FCS, WIRE_OVERHEAD, Trace

__all__ = ["simulate"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_PIECE = 1 << 18
"""Packets whose queues are computed together: few enough for the caches, many enough for numpy."""

_ROUNDS = 3
_AGREE_NS = 20_000
_LOST = -1


@dataclass(slots=True)
class _Hops:
    """Frames on links: ``packet`` of the piece, ``link``; ``level[h]`` to ``level[h + 1]`` are the h-th hops.

    ``feeds[e]`` is the hop before hop e, -1 for a first one.
    """

    packet: Ints
    link: Ints
    level: list[int]
    feeds: Ints


@dataclass(slots=True)
class _Clock:
    """When each link and each external port is free again."""

    links: Ints
    ports: Ints


def simulate(network: Network, trace: Trace) -> SimulationResult:
    """Run ``trace`` through ``network``. Raises ValueError when the trace is empty."""
    if not trace.packets:
        raise ValueError("the trace is empty")
    via = choose_paths(network, trace)
    source, dest = network.owners[trace.flow_in], network.owners[trace.flow_out]
    clock = _Clock(np.zeros(len(network.ends), dtype=np.int64), np.zeros(network.ports, dtype=np.int64))
    left = np.empty(trace.packets, dtype=np.int64)
    carried = np.zeros(len(network.ends))
    direct = np.zeros(2)
    for begin in range(0, trace.packets, _PIECE):
        piece = slice(begin, min(begin + _PIECE, trace.packets))
        flow, size = trace.flow[piece], trace.size[piece].astype(np.int64)
        first = via[piece].astype(np.int64)
        to = dest[flow]
        hops = _hops(network, source[flow], first, to)
        arrive = trace.time[piece] + round(network.forwarder.server_s * 1e9)
        out, sent = _cross(network, hops, arrive, size, clock)
        carried += np.bincount(hops.link[sent], size[hops.packet[sent]] + WIRE_OVERHEAD, len(carried))
        left[piece] = _leave(network, trace.flow_out[flow], out, size, clock)
        remote = first != LOCAL
        direct += (float(size[remote & (first == to)].sum()), float(size[remote].sum()))
    share = float(direct[0] / direct[1]) if direct[1] else 1.0
    return _result(network, trace, via, left, carried, share)


def _hops(network: Network, source: Ints, first: Ints, dest: Ints) -> _Hops:
    """All hops of a piece, level by level; within a level in order of entry."""
    servers, length = network.port_servers, network.routes.shape[1]
    remote = np.flatnonzero(first != LOCAL)
    indirect = remote[first[remote] != dest[remote]]
    packets: list[Ints] = []
    links: list[Ints] = []
    feeds: list[Ints] = []
    level = [0]
    last = np.full(len(source), -1, dtype=np.int64)
    for start, end, who in ((source, first, remote), (first, dest, indirect)):
        route = network.routes[start[who] * servers + end[who]]
        for hop in range(length):
            packets.append(who)
            links.append(route[:, hop])
            feeds.append(last[who])
            last[who] = np.arange(level[-1], level[-1] + len(who))
            level.append(level[-1] + len(who))
    return _Hops(np.concatenate(packets), np.concatenate(links), level, np.concatenate(feeds))


def _cross(network: Network, hops: _Hops, arrive: Ints, size: Ints, clock: _Clock) -> tuple[Ints, Bools]:
    """When each packet reaches its output port's queue (_LOST: dropped), and which hops were sent."""
    forwarder = network.forwarder
    line = Line(forwarder.batch, round(forwarder.batch_timeout_s * 1e9), round(forwarder.buffer_s * 1e9))
    server = round(forwarder.server_s * 1e9)
    bits = (size + WIRE_OVERHEAD) * 8_000_000_000
    wire = bits[hops.packet] // network.link_bps[hops.link]
    at = arrive[hops.packet]
    for begin, end in _levels(hops):
        before = hops.feeds[begin:end]
        if begin:
            at[begin:end] = at[before] + wire[before] + server + line.timeout_ns // 2
    gone = np.zeros(len(at), dtype=bool)
    sent = wire
    done = at
    lost: Bools | None = None
    for turn in range(_ROUNDS if hops.level[-1] > hops.level[1] else 1):
        served = serve(hops.link, at, np.where(gone, 0, wire) if turn and gone.any() else sent, clock.links, line)
        done, lost = served.left, served.dropped
        moved = 0
        for begin, end in _levels(hops):
            if not begin:
                continue
            before = hops.feeds[begin:end]
            fed = done[before] + server
            moved = max(moved, int(np.abs(fed - at[begin:end]).max(initial=0)))
            done[begin:end] = np.maximum(done[begin:end], fed + wire[begin:end])
            at[begin:end] = fed
            if lost is not None:
                gone[begin:end] = gone[before] | lost[before]
        if moved <= _AGREE_NS + line.timeout_ns and lost is None:
            break
    clock.links = served.free if hops.level[-1] else clock.links
    out = arrive.copy()
    for begin, end in _levels(hops):
        out[hops.packet[begin:end]] = done[begin:end] + server
    passed = ~gone if lost is None else ~(gone | lost)
    if lost is not None or gone.any():
        out[hops.packet[~passed]] = _LOST
    return out, passed


def _levels(hops: _Hops) -> Iterator[tuple[int, int]]:
    return ((begin, end) for begin, end in zip(hops.level[:-1], hops.level[1:], strict=True) if end > begin)


def _leave(network: Network, port: Ints, arrive: Ints, size: Ints, clock: _Clock) -> Ints:
    """When each packet has left its external port; _LOST where it was dropped, here or before."""
    forwarder = network.forwarder
    line = Line(forwarder.batch, round(forwarder.batch_timeout_s * 1e9), round(forwarder.buffer_s * 1e9))
    wire = (size + WIRE_OVERHEAD) * 8_000_000_000 // network.line_rate_bps
    there: Ints | slice = np.flatnonzero(arrive != _LOST) if (arrive == _LOST).any() else slice(None)
    served = serve(port[there], arrive[there], wire[there], clock.ports, line)
    clock.ports = served.free
    left = np.full(len(arrive), _LOST, dtype=np.int64)
    left[there] = served.left if served.dropped is None else np.where(served.dropped, _LOST, served.left)
    return left


def _result(
    network: Network, trace: Trace, via: npt.NDArray[np.int16], left: Ints, carried: Floats, direct_share: float
) -> SimulationResult:
    out = left != _LOST
    everything = bool(out.all())
    wire = trace.size + WIRE_OVERHEAD
    flow = trace.flow
    # Everything is measured over the time until the last frame has left.
    seconds = max(trace.duration_ns, int(left.max())) / 1e9
    per_flow = np.bincount(flow, wire, len(trace.flow_in))
    delivered_flow = per_flow if everything else np.bincount(flow[out], wire[out], len(per_flow))
    offered = _pairs(network, trace, per_flow) * 8 / seconds
    delivered = offered if everything else _pairs(network, trace, delivered_flow) * 8 / seconds
    fair = max_min(offered, float(network.line_rate_bps))
    links = carried * 8 / seconds
    servers = _servers(network, by_server(offered, network.owners), links)
    counted = int(out.sum())
    frames = (float(delivered_flow.sum()) - (WIRE_OVERHEAD - FCS) * counted) * 8 / seconds
    reordering = _reordering(trace, via, left, out)
    return SimulationResult(
        routing=network.forwarder.routing,
        flowlet_timeout_s=network.forwarder.flowlet_timeout_s,
        packets=trace.packets,
        flows=len(trace.flow_in),
        duration_s=trace.duration_ns / 1e9,
        offered_bps=float(offered.sum()),
        throughput_bps=float(delivered.sum()),
        frame_bps=frames,
        delivered=float(delivered_flow.sum() / per_flow.sum()),
        throughput_pps=counted / seconds,
        fairness=jain(delivered[offered > 0] / fair[offered > 0]),
        direct_share=direct_share,
        processing_factor=sum(server.processed_bps for server in servers) / float(offered.sum()),
        latency_s=_latencies(trace, left, out),
        reordered=Reorder(reordering.sequences, reordering.late, reordering.fraction),
        links=_links(network, links, by_server(offered, network.owners)),
        servers=servers,
        required_link_bps=network.required_bps,
    )


def _pairs(network: Network, trace: Trace, per_flow: Floats) -> Floats:
    count = network.ports
    return np.bincount(trace.flow_in * count + trace.flow_out, per_flow, count * count).reshape(count, count)


def _servers(network: Network, traffic: Floats, links: Floats) -> tuple[ServerLoad, ...]:
    processed = np.bincount(network.ends[:, 1], links, len(network.names))
    entered = np.zeros(len(network.names))
    entered[: len(traffic)] = traffic.sum(axis=1)
    processed += entered
    return tuple(
        ServerLoad(name, float(rate), float(rate / own) if own else None)
        for name, rate, own in zip(network.names, processed, entered, strict=True)
    )


def _links(network: Network, loads: Floats, traffic: Floats) -> tuple[LinkLoad, ...]:
    forwarder = network.forwarder
    fluid = link_loads(network, leg_loads(traffic, forwarder.routing, forwarder.direct_quota_bps))
    return tuple(
        LinkLoad(network.link_name(link), int(network.link_bps[link]), float(loads[link]), float(fluid[link]))
        for link in range(len(loads))
    )


def _latencies(trace: Trace, left: Ints, out: Bools) -> Latencies:
    took = left - trace.time if out.all() else (left - trace.time)[out]
    if not len(took):
        return Latencies(0.0, 0.0, 0.0, 0.0)
    # A sample is enough for the quantiles, and much faster.
    sample = took[:: max(1, len(took) // 200_000)]
    median, p99 = np.quantile(sample, (0.5, 0.99))
    return Latencies(float(took.mean()) / 1e9, float(median) / 1e9, float(p99) / 1e9, float(took.max()) / 1e9)


def _reordering(trace: Trace, via: npt.NDArray[np.int16], left: Ints, out: Bools) -> Reordering:
    """Only flows that took several paths can be reordered: a path is FIFO."""
    path = np.empty(len(trace.flow_in), dtype=np.int16)
    path[trace.flow] = via
    other = via != path[trace.flow]
    if not other.any():
        return Reordering(int(out.sum()), 0, 0)
    several = np.zeros(len(path), dtype=bool)
    several[trace.flow[other]] = True
    concerned = np.flatnonzero(several[trace.flow] & out)
    found = measure(trace.flow[concerned], left[concerned])
    return Reordering(int(out.sum()), found.late, found.sequences)
