"""The whole cluster: path choice, queues of links and external ports, and what comes out.

A frame's path: the input server, one link (mesh) or one round of links (fly) to its first server, again
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
from rbops.vlb.sums import sums
from rbops.vlb.trace import FCS, WIRE_OVERHEAD, Trace

__all__ = ["simulate"]

Ints = npt.NDArray[np.int64]
Narrow = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

_PIECE = 1 << 15
"""Packets whose queues are computed together: few enough for the caches, many enough for numpy."""

_ROUNDS = 3
_AGREE_NS = 20_000
_LOST = -1


@dataclass(slots=True)
class _Hops:
    """Frames on links: ``packet`` of the piece, ``link``, ``bits`` on the wire.

    The h-th hops are ``level[h]`` to ``level[h + 1]``; ``feeds[e]`` is the hop before hop e, -1 for a first one.
    """

    packet: Ints
    link: Ints
    bits: Floats
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
    chosen = choose_paths(network, trace)
    dest = network.owners[trace.flow_out].astype(np.int16)
    clock = _Clock(np.zeros(len(network.ends), dtype=np.int64), np.zeros(network.ports, dtype=np.int64))
    left = np.empty(trace.packets, dtype=np.int64)
    carried = np.zeros(len(network.ends))
    direct = np.zeros(2)
    flow_out = trace.flow_out.astype(np.int32)
    first_links = network.routes[chosen.row].T
    for begin in range(0, trace.packets, _PIECE):
        piece = slice(begin, min(begin + _PIECE, trace.packets))
        flow, codes = trace.flow[piece].astype(np.int64), chosen.codes[piece].astype(np.int64)
        size = trace.size[piece]
        bits: Floats = ((size + WIRE_OVERHEAD) * 8).astype(np.float64)
        hops = _hops(network, [links[codes] for links in first_links], chosen.via[codes], dest[flow], bits)
        arrive = trace.time[piece] + round(network.forwarder.server_s * 1e9)
        out, sent = _cross(network, hops, arrive, clock)
        carried += _carried(hops, sent, len(carried))
        left[piece] = _leave(network, flow_out[flow], out, bits, clock)
        direct += _direct_bits(hops)
    share = float(direct[0] / direct[1]) if direct[1] else 1.0
    return _result(network, trace, chosen.several, left, carried, share)


def _direct_bits(hops: _Hops) -> tuple[float, float]:
    """Bits that took the direct path, and all that crossed the fabric."""
    second = len(hops.level) // 2
    total = float(hops.bits[: hops.level[1]].sum())
    return total - float(hops.bits[hops.level[second] : hops.level[second + 1]].sum()), total


def _carried(hops: _Hops, sent: Bools | None, links: int) -> Floats:
    if sent is None:
        return sums(hops.link, hops.bits, links)
    return sums(hops.link[sent], hops.bits[sent], links)


def _hops(
    network: Network,
    first_links: list[Ints],
    first: npt.NDArray[np.int16],
    dest: npt.NDArray[np.int16],
    bits: Floats,
) -> _Hops:
    """All hops of a piece, level by level; within a level in order of entry."""
    length = len(first_links)
    remote = np.flatnonzero(first != LOCAL)
    indirect = np.flatnonzero((first != dest) & (first != LOCAL))
    rows = first[indirect].astype(np.int64) * network.port_servers + dest[indirect]
    links = [link if len(remote) == len(first) else link[remote] for link in first_links]
    links += [network.routes[rows, hop] for hop in range(length)]
    level = [0]
    for link in links:
        level.append(level[-1] + len(link))
    # The hop before: the same place one level earlier, except where the second leg begins.
    feeds = np.arange(-len(remote), level[-1] - len(remote))
    feeds[level[length] :] = np.arange(level[length], level[-1]) - len(indirect)
    place = indirect if len(remote) == len(first) else np.searchsorted(remote, indirect)
    feeds[level[length] : level[length + 1]] = level[length - 1] + place
    packet = np.concatenate([remote] * length + [indirect] * length)
    return _Hops(packet, np.concatenate(links), bits[packet], level, feeds)


def _cross(network: Network, hops: _Hops, arrive: Ints, clock: _Clock) -> tuple[Ints, Bools | None]:
    """When each packet reaches its output port's queue (_LOST: dropped), and which hops were sent (None: all)."""
    forwarder = network.forwarder
    line = Line(forwarder.batch, round(forwarder.batch_timeout_s * 1e9), round(forwarder.buffer_s * 1e9))
    server = round(forwarder.server_s * 1e9)
    wire = _wire_times(network, hops)
    at = arrive[hops.packet]
    # A first guess, the same for every frame: what keeps a path in order from the beginning keeps it so.
    guess = server + line.timeout_ns // 2 + (int(wire.mean()) if len(wire) else 0)
    for begin, end in _levels(hops):
        if begin:
            at[begin:end] = at[hops.feeds[begin:end]] + guess
    gone = np.zeros(len(at), dtype=bool)
    done = at
    lost: Bools | None = None
    for _ in range(_ROUNDS if hops.level[-1] > hops.level[1] else 1):
        served = serve(hops.link, at, np.where(gone, 0, wire) if gone.any() else wire, clock.links, line)
        done, lost = served.left, served.dropped
        moved = 0
        for begin, end in _levels(hops):
            if not begin:
                continue
            before = hops.feeds[begin:end]
            fed = done[before] + server
            moved = max(moved, int(np.abs(fed - at[begin:end]).max(initial=0)))
            # Not before it came, where the guess was too early; without its wire time, which would reorder.
            done[begin:end] = np.maximum(done[begin:end], fed)
            at[begin:end] = fed
            if lost is not None:
                gone[begin:end] = gone[before] | lost[before]
        if moved <= _AGREE_NS + line.timeout_ns and lost is None:
            break
    clock.links = served.free if hops.level[-1] else clock.links
    out = arrive.copy()
    done += server
    for begin, end in _levels(hops):
        out[hops.packet[begin:end]] = done[begin:end]
    if lost is None and not gone.any():
        return out, None
    passed = ~gone if lost is None else ~(gone | lost)
    out[hops.packet[~passed]] = _LOST
    return out, passed


