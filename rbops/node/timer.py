"""The commit timer: rolls the server back unless the change is confirmed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Protocol

from rbops.errors import Mismatch
from rbops.node.system import System

__all__ = ["SystemdTimer", "Timer"]

_UNIT = "rbops-revert"
_TIMER = f"{_UNIT}.timer"


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
        """Start the timer, and look that it runs; Mismatch (3) otherwise.

        One that would do the same is started anew by systemd itself, in one step: whatever becomes of this process,
        there is no moment without a timer.
        """
        what = f"rbops: unless the change is confirmed in {seconds} s: {shlex.join(command)}"
        if self._described() == what and self._restarted() and self.armed():
            return
        self.disarm()
        done = self.system.run(
            (
                "systemd-run",
                f"--unit={_UNIT}",
                f"--on-active={seconds}s",
                "--timer-property=AccuracySec=1s",
                "--collect",
                "--quiet",
                f"--description={what}",
                *command,
            )
        )
        if done.returncode or not self.armed():
            detail = done.stderr.strip() or "systemd does not list it"
            raise Mismatch(f"cannot arm the commit timer, nothing was changed: {detail}", code="node.timer")

    def disarm(self) -> None:
        """Stop the timer and forget a failed earlier run."""
        self.system.run(("systemctl", "stop", _TIMER))
        self.system.run(("systemctl", "reset-failed", _TIMER, f"{_UNIT}.service"))

    def armed(self) -> bool:
        """Whether systemd says that the timer is active."""
        return self.system.run(("systemctl", "is-active", "--quiet", _TIMER)).returncode == 0

    def _described(self) -> str:
        """What the present timer does; its name where there is none."""
        return self.system.run(("systemctl", "show", "--property=Description", "--value", _TIMER)).stdout.strip()

    def _restarted(self) -> bool:
        return self.system.run(("systemctl", "restart", _TIMER)).returncode == 0
