"""The arguments and options that several verbs share, named as Ansible users know them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from rbops.cli.output import Format

__all__ = ["ExamplesFile", "JunitFile", "Output", "Spec", "remember_format", "wants_json"]

_FORMAT = "rbops.format"
_Value = TypeVar("_Value", bound=StrEnum)


def remember_format(ctx: typer.Context, value: _Value) -> _Value:
    """The outermost frame writes errors in the format of the results."""
    ctx.meta[_FORMAT] = value
    return value


Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec of the router, a YAML file.", show_default=False)]
Output = Annotated[
    Format,
    # Eager: an error in another option is written in this format too.
    typer.Option(
        "--format", callback=remember_format, is_eager=True, help="Format of the result and of errors on stdout."
    ),
]
JunitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Also write a JUnit XML report to FILE.")
]

ExamplesFile = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        metavar="FILE",
        help="Also write the first wrong packet of each kind, port and phase to FILE, as pcapng.",
    ),
]


def wants_json(ctx: typer.Context) -> bool:
    """Whether the verb below ``ctx`` was called with ``--format json``."""
    return bool(ctx.meta.get(_FORMAT) == Format.JSON)
