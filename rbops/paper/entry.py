"""One number of the paper and what rbops makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["GBPS", "Entry", "Kind"]

GBPS = 1_000_000_000

Kind = Literal["exact", "model", "measured", "disputed"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One number; ``tolerance`` is relative, None where nothing is claimed.

    ``exact`` follows from arithmetic that the paper states, ``model`` from Table 2 and 3 style inputs,
    ``measured`` is an experiment on hardware of 2009 (a tolerance where the model claims to meet it),
    ``disputed`` does not follow from the paper's own constraints (``rbops.predict.reference``).
    ``rbops`` None: an experiment that rbops has no model of, kept for reference.
    """

    name: str
    section: str
    kind: Kind
    paper: float
    rbops: float | None
    tolerance: float | None
    unit: str
