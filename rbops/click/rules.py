"""Both rules of paper 4.2, proved on the flat graph of a configuration.

Rule 1: one queue of a device is touched by one thread. Rule 2: a packet stays on one thread; and what several
threads use at once must be made for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rbops.affinity.cores import PIPELINE_LOSS, SHARED_QUEUE_LOSS
from rbops.click.devices import DeviceQueue
from rbops.click.graph import Graph
from rbops.click.processing import Processing
from rbops.click.source import Span
from rbops.click.threads import Homes, Reach, by_task
from rbops.errors import Diagnostic

__all__ = ["Breach", "ThreadUse", "check_rules", "thread_uses"]

SYNCHRONISATION_LOSS = 1 - 1.2 / 1.7
"""Fig. 6 (a) within one L3 cache against (b): what synchronising cores costs without cache misses."""

_SHOWN = 6
_MOVERS = ("BalancedThreadSched", "SortedTaskSched")


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that does not hold: where, at which elements, and the part of the rate it costs (0 to 1)."""

    rule: Literal["rule1", "rule2"]
    place: Diagnostic
    elements: tuple[str, ...]
    threads: tuple[int, ...]
    predicted_loss: float


@dataclass(frozen=True, slots=True)
class ThreadUse:
    """What a thread does: the queues it receives from and sends to, and how many elements it comes by."""

    thread: int
    receives: tuple[DeviceQueue, ...]
    sends: tuple[DeviceQueue, ...]
    elements: int


def check_rules(
    graph: Graph, processing: Processing, home: Homes, found: Reach
) -> tuple[list[Breach], list[Diagnostic]]:
    """Breaches in the order of the text, and notes on what cannot be proved."""
    breaches = [*_rule1(graph, home, found), *_rule2(graph, processing, home, found)]
    breaches.sort(key=lambda b: (b.place.path, b.place.line, b.place.column, b.rule))
    return breaches, list(_notes(graph, found))


def thread_uses(graph: Graph, home: Homes, found: Reach) -> list[ThreadUse]:
    """Every thread and its work."""
    uses = []
    by_element = [found.threads(index) for index in range(len(graph.router.elements))]
    for thread in range(home.count):
        touched = [index for index, threads in enumerate(by_element) if thread in threads]
        queues = [home.uses[index].queue for index in touched if index in home.uses]
        receives = tuple(sorted(q for q in queues if q.direction == "receive"))
        sends = tuple(sorted(q for q in queues if q.direction == "transmit"))
        uses.append(ThreadUse(thread, receives, sends, len(touched)))
    return uses


def _rule1(graph: Graph, home: Homes, found: Reach) -> Iterator[Breach]:
    touched: dict[DeviceQueue, list[int]] = {}
    for index, used in home.uses.items():
        if not used.own_queues:
            touched.setdefault(used.queue, []).append(index)
    for queue, elements in touched.items():
        threads = {thread: index for index in reversed(elements) for thread in found.threads(index)}
        if len(threads) > 1:
            last = max(threads, key=lambda thread: (threads[thread], thread))
            names = tuple(graph.router.elements[index].name for index in elements)
            message = f"{queue} is touched by {_threads(threads)}: {_list(names)}"
            hint = "one queue for each thread, or StaticThreadSched to put its users on one thread"
            place = _place(graph, found, threads[last], last).diagnostic(
                message, hint + _placed(graph, threads[last]), code="click.shared-queue"
            )
            yield Breach("rule1", place, names, tuple(sorted(threads)), round(SHARED_QUEUE_LOSS, 3))


def _place(graph: Graph, found: Reach, element: int, thread: int) -> Span:
    """The connection over which a thread came to an element, else the element's declaration."""
    via = found.via(element, thread)
    return graph.router.elements[element].span if via is None else via.span


def _placed(graph: Graph, index: int) -> str:
    """The position of the compound element that an element is in: its own is shared by all of them."""
    element = graph.router.elements[index]
    outer = element.name.partition("/")[0]
    return f"; '{outer}' is at {element.placed[0]}" if element.placed else ""


