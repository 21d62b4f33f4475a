"""The verb ``discover``: hardware and cabling of real servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output
from rbops.cli.output import Format, conclude_json, say, show
from rbops.cli.servers import Servers, reaches_servers

if TYPE_CHECKING:
    from rbops.discover.run import Discovered
    from rbops.errors import RbopsError

__all__ = ["discover", "register"]

Planned = Annotated[
    Path | None,
    typer.Argument(
        metavar="SPEC", help="Spec to check the cabling against. Without it: facts only.", show_default=False
    ),
]
Written = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Write hardware/NAME.yml for each server beside this spec, and refer to them under `hosts:`; the spec is "
        "created if missing.",
        show_default=False,
    ),
]
Fix = Annotated[bool, typer.Option("--fix", help="Update `hosts: NAME: ports:` of the spec to the cabling found.")]
Check = Annotated[
    bool | None,
    typer.Option(
        "--cabling/--no-cabling",
        help="Send probe frames to find the cabling, or do not. Default: only with SPEC.",
        show_default=False,
    ),
]
AllPorts = Annotated[
    bool, typer.Option("--all-ports", help="Probe all NICs except the management NIC, not only planned ports.")
]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("discover")(reaches_servers(discover))


def discover(
    servers: Servers,
    spec: Planned = None,
    output_spec: Written = None,
    fix: Fix = False,
    cabling: Check = None,
    all_ports: AllPorts = False,
    output: Output = Format.TEXT,
) -> None:
    """Read CPUs, NICs and kernel of servers, and check their cabling against a spec.

    Settings are not changed; ports that are down are up during the cabling check. Exits with 3 if the cabling
    differs from the plan.
    """
    from rbops.discover.run import DiscoverOptions
    from rbops.discover.run import discover as run
    from rbops.errors import UsageError

    if fix and (spec is None or cabling is False):
        raise UsageError(
            "--fix needs a SPEC and the cabling check",
            code="discover.fix",
            hint="rbops discover SPEC -i INVENTORY --fix",
        )
    options = DiscoverOptions(spec, output_spec, fix, cabling, all_ports)
    _print(run(servers.load(), options, say), output)


def _print(found: Discovered, output: Format) -> None:
    from rbops.report.discover import discover_blocks

    for path in found.written:
        say(f"wrote {path}")
    error = _error(found)
    if output is Format.JSON:
        conclude_json(found.to_dict(), error)
        return
    show(discover_blocks(found))
    if error is not None:
        raise error


def _error(found: Discovered) -> RbopsError | None:
    from rbops.errors import Mismatch

    wrong = found.cabling.wrong if found.cabling is not None else ()
    if found.refused is not None or found.cabling is None or not wrong:
        return found.refused
    lines = "\n".join(f"  {verdict.text}" for verdict in wrong)
    return Mismatch(
        f"{len(wrong)} of {len(found.cabling.verdicts)} ports are not cabled as planned:\n{lines}",
        code="discover.miscabled",
        hint="change the cables, or update the spec to them with --fix",
    )
