"""How a traffic matrix spread over the paths, beside what the simulator does with the same packets (paper 3.2, 6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["FEWEST", "POINTS", "MatrixRun", "PathShare", "Paths", "compared"]

POINTS = 0.02
"""Shares agree when they are no farther apart."""

FEWEST = 1000
"""Shares of fewer packets from one server to another say nothing."""

Paths = Mapping[tuple[str, str], Mapping[str | None, int]]
"""(Input server, output server) -> packets by intermediate server; None: directly."""


@dataclass(frozen=True, slots=True)
class PathShare:
    """The part of the packets from one server to another that went over ``via`` (None: directly), 0 to 1."""

    source: str
    destination: str
    via: str | None
    measured: float
    simulated: float

    @property
    def apart(self) -> float:
        """Difference of both, in points of 0 to 1."""
        return abs(self.measured - self.simulated)

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        shares = {"measured": round(self.measured, 6), "simulated": round(self.simulated, 6)}
        return {"from": self.source, "to": self.destination, "via": self.via, **shares}


@dataclass(frozen=True, slots=True)
class MatrixRun:
    """One traffic matrix: ``load`` of the busiest port (None: as its file says), ``packets`` that crossed the fabric.

    ``direct`` and ``simulated_direct``: the parts of these that went directly. ``paths`` without those between servers
    of few packets; none where the shares could not be compared, ``reason`` says why.
    """

    matrix: str
    load: float | None
    packets: int = 0
    direct: float = 0.0
    simulated_direct: float = 0.0
    paths: tuple[PathShare, ...] = ()
    reason: str | None = None
    family: int = 4

    @property
    def farthest(self) -> PathShare | None:
        """The path whose shares are farthest apart."""
        return max(self.paths, key=lambda path: path.apart, default=None)

    @property
    def agrees(self) -> bool | None:
        """Whether all shares are as simulated, within ``POINTS``; None where nothing was compared."""
        return None if self.farthest is None else self.farthest.apart <= POINTS

    def to_dict(self) -> dict[str, Any]:
        """As in the result's JSON."""
        return {
            "matrix": self.matrix,
            "family": self.family,
            "load": self.load,
            "packets": self.packets,
            "direct": round(self.direct, 6),
            "simulated_direct": round(self.simulated_direct, 6),
            "points": POINTS,
            "farthest": None if self.farthest is None else round(self.farthest.apart, 6),
            "agrees": self.agrees,
            "reason": self.reason,
            "paths": [path.to_dict() for path in self.paths],
        }


def compared(asked: MatrixRun, measured: Paths, simulated: Paths) -> MatrixRun:
    """What was asked, with the shares of each path, all packets that were measured, and both direct parts."""
    shares = [
        PathShare(source, destination, via, taken.get(via, 0) / total, model.get(via, 0) / all_simulated)
        for (source, destination), taken in sorted(measured.items())
        if (total := sum(taken.values())) >= FEWEST
        and (model := simulated.get((source, destination), {}))
        and (all_simulated := sum(model.values()))
        for via in sorted(taken.keys() | model.keys(), key=lambda name: name or "")
    ]
    packets = sum(sum(taken.values()) for taken in measured.values())
    direct, model_direct = (_direct(list(paths.values())) for paths in (measured, simulated))
    reason = None if shares else "too few packets crossed the fabric"
    return replace(
        asked, packets=packets, direct=direct, simulated_direct=model_direct, paths=tuple(shares), reason=reason
    )


def _direct(pairs: Sequence[Mapping[str | None, int]]) -> float:
    total = sum(sum(taken.values()) for taken in pairs)
    return sum(taken.get(None, 0) for taken in pairs) / total if total else 0.0
