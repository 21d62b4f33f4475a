"""The verbs of a running lab's parts: ``lab kill``, ``restart``, ``cut`` and ``plug``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from rbops.cli.lab import Lab, Made, Name, app, lab_name, provider_of, timed_progress
from rbops.cli.output import say

if TYPE_CHECKING:
    from rbops.lab.cables.ends import End
    from rbops.lab.manifest import Manifest

__all__ = ["register"]

Server = Annotated[str, typer.Argument(metavar="SERVER", help="Server of the lab (n0).", show_default=False)]
Ports = Annotated[
    list[str],
    typer.Argument(metavar="NODE:PORT...", help="Ports as `lab status` names them (n0:int1).", show_default=False),
]


def register(root: typer.Typer) -> None:
    """Add the verbs to ``rbops lab``."""
    del root
    for verb in (kill, restart, cut, plug):
        app.command(verb.__name__)(verb)


def kill(lab: Lab, server: Server, name: Name = None, kind: Made = None) -> None:
    """Cut a server's power: no shutdown, its ports lose their carrier, its disk stays. Safe to repeat."""
    lab = lab_name(lab, name)
    provider_of(lab, kind).kill(lab, server)
    say(f"{server} is off")


def restart(lab: Lab, server: Server, name: Name = None, kind: Made = None) -> None:
    """Cut a server's power if it is on, boot it, and wait until it answers."""
    lab = lab_name(lab, name)
    with timed_progress() as progress:
        progress(f"restart {server}")
        provider_of(lab, kind).restart(lab, server)


def cut(lab: Lab, ports: Ports, name: Name = None) -> None:
    """Pull cables out: each port named loses its carrier.

    The device at the other end is set down for as long, since a veth pair has no plug. Safe to repeat.
    """
    from rbops.lab.cables.plugging import cut as pull

    for near, far in _both(lab, name, ports, pull):
        say(f"{near} is without carrier, {far} is down")


def plug(lab: Lab, ports: Ports, name: Name = None) -> None:
    """Plug cables in again: both ends of each are set up. Safe to repeat."""
    from rbops.lab.cables.plugging import plug as put

    for near, far in _both(lab, name, ports, put):
        say(f"{near} and {far} are up")


def _both(
    lab: str, name: str | None, ports: Iterable[str], action: Callable[[Manifest, str], tuple[End, End]]
) -> list[tuple[str, str]]:
    """Do it to each cable under the lab's lock, when all ports are known; the names of the ends."""
    from rbops.lab import layout
    from rbops.lab.cables.ends import one_end, require_namespaces
    from rbops.lab.lock import try_locked
    from rbops.lab.registry import existing, require_cables, require_root

    require_root()
    manifest = existing(lab_name(lab, name))
    require_namespaces(manifest)
    for text in ports:
        one_end(manifest, text)
    with try_locked(layout.folder(manifest.name), f"lab {manifest.name}"):
        require_cables(manifest)
        return [(near.name, far.name) for near, far in (action(manifest, text) for text in ports)]
