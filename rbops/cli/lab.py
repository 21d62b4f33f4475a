"""The verbs ``lab up``, ``list``, ``down``, ``status``, ``ssh``, ``exec`` and ``box``: a cluster on this machine."""

from __future__ import annotations

import time
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.options import Output, Spec
from rbops.cli.output import Format, conclude_json, emit, emit_json, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rbops.lab.model import Provider
    from rbops.lab.progress import Progress

__all__ = ["group_of", "lab_name", "provider_of", "register", "timed_progress"]


class ProviderKind(StrEnum):
    """The providers of labs."""

    NSPAWN = "nspawn"
    VAGRANT = "vagrant"


class TesterKind(StrEnum):
    """What the testers of a lab are."""

    NAMESPACES = "namespaces"
    SYSTEMS = "systems"


class Release(StrEnum):
    """The Debian releases that a lab can run."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"


class KvmUse(StrEnum):
    """Whether virtual machines may run on KVM."""

    AUTO = "auto"
    OFF = "off"


Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the lab. Default: the name in the spec."),
]
Lab = Annotated[
    str, typer.Argument(metavar="LAB", help="Name of the lab, or the spec it was made from.", show_default=False)
]
Kind = Annotated[
    ProviderKind, typer.Option("--provider", help="nspawn: systemd containers; vagrant: virtual machines.")
]
Made = Annotated[
    ProviderKind | None, typer.Option("--provider", help="Provider of the lab. Default: the one that made it.")
]

_NAME = "lab"


def register(root: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Run the whole cluster on this machine: Debian systems cabled as planned, testers on the external ports.",
    )
    group.command("up")(up)
    group.command("list")(list_labs)
    group.command("box")(build_box)
    group.command("down")(down)
    group.command("status")(status)
    group.command("ssh")(ssh)
    group.command("exec")(execute)
    root.add_typer(group, name=_NAME)


def group_of(root: typer.Typer) -> typer.Typer:
    """The group that :func:`register` added to the application."""
    return next(
        info.typer_instance for info in root.registered_groups if info.name == _NAME and info.typer_instance is not None
    )


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


def lab_name(lab: str, name: str | None) -> str:
    """The name of the lab that a verb is about: ``--name``, or the argument, a spec's path or the name itself."""
    from pathlib import Path

    # With its name a lab can be looked at and removed when its spec is broken or gone.
    if name is not None:
        return name
    path = Path(lab)
    if "/" not in lab and path.suffix not in {".yml", ".yaml"} and not path.is_file():
        return lab
    from rbops.spec import load_spec

    return load_spec(path).name


def provider_of(lab: str, kind: ProviderKind | None) -> Provider:
    """The provider of a lab: what ``up`` wrote down, whether the lab was finished or not."""
    from rbops.errors import UsageError
    from rbops.lab.providers import made_by, provider

    made = made_by(lab)
    if kind is not None and made is not None and made != kind:
        raise UsageError(
            f"lab {lab} was made by {made}, not by {kind}", code="lab.other-provider", hint="omit --provider"
        )
    return provider(made or kind or ProviderKind.NSPAWN)


def up(
    spec: Spec,
    name: Name = None,
    kind: Kind = ProviderKind.NSPAWN,
    kvm: Annotated[KvmUse, typer.Option("--kvm", help="With vagrant: use KVM if available, or emulate.")] = KvmUse.AUTO,
    release: Annotated[
        list[str] | None,
        typer.Option(
            "--release",
            metavar="[SERVER=]bookworm|trixie",
            help="Debian release of all servers, or of one server. Can be given several times. Default: bookworm.",
        ),
    ] = None,
    testers: Annotated[
        TesterKind | None,
        typer.Option(
            help="namespaces of this machine, or systems of their own that are reached over SSH. Default: namespaces."
        ),
    ] = None,
) -> None:
    """Build and boot a lab; print the path of its inventory.

    An `up` that fails or is interrupted removes what it built. Needs root.
    """
    from rbops.lab.providers import provider
    from rbops.lab.releases import Releases
    from rbops.planner import load_plan

    releases = Releases.parse(release or ())
    plan = load_plan(spec)
    with timed_progress() as progress:
        lab = provider(kind, kvm=kvm.value).up(
            plan, name or plan.name, progress, releases, None if testers is None else testers.value
        )
    emit(str(lab.inventory))


def list_labs(output: Output = Format.TEXT) -> None:
    """List the labs on this machine."""
    import dataclasses

    from rbops.lab.registry import every_lab
    from rbops.report.lab import list_blocks

    found = every_lab()
    if output is Format.JSON:
        emit_json({"schema_version": 1, "labs": [dataclasses.asdict(lab) for lab in found]})
    else:
        show(list_blocks(found))


def build_box(
    force: Annotated[bool, typer.Option("--force", help="Rebuild an existing box from current packages.")] = False,
    release: Annotated[Release, typer.Option("--release", help="Debian release in the box.")] = Release.BOOKWORM,
) -> None:
    """Build the Vagrant box that `up --provider vagrant` boots; print its path. Needs root.

    The box is kept. `up` builds it if it is missing, which takes about a minute.
    """
    from rbops.lab.registry import require_root
    from rbops.lab.vagrant import box

    require_root()
    with timed_progress() as progress:
        folder = box.ensure(progress, release, force=force)
    emit(str(folder / f"{box.box_name(release)}.box"))


def down(lab: Lab, name: Name = None, kind: Made = None) -> None:
    """Remove a lab and everything that belongs to it, whatever its state. Safe to repeat."""
    lab = lab_name(lab, name)
    if provider_of(lab, kind).down(lab):
        say(f"lab {lab} removed")
    else:
        say(f"there is no lab called {lab}: nothing to remove")


def status(lab: Lab, name: Name = None, kind: Made = None, output: Output = Format.TEXT) -> None:
    """Show servers, cables and testers of a lab. Exits with 1 if a server is off or does not answer."""
    from rbops.errors import CheckFailed
    from rbops.report.lab import lab_blocks

    lab = lab_name(lab, name)
    found = provider_of(lab, kind).status(lab)
    off = [server.name for server in found.servers if not (server.running and server.ssh)]
    detail = f": no answer from {', '.join(off)}" if off else ""
    error = (
        None if found.state == "up" else CheckFailed(f"lab {found.name} is {found.state}{detail}", code="lab.degraded")
    )
    if output is Format.JSON:
        import dataclasses

        conclude_json({"schema_version": 1, **dataclasses.asdict(found)}, error)
        return
    show(lab_blocks(found))
    if error is not None:
        raise error


def ssh(
    lab: Lab,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Server (n0), or tester (t0) for a shell there.")],
    name: Name = None,
    kind: Made = None,
) -> None:
    """Log in to a server of a lab, or open a shell at a tester."""
    _become(lab_name(lab, name), kind, host, [])


def execute(
    lab: Lab,
    host: Annotated[str, typer.Argument(metavar="HOST", help="Server (n0) or tester (t0).")],
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Command and arguments; `--` before it if it has options.")
    ],
    name: Name = None,
    kind: Made = None,
) -> None:
    """Run a command on a server of a lab or in a tester's namespace. Exits with its exit code."""
    _become(lab_name(lab, name), kind, host, command)


def _become(lab: str, kind: ProviderKind | None, target: str, command: list[str]) -> None:
    """Replace this process by the command: its terminal, signals and exit code are the user's."""
    import os
    import sys

    tty = bool(command) and sys.stdin.isatty() and sys.stdout.isatty()
    args = provider_of(lab, kind).command(lab, target, command, tty=tty)
    os.execvp(args[0], args)  # noqa: S606 - an argument list, without a shell
