"""What the servers' kernels are told, as a table of the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rbops.common.cpulist import list_text
from rbops.node.cmdline import written
from rbops.plan import Kernel, Server
from rbops.report.tables import Table

__all__ = ["kernel_table"]


def kernel_table(servers: Iterable[Server]) -> Table | None:
    """A row for each thing that is asked; servers that are asked the same share it. None when nothing is."""
    groups: dict[tuple[str, str], list[int]] = {}
    for server in servers:
        for row in _rows(server.kernel):
            groups.setdefault(row, []).append(server.index)
    rows = tuple((_names(indexes), what, value) for (what, value), indexes in groups.items())
    return Table("Kernel", ("server", "what", "value"), rows) if rows else None


def _names(indexes: Iterable[int]) -> str:
    return re.sub(r"[0-9]+", r"n\g<0>", list_text(indexes))


def _rows(kernel: Kernel) -> list[tuple[str, str]]:
    rows = [("boot parameters", written(kernel.boot))] if kernel.boot else []
    rows += [("governor", kernel.governor)] if kernel.governor else []
    rows += [("irqbalance", kernel.irqbalance)] if kernel.irqbalance != "keep" else []
    rows += [("module", " ".join([module.name, written(module.parameters)]).strip()) for module in kernel.modules]
    rows += [("sysctl", f"{key} = {value}") for key, value in kernel.sysctl]
    return rows
