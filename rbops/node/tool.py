"""Questions to the ``ethtool`` program and the shape of its answers."""

from __future__ import annotations

from rbops.errors import CheckFailed
from rbops.node.system import System, unsupported

__all__ = ["ask", "sections"]


def ask(system: System, flag: str, device: str) -> str | None:
    """The answer to ``ethtool FLAG DEVICE``; None when the driver has no such operation."""
    done = system.run(("ethtool", flag, device))
    if done.returncode == 0:
        return done.stdout
    if unsupported(done):
        return None
    raise CheckFailed(f"ethtool {flag} {device}: {done.stderr.strip() or f'exit {done.returncode}'}")


def sections(text: str) -> tuple[dict[str, int], dict[str, int]]:
    """``-l`` and ``-g``: (maximums, current) as name -> number; what is ``n/a`` is left out."""
    parts: tuple[dict[str, int], dict[str, int]] = ({}, {})
    part = parts[0]
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.startswith("Pre-set"):
            part = parts[0]
        elif key.startswith("Current"):
            part = parts[1]
        elif value.strip().isdigit():
            part[key.strip().lower()] = int(value)
    return parts
