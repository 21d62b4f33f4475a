"""Traffic matrices: what each external port sends to each other, in bits per second.

Rows are inputs, columns outputs. ``load`` is what the busiest input offers, as a part of the line
rate (``uniform``: to all ports, its own among them). No port sends to itself. Only ``hotspot``
and a file may ask more of an output than its line rate.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rbops.errors import UsageError, Where

__all__ = ["NAMES", "Floats", "by_server", "make", "offered", "read"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAMES = ("uniform", "hotspot", "permutation", "gravity", "adversarial", "pair")

HOT_SHARE = 0.5
"""The part of each input's traffic that a hotspot draws."""


def make(
    name: str, owners: Ints, line_rate_bps: int, *, load: float = 1.0, seed: int = 0, quota: float | None = None
) -> Floats:
    """The matrix ``name`` for ports that belong to ``owners``. Raises UsageError when it needs more ports.

    ``quota`` is the direct quota as a part of what a server takes in, which ``adversarial`` is made for; None: 1/M.
    """
    count = len(owners)
    if count < 2:  # noqa: PLR2004  traffic needs an input and an output
        raise UsageError("a router with one external port has no traffic to simulate", code="simulate.one-port")
    random = np.random.default_rng([seed, 1])
    weights: dict[str, Callable[[], Floats]] = {
        "uniform": lambda: np.ones((count, count)),
        "hotspot": lambda: _hotspot(count),
        "permutation": lambda: _permutation(count, random),
        "gravity": lambda: _gravity(count, random),
        "adversarial": lambda: _adversarial(owners, quota),
        "pair": lambda: _pair(owners),
    }
    if name not in weights:
        hint = f"one of {', '.join(NAMES)}, or a CSV file"
        raise UsageError(f"unknown traffic matrix {name!r}", code="simulate.matrix-name", hint=hint)
    matrix = weights[name]()
    np.fill_diagonal(matrix, 0)
    if name == "uniform":  # R/N to each port; what would be its own part is left out
        return np.asarray(matrix * (load * line_rate_bps / count), dtype=np.float64)
    sides = (1,) if name == "hotspot" else (0, 1)
    busiest = max(float(matrix.sum(axis=side).max()) for side in sides)
    return np.asarray(matrix * (load * line_rate_bps / busiest), dtype=np.float64)


def offered(
    wanted: str, owners: Ints, line_rate_bps: int, *, load: float | None = None, seed: int = 0,
    quota: float | None = None,
) -> Floats:  # fmt: skip
    """The matrix that is called ``wanted``, or that the CSV file of this name has; see :func:`make` and :func:`read`.

    ``load`` None: all of the line rate, and what a file says. Raises UsageError when there is none.
    """
    if wanted in NAMES:
        return make(wanted, owners, line_rate_bps, load=load or 1.0, seed=seed, quota=quota)
    if not (Path(wanted).exists() or Path(wanted).suffix):
        raise UsageError(
            f"{wanted!r} is not a traffic matrix",
            code="simulate.unknown-matrix",
            hint=f"one of {', '.join(NAMES)}, or a CSV file",
        )
    matrix = read(Path(wanted), len(owners), line_rate_bps)
    return np.asarray(matrix * (load * line_rate_bps / matrix.sum(axis=1).max() if load else 1.0), dtype=np.float64)


def _hotspot(count: int) -> Floats:
    matrix = np.full((count, count), (1 - HOT_SHARE) / max(1, count - 2))
    matrix[:, 0] = HOT_SHARE
    matrix[0] = 1 / (count - 1)
    return matrix


def _permutation(count: int, random: np.random.Generator) -> Floats:
    """A random cyclic order: every input has one output, every output one input."""
    order = random.permutation(count)
    matrix = np.zeros((count, count))
    matrix[order, np.roll(order, -1)] = 1
    return matrix


def _gravity(count: int, random: np.random.Generator) -> Floats:
    """In proportion to the product of the ports' sizes, which are log-normal (sigma 1)."""
    size = random.lognormal(0, 1, count)
    return np.asarray(np.outer(size, size), dtype=np.float64)


def _adversarial(owners: Ints, quota: float | None) -> Floats:
    """What loads a link most under Direct VLB with a direct quota and equal shares of the rest.

    For M >= 4 servers each sends its quota to the next one and the rest to the one after that: the link to the next
    carries the quota direct, and of both rests what is above a quota in phases 1 and 2. For fewer servers, and where
    the quota is more than half, everything goes to the next.
    """
    servers = int(owners.max()) + 1
    first = 1 / servers if quota is None else quota
    if servers < 4 or first > 1 / 2:  # noqa: PLR2004  see above
        first = 1.0
    matrix = np.zeros((len(owners), len(owners)))
    ports = [np.flatnonzero(owners == server) for server in range(servers)]
    for server in range(servers):
        for position, port in enumerate(ports[server]):
            for shift, share in ((1, first), (2, 1 - first)):
                others = ports[(server + shift) % servers]
                matrix[port, others[position % len(others)]] += share
    return matrix


def _pair(owners: Ints) -> Floats:
    """Everything from port 0 to the first port of another server (paper 6.2, reordering)."""
    matrix = np.zeros((len(owners), len(owners)))
    others = np.flatnonzero(owners != owners[0])
    matrix[0, others[0] if len(others) else 1] = 1
    return matrix


def read(path: Path, ports: int, line_rate_bps: int) -> Floats:
    """A CSV file of ``ports`` rows of ``ports`` numbers in bits per second.

    Raises UsageError with line and column when it is not, or when an input offers more than its line rate.
    """
    place = Where(file=str(path))
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot be read as CSV: {error}", code="simulate.matrix-file", where=place) from error
    if len(rows) != ports:
        text = f"{len(rows)} rows, expected one for each of {ports} external ports"
        raise UsageError(text, code="simulate.matrix-size", where=place)
    matrix = np.zeros((ports, ports))
    for line, row in enumerate(rows):
        if len(row) != ports:
            text = f"{len(row)} columns, expected one for each of {ports} external ports"
            raise UsageError(text, code="simulate.matrix-size", where=replace(place, line=line + 1))
        for column, text in enumerate(row):
            matrix[line, column] = _rate(text, replace(place, line=line + 1, column=column + 1))
    np.fill_diagonal(matrix, 0)
    if not matrix.any():
        raise UsageError("no traffic between any two ports", code="simulate.matrix-empty", where=place)
    most = float(matrix.sum(axis=1).max())
    if most > line_rate_bps * (1 + 1e-9):
        port = int(matrix.sum(axis=1).argmax())
        text = f"port {port} offers {most:g} bps, more than its line rate of {line_rate_bps:g} bps"
        raise UsageError(text, code="simulate.matrix-overload", where=replace(place, line=port + 1))
    return matrix


def _rate(text: str, where: Where) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        message = f"{text!r}, expected a number of bits per second, 0 or more"
        raise UsageError(message, code="simulate.matrix-value", where=where)
    return value


def by_server(matrix: Floats, owners: Ints) -> Floats:
    """The matrix between servers: their ports' rates added up."""
    servers = int(owners.max()) + 1
    member = np.zeros((servers, len(owners)))
    member[owners, np.arange(len(owners))] = 1
    return np.asarray(member @ matrix @ member.T, dtype=np.float64)
