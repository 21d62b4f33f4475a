"""Click as a process under systemd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from rbops.errors import CheckFailed, Mismatch

__all__ = ["command_of", "systemctl", "threads"]


def command_of(pid: int) -> list[str]:
    """A process's command line; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1] if pid else []
    except OSError:
        return []


def threads(pid: int) -> list[str]:
    """The CPUs that each thread of a process may run on, in the order of their making."""
    try:
        numbers = sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names, not paths
        texts = [Path(f"/proc/{pid}/task/{number}/status").read_text(encoding="ascii") for number in numbers]
    except OSError:
        return []
    return [line.split()[1] for text in texts for line in text.splitlines() if line.startswith("Cpus_allowed_list:")]


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemctl. Mismatch (3) without systemd, CheckFailed (1) where it does not end."""
    command: Sequence[str] = ["systemctl", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise Mismatch("the server has no systemd, which Click needs", code="click.no-systemd") from error
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"`{' '.join(command)}` did not finish in 60 s", code="click.timeout") from error
