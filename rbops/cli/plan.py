"""The verbs that only compute: ``plan``, ``explain``, ``predict``, ``scale`` and ``graph``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit, emit_json, say
from rbops.errors import UsageError

__all__ = ["GraphFormat", "explain", "graph", "plan", "predict", "register", "scale"]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("plan")(plan)
    app.command("explain")(explain)
    app.command("predict")(predict)
    app.command("scale")(scale)
    app.command("graph")(graph)


def plan(spec: Spec, output: Output = Format.TEXT) -> None:
    """Show the whole plan: topology, cabling, cores and queues, prediction, warnings."""
    from rbops.planner import planning
    from rbops.spec import load_spec

    made = planning(load_spec(spec))
    if output is Format.JSON:
        emit(made.plan.to_json(indent=2))
        return
    from rbops.cli.plan_text import plan_blocks
    from rbops.cli.tables import show

    show(plan_blocks(made))


def explain(spec: Spec, output: Output = Format.TEXT) -> None:
    """Say for each choice which formula, numbers and constraint decided it, and where the paper disagrees."""
    from rbops.cli.explain_text import explain_blocks, explain_json
    from rbops.cli.tables import show
    from rbops.planner import planning
    from rbops.spec import load_spec

    made = planning(load_spec(spec))
    if output is Format.JSON:
        emit_json(explain_json(made))
    else:
        show(explain_blocks(made))


def predict(
    spec: Spec,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE[,VALUE]", help="Replace a value of the spec; several give a table."),
    ] = None,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="RESULT.json", help="Correct the costs by a self-test's rate.")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option("--pcap", metavar="FILE", help="Packet sizes of this capture instead of the spec's.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Predict rate, bottleneck, latency, power and price, for the spec or for variants of it."""
    from rbops.cli.predict_text import Scenario, predict_blocks, predict_json
    from rbops.cli.tables import show
    from rbops.planner import Assumptions, calibrated, planning
    from rbops.predict.calibrate import read_measurement
    from rbops.predict.packets import capture_mix
    from rbops.predict.whatif import variants
    from rbops.spec import load_spec

    packets = capture_mix(_read(capture), capture.name) if capture is not None else None
    measured = read_measurement(_read(calibrate).decode("utf-8", "replace"), str(calibrate)) if calibrate else None
    factor = calibrated(load_spec(spec), measured).cost_factor if measured is not None else 1.0
    if measured is not None and measured.limited_by_testers:
        say("the testers limited the measured rate: the router may do better than the calibrated prediction")
    scenarios = [
        Scenario(changes, planning(load_spec(spec, changes), Assumptions(factor, packets)))
        for changes in variants(settings or [])
    ]
    if output is Format.JSON:
        emit_json(predict_json(scenarios, factor, measured))
    else:
        show(predict_blocks(scenarios, factor, measured))


def scale(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="Scale this router too.")] = None,
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration", metavar="NAME", help="current, more_nics or faster (paper Fig. 3); default all."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the curves to FILE (.png or .svg).")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show how many servers a router of 4 to 4,096 ports takes, beside a cluster of servers and switches (Fig. 3)."""
    from rbops.cli.scale_text import curves, scale_blocks, scale_json
    from rbops.cli.tables import show

    found = curves(configuration or [], spec)
    if plot is not None:
        from rbops.cli.scale_plot import draw

        draw(found, plot)
        say(f"wrote {plot}")
    if output is Format.JSON:
        emit_json(scale_json(found))
    else:
        show(scale_blocks(found))


class GraphFormat(StrEnum):
    """What a graph can be written as."""

    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"


def graph(
    spec: Spec,
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="One server's cores, queues and ports instead.")
    ] = None,
    output: Annotated[GraphFormat, typer.Option("--format", help="How to write the graph.")] = GraphFormat.DOT,
) -> None:
    """Draw the cluster, or one server's cores, queues and ports."""
    from rbops.planner import load_plan
    from rbops.render.graph import cluster_graph, server_graph, write

    made = load_plan(spec)
    if server is None:
        emit(write(cluster_graph(made), output.value))
        return
    names = {one.name: one for one in made.servers}
    if server not in names:
        raise UsageError(f"the plan has no server {server}", hint=f"it has n0 to n{len(names) - 1}")
    emit(write(server_graph(names[server]), output.value))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
