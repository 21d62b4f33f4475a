"""The verb ``discover``: what real servers are and how they are cabled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import InventoryPath, Limit, Output
from rbops.cli.output import Format, emit_json, say, show

if TYPE_CHECKING:
    from rbops.discover.run import Discovered

__all__ = ["discover", "register"]

Planned = Annotated[
    Path | None,
    typer.Argument(
        metavar="SPEC", help="The spec whose cabling is checked; without it facts only.", show_default=False
    ),
]
Written = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write each server's hardware/NAME.yml beside this spec and name them under its `hosts:`; a new spec "
        "when it is not there.",
        show_default=False,
    ),
]
Fix = Annotated[bool, typer.Option("--fix", help="Rewrite the spec's `hosts: NAME: ports:` to the cabling found.")]
Check = Annotated[
    bool | None,
    typer.Option(
        "--cabling/--no-cabling",
        help="Send frames and tell what is cabled to what, or do not; as there is a SPEC unless said.",
        show_default=False,
    ),
]
AllPorts = Annotated[
    bool, typer.Option("--all-ports", help="Send out of every NIC but the management one, not of planned ports only.")
]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("discover")(discover)


def discover(
    inventory: InventoryPath,
    spec: Planned = None,
    output_spec: Written = None,
    fix: Fix = False,
    cabling: Check = None,
    all_ports: AllPorts = False,
    limit: Limit = None,
    output: Output = Format.TEXT,
) -> None:
    """Ask servers for processors, NICs and kernel, and check that they are cabled as planned.

    Changes no setting; ports that are down are up during the cabling check. Exit 3 when the cabling is not
    as planned.
    """
    from rbops.deploy.inventory import load_inventory
    from rbops.discover.run import Options
    from rbops.discover.run import discover as run
    from rbops.errors import UsageError

    if fix and (spec is None or cabling is False):
        raise UsageError("--fix needs a SPEC and its cabling checked", hint="rbops discover SPEC -i INV --fix")
    options = Options(spec, output_spec, fix, cabling, all_ports)
    _print(run(load_inventory(inventory, limit), options, say), output)


def _print(found: Discovered, output: Format) -> None:
    from rbops.errors import Mismatch

    if output is Format.JSON:
        emit_json(found.to_dict())
    else:
        from rbops.report.discover import discover_blocks

        show(discover_blocks(found))
    for path in found.written:
        say(f"wrote {path}")
    if found.refused is not None:
        raise found.refused
    if found.cabling is not None and found.cabling.wrong:
        wrong = found.cabling.wrong
        lines = "\n".join(f"  {verdict.text}" for verdict in wrong)
        raise Mismatch(
            f"{len(wrong)} of {len(found.cabling.verdicts)} ports are not cabled as planned:\n{lines}",
            hint="change the cables, or let --fix rewrite the spec to them",
        )
