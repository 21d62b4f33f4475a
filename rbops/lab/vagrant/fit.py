"""Whether a plan can be virtual machines on this machine, and how long they take."""

from __future__ import annotations

from pathlib import Path

from rbops.common.limits import MAX_LAB_SERVERS
from rbops.errors import Mismatch
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
                f"{server.name} is planned as {server.profile!r}, and a virtual machine is a {_PROFILE!r}", hint=_HINT
            )
        if len(server.ports) > MOST_PORTS:
            raise Mismatch(
                f"{server.name} has {len(server.ports)} ports, and a virtual machine has slots for {MOST_PORTS}",
                hint="plan fewer external ports",
            )
    if len(plan.servers) > MAX_LAB_SERVERS:
        raise Mismatch(f"the plan has {len(plan.servers)} servers, and a lab holds {MAX_LAB_SERVERS}")
    needed = len(plan.servers) * (memory_mb + _EMULATOR_MB)
    available = _available_mb()
    if needed > available:
        raise Mismatch(
            f"{len(plan.servers)} virtual machines need about {needed:,} MB of memory, "
            f"and this machine has {available:,} MB free",
            hint="plan fewer external ports, or use `--provider nspawn`, which needs a tenth of it",
        )


def emulation_takes(servers: int) -> str:
    """How long booting takes without KVM, as a user is told."""
    return f"emulated, which takes about {servers * _BOOT_S_EACH} s on two idle CPUs"


def _available_mb() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise Mismatch("/proc/meminfo does not say how much memory is free")
