"""What a lab needs of the kernel that root in a container may not have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from rbops.errors import Mismatch
from rbops.lab.cgroup import hierarchy

__all__ = ["require_rights"]

_NEEDED = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""linux/capability.h: to make interfaces, and namespaces and mounts."""
_HINT = "a container needs them from its start (docker run --privileged); or run it on the machine itself"


def require_rights(
    status: Path = Path("/proc/self/status"), writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK)
) -> None:
    """Raise Mismatch where this process lacks a capability (capabilities(7)) or may not make cgroups."""
    lines = dict(line.partition(":")[::2] for line in status.read_text(encoding="ascii").splitlines())
    effective = int(lines["CapEff"], 16)
    missing = [name for name, bit in _NEEDED.items() if not effective >> bit & 1]
    if missing:
        raise Mismatch(
            f"this process lacks {' and '.join(missing)}: root in a container boots no lab",
            code="lab.capabilities",
            hint=_HINT,
        )
    mounted = hierarchy()
    if not writable(mounted):
        raise Mismatch(
            f"{mounted} is read-only: a lab cannot make its cgroups, as in a container",
            code="lab.cgroup-read-only",
            hint=_HINT,
        )
