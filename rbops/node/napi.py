"""NAPI: threaded polling with its kernel threads pinned, deferred interrupts, flush timeout."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.node.config import NodePort
from rbops.node.cpus import list_text, parse_list
from rbops.node.settings import Run, Setting, Write
from rbops.node.system import System

__all__ = ["NapiFacts", "read", "settings"]

_FILES = ("napi_defer_hard_irqs", "gro_flush_timeout")


@dataclass(frozen=True, slots=True)
class NapiFacts:
    """sysfs values by file name (None: not there), and the threads: (NAPI id, pid, CPUs), by id."""

    values: dict[str, str | None]
    threads: tuple[tuple[int, int, frozenset[int]], ...]


def read(system: System, device: str, *, threads: bool) -> NapiFacts:
    """The facts of one device; ``threads`` also looks for its ``napi/DEV-ID`` kernel threads."""
    base = f"/sys/class/net/{device}"
    values = {name: system.read(f"{base}/{name}") for name in ("threaded", *_FILES)}
    return NapiFacts(values, _threads(system, device) if threads else ())


def _threads(system: System, device: str) -> tuple[tuple[int, int, frozenset[int]], ...]:
    # comm is cut at 15 characters, so that long device names lose the id: then the order of the pids has to do.
    pattern = re.compile(rf"napi/{re.escape(device)}-?(\d*)")
    found = []
    for pid in system.names("/proc"):
        match = pattern.fullmatch(system.read(f"/proc/{pid}/comm") or "") if pid.isdigit() else None
        if match:
            status = system.read(f"/proc/{pid}/status") or ""
            allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
            found.append((int(match[1] or pid), int(pid), parse_list(allowed[1]) if allowed else frozenset()))
    return tuple(sorted(found))


def settings(port: NodePort, device: str, facts: NapiFacts) -> list[Setting]:
    """The planned ones; the threads are pinned in the order of their NAPI ids, which is the queues'."""
    base = f"/sys/class/net/{device}"
    wanted: dict[str, str] = {}
    if port.threaded_napi is not None:
        wanted["threaded"] = "1" if port.threaded_napi else "0"
    wanted.update({name: str(value) for name, value in (port.napi or {}).items() if name in _FILES})
    found = []
    for name, want in wanted.items():
        have = facts.values.get(name)
        if have is None:
            found.append(Setting(port.subject, name, "none", want, unsupported="this kernel has no such file"))
        else:
            path = f"{base}/{name}"
            found.append(Setting(port.subject, name, have, want, (Write(path, want),), (Write(path, have),)))
    if port.threaded_napi:
        for queue, (_, pid, have_cpus) in zip(port.queues, facts.threads, strict=False):
            core = str(queue.rx_core)
            pin = (Run(("taskset", "-pc", core, str(pid))),)
            found.append(Setting(port.subject, f"napi thread {queue.index}", list_text(have_cpus), core, pin))
    return found
