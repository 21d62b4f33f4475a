"""The verb ``verify``: the plan against the live servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

import typer

from rbops.cli.options import JunitFile, Output, Spec
from rbops.cli.output import Format, conclude_json, console, show
from rbops.cli.servers import Servers, reaches_servers
from rbops.errors import CheckFailed

if TYPE_CHECKING:
    from rbops.verify.result import Check, VerifyResult

__all__ = ["register", "run", "verify"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("verify")(reaches_servers(verify))


def verify(
    spec: Spec,
    servers: Servers,
    select: Annotated[
        str | None,
        typer.Option(
            "-k", metavar="EXPRESSION", help="Run only matching checks, a pytest expression: -k 'xps or files'."
        ),
    ] = None,
    junit: JunitFile = None,
    output: Output = Format.TEXT,
) -> None:
    """Check the live state of the servers against the plan: data plane, queues, routes, services, files.

    Reads over SSH and changes nothing. Exits with 1 if a check fails or none was run.
    """
    from rbops.report.verify import verify_blocks
    from rbops.report.words import counted

    result = run(spec, servers, select, junit)
    failed = counted(len(result.failures), "check") + " failed" if result.failures else "no check was run"
    error = None if result.passed else CheckFailed(failed, code="verify.failed")
    if output is Format.JSON:
        conclude_json(result.to_dict(), error)
        return
    show(verify_blocks(result))
    if error is not None:
        raise error


def run(spec: Spec, servers: Servers, select: str | None = None, junit: JunitFile = None) -> VerifyResult:
    """Verify the spec's servers, progress on a terminal; raises Unreachable (4)."""
    from pathlib import Path

    from rbops.deploy.ssh import require_reachable
    from rbops.node.schema import parse
    from rbops.planner import load_plan
    from rbops.render import render
    from rbops.verify.run import run_verify

    plan = load_plan(spec)
    targets = servers.load().for_plan(plan)
    require_reachable(targets)
    rendered = render(plan)
    files = {
        name: {file.path: file.sha256 for file in rendered.files_of(name)}
        for name in (target.name for target in targets)
    }
    config = Path("/etc/rbops/node.json")
    nodes = {
        name: parse(next(file.content for file in rendered.files_of(name) if file.path == str(config)).decode(), config)
        for name in files
    }
    with _Progress(len(targets)) as progress:
        return run_verify(plan.digest, targets, nodes, files, junit=junit, select=select, progress=progress)


class _Progress:
    """On a terminal a status line with the current check; nothing elsewhere."""

    def __init__(self, servers: int) -> None:
        self._console = console()
        self._status = self._console.status(f"verifying {servers} servers")
        self._done = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, check: Check) -> None:
        from rich.markup import escape

        self._done += 1
        self._status.update(escape(f"{self._done} checks: {check.server} {check.subject} {check.name}"))
