"""The verb ``monitoring``: what Prometheus and Grafana need to watch a router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit, emit_json
from rbops.cli.servers import Servers, reaches_servers

__all__ = ["monitoring", "register"]

Folder = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the files.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("monitoring")(reaches_servers(monitoring))


def monitoring(spec: Spec, servers: Servers, folder: Folder, output: Output = Format.TEXT) -> None:
    """Write a configuration for Prometheus with the servers' exporters, alert rules, and a dashboard for Grafana.

    The servers give metrics where the spec has an `exporter` under `monitoring`. Reaches no server: addresses are those
    of the inventory.
    """
    from rbops.deploy.monitoring import write_files
    from rbops.planner import load_plan

    written = write_files(load_plan(spec), servers.load(), folder)
    if output is Format.JSON:
        emit_json({"schema_version": 1, "files": [str(path) for path in written]})
    else:
        emit("\n".join(map(str, written)))
