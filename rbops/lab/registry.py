"""The labs on this machine: listed, refused when the name is taken, recorded before they are made, removed."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rbops.errors import Mismatch, StateUnknown, UsageError
from rbops.lab import layout, names, net, removal
from rbops.lab import manifest as manifests
from rbops.lab.access import INVENTORY
from rbops.lab.lock import locked, try_locked
from rbops.lab.manifest import Manifest
from rbops.lab.progress import Progress

__all__ = [
    "KnownLab",
    "complete",
    "every_lab",
    "existing",
    "find",
    "refuse_existing",
    "require_cables",
    "require_root",
    "reserve",
    "take_down",
]


@dataclass(frozen=True, slots=True)
class KnownLab:
    """A lab on this machine; ``provider`` and ``servers`` are None where its manifest cannot be read."""

    name: str
    state: Literal["up", "building", "unknown"]
    provider: str | None
    servers: int | None
    inventory: str


def every_lab() -> tuple[KnownLab, ...]:
    """All labs on this machine by name, finished or not. Raises UsageError for those who may not look at them."""
    try:
        folders = sorted(folder for folder in names.STATE.iterdir() if folder.is_dir())
        return tuple(_known(folder) for folder in folders)
    except FileNotFoundError:
        return ()
    except PermissionError as error:
        raise UsageError(
            "the labs on this machine belong to root", code="lab.owner", hint="run it with sudo"
        ) from error


def _known(folder: Path) -> KnownLab:
    inventory = str(folder / INVENTORY)
    try:
        manifest = manifests.read(folder)
    except StateUnknown:
        manifest = None
    if manifest is None:
        return KnownLab(folder.name, "unknown", None, None, inventory)
    state: Literal["up", "building"] = "up" if manifest.state == "up" else "building"
    return KnownLab(manifest.name, state, manifest.provider, len(manifest.servers), inventory)


def require_root() -> None:
    """Raise UsageError for everybody else."""
    if os.geteuid() != 0:
        raise UsageError(
            "a lab needs root: it boots systems and makes network namespaces",
            code="lab.root",
            hint="run it again with sudo",
        )


def find(name: str) -> Manifest | None:
    """The manifest of the lab ``name``, finished or not; UsageError for a lab that only root may look at."""
    try:
        return manifests.read(layout.folder(name))
    except PermissionError as error:
        raise UsageError(f"lab {name} belongs to root", code="lab.owner", hint="run it with sudo") from error


def existing(name: str) -> Manifest:
    """As :func:`find`; Mismatch when there is none."""
    manifest = find(name)
    if manifest is None:
        raise Mismatch(f"no lab is named {name}", code="lab.unknown", hint="make one: rbops lab up SPEC")
    return manifest


def refuse_existing(directory: Path) -> None:
    """Raise UsageError when there is a lab in ``directory``, Locked while another rbops is at it."""
    if not directory.exists():
        return
    name = directory.name
    with try_locked(directory, f"lab {name}"):
        manifest = manifests.read(directory)
    if manifest is not None and manifest.state == "up":
        raise UsageError(
            f"lab {name} exists already, with {len(manifest.servers)} servers",
            code="lab.exists",
            hint=f"remove it: rbops lab down {name}; or give the new one another name: --name NAME",
        )
    raise UsageError(
        f"lab {name} was not completed",
        code="lab.incomplete",
        hint=f"remove what is left of it: rbops lab down {name}",
    )


def reserve(name: str, make: Callable[[int], Manifest], held: ExitStack, progress: Progress) -> Manifest:
    """Choose a management network no other lab has, and record the manifest that ``make`` returns for it.

    ``held`` gets the lab's lock. ``progress`` reports a lab whose network is not known.
    """
    directory = layout.folder(name)
    with locked(names.STATE):
        taken = [*_others(progress), *net.networks_in_use()]
        manifest = make(names.choose_subnet(name, taken))
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            refuse_existing(directory)
            raise
        held.enter_context(try_locked(directory, f"lab {name}"))
        manifests.write(manifest, directory)
    return manifest


def complete(manifest: Manifest, build: Callable[[], None], progress: Progress) -> Manifest:
    """``build`` the reserved lab and record that it is up; what was built is removed when that fails."""
    directory = layout.folder(manifest.name)
    finished = False
    try:
        build()
        manifest = manifests.finished(manifest)
        manifests.write(manifest, directory)
        finished = True
    finally:
        if not finished:
            progress("remove what was built")
            removal.remove(manifest, directory)
    return manifest


def require_cables(manifest: Manifest) -> None:
    """Raise Mismatch when the lab's cables are gone."""
    if not net.exists(manifest.panel):
        raise Mismatch(
            f"lab {manifest.name} has lost its cables: was the machine itself rebooted?",
            code="lab.no-cables",
            hint=f"rbops lab down {manifest.name}, then up again",
        )


def take_down(name: str, progress: Progress) -> bool:
    """Remove the lab whatever its state; False when there is none."""
    directory = layout.folder(name)
    try:
        with try_locked(directory, f"lab {name}"):
            progress(f"remove lab {name}")
            removal.remove(manifests.read(directory), directory)
    except FileNotFoundError:
        return False
    return True


def _others(progress: Progress) -> Iterator[ipaddress.IPv4Network]:
    """The management networks of all labs, running or not."""
    for folder in sorted(names.STATE.iterdir()):
        if not folder.is_dir():
            continue
        try:
            subnet = manifests.read_subnet(folder)
        except StateUnknown as error:
            progress(f"choose a management network that is not in use now: {error}")
        else:
            if subnet is not None:
                yield names.management_network(subnet)
