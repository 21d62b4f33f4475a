"""The SSH session that a command runs in, also behind sudo, which takes SSH_CONNECTION away."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from rbops.node.system import System

__all__ = ["environment"]

_VARIABLE = "SSH_CONNECTION"
_FARTHEST = 32


def environment(system: System, own: Mapping[str, str]) -> Mapping[str, str]:
    """``own`` with SSH_CONNECTION; where it lacks it, that of the nearest process above that has it."""
    if own.get(_VARIABLE):
        return own
    pid = os.getppid()
    for _ in range(_FARTHEST):
        for variable in (system.read(f"/proc/{pid}/environ") or "").split("\0"):
            name, _, value = variable.partition("=")
            if name == _VARIABLE:
                return {**own, _VARIABLE: value}
        parent = re.search(r"^PPid:\s+(\d+)$", system.read(f"/proc/{pid}/status") or "", re.MULTILINE)
        if parent is None or parent[1] == "0":
            break
        pid = int(parent[1])
    return own
