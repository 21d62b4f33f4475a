"""Packets offered to the router, as arrays in order of entry; synthetic ones with heavy-tailed flows.

Synthetic traffic. Each pair of ports gets its rate of the matrix exactly. Flow sizes are Pareto
(shape 1.2), flow rates log-normal; a flow sends bursts of packets back to back at its access link's
rate, as TCP does. The packets of one input enter in that order on a line that is evenly loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rbops.vlb.matrix import Floats

__all__ = ["TICK_NS", "WIRE_OVERHEAD", "Mix", "Trace", "Workload", "synthetic"]

TICK_NS = 1_000_000
"""A tick of the model: 1 ms."""

WIRE_OVERHEAD = 24
"""Bytes on the wire beside the frame without FCS: FCS 4, preamble and delimiter 8, gap 12 (IEEE 802.3)."""

FCS = 4

Ints = npt.NDArray[np.int64]
Mix = tuple[tuple[int, float], ...]
"""Frame sizes with FCS and their shares of the packets."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """``time`` in ns, not decreasing; ``size`` in bytes of the frame without FCS; ``flow`` numbers the flows.

    Per flow: ``flow_in`` and ``flow_out``, its external ports, and ``flow_hash`` as of ``rbops.vlb.model``.
    """

    time: Ints
    flow: npt.NDArray[np.int32]
    size: npt.NDArray[np.int32]
    flow_in: Ints
    flow_out: Ints
    flow_hash: npt.NDArray[np.uint64]
    duration_ns: int

    @property
    def packets(self) -> int:
        """How many."""
        return len(self.time)


@dataclass(frozen=True, slots=True)
class Workload:
    """What synthetic traffic looks like: mean flow length, rates in bps, packets per burst."""

    mix: Mix = ((64, 1.0),)
    flow_packets: float = 30.0
    flow_bps: float = 4e6
    flow_sigma: float = 1.2
    access_bps: float = 1e9
    burst: int = 8


def synthetic(
    matrix: Floats, line_rate_bps: int, packets: int, workload: Workload | None = None, seed: int = 0
) -> Trace:
    """About ``packets`` packets that offer ``matrix`` (bps on the wire, per pair of ports).

    Raises ValueError when the matrix is empty.
    """
    if not matrix.any():
        raise ValueError("no traffic")
    workload = workload or Workload()
    random = np.random.default_rng([seed, 2])
    pairs = np.flatnonzero(matrix.reshape(-1))
    share = matrix.reshape(-1)[pairs]
    quota = np.maximum(1, np.round(packets * share / share.sum())).astype(np.int64)
    count = int(quota.sum())
    pair_of = np.repeat(np.arange(len(pairs)), quota)
    flow, begins = _flows(random, quota, workload)
    order_key = _virtual_times(random, begins, count, workload, _duration_s(matrix, packets, workload))
    size = _sizes(random, count, workload.mix)
    source = pairs[pair_of] // len(matrix)
    order = np.lexsort((order_key, source))
    time = _line_times(source[order], size[order], matrix.sum(axis=1), line_rate_bps)
    by_time = np.argsort(time, kind="stable")
    order, time = order[by_time], time[by_time]
    flow_pair = pairs[pair_of[begins]]
    hashes = random.integers(0, 1 << 64, len(begins), dtype=np.uint64, endpoint=False)
    return Trace(
        time,
        flow[order].astype(np.int32),
        size[order].astype(np.int32),
        flow_pair // len(matrix),
        flow_pair % len(matrix),
        hashes,
        int(time[-1]) + 1,
    )


def _duration_s(matrix: Floats, packets: int, workload: Workload) -> float:
    mean = sum(size * part for size, part in workload.mix) + WIRE_OVERHEAD - FCS
    return packets * mean * 8 / float(matrix.sum())


def _flows(random: np.random.Generator, quota: Ints, workload: Workload) -> tuple[Ints, Ints]:
    """Packets numbered pair by pair: each one's flow, and each flow's first packet."""
    total = int(quota.sum())
    shape = 1.2
    scale = workload.flow_packets * (shape - 1) / shape
    begins: list[Ints] = [np.concatenate(([0], np.cumsum(quota)[:-1]))]
    reached = 0
    while reached < total:
        lengths = np.ceil(scale * (1 + random.pareto(shape, 1 + total // 8)))
        ends = reached + np.cumsum(np.minimum(lengths, total)).astype(np.int64)
        begins.append(ends[ends < total])
        reached = int(ends[-1])
    first = np.unique(np.concatenate(begins))
    flow = np.zeros(total, dtype=np.int64)
    flow[first[1:]] = 1
    return np.cumsum(flow), first


def _virtual_times(
    random: np.random.Generator, begins: Ints, count: int, workload: Workload, duration_s: float
) -> Floats:
    """When each packet would leave its sender, in parts of the duration; a flow that overruns it is cut at its end."""
    lengths = np.diff(np.append(begins, count))
    mean_bits = 8 * sum(size * part for size, part in workload.mix)
    rate = workload.flow_bps * random.lognormal(-(workload.flow_sigma**2) / 2, workload.flow_sigma, len(begins))
    rate = np.minimum(rate, workload.access_bps)
    gap = mean_bits / rate
    back_to_back = mean_bits / workload.access_bps
    position = np.arange(count) - np.repeat(begins, lengths)
    burst, within = np.divmod(position, workload.burst)
    offset = burst * np.repeat(gap, lengths) * workload.burst + within * back_to_back
    # A flow slower than the trace is long begins before it: squeezed so that all of it fits.
    longest = np.repeat(offset[begins + lengths - 1], lengths)
    squeeze = np.minimum(1.0, duration_s * 0.999 / np.maximum(longest, 1e-12))
    start = np.repeat(random.random(len(begins)), lengths) * np.maximum(duration_s - longest * squeeze, 0)
    return np.asarray((start + offset * squeeze) / duration_s, dtype=np.float64)


def _sizes(random: np.random.Generator, count: int, mix: Mix) -> Ints:
    sizes = np.array([size - FCS for size, _ in mix], dtype=np.int64)
    parts = np.array([part for _, part in mix])
    return sizes[np.searchsorted(np.cumsum(parts / parts.sum())[:-1], random.random(count), side="right")]


def _line_times(source: Ints, size: Ints, offered: Floats, line_rate_bps: int) -> Ints:
    """Entry times in ns of packets sorted by input: its wire times one after another, stretched to its load."""
    wire = (size + WIRE_OVERHEAD) * 8e9 / line_rate_bps
    before = np.cumsum(wire) - wire
    begins = np.flatnonzero(np.diff(source, prepend=-1))
    lengths = np.diff(np.append(begins, len(source)))
    since = before - np.repeat(before[begins], lengths)
    stretch = np.repeat(line_rate_bps / offered[source[begins]], lengths)
    # Inputs do not start in step: each is shifted by a part of a packet.
    phase = np.repeat(np.arange(len(begins)) % 97 / 97 * 1000, lengths)
    return np.asarray(since * stretch + phase, dtype=np.int64)
