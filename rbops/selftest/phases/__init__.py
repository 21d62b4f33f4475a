"""The phases of a self-test, one module each. A new one is a module here and a row in ``PHASES``.

Options, shares of the time, the run and ``selftest --quick`` follow from the table; the result and its report show a
phase by what it measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rbops.selftest.phases import capture, failures, latency, matrices, matrix, pair, rate, rates, soak, tcp, tunnels
from rbops.selftest.session import Session

__all__ = ["PHASES", "PhaseKind", "choose", "quick", "usual"]


def _usual_flows(testers: int) -> int:
    del testers
    return 0


@dataclass(frozen=True, slots=True)
class PhaseKind:
    """A phase: its name in options and results, its part of the duration, and what runs it.

    ``run`` gets the session and the phase's seconds and leaves what it found in the session. ``flows`` says how many
    flows between two ports it may send, by the number of testers (0: the usual number). ``quick``: ``--quick`` runs
    it too. ``after_faults`` False: it is skipped when an earlier phase found a fault. ``asked``: it runs only if it
    is named. ``each_family``: it runs for IPv6 too, otherwise only for the first family that is tested.
    """

    name: str
    share: float
    run: Callable[[Session, float], None]
    flows: Callable[[int], int] = _usual_flows
    quick: bool = False
    after_faults: bool = True
    asked: bool = False
    each_family: bool = True


PHASES = (
    PhaseKind("matrix", 0.5, matrix.run, quick=True),
    PhaseKind("pair", 0.15, pair.run, flows=pair.flows, quick=True),
    PhaseKind(capture.NAME, 0, capture.run, flows=capture.flows, asked=True, each_family=False),
    PhaseKind(tunnels.NAME, 0, tunnels.run, quick=True, each_family=False),
    PhaseKind("rate", 0.35, rate.run, after_faults=False),
    PhaseKind(rates.NAME, 0, rates.run, after_faults=False, asked=True),
    PhaseKind(latency.NAME, 0, latency.run, after_faults=False, asked=True),
    PhaseKind(matrices.NAME, 0, matrices.run, flows=matrices.flows, after_faults=False, asked=True, each_family=False),
    PhaseKind(soak.NAME, 0, soak.run, after_faults=False, asked=True, each_family=False),
    PhaseKind(tcp.NAME, 0, tcp.run, after_faults=False, asked=True, each_family=False),
    PhaseKind(failures.NAME, 0, failures.run, after_faults=False, asked=True, each_family=False),
)
"""In the order in which they run."""


def choose(names: Sequence[str]) -> tuple[PhaseKind, ...]:
    """The phases of these names in the table's order; when none is named all but those that must be."""
    return tuple(kind for kind in PHASES if kind.name in (names or usual()))


def usual() -> tuple[str, ...]:
    """The names of the phases that run when none is named."""
    return tuple(kind.name for kind in PHASES if not kind.asked)


def quick() -> tuple[str, ...]:
    """The names of the phases that ``selftest --quick`` runs."""
    return tuple(kind.name for kind in PHASES if kind.quick)
