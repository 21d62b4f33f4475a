"""Writes a rendered tree: whole or not at all, never through a symbolic link."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from rbops.errors import UsageError, Where
from rbops.render.files import Rendered

__all__ = ["MARKER", "write"]

MARKER = ".rbops-rendered.json"


def write(rendered: Rendered, directory: Path, *, force: bool = False) -> None:
    """Write the tree as ``directory``, new or in place of one that rbops wrote and that was not changed since.

    ``force`` also replaces a folder with other or changed files. Raises UsageError (2), with nothing
    written, for a symbolic link, a file, or a folder that is not replaced.
    """
    files = list(rendered.tree())
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 - resolve() would follow links
    _check_target(directory, force=force)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise UsageError(str(error.strerror), code="render.unwritable", where=Where(file=str(directory))) from error
    try:
        sums = {}
        for file in files:
            sums[file.path] = hashlib.sha256(file.content).hexdigest()
            _put(part / file.path, file.content, file.mode)
        _put(part / MARKER, json.dumps({"digest": rendered.digest, "files": sums}, sort_keys=True).encode(), 0o644)
        part.chmod(0o755)
        _swap(part, directory)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise UsageError(
            str(error.strerror),
            code="render.unwritable",
            where=Where(file=str(error.filename or directory)),
        ) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _check_target(directory: Path, *, force: bool) -> None:
    if directory.is_symlink():
        raise UsageError(
            "symbolic links are not followed",
            hint="name the folder itself",
            code="render.symlink",
            where=Where(file=str(directory)),
        )
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError("not a folder", code="render.no-folder", where=Where(file=str(directory)))
    if force or not any(directory.iterdir()):
        return
    changed = _changed(directory)
    if changed:
        raise UsageError(
            f"the folder has files that rbops did not write: {', '.join(changed[:5])}",
            hint="another folder, or --force to replace it with all that is in it",
            code="render.foreign-files",
            where=Where(file=str(directory)),
        )


def _changed(directory: Path) -> list[str]:
    """Files that are not as rbops wrote them, or not its own."""
    try:
        sums = json.loads((directory / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        sums = {}
    found = []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or (path.is_file() and name != MARKER and not _same(path, sums.get(name))):
            found.append(name)
    return found


def _same(path: Path, digest: str | None) -> bool:
    return digest is not None and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _put(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        # The umask must not decide what servers get.
        os.fchmod(handle, mode)
        file.write(content)


def _swap(part: Path, directory: Path) -> None:
    if not directory.exists():
        part.rename(directory)
        return
    old = part.with_name(f"{part.name}.old")
    directory.rename(old)
    try:
        part.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    shutil.rmtree(old)
