"""The providers of labs by name, and the labs that they made."""

from __future__ import annotations

from typing import Literal

from rbops.errors import Mismatch, UsageError
from rbops.lab import layout
from rbops.lab import manifest as manifests
from rbops.lab.model import Lab, Provider

__all__ = ["load", "made_by", "provider"]


def provider(kind: str = "nspawn", *, kvm: Literal["auto", "off"] = "auto") -> Provider:
    """The provider called ``kind``; ``kvm`` is for virtual machines. UsageError when there is none of that name."""
    if kind == "nspawn":
        from rbops.lab.nspawn import NspawnProvider

        return NspawnProvider()
    if kind == "vagrant":
        from rbops.lab.vagrant.provider import VagrantProvider

        return VagrantProvider(kvm)
    raise UsageError(f"there is no lab provider {kind!r}", hint="providers: nspawn, vagrant")


def made_by(name: str) -> str | None:
    """The kind of provider that made the lab ``name``, finished or not; None when there is no such lab.

    Raises UsageError for a lab that only root may look at.
    """
    try:
        manifest = manifests.read(layout.folder(name))
    except PermissionError as error:
        raise UsageError(f"lab {name} belongs to root", hint="run it with sudo") from error
    return manifest.provider if manifest is not None else None


def load(name: str) -> Lab:
    """The lab called ``name``. Raises Mismatch when there is none or it was not finished."""
    directory = layout.folder(name)
    try:
        manifest = manifests.read(directory)
    except PermissionError as error:
        raise UsageError(f"lab {name} belongs to root", hint="run it with sudo") from error
    if manifest is None:
        raise Mismatch(f"there is no lab called {name}", hint="rbops lab up SPEC makes one")
    if manifest.state != "up":
        raise Mismatch(f"lab {name} was not finished, or is being built", hint=f"rbops lab down {name}")
    return Lab(manifest, directory, provider(manifest.provider))
