"""One arrow of a chain: which output port goes to which input port.

Each side is a list of elements, each with a list of ports: none written (``ports`` empty), some,
or some and then as many as the other side needs (``[]``, ``open``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from rbops.click.source import Span

__all__ = ["Item", "Ports", "pairs"]


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports as written in brackets; ``open``: and all that follow, as ``[]`` and ``[1,]`` say.

    ``implied``: nothing was written, they are those of a group.
    """

    numbers: tuple[int, ...] = ()
    open: bool = False
    implied: bool = False

    @property
    def least(self) -> int:
        """How many connections it takes part in at least."""
        return max(1, len(self.numbers))


@dataclass(frozen=True, slots=True)
class Item:
    """An element of a chain: its index in the scope and the ports written before and after it."""

    element: int
    inputs: Ports
    outputs: Ports
    span: Span


def pairs(
    sources: Sequence[Item], targets: Sequence[Item], *, many: bool, errors: list[str]
) -> Iterator[tuple[Item, int, Item, int]]:
    """The connections of ``sources -> targets``, or with ``many`` of ``sources => targets``.

    What does not fit is said in ``errors``, and what fits is connected.
    """
    sides = ([(item, item.outputs) for item in sources], [(item, item.inputs) for item in targets])
    least = tuple(sum(ports.least for _, ports in side) for side in sides)
    opens = [sum(ports.open for _, ports in side) for side in sides]
    if sum(opens) > 1:
        errors.append("at most one list of ports of a connection can be open")
        opens[0 if least[1] < least[0] else 1] = 0
    grows = [bool(count) for count in opens]
    if many:  # an element without ports takes as many as the other side has
        for here, there in ((0, 1), (1, 0)):
            if least[here] == 1 and least[there] > 1 and not sides[here][0][1].numbers:
                grows[here] = True
    steps = [least[side] > 1 or grows[side] for side in (0, 1)]
    if all(steps):
        errors += _mismatch(least, grows, many=many)
    elif not any(steps):
        steps[1] = True
    more = [max(0, least[1 - side] - least[side]) if grows[side] else 0 for side in (0, 1)]
    left, right = (
        _ports(sides[side], more[side], single=least[side] == 1) if steps[side] else _same(sides[side])
        for side in (0, 1)
    )
    for (source, output), (target, entry) in zip(left, right, strict=False):
        yield source, output, target, entry


def _mismatch(least: tuple[int, ...], grows: list[bool], *, many: bool) -> Iterator[str]:
    if not many:
        yield "several ports connected to several ports need '=>'"
    from_more = " or more" if grows[0] else ""
    to_more = " or more" if grows[1] else ""
    short = (least[0] < least[1] and not grows[0]) or (least[1] < least[0] and not grows[1])
    if short:
        yield f"{least[0]}{from_more} outputs cannot be connected to {least[1]}{to_more} inputs"


def _ports(side: list[tuple[Item, Ports]], more: int, *, single: bool) -> Iterator[tuple[Item, int]]:
    for item, ports in side:
        numbers = ports.numbers or (0,)
        for number in numbers:
            yield item, number
        if ports.open or (single and not ports.numbers):
            for number in range(numbers[-1] + 1, numbers[-1] + 1 + more):
                yield item, number
            more = 0


def _same(side: list[tuple[Item, Ports]]) -> Iterator[tuple[Item, int]]:
    item, ports = side[0]
    return repeat((item, ports.numbers[0] if ports.numbers else 0))
