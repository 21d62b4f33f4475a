"""Fig. 3 as a picture; needs matplotlib, the ``plot`` extra."""

from __future__ import annotations

from pathlib import Path

from rbops.cli.scale_text import Curves
from rbops.errors import UsageError

__all__ = ["draw"]


def draw(found: Curves, path: Path) -> None:
    """Write servers against ports to ``path``. Raises UsageError when it cannot be drawn or written."""
    if path.suffix not in {".png", ".svg"}:
        raise UsageError(f"--plot {path}: the name must end in .png or .svg")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--plot needs matplotlib", hint="pip install 'rbops[plot]'") from error
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    for one in found.configurations:
        axes.plot([point.ports for point in one.points], [point.servers for point in one.points], "o-", label=one.name)
    switched = found.switched
    axes.plot(
        [point.ports for point in switched],
        [point.server_equivalents for point in switched],
        "x--",
        label="48-port switches",
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlabel("external router ports")
    axes.set_ylabel("servers (or their price in switches)")
    axes.legend()
    axes.grid(visible=True)
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
