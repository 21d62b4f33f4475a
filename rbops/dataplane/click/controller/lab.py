"""A lab's servers run the Click of this machine: its folder is bound into them, the element package compiled once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import rbops
from rbops.dataplane.click.controller.build import ClickError, build, find
from rbops.errors import Mismatch
from rbops.lab.progress import Progress
from rbops.plan import ClusterPlan

__all__ = ["folder", "give"]

_PACKAGES = "var/lib/rbops/click"


def folder(plan: ClusterPlan) -> str:
    """The folder of the Click that the plan's servers run.

    Raises Mismatch (3) where this machine has none, or where a lab cannot run the dialect.
    """
    forwarding = plan.forwarding
    if forwarding.click_dialect != "socket":
        raise Mismatch(
            f"dialect {forwarding.click_dialect} is not supported by a lab's cables",
            hint="write `click: {dialect: socket}`",
            code="click.lab-driver",
        )
    try:
        found = find(forwarding.click_prefix)
    except ClickError as error:
        raise Mismatch(
            str(error), code="click.lab-no-click", hint=f"a lab's servers run this machine's Click: {error.hint}"
        ) from error
    return os.path.realpath(found.prefix) if forwarding.click_prefix is None else forwarding.click_prefix


def give(prefix: str, directory: Path, uppers: list[Path], progress: Progress) -> None:
    """Compile the element package in the lab's folder and put it into every server's writable layer.

    Lab servers have no compiler. Raises Mismatch (3) when it does not compile.
    """
    progress("compile the Click elements")
    base = directory / "click"
    base.mkdir(exist_ok=True)
    try:
        build(find(prefix), Path(rbops.__file__).parent / "dataplane" / "click", base)
    except ClickError as error:
        raise Mismatch(str(error), code="click.compile", hint=error.hint) from error
    for upper in uppers:
        shutil.copytree(base, upper / _PACKAGES, symlinks=True)
        for place in (upper / "var", upper / "var/lib", upper / "var/lib/rbops", upper / _PACKAGES):
            place.chmod(0o700 if place.name == "rbops" and place.parent.name == "lib" else 0o755)
