"""Traffic matrices of a self-test as tables and JUnit cases: shares of paths, measured beside simulated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping, Sequence

from rbops.report.junit import Case
from rbops.report.tables import Block, Cell, Styled, Table
from rbops.selftest.matrices import POINTS, MatrixRun, PathShare

__all__ = ["matrix_blocks", "matrix_cases", "matrix_verdict"]


def matrix_blocks(runs: Sequence[MatrixRun]) -> Iterator[Block]:
    """A table of each matrix's paths, and one with a verdict for each."""
    yield from (_paths(run) for run in runs if run.paths)
    if runs:
        yield _verdicts(runs)


def matrix_cases(
    runs: Iterable[MatrixRun], faults: MutableMapping[tuple[str, int | None, int | None], list[str]]
) -> list[Case]:
    """A case for each matrix; its faults are taken out of ``faults``, by phase, source and destination."""
    return [
        Case(
            "selftest.matrices",
            f"shares of {run.matrix}",
            0.0,
            tuple(faults.pop((f"matrices {run.matrix}", None, None), ())),
            output=matrix_verdict(run),
            skipped=run.reason,
        )
        for run in runs
    ]


def matrix_verdict(run: MatrixRun) -> str:
    """Whether the shares are as simulated, in words."""
    if run.farthest is None:
        return f"not compared: {run.reason}"
    word = "as simulated" if run.agrees else "NOT as simulated"
    return f"{word}: at most {100 * run.farthest.apart:.2f} points apart, {100 * POINTS:g} allowed"


def _paths(run: MatrixRun) -> Table:
    pairs: dict[tuple[str, str], list[PathShare]] = {}
    for path in run.paths:
        pairs.setdefault((path.source, path.destination), []).append(path)
    rows = tuple(
        (
            f"{source} to {destination}",
            ", ".join(f"{_way(path)} {path.measured:.1%}" for path in paths),
            ", ".join(f"{_way(path)} {path.simulated:.1%}" for path in paths),
            f"{100 * max(path.apart for path in paths):.2f}",
        )
        for (source, destination), paths in pairs.items()
    )
    columns = ("servers", "measured", "simulated", "points apart")
    return Table(f"Paths of the matrix {run.matrix}, parts of the packets", columns, rows)


def _way(path: PathShare) -> str:
    return "direct" if path.via is None else path.via


def _verdicts(runs: Sequence[MatrixRun]) -> Table:
    rows = tuple(
        (
            run.matrix,
            "of the file" if run.load is None else f"{run.load:.0%}",
            f"{run.packets:,}",
            f"{run.direct:.1%}",
            f"{run.simulated_direct:.1%}",
            _cell(run),
        )
        for run in runs
    )
    columns = ("matrix", "load", "packets between servers", "direct", "simulated", "result")
    return Table("Traffic matrices, in the lab or on the servers and in the simulator", columns, rows)


def _cell(run: MatrixRun) -> Cell:
    text = matrix_verdict(run)
    return text if run.agrees is None else Styled(text, "good" if run.agrees else "bad")
