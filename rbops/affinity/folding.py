"""Which CPU owns which queues, in few rows: CPUs in a row that own one queue each are one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rbops.plan import Queue

__all__ = ["CoreRow", "core_rows", "folded"]

_RUN = 3
"""So many rows that continue each other become one."""


@dataclass(frozen=True, slots=True)
class CoreRow:
    """One CPU and the receive and transmit queues it owns; folded, several CPUs with a queue of each kind each."""

    cpus: tuple[int, ...]
    rx: tuple[int, ...]
    tx: tuple[int, ...]

    def continues(self, before: CoreRow) -> bool:
        """Whether CPU and queues are each one more than in the row ``before``, and one."""
        pairs = ((self.cpus, before.cpus), (self.rx, before.rx), (self.tx, before.tx))
        return all(len(own) == len(last) == 1 and own[0] == last[0] + 1 for own, last in pairs)


def core_rows(cpus: Sequence[int], queues: Iterable[Queue]) -> Iterator[CoreRow]:
    """A row for each of ``cpus``, with what it owns of a port's ``queues``."""
    rx: dict[int, list[int]] = {}
    tx: dict[int, list[int]] = {}
    for queue in queues:
        rx.setdefault(queue.rx_core, []).append(queue.index)
        tx.setdefault(queue.tx_core, []).append(queue.index)
    return (CoreRow((cpu,), tuple(rx.get(cpu, ())), tuple(tx.get(cpu, ()))) for cpu in cpus)


def folded(rows: Iterable[CoreRow]) -> Iterator[CoreRow]:
    """The rows, three and more that continue each other as one."""
    run: list[CoreRow] = []
    for row in rows:
        if run and not row.continues(run[-1]):
            yield from _one(run)
            run = []
        run.append(row)
    yield from _one(run)


def _one(run: Sequence[CoreRow]) -> Iterator[CoreRow]:
    if len(run) < _RUN:
        yield from run
        return
    yield CoreRow(tuple(row.cpus[0] for row in run), tuple(row.rx[0] for row in run), tuple(row.tx[0] for row in run))
