"""The CPU frequency governor of the data-plane cores (Documentation/admin-guide/pm/cpufreq.rst)."""

from __future__ import annotations

from collections.abc import Iterable

from rbops.errors import Mismatch, Where
from rbops.node.boot import in_container
from rbops.node.settings import Setting, Write
from rbops.node.system import System

__all__ = ["check", "settings"]

_CPUS = "/sys/devices/system/cpu"


def check(wanted: str | None, cores: Iterable[int], system: System, server: str) -> None:
    """Mismatch (3) for a governor that the CPUs' driver does not have."""
    if wanted is None or in_container(system):
        return
    for cpu in cores:
        known = system.read(f"{_path(cpu)}/scaling_available_governors")
        if known is not None and wanted not in known.split():
            raise Mismatch(
                f"CPU {cpu} has no governor {wanted}, expected one of {', '.join(sorted(known.split()))}",
                code="node.governor",
                where=Where(server=server),
                hint="change `kernel: {governor: ...}` in the spec",
            )


def settings(wanted: str | None, cores: Iterable[int], system: System) -> list[Setting]:
    """One setting a core; CPUs without frequency scaling are reported as such."""
    if wanted is None:
        return []
    if in_container(system):
        reason = "the CPUs are those of the container's host"
        return [Setting("CPUs", "governor", "the host's", wanted, unsupported=reason)]
    found = []
    for cpu in cores:
        path = f"{_path(cpu)}/scaling_governor"
        have = system.read(path)
        if have is None:
            reason = "the CPU has no frequency scaling: no cpufreq driver"
            found.append(Setting(f"CPU {cpu}", "governor", "none", wanted, unsupported=reason))
        else:
            undo = (Write(path, have),)
            found.append(Setting(f"CPU {cpu}", "governor", have, wanted, (Write(path, wanted),), undo))
    return found


def _path(cpu: int) -> str:
    return f"{_CPUS}/cpu{cpu}/cpufreq"
