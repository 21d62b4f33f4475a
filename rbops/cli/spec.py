"""The verbs ``init``, ``check`` and ``schema``: to start a spec and to validate it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, conclude_json, emit, emit_json, say

if TYPE_CHECKING:
    from rbops.plan import ClusterPlan

__all__ = ["Preset", "check", "init", "register", "schema"]

SCHEMA_VERSION = 1


class Preset(StrEnum):
    """The starter specs."""

    RB4 = "rb4"
    RB4_PAPER = "rb4-paper"
    RACK = "rack"


class Kind(StrEnum):
    """The files that have a schema."""

    SPEC = "spec"
    HARDWARE = "hardware"


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory to write to; created if missing.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("init")(init)
    app.command("check")(check)
    app.command("schema")(schema)


def init(
    directory: Directory = Path(),
    preset: Annotated[
        Preset,
        typer.Option(
            "--preset",
            help="rb4: the paper's RB4 as a lab on this machine; rb4-paper: RB4 on the paper's servers; "
            "rack: eight servers.",
        ),
    ] = Preset.RB4,
) -> None:
    """Write a starter spec and inventory. Existing files are not overwritten."""
    from rbops.spec.starter import starter, write_new

    for path in write_new(directory, starter(preset.value)):
        say(f"wrote {path}")
    spec = directory / "router.yml"
    say(f"next: rbops check {spec}\n      rbops plan {spec}")
    if preset is Preset.RB4:
        say(f"      rbops lab up {spec}   (as root)")


def check(spec: Spec, output: Output = Format.TEXT) -> None:
    """Validate a spec: report all errors, each with its position and a hint."""
    from rbops.errors import SpecError
    from rbops.planner import plan_spec
    from rbops.spec import load_spec

    try:
        checked = load_spec(spec)
        plan = plan_spec(checked)
        if plan.routing is not None and plan.routing.speaks is not None:
            from rbops.deploy.daemon import check_daemon

            check_daemon(plan)
    except SpecError as error:
        if output is Format.JSON:
            errors = [item.to_json() for item in error.diagnostics]
            conclude_json({"schema_version": SCHEMA_VERSION, "errors": errors}, error)
        raise
    if output is Format.JSON:
        warnings = [item.to_json() for item in checked.deprecated]
        emit_json({"schema_version": SCHEMA_VERSION, "errors": [], "warnings": warnings})
    say(_summary(plan))


def schema(
    kind: Annotated[
        Kind, typer.Option("--for", help="Schema of the spec, or of a file that `hardware:` in a spec names.")
    ] = Kind.SPEC,
) -> None:
    """Print the JSON Schema of the spec, for editors (yaml-language-server) and other tools."""
    import json

    from rbops.spec.schema import hardware_schema, spec_schema

    # In the order of the sections, not sorted by key.
    emit(json.dumps(spec_schema() if kind is Kind.SPEC else hardware_schema(), indent=2))


def _summary(plan: ClusterPlan) -> str:
    topology = plan.topology
    rates = {port.rate_bps for server in plan.servers for port in server.ports if port.kind == "external"}
    rate = "/".join(f"{bps / 1e9:g}" for bps in sorted(rates))
    ports = sum(len(server.external_ports) for server in plan.servers)
    parts = [
        f"{ports} external port{'s' if ports > 1 else ''} at {rate} Gbps",
        f"{topology.servers} server{'s' if topology.servers > 1 else ''}",
        topology.kind,
        plan.forwarding.routing,
        plan.forwarding.dataplane,
        f"{plan.routes.count} routes",
    ]
    noted = len(plan.warnings) + len(plan.violations)
    more = f"; {noted} warning{'s' if noted > 1 else ''}, see `rbops plan`" if noted else ""
    return f"{plan.name}: {', '.join(parts)}{more}"
