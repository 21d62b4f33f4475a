"""Waiting for lab servers to have booted."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from rbops.errors import CheckFailed, Where
from rbops.lab import layout
from rbops.lab.access import ssh_command
from rbops.lab.manifest import LabServer, Manifest

__all__ = ["ssh_answers", "wait_ready"]

_POLL_S = 0.05

_NO_INOTIFY = (
    "the labs on this machine use all of root's inotify instances: `sysctl fs.inotify.max_user_instances=1024`, "
    "or take a lab down"
)


def ssh_answers(address: str, timeout_s: float = 0.5) -> bool:
    """Whether an SSH server greets at ``address``, port 22."""
    try:
        with socket.create_connection((address, 22), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_ready(
    manifest: Manifest,
    servers: Sequence[LabServer],
    timeout_s: float,
    *,
    is_on: Callable[[LabServer], bool],
    strict: bool,
) -> None:
    """Return when all ``servers`` take a login and systemd has ended its boot; ``is_on`` says whether one is on.

    Raises CheckFailed with the last lines of a server's console when one goes off or is not there in ``timeout_s``
    seconds; with ``strict`` also when a unit failed.
    """
    deadline = time.monotonic() + timeout_s
    for server in servers:
        while not ssh_answers(server.address):
            if not is_on(server):
                raise CheckFailed(
                    f"powered off during boot{_last_lines(manifest, server)}",
                    code="lab.boot-off",
                    where=Where(server=server.name),
                )
            if time.monotonic() > deadline:
                raise CheckFailed(
                    f"no SSH server within {timeout_s:.0f} s{_last_lines(manifest, server)}",
                    code="lab.boot-ssh",
                    where=Where(server=server.name),
                )
            time.sleep(_POLL_S)
    # Some output of every server, also where a unit failed: `--failed` lists those.
    query = ["sh", "-c", "systemctl is-system-running --wait; systemctl --failed --plain --no-legend"]
    commands = [ssh_command(layout.folder(manifest.name), server, query) for server in servers]
    processes = [_start(command) for command in commands]
    try:
        outputs = [process.communicate(timeout=max(1.0, deadline - time.monotonic())) for process in processes]
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(
            f"lab {manifest.name}: a server did not complete its boot within {timeout_s:.0f} s", code="lab.boot-time"
        ) from error
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for server, (output, error_output) in zip(servers, outputs, strict=True):
        state, *failed = output.splitlines() or [error_output.strip()]
        if state != "running" and (strict or state != "degraded"):
            detail = "; ".join(failed) or "no failed unit"
            raise CheckFailed(
                f"systemd is {state!r} after boot: {detail}{_last_lines(manifest, server)}",
                code="lab.boot-state",
                where=Where(server=server.name),
                hint=_NO_INOTIFY if "Directory Watch" in detail else None,
            )


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _last_lines(manifest: Manifest, server: LabServer) -> str:
    path = layout.console(manifest.name, server)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return ":\n" + "\n".join(lines[-8:])
