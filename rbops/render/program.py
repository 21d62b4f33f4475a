"""The node program as one zip archive, byte-identical from build to build."""

from __future__ import annotations

from pathlib import Path

import rbops
from rbops.common.archive import zip_archive
from rbops.dataplane import registry

__all__ = ["node_program"]

# -I: neither the environment nor the working folder decides what a root program imports.
_START = b"#!/usr/bin/python3 -I\n"


def node_program() -> bytes:
    """``/usr/sbin/rbops-node``: the sources, stored, in the order of their names, without times."""
    root = Path(rbops.__file__).parent
    sources = [root / "__init__.py", root / "errors.py"]
    sources += [path for room in ("common", "dataplane") for path in (root / room).glob("*.py")]
    sources += (root / "node").rglob("*.py")
    sources += [root / "nic" / name for name in ("__init__.py", "device.py", "drivers.py", "kinds.py", "settings.py")]
    planes = (root / "dataplane" / kind for kind in registry.KINDS)
    sources += sorted(path for plane in planes for path in plane.glob("*.py"))
    members = {f"rbops/{path.relative_to(root).as_posix()}": path.read_bytes() for path in sources}
    return _START + zip_archive({**members, "__main__.py": members["rbops/node/start.py"]})
