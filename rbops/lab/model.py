"""What a lab is to the rest of rbops, however its servers are made.

lab = load("rb4")                  (:mod:`rbops.lab.providers`)
lab.inventory                      what ``-i`` takes
lab.kill("n2"); lab.restart("n2")  power off, power on
lab.command("t0", ["ping", ...])   an argument list that runs a command on a server or tester
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from rbops.lab.access import INVENTORY
from rbops.lab.manifest import LabServer, LabTester, Manifest
from rbops.lab.progress import Progress, silent
from rbops.lab.releases import Releases
from rbops.plan import ClusterPlan

__all__ = ["CableStatus", "Lab", "LabStatus", "Provider", "ServerStatus", "TesterStatus", "Testers"]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """``pid`` is its systemd-nspawn's, ``init`` its systemd's, both as the host counts; None while it is off.

    ``release`` is the Debian release that it runs.
    """

    name: str
    running: bool
    ssh: bool
    pid: int | None
    init: int | None
    address: str
    release: str


@dataclass(frozen=True, slots=True)
class CableStatus:
    """``up``: carrier at both ends; ``down``: plugged in, but a port is down; ``unplugged``: a server is off."""

    a: str
    b: str
    state: Literal["up", "down", "unplugged"]


@dataclass(frozen=True, slots=True)
class TesterStatus:
    """``present``: namespace and device exist."""

    name: str
    port: int
    netns: str
    device: str
    present: bool


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab now. ``state`` is ``up`` when every server runs and answers, ``building`` when ``up`` was not
    finished, ``degraded`` otherwise.
    """

    name: str
    provider: str
    state: Literal["up", "degraded", "building"]
    inventory: str
    servers: tuple[ServerStatus, ...]
    cables: tuple[CableStatus, ...]
    testers: tuple[TesterStatus, ...]


Testers = Literal["namespaces", "systems"]
"""What testers are."""


class Provider(Protocol):
    """Makes and runs labs of one kind. Every method names the lab; none keeps state between calls.

    All raise UsageError without the rights they need and Locked while another rbops changes the lab.
    """

    @property
    def kind(self) -> str:
        """What ``--provider`` calls it."""

    def up(
        self,
        plan: ClusterPlan,
        name: str,
        progress: Progress = silent,
        releases: Releases | None = None,
        testers: Testers | None = None,
    ) -> Lab:
        """Build and boot the lab; removes what was built when it fails or is interrupted.

        ``releases``: which Debian release each server runs; None: the default one. ``testers``: on this machine
        (as usual), or systems of their own that are reached over SSH as servers are; None: as they are.

        Raises UsageError when there is such a lab, Mismatch when plan and machine do not fit, CheckFailed when a step
        fails.
        """

    def down(self, name: str, progress: Progress = silent) -> bool:
        """Remove the lab whatever its state; False when there is none.

        Raises StateUnknown, naming what is left, when something cannot be removed.
        """

    def status(self, name: str) -> LabStatus:
        """How the lab is. Raises Mismatch when there is none."""

    def kill(self, name: str, server: str) -> None:
        """Switch a server off without a shutdown: its ports lose the carrier, its disk stays."""

    def restart(self, name: str, server: str) -> None:
        """Power-cycle a server, on or off; returns when it answers over SSH and has booted.

        Its ports are as new: same names, MACs and queues, no settings.
        """

    def reboot(self, name: str, server: str) -> None:
        """Have a server reboot itself, as its ``systemctl reboot`` does; returns when it has booted again.

        Raises CheckFailed when it does not shut down and come back in time.
        """

    def wait(self, name: str, server: str, timeout_s: float = 60.0) -> None:
        """Return when a server answers over SSH and has booted; CheckFailed when it does not in time.

        A server that is about to reboot still answers: :meth:`reboot` waits for the next boot.
        """

    def command(self, name: str, target: str, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """The argument list that logs in to ``target`` (a server or a tester), or runs ``command`` there."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up, with what tests and ``rbops demo`` do to it."""

    manifest: Manifest
    directory: Path
    provider: Provider

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.manifest.name

    @property
    def inventory(self) -> Path:
        """The Ansible inventory of its servers and testers."""
        return self.directory / INVENTORY

    @property
    def servers(self) -> tuple[LabServer, ...]:
        """Its servers in plan order."""
        return self.manifest.servers

    @property
    def testers(self) -> tuple[LabTester, ...]:
        """Its testers, one an external port."""
        return self.manifest.testers

    def tester_netns(self, port: int) -> str:
        """The namespace of the tester on external port ``port``; Mismatch when there is none."""
        return self.manifest.tester(f"t{port}").netns

    def command(self, target: str, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """As :meth:`Provider.command`."""
        return self.provider.command(self.name, target, command, tty=tty)

    def kill(self, server: str) -> None:
        """As :meth:`Provider.kill`."""
        self.provider.kill(self.name, server)

    def restart(self, server: str) -> None:
        """As :meth:`Provider.restart`."""
        self.provider.restart(self.name, server)

    def reboot(self, server: str) -> None:
        """As :meth:`Provider.reboot`."""
        self.provider.reboot(self.name, server)

    def wait(self, server: str, timeout_s: float = 60.0) -> None:
        """As :meth:`Provider.wait`."""
        self.provider.wait(self.name, server, timeout_s)

    def status(self) -> LabStatus:
        """As :meth:`Provider.status`."""
        return self.provider.status(self.name)

    def down(self, progress: Progress = silent) -> bool:
        """As :meth:`Provider.down`."""
        return self.provider.down(self.name, progress)
