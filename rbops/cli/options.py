"""The arguments and options that several verbs share, named as Ansible users know them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rbops.cli.output import Format

__all__ = ["InventoryPath", "JunitFile", "Limit", "Output", "Spec"]

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="The router's spec, a YAML file.", show_default=False)]
InventoryPath = Annotated[
    Path,
    typer.Option("-i", "--inventory", metavar="INV", help="Ansible inventory of the servers.", show_default=False),
]
Limit = Annotated[
    str | None,
    typer.Option("-l", "--limit", metavar="PATTERN", help="Only these servers, an Ansible host pattern."),
]
Output = Annotated[Format, typer.Option("--format", help="How to write the result to stdout.")]
JunitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit XML report to this file too.")
]
