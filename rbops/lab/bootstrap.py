"""Debian systems by mmdebstrap, and the cache in which what is built of them stays.

A build happens under a lock in a folder of another name that is renamed when it is whole, inside mount and
pid namespaces of its own: a build that is killed leaves neither mounts nor processes, and the next one removes
its folder.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rbops.errors import CheckFailed
from rbops.lab.interrupts import uninterrupted
from rbops.lab.lock import locked

__all__ = ["CACHE", "OPTIONS", "RELEASE_FILES", "TOOLS", "bootstrap", "built", "in_own_namespaces"]

CACHE = Path("/var/cache/rbops")
TOOLS = ("mmdebstrap", "unshare", "setpriv")

OPTIONS = (
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=Acquire::Languages "none"',
)

RELEASE_FILES: Mapping[str, Mapping[str, str]] = {
    "bookworm": {},
    # OpenSSH 9.8 and newer refuses for a while who connects without a login, as `lab status` does to see who answers.
    "trixie": {"etc/ssh/sshd_config.d/rbops-lab-status.conf": "PerSourcePenalties no\n"},
}
"""What a system of a release needs besides what all have: path -> text."""

_DISCARD_S = 5.0
_POLL_S = 0.05
_LAST_LINES = 8


@contextmanager
def built(target: Path) -> Iterator[Path | None]:
    """A folder to build in that becomes ``target`` when the block ends well; None when another rbops built it."""
    with locked(target.parent):
        if target.is_dir():
            yield None
            return
        partial = target.with_name(f"{target.name}.partial")
        _discard(partial)
        try:
            yield partial
            partial.rename(target)
        finally:
            _discard(partial)


def _discard(partial: Path) -> None:
    # Mounts made by a build are in its own mount namespace: nothing of the host is below the folder.
    deadline = time.monotonic() + _DISCARD_S
    while partial.exists():
        try:
            shutil.rmtree(partial)
        except OSError:  # the last processes of a build that was killed are still writing
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def bootstrap(root: Path, release: str, packages: str, log: Path, options: Sequence[str] = ()) -> None:
    """Make a Debian system of ``packages`` (with commas) in ``root``; ``options`` are more of mmdebstrap's.

    Raises CheckFailed with the last lines of mmdebstrap's log, and keeps the log, when it fails.
    """
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={packages}", *OPTIONS, *options]
    in_own_namespaces(
        [*command, release, str(root)],
        log,
        hint=f"it needs access to a Debian mirror (http_proxy is respected); log: {log}",
    )
    log.unlink()


def in_own_namespaces(command: Sequence[str], log: Path, *, hint: str) -> None:
    """Run ``command`` in mount and pid namespaces of its own, its output to ``log``.

    It ends with rbops however rbops ends, and everything in its pid namespace with it. Raises CheckFailed
    with the last lines of the log and ``hint`` when it fails.
    """
    isolated = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    with log.open("w", encoding="utf-8") as output:
        process = None
        try:
            with uninterrupted():
                process = subprocess.Popen(
                    [*isolated, "--mount-proc", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            code = process.wait()
        finally:
            if process is not None:
                process.kill()
                process.wait()
    if code != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])
        raise CheckFailed(
            f"{command[0]} failed with exit code {code}; the last lines of its log:\n{last}",
            code="lab.build",
            hint=hint,
        )
