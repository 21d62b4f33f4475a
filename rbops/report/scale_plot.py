"""Fig. 3 as a picture; needs matplotlib, the ``plot`` extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rbops.errors import UsageError, Where
from rbops.report.scale import Curve, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_LINES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"))
"""Colours that people with colour-blindness can tell apart, and markers."""


def draw(found: Curves, path: Path) -> None:
    """Write servers against ports to ``path``. Raises UsageError when it cannot be drawn or written."""
    if path.suffix not in {".png", ".svg"}:
        raise UsageError(
            "--plot: the name must end in .png or .svg", code="scale.plot-format", where=Where(file=str(path))
        )
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "--plot needs matplotlib", code="scale.no-matplotlib", hint="pip install 'rbops[plot]'"
        ) from error
    # Text stays text in an SVG, and its ids are the same in every run.
    with mpl.rc_context({"svg.hashsalt": "rbops", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 5.5), layout="constrained")
        axes = figure.add_subplot()
        for place, one in enumerate(found.configurations):
            _curve(axes, one, place)
        ports = [point.ports for point in found.switched]
        equivalents = [point.server_equivalents for point in found.switched]
        axes.plot(ports, equivalents, "x--", color="#555555", label="servers and 48-port switches, at their price")
        _axes(axes, ports)
        try:
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            message = error.strerror or str(error)
            raise UsageError(message, code="scale.plot-unwritable", where=Where(file=str(path))) from error


def _curve(axes: Axes, one: Curve, place: int) -> None:
    """A line; hollow markers where the topology is a fly. Earlier lines are wider: they may lie under later ones."""
    colour, marker = _LINES[place % len(_LINES)]
    ports, servers = [point.ports for point in one.points], [point.servers for point in one.points]
    width = max(1.5, 4.5 - place)
    axes.plot(ports, servers, color=colour, linewidth=width, marker=marker, markersize=4 + width, label=one.name)
    flies = [point for point in one.points if point.topology == "fly"]
    axes.plot(
        [point.ports for point in flies],
        [point.servers for point in flies],
        linestyle="none",
        color=colour,
        marker=marker,
        markersize=4 + width,
        markerfacecolor="white",
    )


def _axes(axes: Axes, ports: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=10)
    axes.set_xticks(ports, [str(count) for count in ports])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_title("Servers that a router of N external ports takes (RouteBricks, Fig. 3)")
    axes.set_xlabel("external ports N")
    axes.set_ylabel("servers")
    axes.grid(visible=True, which="major", color="#dddddd")
    axes.plot([], [], linestyle="none", color="#555555", marker="o", label="full mesh")
    axes.plot([], [], linestyle="none", color="#555555", marker="o", markerfacecolor="white", label="k-ary n-fly")
    axes.legend(loc="upper left")
