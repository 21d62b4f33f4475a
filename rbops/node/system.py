"""The server as the nouns see it: commands run, files of /sys and /proc read and written."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rbops.errors import CheckFailed, Mismatch
from rbops.nic.device import driver_of
from rbops.node.state import sync_folder, write_whole

__all__ = ["Done", "Kernel", "NotInstalled", "System", "unsupported"]

_TIMEOUT_S = 120
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Whoever started rbops-node: sudo's ``secure_path`` and a login's own PATH may lack the sbin folders."""
_PACKAGES = {
    "ip": "iproute2",
    "systemd-run": "systemd",
    "systemctl": "systemd",
    "taskset": "util-linux",
    "modinfo": "kmod",
    "modprobe": "kmod",
    "grub-mkconfig": "grub-common",
    "update-initramfs": "initramfs-tools",
}
_SLOW = {"grub-mkconfig": 600, "update-initramfs": 900}


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


class NotInstalled(Mismatch):
    """A program that rbops-node uses is not on this server; the role ``packages`` installs it."""


class System(Protocol):
    """What a noun may ask of a server; tests answer from recordings."""

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        """Run a command to its end."""

    def read(self, path: str) -> str | None:
        """A file's text without surrounding space, or None when it is not there or cannot be read."""

    def write(self, path: str, value: str) -> None:
        """Write to a file that exists; OSError when the kernel refuses."""

    def put(self, path: str, text: str | None) -> None:
        """Replace a file whole, or remove it (None); OSError when that fails, the old one being whole then."""

    def move(self, source: str, target: str) -> None:
        """Rename a file within its folder, over another one if there is one; OSError when that fails."""

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; empty when it is not there."""

    def real(self, path: str) -> str:
        """The path behind all symbolic links."""

    def driver(self, device: str) -> str | None:
        """The name a network device's driver gives itself; None where it gives none."""


class Kernel:
    """The live system."""

    def run(self, argv: tuple[str, ...], stdin: str = "") -> Done:
        """Run ``argv`` with a bounded time; Mismatch when the program is not installed."""
        environment = {**os.environ, "LC_ALL": "C", "PATH": _PATH}
        limit = _SLOW.get(argv[0], _TIMEOUT_S)
        try:
            done = subprocess.run(
                argv, input=stdin, capture_output=True, text=True, check=False, timeout=limit, env=environment
            )
        except FileNotFoundError as error:
            raise NotInstalled(
                f"{argv[0]} is not installed",
                code="node.not-installed",
                hint=f"apt-get install {_package(argv[0])}",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"`{' '.join(argv)}` did not finish in {limit} s", code="node.timeout") from error
        return Done(done.returncode, done.stdout, done.stderr)

    def read(self, path: str) -> str | None:
        """A file's text, stripped; None when absent or when the kernel refuses to show it."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def write(self, path: str, value: str) -> None:
        """One write call without creating or truncating: /sys and /proc files take a value whole."""
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, value.encode())
        finally:
            os.close(handle)

    def put(self, path: str, text: str | None) -> None:
        """Write beside the file and rename; the folder is made, and both are on the disk at return."""
        target = Path(path)
        if text is None:
            # A file system that turned read-only refuses even to remove what is not there.
            if os.path.lexists(target):
                target.unlink(missing_ok=True)
            return
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_whole(target, text.encode(), 0o644)
        target.chmod(0o644)

    def move(self, source: str, target: str) -> None:
        """Rename, and put the folder on the disk."""
        Path(source).replace(target)
        sync_folder(Path(target).parent)

    def names(self, path: str) -> list[str]:
        """The sorted names in a folder; empty when it is not there."""
        try:
            return sorted(os.listdir(path))  # noqa: PTH208 - names, not paths
        except OSError:
            return []

    def real(self, path: str) -> str:
        """The path behind all symbolic links."""
        return os.path.realpath(path)

    def driver(self, device: str) -> str | None:
        """None without ethtool operations."""
        return driver_of(device)


def unsupported(done: Done) -> bool:
    """Whether a tool said that the driver has no such operation."""
    return done.returncode != 0 and "not supported" in (done.stderr + done.stdout).lower()


def _package(program: str) -> str:
    return _PACKAGES.get(program, program)
