"""Whether a plan can be virtual machines on this machine, and how long they take."""

from __future__ import annotations

from pathlib import Path

from rbops.errors import Mismatch, Where
from rbops.lab.fit import check_count
from rbops.plan import ClusterPlan, Server
from rbops.render.vagrantfile import MOST_PORTS

__all__ = ["check_fit", "cpus", "emulation_takes"]

_PROFILE = "vagrant"
_HINT = "plan for virtual machines: `servers: {profile: vagrant}` in the spec"
_EMULATOR_MB = 512
_BOOT_S_EACH = 45


def cpus(server: Server) -> int:
    """How many virtual CPUs a server needs: up to the highest that is planned."""
    return max((*server.cores.dataplane, *server.cores.housekeeping)) + 1


def check_fit(plan: ClusterPlan, memory_mb: int) -> None:
    """Raise Mismatch, naming plan and machine, when ``plan`` is not for virtual machines of ``memory_mb`` here."""
    for server in plan.servers:
        if server.profile != _PROFILE:
            raise Mismatch(
                f"profile {server.profile!r}, a virtual machine needs {_PROFILE!r}",
                code="lab.profile",
                where=Where(server=server.name),
                hint=_HINT,
            )
        if len(server.ports) > MOST_PORTS:
            raise Mismatch(
                f"{len(server.ports)} ports, a virtual machine has slots for {MOST_PORTS}",
                code="lab.ports",
                where=Where(server=server.name),
                hint="plan fewer external ports",
            )
    check_count(plan)
    needed = len(plan.servers) * (memory_mb + _EMULATOR_MB)
    available = _available_mb()
    if needed > available:
        raise Mismatch(
            f"{len(plan.servers)} virtual machines need about {needed:,} MB of memory, "
            f"this machine has {available:,} MB free",
            code="lab.memory",
            hint="plan fewer external ports, or use `--provider nspawn`, which needs a tenth of it",
        )


def emulation_takes(servers: int) -> str:
    """How long booting takes without KVM, for messages."""
    return f"emulated, which takes about {servers * _BOOT_S_EACH} s on two idle CPUs"


def _available_mb() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise Mismatch("no MemAvailable in /proc/meminfo", code="lab.meminfo")
