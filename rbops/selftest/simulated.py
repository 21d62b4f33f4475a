"""What the testers sent, packet by packet, as a trace for the simulator, and the paths that it chooses for it.

Times are those at which the generators sent each chunk, so that a tester whose CPU was taken away for a while is no
difference between router and model. Flows are on the cores that took the packets in, by the servers' counters: in a lab
on one, where a NIC hashes on all; the cores share each quota as in the router (:mod:`rbops.vlb.shares`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rbops.plan import ClusterPlan
from rbops.selftest.matrices import Paths
from rbops.selftest.ports import AttachedTester
from rbops.selftest.traffic import Traffic
from rbops.vlb.network import network_of
from rbops.vlb.paths import LOCAL, choose_paths
from rbops.vlb.trace import Trace

__all__ = ["Chunks", "Cores", "simulated_paths", "trace_of"]

Ints = npt.NDArray[np.int64]
Chunks = Mapping[int, Sequence[tuple[int, int, int]]]
"""By tester index: begin and end of each chunk by its clock in ns, and the frames written by then."""

Cores = Mapping[str, Sequence[int]]
"""By server: packets that each of its data-plane cores took in at external ports."""


def simulated_paths(
    plan: ClusterPlan,
    testers: Sequence[AttachedTester],
    traffic: Traffic,
    chunks: Chunks,
    cores: Cores,
    seed: int,
) -> Paths:
    """The packets between each two servers by path. ``testers`` are those of all external ports."""
    network = network_of(plan)
    trace = trace_of(testers, traffic, chunks, seed)
    random, number = np.random.default_rng([seed, 4]), network.forwarder.cores
    at = np.zeros(len(trace.flow_in), dtype=np.uint64)
    for owner, name in enumerate(network.names):
        own = np.flatnonzero(network.owners[trace.flow_in] == owner)
        parts = np.array(list(cores.get(name, ()))[:number] or [1], dtype=np.float64)
        at[own] = random.choice(len(parts), len(own), p=parts / parts.sum())
    low = np.uint64((1 << 40) - 1)  # the core is chosen by what is above (rbops.vlb.paths)
    trace = replace(trace, flow_hash=trace.flow_hash & low | at << np.uint64(40))
    chosen = choose_paths(network, trace, dealt=True)
    via = chosen.via[chosen.codes].astype(np.int64)
    source, destination = (network.owners[ports][trace.flow] for ports in (trace.flow_in, trace.flow_out))
    crossed = via != LOCAL
    ways, counts = np.unique(
        np.stack((source[crossed], destination[crossed], via[crossed]), axis=1), axis=0, return_counts=True
    )
    found: dict[tuple[str, str], dict[str | None, int]] = {}
    for (near, far, over), count in zip(ways.tolist(), counts.tolist(), strict=True):
        ends = network.names[near], network.names[far]
        found.setdefault(ends, {})[None if over == far else network.names[over]] = count
    return found


def trace_of(testers: Sequence[AttachedTester], traffic: Traffic, chunks: Chunks, seed: int) -> Trace:
    """The frames in the order in which they were sent; flows have hashes of ``seed``."""
    random = np.random.default_rng([seed, 3])
    ports = {port: at for at, port in enumerate(sorted(tester.at.port for tester in testers))}
    times, flows, sizes, ends = list[Ints](), list[Ints](), list[Ints](), list[tuple[int, int]]()
    lengths = np.frombuffer(traffic.sizes.schedule, dtype="<u4").astype(np.int64)
    # All begin at once; those with one clock when it says.
    begun = dict[str, int]()
    for source, sent in chunks.items():
        clock = testers[source].clock
        begun[clock] = min(begun.get(clock, sent[0][0]), sent[0][0])
    for source, sent in chunks.items():
        turns, when = traffic.turns(source), _times(sent) - begun[testers[source].clock]
        number, active = np.arange(len(when)), traffic.active or len(turns)
        times.append(when)
        rounds = number // active  # each begins with another turn of its group, as in gen.bpf.c
        group = rounds // traffic.burst * active % len(turns)
        flows.append(len(ends) + group + (rounds + number) % active)
        sizes.append(lengths[number % len(lengths)] if len(lengths) else np.full(len(when), traffic.length))
        ends += [(ports[testers[source].at.port], ports[testers[to].at.port]) for to, _ in turns]
    time = np.concatenate(times)
    order = np.argsort(time, kind="stable")
    between = np.array(ends, dtype=np.int64)
    return Trace(
        time[order],
        np.concatenate(flows)[order].astype(np.int32),
        np.concatenate(sizes)[order].astype(np.int32),
        between[:, 0],
        between[:, 1],
        random.integers(0, 1 << 64, len(ends), dtype=np.uint64, endpoint=False),
        int(time.max()) + 1,
    )


def _times(chunks: Sequence[tuple[int, int, int]]) -> Ints:
    """Of each frame: those of a chunk evenly from its begin to its end."""
    begin, end, done = np.array(chunks, dtype=np.int64).T
    count = np.diff(done, prepend=0)
    place = np.arange(int(done[-1])) - np.repeat(done - count, count)
    step = (end - begin) / np.maximum(1, count)
    return np.asarray(np.repeat(begin, count) + place * np.repeat(step, count), dtype=np.int64)
