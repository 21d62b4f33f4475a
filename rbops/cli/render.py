"""``rbops render``: the whole file tree of a router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rbops.cli.options import Spec
from rbops.cli.output import say

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("render")(render)


def render(
    spec: Spec,
    directory: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write.", show_default=False)
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace DIR even if it holds files rbops did not write.")
    ] = False,
) -> None:
    """Write every file that the servers get, with the playbooks to push them without rbops."""
    from rbops.planner import load_plan
    from rbops.render import render as render_plan
    from rbops.render import write

    plan = load_plan(spec)
    rendered = render_plan(plan)
    write(rendered, directory, force=force)
    say(f"{len(plan.servers)} servers, plan {plan.digest[:12]}: {directory}")
    say(f"next: rbops apply {spec} -i INVENTORY, or ansible-playbook -i INVENTORY site.yml in {directory}")
