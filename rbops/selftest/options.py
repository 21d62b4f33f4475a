"""What a self-test is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rbops.errors import UsageError
from rbops.selftest.conversations import Conversations
from rbops.selftest.rates import SearchShape
from rbops.selftest.sizes import MIXES, Captured, Wanted
from rbops.selftest.wire import LARGEST_SIZE, SMALLEST_SIZE

__all__ = ["OVERALL_S", "MatrixOptions", "RateOptions", "SelftestOptions", "SoakOptions"]

OVERALL_S = 60.0
"""No phase takes longer, in seconds."""

_SHORTEST_S = 0.5
_MOST_FLOWS = 1024
_MOST_RUNS = 100
_SHORTEST_SEARCH_S, _LONGEST_SEARCH_S = 5.0, 3600.0
_SHORTEST_SOAK_S, _LONGEST_SOAK_S = 5.0, 8 * 3600.0
_LEAST_PART = 0.01
_USUAL_LOAD = 0.6


_EXPECTED = f"{SMALLEST_SIZE} to {LARGEST_SIZE} bytes with FCS, {', '.join(MIXES)}, or a capture"


def _sendable(size: Wanted) -> bool:
    if isinstance(size, Captured):
        return bool(size.turn)
    return size in MIXES if isinstance(size, str) else SMALLEST_SIZE <= size <= LARGEST_SIZE


@dataclass(frozen=True, slots=True)
class RateOptions:
    """The rates to search: frame sizes in bytes with FCS or mixes, runs of each, and how a search goes."""

    sizes: tuple[Wanted, ...] = (64,)
    runs: int = 1
    shape: SearchShape = field(default_factory=SearchShape)

    def __post_init__(self) -> None:
        """Raises UsageError for values that make no search."""
        wrong = [size for size in self.sizes if not _sendable(size)]
        if wrong or not self.sizes:
            raise UsageError(
                f"{', '.join(map(str, wrong)) or 'nothing'} is not a valid list of frame sizes, expected {_EXPECTED}",
                code="selftest.rate-sizes",
                hint="for example --sizes 64,512,1518,imix",
            )
        if not 1 <= self.runs <= _MOST_RUNS:
            raise UsageError(
                f"{self.runs} is not a valid number of runs, expected 1 to {_MOST_RUNS}", code="selftest.runs"
            )
        if not _SHORTEST_SEARCH_S <= self.shape.limit_s <= _LONGEST_SEARCH_S:
            raise UsageError(
                f"{self.shape.limit_s:g} s is not a valid time for a search, expected {_SHORTEST_SEARCH_S:g} to "
                f"{_LONGEST_SEARCH_S:g}",
                code="selftest.search-time",
            )

    @property
    def seconds(self) -> float:
        """All searches together take no longer."""
        return len(self.sizes) * self.runs * (self.shape.limit_s + self.shape.trial_s)


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """A load that is ``part`` of the rate that was found, for ``seconds``."""

    seconds: float = 0.0
    part: float = 0.9

    def __post_init__(self) -> None:
        """Raises UsageError for values that make no soak."""
        if self.seconds and not _SHORTEST_SOAK_S <= self.seconds <= _LONGEST_SOAK_S:
            raise UsageError(
                f"{self.seconds:g} s is not a valid time for a soak, expected {_SHORTEST_SOAK_S:g} s to "
                f"{_LONGEST_SOAK_S / 3600:g} h",
                code="selftest.soak-time",
                hint="for example --soak 30min",
            )
        if not _LEAST_PART <= self.part <= 1:
            raise UsageError(
                f"{self.part:.0%} is not a valid load for a soak, expected {_LEAST_PART:.0%} to 100%",
                code="selftest.soak-load",
            )


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """Traffic matrices by name or file (``rbops.vlb.matrix``), each for ``seconds``.

    ``load``: of the busiest port, as a part of its line rate; None: 0.6, and what a file says.
    """

    names: tuple[str, ...] = ()
    load: float | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        """Raises UsageError for a load that none has."""
        if self.load is not None and not _LEAST_PART <= self.load <= 1:
            raise UsageError(
                f"{self.load:.0%} is not a valid load for a matrix, expected {_LEAST_PART:.0%} to 100%",
                code="selftest.matrix-load",
            )

    def load_of(self, name: str) -> float | None:
        """Of one of ``names``; None: as its file says."""
        return self.load if self.load is not None else None if Path(name).suffix else _USUAL_LOAD


@dataclass(frozen=True, slots=True)
class SelftestOptions:
    """What a self-test does.

    ``duration_s``: seconds for all phases together, apart from start and end. ``packets``: from every
    port to every other one in the matrix; None: as many as fit. ``size``: bytes with FCS, a mix, or a capture's
    sizes, of the matrix and rate phases, ``pair_size`` of the pair phase. ``flows`` between two ports; None: one for
    every address behind the port, and some more. ``seed`` chooses addresses and the digest's key. ``phases``
    are names of ``phases.PHASES``, run in its order; none named: all but those that must be. ``rates`` is for
    the phase of that name. ``tcp_bps``: what the TCP connections of a row may send together; None: what a path holds.
    ``capture``: the flows that the phase of that name sends.
    ``servers``: only between the external ports of these; ``ports``: only between these. ``family``: 4 or 6, None: each
    that the spec has.
    """

    duration_s: float = 12.0
    packets: int | None = None
    size: Wanted = 64
    pair_size: int = LARGEST_SIZE
    flows: int | None = None
    seed: int = 1
    phases: tuple[str, ...] = ()
    servers: tuple[str, ...] | None = None
    ports: tuple[int, ...] | None = None
    family: int | None = None
    rates: RateOptions = field(default_factory=RateOptions)
    tcp_bps: float | None = None
    capture: Conversations | None = None
    soak: SoakOptions = field(default_factory=SoakOptions)
    matrices: MatrixOptions = field(default_factory=MatrixOptions)

    def __post_init__(self) -> None:
        """Raises UsageError for values that make no self-test."""
        if not _SHORTEST_S <= self.duration_s <= OVERALL_S:
            raise UsageError(
                f"{self.duration_s:g} s is not a valid duration, expected {_SHORTEST_S:g} to {OVERALL_S:g}",
                code="selftest.duration",
            )
        for size in (self.size, self.pair_size):
            if not _sendable(size):
                raise UsageError(f"{size} is not a valid frame size, expected {_EXPECTED}", code="selftest.size")
        if self.flows is not None and not 1 <= self.flows <= _MOST_FLOWS:
            raise UsageError(
                f"{self.flows} is not a valid number of flows between two ports, expected 1 to {_MOST_FLOWS}",
                code="selftest.flows",
            )
        if self.packets is not None and self.packets < 1:
            raise UsageError(
                f"{self.packets} is not a valid number of packets, expected 1 or more", code="selftest.packet-count"
            )
