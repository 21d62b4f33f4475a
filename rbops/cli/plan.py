"""The verbs ``plan``, ``explain``, ``graph`` and ``render``: what a spec becomes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit, emit_json, emit_pieces, say, show
from rbops.errors import UsageError
from rbops.report.sections import Section, View

if TYPE_CHECKING:
    from rbops.plan import ClusterPlan, Server

__all__ = ["GraphFormat", "explain", "graph", "plan", "register", "render"]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("plan")(plan)
    app.command("explain")(explain)
    app.command("graph")(graph)
    app.command("render")(render)


def plan(
    spec: Spec,
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="Show all rows of this server.")
    ] = None,
    section: Annotated[
        list[Section] | None,
        typer.Option(
            "--section",
            metavar="SECTION",
            help=f"Show this section with all its rows: {', '.join(Section)}; may be repeated.",
        ),
    ] = None,
    sheet: Annotated[
        bool,
        typer.Option(
            "--sheet", help="Write the cable sheet instead: CSV with both ends, rate and label of each cable."
        ),
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show the plan: topology, cabling, cores and queues, prediction, warnings.

    Alike servers are shown once and long tables are cut; --section and --server show all rows.
    """
    from rbops.planner import planning
    from rbops.spec import load_spec

    if sheet and (server or section or output is Format.JSON):
        raise UsageError(
            "--sheet is CSV of the whole plan",
            code="plan.sheet-only",
            hint="leave --server, --section and --format out",
        )
    if output is Format.JSON and (server or section):
        raise UsageError(
            "--server and --section select parts of the text", code="plan.text-only", hint="the JSON is the whole plan"
        )
    made = planning(load_spec(spec))
    if sheet:
        from rbops.report.sheet import sheet as cable_sheet

        emit(cable_sheet(made).rstrip("\n"))
        return
    if output is Format.JSON:
        emit_pieces(made.plan.json_pieces(indent=2))
        return
    from rbops.report.plan import plan_blocks

    if server is not None:
        _find(made.plan, server)
    show(plan_blocks(made, View(section or (), server)))


def explain(spec: Spec, output: Output = Format.TEXT) -> None:
    """Explain each choice of the plan: formula, inputs, deciding constraint, and where the paper differs."""
    from rbops.planner import planning
    from rbops.report.explain import explain_blocks, explain_json
    from rbops.spec import load_spec

    made = planning(load_spec(spec))
    if output is Format.JSON:
        emit_json(explain_json(made))
    else:
        show(explain_blocks(made))


class GraphFormat(StrEnum):
    """What a graph can be written as."""

    DOT = "dot"
    MERMAID = "mermaid"
    SVG = "svg"


def graph(
    spec: Spec,
    server: Annotated[
        str | None, typer.Option("--server", metavar="NAME", help="Draw the cores, queues and ports of this server.")
    ] = None,
    output: Annotated[GraphFormat, typer.Option("--format", help="Format of the graph.")] = GraphFormat.DOT,
) -> None:
    """Draw the cluster, or the cores, queues and ports of one server."""
    from rbops.planner import load_plan
    from rbops.render.graph import cluster_graph, server_graph, write

    made = load_plan(spec)
    if server is None:
        emit(write(cluster_graph(made), output.value))
        return
    emit(write(server_graph(_find(made, server)), output.value))


def _find(plan: ClusterPlan, name: str) -> Server:
    """The server called ``name``. Raises UsageError (2)."""
    found = next((server for server in plan.servers if server.name == name), None)
    if found is None:
        hint = f"it has n0 to n{len(plan.servers) - 1}"
        raise UsageError(f"the plan has no server {name}", code="plan.unknown-server", hint=hint)
    return found


def render(
    spec: Spec,
    directory: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to write to.", show_default=False)
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite DIR even if it contains files that rbops did not write.")
    ] = False,
) -> None:
    """Write all files for the servers, with playbooks to push them without rbops."""
    from rbops.deploy.daemon import check_daemon
    from rbops.planner import load_plan
    from rbops.render import render as render_plan
    from rbops.render import write

    plan = load_plan(spec)
    rendered = render_plan(plan)
    check_daemon(plan)
    write(rendered, directory, force=force)
    say(f"{len(plan.servers)} servers, plan {plan.digest[:12]}: {directory}")
    say(f"next: rbops apply {spec} -i INVENTORY, or ansible-playbook -i INVENTORY site.yml in {directory}")
