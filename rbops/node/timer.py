"""The commit timer: rolls the server back unless the change is confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rbops.errors import Mismatch
from rbops.node.system import System

__all__ = ["SystemdTimer", "Timer"]

_UNIT = "rbops-revert"


class Timer(Protocol):
    """Runs a command once, some time from now, whatever becomes of this process."""

    def arm(self, seconds: int, command: tuple[str, ...]) -> None:
        """Start it; Mismatch (3) when it cannot be started."""

    def disarm(self) -> None:
        """Stop it; no error when it does not run."""

    def armed(self) -> bool:
        """Whether it runs."""


@dataclass(frozen=True, slots=True)
class SystemdTimer:
    """A transient systemd timer, ``rbops-revert.timer``."""

    system: System

    def arm(self, seconds: int, command: tuple[str, ...]) -> None:
        """Start the timer, and look that it runs; Mismatch (3) otherwise."""
        self.disarm()
        done = self.system.run(
            (
                "systemd-run",
                f"--unit={_UNIT}",
                f"--on-active={seconds}s",
                "--timer-property=AccuracySec=1s",
                "--collect",
                "--quiet",
                "--description=rbops: put the server back unless the change is confirmed",
                *command,
            )
        )
        if done.returncode or not self.armed():
            detail = done.stderr.strip() or "systemd does not list it"
            raise Mismatch(f"cannot arm the commit timer, nothing was changed: {detail}", code="node.timer")

    def disarm(self) -> None:
        """Stop the timer and forget a failed earlier run."""
        self.system.run(("systemctl", "stop", f"{_UNIT}.timer"))
        self.system.run(("systemctl", "reset-failed", f"{_UNIT}.timer", f"{_UNIT}.service"))

    def armed(self) -> bool:
        """Whether systemd says that the timer is active."""
        return self.system.run(("systemctl", "is-active", "--quiet", f"{_UNIT}.timer")).returncode == 0
