"""The verbs ``drain`` and ``undrain``: take a server out of load balancing, and put it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit, emit_json
from rbops.cli.servers import Servers, reaches_servers

if TYPE_CHECKING:
    from rbops.deploy.drain import Drained

__all__ = ["register"]

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Server of the plan (n1).", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the verbs to the application."""
    app.command("drain")(reaches_servers(drain))
    app.command("undrain")(reaches_servers(undrain))


def drain(spec: Spec, server: Server, servers: Servers, output: Output = Format.TEXT) -> None:
    """Send nothing through a server that is not for its own ports, before it is worked on.

    All other servers get to know, and their counters confirm it. Its own ports go on. Refused when that would leave two
    servers without a path. It lasts until `undrain`, over applies and reboots.
    """
    _print(_change(spec, server, servers, drained=True), output)


def undrain(spec: Spec, server: Server, servers: Servers, output: Output = Format.TEXT) -> None:
    """Use a server as an intermediate again."""
    _print(_change(spec, server, servers, drained=False), output)


def _change(spec: Spec, server: str, servers: Servers, *, drained: bool) -> Drained:
    from rbops.deploy.drain import drain as change
    from rbops.planner import load_plan

    return change(load_plan(spec), servers.load(), server, drained=drained)


def _print(done: Drained, output: Format) -> None:
    from dataclasses import asdict

    if output is Format.JSON:
        emit_json({"schema_version": 1, **asdict(done)})
        return
    told = ", ".join(done.told)
    if done.drained:
        was = f"before {done.before:,.0f} packets a second"
        emit(f"{done.server} is drained: nothing goes through it, {was}; told: {told}")
    else:
        emit(f"{done.server} is used again; told: {told}")
