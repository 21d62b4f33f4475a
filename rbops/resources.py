"""Where the files that travel with rbops are: playbooks, roles, templates, BPF objects.

In a checkout they lie at the top level, where an Ansible user looks for them; in an installed
wheel under ``rbops/share/``.
"""

from __future__ import annotations

import os
from pathlib import Path
from zipimport import zipimporter

__all__ = ["bpf_object", "shared"]

_PACKAGE = Path(__file__).resolve().parent


def shared(*parts: str) -> Path:
    """The path of a shipped file or folder, as ``shared("playbooks", "apply.yml")``.

    Raises FileNotFoundError when the installation lacks it.
    """
    for root in (_PACKAGE / "share", _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"this installation of rbops lacks {'/'.join(parts)}")


def bpf_object(room: str, name: str) -> Path:
    """The compiled object ``name`` (``router.bpf.o``) of a room (``dataplane/xdp``, ``selftest``).

    Out of a zip archive, as testers on other machines run, it is a file in memory that stays open with the process.
    Raises FileNotFoundError with what to run when it was not built.
    """
    loader = globals()["__loader__"]
    if isinstance(loader, zipimporter):
        handle = os.memfd_create(name)
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(loader.get_data(f"rbops/{room}/obj/{name}"))
        return Path(f"/proc/self/fd/{handle}")
    path = _PACKAGE.joinpath(*room.split("/"), "obj", name)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run `make setup`, or `make bpf` in a checkout")
    return path
