"""The kernel threads that poll queues, each pinned to its queue's core."""

from __future__ import annotations

import re

from rbops.common.cpulist import list_text, parse_list
from rbops.node.schema import NodePort
from rbops.node.settings import Run, Setting
from rbops.node.system import System

__all__ = ["Threads", "read", "settings"]

_UNSEEN = "its polling thread cannot be seen from here: the port is not up, or this is a container"

Threads = tuple[tuple[int, int, frozenset[int]], ...]
"""(NAPI id, pid, CPUs) of each, by id."""


def read(system: System, device: str) -> Threads:
    """A device's ``napi/DEV-ID`` kernel threads."""
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


def settings(port: NodePort, threads: Threads) -> list[Setting]:
    """The threads are pinned in the order of their NAPI ids, which is the queues'.

    Threads of NAPIs that only transmit (virtio_net) all have the id 0 and cannot be told apart: each may run
    on the cores of all transmit queues.
    """
    receiving = [thread for thread in threads if thread[0]]
    sending = [thread for thread in threads if not thread[0]]
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