def _wire_times(network: Network, hops: _Hops) -> Ints:
    """Nanoseconds that each hop's frame takes on its link."""
    pace = 1e9 / network.link_bps
    if pace.min() == pace.max():
        return np.asarray((hops.bits * pace[0]).astype(np.int64))
    return np.asarray((hops.bits * pace[hops.link]).astype(np.int64))


def _levels(hops: _Hops) -> Iterator[tuple[int, int]]:
    return ((begin, end) for begin, end in zip(hops.level[:-1], hops.level[1:], strict=True) if end > begin)


def _leave(network: Network, port: Narrow, arrive: Ints, bits: Floats, clock: _Clock) -> Ints:
    """When each packet has left its external port; _LOST where it was dropped, here or before."""
    forwarder = network.forwarder
    line = Line(forwarder.batch, round(forwarder.batch_timeout_s * 1e9), round(forwarder.buffer_s * 1e9))
    wire = (bits * (1e9 / network.line_rate_bps)).astype(np.int64)
    there: Ints | slice = np.flatnonzero(arrive != _LOST) if int(arrive.min()) == _LOST else slice(None)
    served = serve(port[there], arrive[there], wire[there], clock.ports, line)
    clock.ports = served.free
    if isinstance(there, slice) and served.dropped is None:
        return served.left
    left = np.full(len(arrive), _LOST, dtype=np.int64)
    left[there] = served.left if served.dropped is None else np.where(served.dropped, _LOST, served.left)
    return left


def _result(
    network: Network, trace: Trace, several: Bools, left: Ints, carried: Floats, direct_share: float
) -> SimulationResult:
    out = left != _LOST
    everything = bool(out.all())
    wire = trace.size + WIRE_OVERHEAD
    flow = trace.flow
    # Everything is measured over the time until the last frame has left.
    seconds = max(trace.duration_ns, int(left.max())) / 1e9
    per_flow = sums(flow, wire, len(trace.flow_in))
    delivered_flow = per_flow if everything else sums(flow[out], wire[out], len(per_flow))
    offered = _pairs(network, trace, per_flow) * 8 / seconds
    delivered = offered if everything else _pairs(network, trace, delivered_flow) * 8 / seconds
    fair = max_min(offered, float(network.line_rate_bps))
    links = carried / seconds
    servers = _servers(network, by_server(offered, network.owners), links)
    counted = int(out.sum())
    frames = (float(delivered_flow.sum()) - (WIRE_OVERHEAD - FCS) * counted) * 8 / seconds
    reordering = _reordering(trace, several, left, out)
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
    return sums(trace.flow_in * count + trace.flow_out, per_flow, count * count).reshape(count, count)


def _servers(network: Network, traffic: Floats, links: Floats) -> tuple[ServerLoad, ...]:
    processed = sums(network.ends[:, 1], links, len(network.names))
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


def _reordering(trace: Trace, several: Bools, left: Ints, out: Bools) -> Reordering:
    """Only flows that took several paths can be reordered: a path is FIFO."""
    counted = int(out.sum())
    if not several.any():
        return Reordering(counted, 0, 0)
    concerned = np.flatnonzero(several[trace.flow] & out)
    number = np.cumsum(several) - 1
    found = measure(number[trace.flow[concerned]], left[concerned])
    return Reordering(counted, found.late, found.sequences)
