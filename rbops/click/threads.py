"""Which threads run an element, and which of them come by it with packets.

A task runs on its element's home thread: the one ``StaticThreadSched`` names, else thread 0. Whatever it
pushes or pulls happens on that thread, up to a device, a Queue, or an element that passes packets on by a task of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rbops.click.config import unquote, words
from rbops.click.devices import Use, use
from rbops.click.elements import Driver
from rbops.click.flatten import FlatConnection, FlatRouter
from rbops.click.graph import Graph, Port
from rbops.click.processing import Processing
from rbops.errors import Diagnostic

__all__ = ["Homes", "Reach", "by_task", "homes", "reach"]

_MOST_THREADS = 1024
_QUIESCENT = -1
_IDLE = ("Idle", "SimpleIdle", "Error")
_OWN_TIMER = ("ICMPPingSource", "ARPAdvertiser")
"""Elements that packets may be pushed into and that send others by themselves."""
_PAIR = "write `StaticThreadSched(ELEMENT 1, ...)`"
_BY_THREAD = ("CPUSwitch", "ExactCPUSwitch")


@dataclass(frozen=True, slots=True)
class Homes:
    """``pinned`` maps elements to the threads that were written for them; the others run on thread 0."""

    pinned: dict[int, int]
    count: int
    uses: dict[int, Use]
    named: frozenset[int] = frozenset()
    """Those of ``pinned`` that a scheduler names themselves, not the compound element they are in."""

    def of(self, element: int) -> tuple[int, ...]:
        """Home threads; none for a task that never runs."""
        if element in self.pinned:
            return () if self.pinned[element] == _QUIESCENT else (self.pinned[element],)
        used = self.uses.get(element)
        return used.threads if used is not None and used.threads is not None else (0,)


def homes(graph: Graph, driver: Driver, count: int | None, *, fastclick: bool) -> tuple[Homes, list[Diagnostic]]:
    """Home threads, and names in StaticThreadSched that name nothing. ``count`` None: as many as are named."""
    router = graph.router
    pinned: dict[int, int] = {}
    named: set[int] = set()
    errors: list[Diagnostic] = []
    names = {element.name: index for index, element in enumerate(router.elements)}
    for element in router.elements:
        if element.kind != "StaticThreadSched":
            continue
        for argument in element.arguments:
            parts = [unquote(word) for word in words(argument)]
            if not parts:
                continue
            thread = _thread(parts, fastclick=fastclick)
            if isinstance(thread, str):
                errors.append(element.span.diagnostic(f"StaticThreadSched: {thread}", _PAIR, code="click.thread"))
                continue
            found = list(_named(parts[0], element.name, names, router))
            if not found:
                errors.append(
                    element.span.diagnostic(f"StaticThreadSched: unknown element '{parts[0]}'", code="click.thread")
                )
            for index in found:
                pinned[index] = thread
            named |= set(found) if len(found) == 1 else set()
    number = count or max([0, *pinned.values()]) + 1
    if fastclick:  # it counts negative threads from the last one
        pinned = {index: thread + number if thread < 0 else thread for index, thread in pinned.items()}
    # Click puts what is pinned to a thread that does not run on thread 0.
    pinned = {index: thread if thread < number else 0 for index, thread in pinned.items()}
    used = {i: use(element, driver, number, fastclick=fastclick) for i, element in enumerate(router.elements)}
    uses = {index: found for index, found in used.items() if found is not None}
    return Homes(pinned, number, uses, frozenset(named)), errors


def _thread(pair: list[str], *, fastclick: bool) -> int | str:
    """The thread in a pair of element and thread, or what is wrong with it."""
    thread = pair[1] if len(pair) == len(("element", "thread")) else ""
    lowest = -_MOST_THREADS if fastclick else _QUIESCENT
    if fastclick and "/" in thread:
        node, _, core = thread.partition("/")
        if node != "0" and node.isdecimal():
            return f"thread {thread} depends on the NUMA nodes of the server"
        thread = core  # the cores of node 0 are the first ones
    if not thread.removeprefix("-").isdecimal() or int(thread) not in range(lowest, _MOST_THREADS):
        return f"{' '.join(pair)} is not a valid pair of an element and a thread"
    return int(thread)


def _named(name: str, scheduler: str, names: dict[str, int], router: FlatRouter) -> Iterator[int]:
    """The element ``name`` as seen from a scheduler, or all in the compound element of that name."""
    prefix = scheduler.rpartition("/")[0]
    while True:
        full = f"{prefix}/{name}" if prefix else name
        if full in names:
            yield names[full]
            return
        if not prefix:
            break
        prefix = prefix.rpartition("/")[0]
    prefix = scheduler.rpartition("/")[0]
    inside = (f"{prefix}/{name}" if prefix else name) + "/"
    for index, element in enumerate(router.elements):
        if element.name.startswith(inside):
            yield index


@dataclass(slots=True)
class Reach:
    """``pushed[e]`` and ``pulled[e]``: thread -> the connection over which it first came to element e.

    ``own[e]``: the threads on which element e starts to push or pull by itself.
    """

    own: dict[int, tuple[int, ...]] = field(default_factory=dict)
    pushed: dict[int, dict[int, FlatConnection]] = field(default_factory=dict)
    pulled: dict[int, dict[int, FlatConnection]] = field(default_factory=dict)

    def threads(self, element: int) -> set[int]:
        """All threads that touch an element."""
        return {*self.own.get(element, ()), *self.pushed.get(element, ()), *self.pulled.get(element, ())}

    def via(self, element: int, thread: int) -> FlatConnection | None:
        """How a thread came to an element, None when it lives there."""
        return self.pushed.get(element, {}).get(thread) or self.pulled.get(element, {}).get(thread)


def by_task(graph: Graph, processing: Processing, home: Homes, index: int) -> bool:
    """Whether an element keeps the packets that are pushed in and pushes them out by a task of its own.

    FastClick's Pipeliner does. Of a class that is only in an installed Click's map it is taken from the configuration:
    who pins an element to a thread says that it has a task.
    """
    known = graph.classes[index]
    if known is None or known.threads not in {"task", "unknown"}:
        return False
    inputs, outputs = processing.inputs[index], processing.outputs[index]
    through = any(
        inputs[entry] == "h" and outputs[leave] == "h"
        for entry, leaves in enumerate(graph.through[index])
        for leave in leaves
    )
    return through and (known.threads == "task" or index in home.named)


def reach(graph: Graph, processing: Processing, home: Homes) -> Reach:
    """Follow every task over the elements it calls."""
    return _Walk(graph, processing, home).run()


@dataclass(slots=True)
class _Walk:
    graph: Graph
    processing: Processing
    home: Homes
    found: Reach = field(default_factory=Reach)
    backward: list[dict[int, list[int]]] = field(default_factory=list)
    seen: set[tuple[int, int, int, bool]] = field(default_factory=set)
    waiting: list[tuple[int, Port, bool]] = field(default_factory=list)
    """Thread, port and whether it is a push out of an output (else a pull at an input)."""

    def run(self) -> Reach:
        for through in self.graph.through:
            entries: dict[int, list[int]] = {}
            for entry, leaves in enumerate(through):
                for leave in leaves:
                    entries.setdefault(leave, []).append(entry)
            self.backward.append(entries)
        for index, element in enumerate(self.graph.router.elements):
            starts = [] if element.kind in _IDLE else list(self._starts(index))
            if starts:
                threads = self.home.of(index)
                self.found.own[index] = threads
                self.waiting += ((thread, (index, port), push) for thread in threads for port, push in starts)
        while self.waiting:
            thread, port, push = self.waiting.pop()
            key = (thread, *port, push)
            if key not in self.seen:
                self.seen.add(key)
                if push:
                    self._push(thread, port)
                else:
                    self._pull(thread, port)
        return self.found

    def _starts(self, index: int) -> Iterator[tuple[int, bool]]:
        """Outputs that an element pushes out of, and inputs that it pulls, without being asked."""
        inputs, outputs = self.processing.inputs[index], self.processing.outputs[index]
        own = self.graph.router.elements[index].kind in _OWN_TIMER or self._by_task(index)
        for port, letter in enumerate(outputs):
            entries = self.backward[index].get(port, [])
            if letter == "h" and (own or not any(inputs[entry] == "h" for entry in entries)):
                pulled = any(inputs[entry] == "l" for entry in entries)
                asked = any(letter == "l" for letter in outputs)
                # An output for errors of an element that is pulled runs when it is.
                if not (pulled and asked):
                    yield port, True
        for port, letter in enumerate(inputs):
            if letter == "l" and not any(outputs[leave] == "l" for leave in self.graph.through[index][port]):
                yield port, False

    def _push(self, thread: int, port: Port) -> None:
        for connection in self.graph.leaving.get(port, ()):
            target, entry = connection.target, connection.input
            self.found.pushed.setdefault(target, {}).setdefault(thread, connection)
            outputs = self.processing.outputs[target]
            if self._by_task(target) and thread not in self.home.of(target):
                continue  # it goes on with the element's own task
            for leave in self._leaves(thread, target, entry):
                if outputs[leave] == "h":
                    self.waiting.append((thread, (target, leave), True))

    def _by_task(self, index: int) -> bool:
        return by_task(self.graph, self.processing, self.home, index)

    def _leaves(self, thread: int, element: int, entry: int) -> list[int] | range:
        leaves = self.graph.through[element][entry]
        if self.graph.router.elements[element].kind in _BY_THREAD and leaves:
            return [thread % len(leaves)]
        return leaves if isinstance(leaves, range) else list(leaves)

    def _pull(self, thread: int, port: Port) -> None:
        for connection in self.graph.entering.get(port, ()):
            source, leave = connection.source, connection.output
            self.found.pulled.setdefault(source, {}).setdefault(thread, connection)
            inputs, outputs = self.processing.inputs[source], self.processing.outputs[source]
            for entry in self.backward[source].get(leave, ()):
                if inputs[entry] != "l":
                    continue
                self.waiting.append((thread, (source, entry), False))
                for other in self.graph.through[source][entry]:
                    if outputs[other] == "h":
                        self.waiting.append((thread, (source, other), True))
