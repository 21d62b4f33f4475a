"""The verb ``demo``: from a spec to forwarded packets, with the commands that a user types."""

from __future__ import annotations

import io
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from rbops.cli.output import emit, say
from rbops.dataplane import registry
from rbops.errors import UsageError

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb to the application."""
    app.command("demo")(demo)


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the lab running, and its spec in DIR.")] = False,
    directory: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="With --keep: directory for spec and inventory.")
    ] = Path("rbops-demo"),
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the lab.")] = "rb4",
    dataplane: Annotated[
        str,
        typer.Option(
            "--dataplane", metavar="|".join(registry.KINDS), help="click: the Click in CLICK_PREFIX or on PATH."
        ),
    ] = "xdp",
) -> None:
    """Run the paper's RB4 on this machine: plan it, boot four servers, apply, verify, self-test.

    Needs root. Each step is an rbops command, shown as it runs. The lab is removed at the end, even after a failure,
    unless --keep is given.
    """
    if dataplane not in registry.KINDS:
        raise UsageError(f"--dataplane: {dataplane!r} is not one of {', '.join(registry.KINDS)}", code="demo.dataplane")
    say("rbops demo: a four-server router (RB4 of the RouteBricks paper) as a lab on this machine")
    with _folder(directory, keep=keep) as folder:
        spec = str(folder / "router.yml")
        run = _Runner(context.find_root().command.main)
        if not (keep and Path(spec).exists()):
            run("init", str(folder))
            if dataplane != registry.KINDS[0]:
                registry.controller(dataplane).prepare_demo(Path(spec), say)
        run("check", spec)
        plan = run("plan", spec)
        run("render", spec, "-o", str(folder / "rendered"))
        with _lab(run, spec, name, keep=keep) as inventory:
            run("apply", spec, "-i", inventory)
            run("verify", spec, "-i", inventory)
            matrix = run("selftest", spec, "-i", inventory)
        emit(plan)
        emit(matrix)
    _farewell(run, spec, inventory, name, keep=keep)


class _Runner:
    """Runs rbops's own verbs in this process, shows each command line, and keeps their times."""

    def __init__(self, program: Callable[..., Any]) -> None:
        self.times: list[tuple[str, float]] = []
        self._program = program

    def __call__(self, *arguments: str) -> str:
        """Run one verb; returns what it wrote to stdout. Raises typer.Exit with its code when it fails."""
        say(f"\n$ {shlex.join(['rbops', *arguments])}")
        begun = time.monotonic()
        output = io.StringIO()
        with redirect_stdout(output):
            code = self._program(list(arguments), prog_name="rbops", standalone_mode=False)
        self.times.append((" ".join(word for word in arguments[:2] if word.isalpha()), time.monotonic() - begun))
        if code:
            # A failing verb's result says why.
            say(output.getvalue())
            raise typer.Exit(code)
        return output.getvalue()


@contextmanager
def _folder(directory: Path, *, keep: bool) -> Iterator[Path]:
    if keep:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="rbops-demo-") as folder:
        yield Path(folder)


@contextmanager
def _lab(run: _Runner, spec: str, name: str, *, keep: bool) -> Iterator[str]:
    """The lab's inventory; the lab is removed at the end, also after an error, unless it is to be kept."""
    inventory = run("lab", "up", spec, "--name", name).strip()
    try:
        yield inventory
    finally:
        if not keep:
            run("lab", "down", spec, "--name", name)


def _farewell(run: _Runner, spec: str, inventory: str, name: str, *, keep: bool) -> None:
    width = max(len(what) for what, _ in run.times)
    say("")
    for what, seconds in run.times:
        say(f"  {what:{width}}  {seconds:6.1f} s")
    say(f"  {'total':{width}}  {sum(seconds for _, seconds in run.times):6.1f} s")
    if keep:
        next_steps = [
            f"rbops lab status {name}",
            f"rbops lab exec {name} t0 -- ping -c 3 198.18.3.2",
            f"rbops lab ssh {name} n0",
            f"rbops selftest {spec} -i {inventory}",
            f"rbops lab down {name}",
        ]
    else:
        next_steps = [
            "rbops demo --keep                  the same, and keep the lab running",
            "rbops init my-router               start a spec of your own: my-router/router.yml",
            "rbops plan my-router/router.yml    show its plan",
        ]
    say("\nnext: " + "\n      ".join(next_steps))
