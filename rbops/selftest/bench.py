"""Runs one phase over all testers: set up, send, wait until the router is empty, collect."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rbops.errors import CheckFailed
from rbops.selftest.example import Example
from rbops.selftest.ports import AttachedTester
from rbops.selftest.programs import STAMPS
from rbops.selftest.reordering import RECENT, Lateness
from rbops.selftest.result import Pair, Phase, Source
from rbops.selftest.sizes import FrameSizes, SizeCount, Wanted, sizes_of
from rbops.selftest.tester import Agents
from rbops.selftest.traffic import (
    Traffic,
    expected_entries,
    generator_entries,
    longest,
    order_of,
    sent_in_order,
    sent_to,
)
from rbops.selftest.wire import FCS_BYTES, Epoch, FrameFault

__all__ = ["Bench", "Outcome", "by_size", "run_phase"]

CAPACITY_WORDS = 1 << 20
"""Room for packets at each sink, in words of 64: 8 MiB, 67 million packets."""

_KINDS = {
    FrameFault.DUPLICATE: "duplicate",
    FrameFault.MANGLED: "corrupt",
    FrameFault.CORRUPT: "corrupt",
    FrameFault.HEADER: "header",
    FrameFault.TTL: "TTL",
    FrameFault.CHECKSUM: "checksum",
    FrameFault.DESTINATION_MAC: "next-hop MAC",
    FrameFault.SOURCE_MAC: "source MAC",
    FrameFault.MISDELIVERED: "misdelivered",
}
"""What examples are kept of, as faults call it; being late cannot be seen at one packet."""

_FASTEST_PPS = 15_000_000
_QUIET_S, _DRAIN_S, _POLL_S = 0.1, 2.0, 0.01
_SLACK_S = 20.0


@dataclass(slots=True)
class Bench:
    """The testers of one family, ready to send. Epochs are numbered through a run, whatever their family."""

    agents: Agents
    testers: Sequence[AttachedTester]
    run: int
    keys: tuple[int, int]
    family: int = 4
    sources: int = 0
    """Testers that each sink has room for; 0: as many as there are."""
    epochs: Iterator[int] = field(default_factory=lambda: iter(range(1, 4096)))

    def named(self, phase: str) -> str:
        """A phase's name in results: that of IPv6 says so."""
        return phase if self.family == 4 else f"{phase} IPv6"  # noqa: PLR2004  the family

    def sizes(self, wanted: Wanted) -> FrameSizes:
        """What is sent in this family for that size, or mix of sizes."""
        return sizes_of(wanted, self.family)

    def epoch(self, traffic: Traffic) -> Epoch:
        """The next epoch; raises CheckFailed after 4,095 of them."""
        number = next(self.epochs, None)
        if number is None:
            raise CheckFailed("the self-test has no epoch left", code="selftest.epochs")
        shift, room = _stamps(self, traffic) if traffic.stamped else (0, 0)
        mixed = traffic.sizes.mix is not None
        magic = self.run << 12 | number
        return Epoch(magic, self.keys, traffic.length, traffic.flows, shift, room, self.family, mixed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A phase and the evidence: the first wrong frame of each kind at each tester, by tester index, and as examples.

    ``room``: packets of each flow whose times were noted. ``chunks``: of timed traffic, by tester index, begin and end
    of each chunk by the tester's clock in ns and the frames written by then.
    """

    phase: Phase
    samples: dict[int, dict[FrameFault, bytes]]
    room: int = 0
    examples: tuple[Example, ...] = ()
    chunks: Mapping[int, tuple[tuple[int, int, int], ...]] = field(default_factory=dict)


def run_phase(bench: Bench, traffic: Traffic, meanwhile: Callable[[], None] | None = None) -> Outcome:
    """Send the traffic and check what arrives. Raises CheckFailed when a tester fails.

    ``meanwhile`` runs in a thread of its own while packets are sent; what it raises is raised here.
    """
    epoch = bench.epoch(traffic)
    frames, words = _fit(bench, traffic)
    addresses = [tester.at.address for tester in bench.testers]
    shape = {"magic": epoch.magic, "keys": epoch.keys, "length": epoch.length, "flows": epoch.flows}
    shape |= {"shift": epoch.shift, "room": epoch.room, "family": epoch.family, "mixed": epoch.mixed}
    expectations: list[dict[str, Any] | None] = [
        {
            "epoch": shape,
            "own": tester.index,
            "words": words,
            "entries": {
                source: _text(packed)
                for source, packed in expected_entries(bench.testers, tester.index, traffic, epoch).items()
            },
            "sources": addresses,
        }
        for tester in bench.testers
    ]
    bench.agents.each("expect", expectations)
    bench.agents.each("prepare", _preparations(bench, traffic, epoch, shape))
    with _beside(meanwhile):
        sent, chunks = _send(bench, traffic, frames)
    _drain(bench, sum(source.sent - source.unsent for source in sent))
    found = bench.agents.call("collect")
    return replace(_outcome(bench, traffic, sent, found), room=epoch.room, chunks=chunks)


@contextmanager
def _beside(action: Callable[[], None] | None) -> Iterator[None]:
    if action is None:
        yield
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = pool.submit(action)
        yield
        running.result()


def _text(entries: bytes) -> str:
    return base64.b64encode(entries).decode()


def _preparations(bench: Bench, traffic: Traffic, epoch: Epoch, shape: dict[str, Any]) -> list[dict[str, Any] | None]:
    return [
        {
            "epoch": shape,
            "source": tester.index,
            "entries": _text(generator_entries(bench.testers, tester.index, traffic, epoch)),
            "active": traffic.active or len(traffic.turns(tester.index)),
            "burst": traffic.burst,
            "schedule": "" if traffic.order else _text(traffic.sizes.schedule),
            "order": _text(traffic.steps(tester.index)),
        }
        if traffic.destinations.get(tester.index)
        else None
        for tester in bench.testers
    ]


def _fit(bench: Bench, traffic: Traffic) -> tuple[int, int]:
    """How many frames a source may send at most, and the words of bitmap that takes per flow."""
    if traffic.order:
        return _fit_order(bench, traffic)
    counts = _turns(traffic)
    room = CAPACITY_WORDS // ((bench.sources or len(bench.testers)) * traffic.flows) - 2
    limit = (room * 64 - traffic.burst) * min(counts)
    wanted = traffic.frames
    if wanted is None:
        fastest = traffic.pps * 1.1 if traffic.pps else _FASTEST_PPS
        wanted = min(limit, int(fastest * traffic.seconds) + 2 * traffic.chunk)
        # Whole rounds, so that every flow carries the same number of packets.
        whole = max(counts) * traffic.burst
        wanted = max(1, wanted // whole) * whole
    if wanted > limit:
        raise CheckFailed(
            f"{traffic.name}: {wanted:,} packets a port, expected at most {limit:,}",
            code="selftest.packets",
            hint="use a lower --packets",
        )
    return wanted, longest(wanted, min(counts), traffic.burst) // 64 + 2


def _fit_order(bench: Bench, traffic: Traffic) -> tuple[int, int]:
    """The same of traffic whose frames are given one by one: whole passes of the longest order."""
    most = max(count for order in traffic.order.values() for count in Counter(order_of(order)).values())
    room = CAPACITY_WORDS // ((bench.sources or len(bench.testers)) * traffic.flows) - 2
    shortest, length = (choose(len(order) for order in traffic.order.values()) for choose in (min, max))
    limit = max(1, room * 64 // most) * shortest
    wanted = min(limit, int((traffic.pps or _FASTEST_PPS) * traffic.seconds) + 2 * traffic.chunk)
    wanted = max(1, wanted // length) * length if wanted >= length else wanted
    return wanted, -(-wanted // shortest) * most // 64 + 2


def _stamps(bench: Bench, traffic: Traffic) -> tuple[int, int]:
    """(shift, room): how many packets of a flow have their times noted, spread over all that are sent."""
    room = STAMPS // (len(bench.testers) * traffic.flows)
    frames, _ = _fit(bench, traffic)
    most = longest(frames, min(_turns(traffic)), traffic.burst)
    return max(0, (most // room).bit_length()), room


def _turns(traffic: Traffic) -> list[int]:
    """The turns of a round, of each source."""
    return [len(traffic.turns(source)) for source, to in traffic.destinations.items() if to]


def _send(
    bench: Bench, traffic: Traffic, frames: int
) -> tuple[tuple[Source, ...], dict[int, tuple[tuple[int, int, int], ...]]]:
    """What each source sent, and of timed traffic when."""
    order = {
        "frames": frames,
        "seconds": traffic.seconds,
        "chunk": traffic.chunk,
        "timed": traffic.timed,
    }
    senders = [tester for tester in bench.testers if traffic.destinations.get(tester.index)]
    orders = [
        {**order, "pps": traffic.pps and traffic.pps * traffic.parts.get(tester.index, 1.0)}
        if traffic.destinations.get(tester.index)
        else None
        for tester in bench.testers
    ]
    answers = bench.agents.each("send", orders, timeout_s=traffic.seconds + _SLACK_S)
    sources = tuple(
        Source(tester.at.port, answer["frames"], max(0, answer["frames"] - answer["handed"]), answer["seconds"])
        for tester, answer in zip(senders, answers, strict=True)
    )
    chunks = {
        tester.index: tuple((begin, end, done) for begin, end, done in answer["chunks"])
        for tester, answer in zip(senders, answers, strict=True)
        if answer.get("chunks")
    }
    return sources, chunks


def _drain(bench: Bench, handed: int) -> None:
    """Wait until everything arrived, or nothing has for a while."""
    end = time.monotonic() + _DRAIN_S
    last, since = -1, time.monotonic()
    while time.monotonic() < end:
        arrived = sum(answer["frames"] for answer in bench.agents.call("frames"))
        if arrived >= handed:
            return
        if arrived != last:
            last, since = arrived, time.monotonic()
        elif time.monotonic() - since > _QUIET_S:
            return
        time.sleep(_POLL_S)


def _outcome(bench: Bench, traffic: Traffic, sent: Sequence[Source], found: Sequence[dict[str, Any]]) -> Outcome:
    by_port = {source.port: source for source in sent}
    pairs = []
    for tester in bench.testers:
        destinations = traffic.destinations.get(tester.index, ())
        turns = traffic.turns(tester.index)
        for to in destinations:
            sent_here = by_port[tester.at.port].sent
            if traffic.order:
                count = sent_in_order(sent_here, traffic.order[tester.index], to)
            else:
                count = sent_to(sent_here, turns, to, traffic.active, traffic.burst)
            pairs.append(_pair(bench.testers, tester.index, to, count, found))
    phase = Phase(
        name=bench.named(traffic.name),
        size=traffic.sizes.size,
        seconds=max(source.seconds for source in sent),
        sources=tuple(sent),
        pairs=tuple(pairs),
        stray=sum(answer["passed"] for answer in found),
        family=bench.family,
        mix=traffic.sizes.mix,
        sizes=by_size(traffic, found),
        lateness=sum((_lateness(answer["lateness"]) for answer in found), Lateness()),
    )
    samples = {
        index: {FrameFault(int(kind)): bytes.fromhex(frame) for kind, frame in answer["samples"].items()}
        for index, answer in enumerate(found)
        if answer["samples"]
    }
    return Outcome(phase, samples, examples=tuple(_examples(bench, phase.name, samples, found)))


def _lateness(counts: Sequence[int]) -> Lateness:
    return Lateness(tuple(counts[:RECENT]), tuple(counts[RECENT:]))


def _examples(
    bench: Bench, phase: str, samples: dict[int, dict[FrameFault, bytes]], found: Sequence[dict[str, Any]]
) -> Iterator[Example]:
    for index, frames in samples.items():
        for kind, frame in frames.items():
            if kind in _KINDS:
                at = found[index]["sampled_ns"][str(int(kind))]
                yield Example(phase, _KINDS[kind], bench.testers[index].at.port, at, frame)


def by_size(traffic: Traffic, found: Sequence[dict[str, Any]]) -> tuple[SizeCount, ...]:
    """Packets by size where the traffic has several; from the testers' answers, by index."""
    if traffic.sizes.mix is None:
        return ()
    sent, received = Counter[int](), Counter[int]()
    for index, answer in enumerate(found):
        if traffic.destinations.get(index):  # one that sends nothing still has the counts of an earlier phase
            sent.update({int(length): count for length, count in answer["lengths_sent"].items()})
        received.update({int(length): count for length, count in answer["lengths"].items()})
    lengths = sorted(sent.keys() | received.keys())
    return tuple(SizeCount(length + FCS_BYTES, sent[length], received[length]) for length in lengths)


def _pair(testers: Sequence[AttachedTester], source: int, to: int, sent: int, found: Sequence[dict[str, Any]]) -> Pair:
    answer = found[to]
    faults = answer["faults"][source]
    wrong = [
        (testers[at].at.port, count)
        for at, other in enumerate(found)
        for origin, planned, count in other["misdelivered"]
        if (origin, planned) == (source, to)
    ]
    return Pair(
        source=testers[source].at.port,
        destination=testers[to].at.port,
        sent=sent,
        received=answer["delivered"][source],
        duplicates=faults[FrameFault.DUPLICATE],
        misdelivered=tuple(wrong),
        mangled=faults[FrameFault.MANGLED],
        corrupt=faults[FrameFault.CORRUPT],
        header=faults[FrameFault.HEADER],
        ttl=faults[FrameFault.TTL],
        checksum=faults[FrameFault.CHECKSUM],
        next_hop_mac=faults[FrameFault.DESTINATION_MAC],
        source_mac=faults[FrameFault.SOURCE_MAC],
        late=faults[FrameFault.LATE],
        sequences=faults[FrameFault.REORDERED],
    )