def _rule2(graph: Graph, processing: Processing, home: Homes, found: Reach) -> Iterator[Breach]:
    for index, element in enumerate(graph.router.elements):
        if element.kind in _MOVERS and home.count > 1:
            message = f"{element.kind} moves tasks between threads while they run: neither rule can be proved"
            place = element.span.diagnostic(message, "use StaticThreadSched", code="click.cross-core")
            yield Breach("rule2", place, (element.name,), tuple(range(home.count)), round(PIPELINE_LOSS, 3))
        threads = found.threads(index)
        if len(threads) <= 1:
            continue
        if _hands_over(graph, processing, index) or by_task(graph, processing, home, index):
            yield from _handover(graph, found, index)
        elif _alone(graph, home, index):
            last = max(thread for thread in threads if found.via(index, thread) or thread)
            message = f"'{element.name}' is used by {_threads(threads)}, and {element.kind} is not made for several"
            hint = "give each thread one of its own, behind a CPUSwitch where they meet"
            place = _place(graph, found, index, last).diagnostic(
                message, hint + _placed(graph, index), code="click.cross-core"
            )
            yield Breach("rule2", place, (element.name,), tuple(sorted(threads)), round(SYNCHRONISATION_LOSS, 3))


def _hands_over(graph: Graph, processing: Processing, index: int) -> bool:
    """Whether packets are pushed in and pulled out."""
    inputs, outputs = processing.inputs[index], processing.outputs[index]
    return any(
        inputs[entry] == "h" and outputs[leave] == "l"
        for entry, leaves in enumerate(graph.through[index])
        for leave in leaves
    )


def _handover(graph: Graph, found: Reach, index: int) -> Iterator[Breach]:
    element = graph.router.elements[index]
    pushing = set(found.pushed.get(index, ()))
    pulling = set(found.pulled.get(index, ())) or set(found.own.get(index, ()))
    if not pushing or not pulling:
        return
    known = graph.classes[index]
    crowd = len(pushing) > 1 and known is not None and known.threads == "one"
    more = f"; and {element.kind} is made for one thread a side" if crowd else ""
    message = (
        f"packets change their core at '{element.name}': {_threads(pushing)} put{_s(pushing)} them in, "
        f"{_threads(pulling)} take{_s(pulling)} them out{more}"
    )
    strangers = pushing - pulling
    span = _place(graph, found, index, min(strangers or pushing))
    hint = "run both sides on one thread (StaticThreadSched), with a queue for each thread, or push on the whole path"
    threads = tuple(sorted(pushing | pulling))
    place = span.diagnostic(message, hint + _placed(graph, index), code="click.cross-core")
    yield Breach("rule2", place, (element.name,), threads, round(PIPELINE_LOSS, 3))


def _alone(graph: Graph, home: Homes, index: int) -> bool:
    """Whether an element may be used by one thread only; devices are rule 1's."""
    known = graph.classes[index]
    return known is not None and known.threads in {"one", "unknown"} and index not in home.uses


def _notes(graph: Graph, found: Reach) -> Iterator[Diagnostic]:
    for index, (element, known) in enumerate(zip(graph.router.elements, graph.classes, strict=True)):
        threads = found.threads(index)
        if len(threads) > 1 and known is None:
            message = (
                f"'{element.name}' is used by {_threads(threads)}; whether that is safe for {element.kind} is not known"
            )
            yield element.span.diagnostic(message, code="click.unproved-sharing")
        elif len(threads) > 1 and known is not None and known.threads == "read":
            message = f"'{element.name}' is read by {_threads(threads)}: no handler may write to it while packets pass"
            yield element.span.diagnostic(
                message, "one for each thread can be written one after the other", code="click.shared-read"
            )


def _threads(threads: Iterable[int]) -> str:
    numbers = sorted(threads)
    return f"thread{'s' * (len(numbers) > 1)} {_list([str(number) for number in numbers])}"


def _s(threads: set[int]) -> str:
    return "s" * (len(threads) == 1)


def _list(names: Sequence[str]) -> str:
    shown = [*names[:_SHOWN], *([f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])]
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
