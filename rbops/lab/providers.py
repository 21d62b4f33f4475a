"""The providers of labs by name, and the labs that they made."""

from __future__ import annotations

from typing import Literal

from rbops.errors import Mismatch, UsageError
from rbops.lab import layout
from rbops.lab.model import Lab, Provider
from rbops.lab.registry import existing, find

__all__ = ["load", "made_by", "provider"]


def provider(kind: str = "nspawn", *, kvm: Literal["auto", "off"] = "auto") -> Provider:
    """The provider called ``kind``; ``kvm`` is for virtual machines. UsageError when there is none of that name."""
    if kind == "nspawn":
        from rbops.lab.nspawn import NspawnProvider

        return NspawnProvider()
    if kind == "vagrant":
        from rbops.lab.vagrant.provider import VagrantProvider

        return VagrantProvider(kvm)
    raise UsageError(f"{kind!r} is not a lab provider", code="lab.provider", hint="providers: nspawn, vagrant")


def made_by(name: str) -> str | None:
    """The kind of provider that made the lab ``name``, finished or not; None when there is no such lab.

    Raises UsageError for a lab that only root may look at.
    """
    manifest = find(name)
    return manifest.provider if manifest is not None else None


def load(name: str) -> Lab:
    """The lab ``name``. Raises Mismatch when there is none or it is not complete, UsageError when it is root's."""
    manifest = existing(name)
    if manifest.state != "up":
        raise Mismatch(
            f"lab {name} is not complete: it is being built, or that was interrupted",
            code="lab.not-up",
            hint=f"remove it: rbops lab down {name}",
        )
    return Lab(manifest, layout.folder(name), provider(manifest.provider))
