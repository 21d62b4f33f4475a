"""The verbs that only compute: ``plan``, ``explain``, ``predict``, ``scale`` and ``graph``."""

from __future__ import annotations

from typing import Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit

__all__ = ["plan", "register"]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("plan")(plan)


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
