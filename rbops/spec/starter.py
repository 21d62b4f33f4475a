"""What ``rbops init`` writes: a spec to start from, an inventory for it, and the schema for editors."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from rbops.errors import UsageError, Where

__all__ = ["PRESETS", "starter", "write_new"]

PRESETS = ("rb4", "rb4-paper", "rack")

_SERVERS = {"rb4": 4, "rb4-paper": 4, "rack": 8}
_HERE = Path(__file__).parent / "presets"

_INVENTORY = """\
# The servers of router.yml for Ansible and rbops: names as the plan has them, addresses on the
# management network. `rbops lab up router.yml` writes an inventory of its own; this one is for
# real servers.
all:
  children:
    rbops_servers:
      vars:
        ansible_user: root
      hosts:
"""


def starter(preset: str) -> dict[str, bytes]:
    """The files of a preset by their path below the chosen directory."""
    from rbops.spec.schema import spec_schema

    hosts = "".join(f"        n{index}: {{ansible_host: 192.0.2.{index + 11}}}\n" for index in range(_SERVERS[preset]))
    return {
        "router.yml": (_HERE / f"{preset}.yml").read_bytes(),
        "inventory/hosts.yml": (_INVENTORY + hosts).encode(),
        "router.schema.json": (json.dumps(spec_schema(), indent=2) + "\n").encode(),
    }


def write_new(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write ``files`` below ``directory``, all or none, and return their paths.

    Raises UsageError when one is there already or a symbolic link is in the way.
    """
    paths = {directory / name: data for name, data in files.items()}
    for path in paths:
        _check_absent(path, directory)
    for path, data in paths.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # O_EXCL follows no link and overwrites nothing, whatever happened since the check.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise UsageError(
                f"cannot write the file: {error.strerror}", code="init.unwritable", where=Where(file=str(path))
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    return list(paths)


def _check_absent(path: Path, directory: Path) -> None:
    """Raise UsageError when ``path`` exists or its way there is no plain directory."""
    here = path
    while True:
        try:
            mode = here.lstat().st_mode
        except FileNotFoundError:
            mode = None
        except OSError as error:
            raise UsageError(
                f"cannot write the file: {error.strerror}", code="init.unwritable", where=Where(file=str(here))
            ) from error
        if mode is not None and stat.S_ISLNK(mode):
            raise UsageError(
                "symbolic links are not followed",
                hint="name the directory it points to",
                code="init.symlink",
                where=Where(file=str(here)),
            )
        if mode is not None and here == path:
            raise UsageError(
                "the file exists already",
                hint="choose another directory, or remove it first",
                code="init.exists",
                where=Where(file=str(here)),
            )
        if mode is not None and not stat.S_ISDIR(mode):
            raise UsageError("not a directory", code="init.not-a-directory", where=Where(file=str(here)))
        if here in {directory, here.parent}:
            return
        here = here.parent
