"""The element package that a running Click loaded, beside the one that its next start loads. Standard library only."""

from __future__ import annotations

from pathlib import Path

__all__ = ["LINK", "loaded", "planned"]

LINK = Path("/var/lib/rbops/click/rbops.uo")
"""Leads to the package compiled last; a revert puts it back."""


def planned(link: Path = LINK) -> str:
    """The digest of sources and Click that the next start loads; empty where none was compiled."""
    return link.resolve().parent.name if link.exists() else ""


def loaded(pid: int, proc: Path = Path("/proc")) -> str:
    """The digest of the package that a process has in its memory; empty when it has none, or is gone.

    A package stays loaded over hot swaps: another one takes a restart.
    """
    try:
        maps = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    paths = (line.split(maxsplit=5)[-1] for line in maps.splitlines())
    # A package that was forgotten meanwhile is still in memory, with a note behind its name.
    names = (Path(path.removesuffix(" (deleted)")) for path in paths)
    return next((path.parent.name for path in names if path.name == LINK.name), "")
