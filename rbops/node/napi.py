"""NAPI: threaded polling with its kernel threads pinned, deferred interrupts, flush timeout."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rbops.node.cpus import list_text, parse_list
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting, Write
from rbops.node.system import System

__all__ = ["NapiFacts", "read", "settings"]

_UNSEEN = "its polling thread cannot be seen from here: the port is not up, or this is a container"
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
    """The planned ones; the threads are pinned in the order of their NAPI ids, which is the queues'.

    Threads of NAPIs that only transmit (virtio_net) all have the id 0 and cannot be told apart: each may run
    on the cores of all transmit queues.
    """
    base = f"/sys/class/net/{device}"
    wanted: dict[str, str] = {}
    if port.nic.threaded_napi is not None:
        wanted["threaded"] = "1" if port.nic.threaded_napi else "0"
    wanted.update({name: str(value) for name, value in (port.nic.napi or {}).items() if name in _FILES})
    found = []
    for name, want in wanted.items():
        have = facts.values.get(name)
        if have is None:
            # An older kernel polls in no thread and defers nothing: then there is nothing to turn off.
            reason = None if want == "0" else "this kernel has no such file"
            found.append(Setting(port.subject, name, want if want == "0" else "none", want, unsupported=reason))
        else:
            path = f"{base}/{name}"
            undo = (Write(path, have),)
            found.append(Setting(port.subject, name, have, want, (Write(path, want),), undo, tuning=True))
    return found + _pins(port, facts) if port.nic.threaded_napi else found


def _pins(port: NodePort, facts: NapiFacts) -> list[Setting]:
    receiving = [thread for thread in facts.threads if thread[0]]
    sending = [thread for thread in facts.threads if not thread[0]]
    senders = frozenset(queue.tx_core for queue in port.queues)
    placed = [
        (f"napi thread {queue.index}", thread, frozenset({queue.rx_core}))
        for queue, thread in zip(port.queues, receiving, strict=False)
    ]
    placed += [(f"napi sending thread {number}", thread, senders) for number, thread in enumerate(sending)]
    # A container shows no kernel threads: what runs is then not known.
    found = [
        Setting(port.subject, f"napi thread {queue.index}", "none", str(queue.rx_core), unsupported=_UNSEEN)
        for queue in port.queues[len(receiving) :]
    ]
    for name, (_, pid, have), want in placed:
        pin = (Run(("taskset", "-pc", list_text(want), str(pid))),)
        found.append(Setting(port.subject, name, list_text(have), list_text(want), pin))
    return found
