"""The verbs ``lab up``, ``down``, ``status``, ``ssh`` and ``exec``: a whole cluster on this machine."""

from __future__ import annotations

import time
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, emit, emit_json, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rbops.lab.model import Provider
    from rbops.lab.progress import Progress

__all__ = ["app", "register", "timed_progress"]


class ProviderKind(StrEnum):
    """The ways to make a lab."""

    NSPAWN = "nspawn"
    VAGRANT = "vagrant"


class KvmUse(StrEnum):
    """Whether virtual machines may run on KVM."""

    AUTO = "auto"
    OFF = "off"


Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The lab's name; the spec's is taken when it is left out."),
]
Kind = Annotated[
    ProviderKind, typer.Option("--provider", help="How the servers are made: systemd containers, or virtual machines.")
]
Made = Annotated[
    ProviderKind | None, typer.Option("--provider", help="How the servers were made; the lab itself knows.")
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The whole cluster on this machine: Debian systems, cabled as planned, with testers on the external ports.",
)


def register(root: typer.Typer) -> None:
    """Add the group to the application."""
    root.add_typer(app, name="lab")


@contextmanager
def timed_progress() -> Iterator[Progress]:
    """A progress callback that says each step on stderr, and the time of each when it is done."""
    started = time.monotonic()
    current: list[tuple[str, float]] = []

    def end() -> None:
        if current:
            step, begun = current.pop()
            say(f"{step}: {time.monotonic() - begun:.1f} s")

    def begin(step: str, /) -> None:
        end()
        current.append((step, time.monotonic()))
        say(f"{step} ...")

    yield begin
    end()
    say(f"done in {time.monotonic() - started:.1f} s")


def _name(spec: Path, name: str | None) -> str:
    # A lab can be looked at and removed when its spec is broken or gone, as long as it is named.
    if name is not None:
        return name
    from rbops.spec import load_spec

    return load_spec(spec).name


def _provider_of(lab: str, kind: ProviderKind | None) -> Provider:
    """The provider of a lab: what ``up`` wrote down, whether the lab was finished or not."""
    from rbops.errors import UsageError
    from rbops.lab.providers import made_by, provider

    made = made_by(lab)
    if kind is not None and made is not None and made != kind:
        raise UsageError(f"lab {lab} was made by {made}, not by {kind}", hint="leave --provider out")
    return provider(made or kind or ProviderKind.NSPAWN)


@app.command("up")
def up(
    spec: Spec,
    name: Name = None,
    kind: Kind = ProviderKind.NSPAWN,
    kvm: Annotated[KvmUse, typer.Option("--kvm", help="With vagrant: use KVM if it works, or emulate.")] = KvmUse.AUTO,
) -> None:
    """Build and boot the lab; prints its inventory's path.

    An up that fails or is interrupted removes what it had built. Needs root.
    """
    from rbops.lab.providers import provider
    from rbops.planner import load_plan

    plan = load_plan(spec)
    with timed_progress() as progress:
        lab = provider(kind, kvm=kvm.value).up(plan, name or plan.name, progress)
    emit(str(lab.inventory))


@app.command("box")
def build_box(
    force: Annotated[bool, typer.Option("--force", help="Build it again, from the packages of today.")] = False,
) -> None:
    """Build the box that `up --provider vagrant` boots, from Debian packages; prints its path. Needs root.

    It is kept: building takes about a minute, and `up` does it where it is missing.
    """
    from rbops.lab.registry import require_root
    from rbops.lab.vagrant import box

    require_root()
    with timed_progress() as progress:
        folder = box.ensure(progress, force=force)
    emit(str(folder / f"{box.BOX}.box"))


@app.command("down")
def down(spec: Spec, name: Name = None, kind: Made = None) -> None:
    """Remove the lab with all that belongs to it, in whatever state it is. Can be repeated."""
    lab = _name(spec, name)
    if _provider_of(lab, kind).down(lab):
        say(f"lab {lab} is removed")
    else:
        say(f"there is no lab called {lab}: nothing to remove")


@app.command("status")
def status(spec: Spec, name: Name = None, kind: Made = None, output: Output = Format.TEXT) -> None:
    """Show the lab's servers, cables and testers. Exit 1 when a server is off or does not answer."""
    from rbops.errors import CheckFailed

    lab = _name(spec, name)
    found = _provider_of(lab, kind).status(lab)
    if output is Format.JSON:
        import dataclasses

        emit_json({"schema_version": 1, **dataclasses.asdict(found)})
    else:
        from rbops.report.lab import lab_blocks

        show(lab_blocks(found))
    if found.state != "up":
        off = [server.name for server in found.servers if not (server.running and server.ssh)]
        detail = f": {', '.join(off)} {'is' if len(off) == 1 else 'are'} off or silent" if off else ""
        raise CheckFailed(f"lab {found.name} is {found.state}{detail}")


@app.command("ssh")
def ssh(
    spec: Spec,
    server: Annotated[str, typer.Argument(metavar="SERVER", help="A server (n0), or a tester (t0) for a shell there.")],
    name: Name = None,
    kind: Made = None,
) -> None:
    """Log in to a server of the lab, with its keys and its known hosts."""
    _become(_name(spec, name), kind, server, [])


@app.command("exec")
def execute(
    spec: Spec,
    target: Annotated[str, typer.Argument(metavar="SERVER|TESTER", help="n0 for a server, t0 for a tester.")],
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="The command and its arguments.")],
    name: Name = None,
    kind: Made = None,
) -> None:
    """Run a command on a server or in a tester's namespace; exits with its exit code."""
    _become(_name(spec, name), kind, target, command)


def _become(lab: str, kind: ProviderKind | None, target: str, command: list[str]) -> None:
    """Replace this process by the command: its terminal, signals and exit code are the user's."""
    import os
    import sys

    tty = bool(command) and sys.stdin.isatty() and sys.stdout.isatty()
    args = _provider_of(lab, kind).command(lab, target, command, tty=tty)
    os.execvp(args[0], args)  # noqa: S606 - an argument list, without a shell
