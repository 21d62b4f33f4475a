"""The verb ``route get``: where packets for an address go, server by server."""

from __future__ import annotations

from typing import Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, conclude_json, show
from rbops.cli.servers import Servers, reaches_servers

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the verbs to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the router's routes.")
    group.command("get")(reaches_servers(get))
    root.add_typer(group, name="route")


def get(
    spec: Spec,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An address: 203.0.113.9, 2001:db8::1.")],
    servers: Servers,
    output: Output = Format.TEXT,
) -> None:
    """Show what each server does with packets for an address, and why.

    Its kernel's route, what that means for the router, and the entry of the data plane. Reads over SSH and changes
    nothing.
    """
    from ipaddress import ip_address

    from rbops.deploy.routes import trace
    from rbops.errors import Unreachable, UsageError
    from rbops.planner import load_plan
    from rbops.report.route import route_blocks, route_json

    try:
        wanted = str(ip_address(address))
    except ValueError as wrong:
        raise UsageError(str(wrong), code="route.address", hint="for example 203.0.113.9 or 2001:db8::1") from wrong
    plan = load_plan(spec)
    found = trace(plan, servers.load(), wanted)
    lost = [entry.error for entry in found if entry.error]
    error = Unreachable("\n".join(lost), code="status.unreachable") if lost else None
    if output is Format.JSON:
        conclude_json(route_json(wanted, found), error)
        return
    show(route_blocks(wanted, found))
    if error is not None:
        raise error
