"""Waiting for lab servers to have booted."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from rbops.errors import CheckFailed
from rbops.lab import layout
from rbops.lab.access import ssh_command
from rbops.lab.manifest import LabServer, Manifest

__all__ = ["ssh_answers", "wait_ready"]

_POLL_S = 0.05


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
    """Return when all ``servers`` take a login and systemd has ended its boot; ``is_on`` says whether one has power.

    Raises CheckFailed with a server's last words when one goes off or is not there in ``timeout_s``; with
    ``strict`` also when a unit failed.
    """
    deadline = time.monotonic() + timeout_s
    for server in servers:
        while not ssh_answers(server.address):
            if not is_on(server):
                raise CheckFailed(f"{server.name} went off while it booted{_last_words(manifest, server)}")
            if time.monotonic() > deadline:
                raise CheckFailed(f"{server.name} did not answer in {timeout_s:.0f} s{_last_words(manifest, server)}")
            time.sleep(_POLL_S)
    # Some output of every server, also where a unit failed: `--failed` lists those.
    question = ["sh", "-c", "systemctl is-system-running --wait; systemctl --failed --plain --no-legend"]
    commands = [ssh_command(layout.folder(manifest.name), server, question) for server in servers]
    processes = [_start(command) for command in commands]
    try:
        answers = [process.communicate(timeout=max(1.0, deadline - time.monotonic())) for process in processes]
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"a server of lab {manifest.name} did not end its boot in {timeout_s:.0f} s") from error
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for server, (said, complaint) in zip(servers, answers, strict=True):
        state, *failed = said.splitlines() or [complaint.strip()]
        if state != "running" and (strict or state != "degraded"):
            detail = "; ".join(failed) or "no failed unit is listed"
            raise CheckFailed(f"{server.name} booted, and says {state!r}: {detail}{_last_words(manifest, server)}")


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _last_words(manifest: Manifest, server: LabServer) -> str:
    path = layout.console(manifest.name, server)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return ":\n" + "\n".join(lines[-8:])
