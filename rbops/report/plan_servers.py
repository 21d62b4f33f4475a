"""What servers do with their cores, queues and kernels: rows of a plan, alike servers once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rbops.affinity.folding import core_rows, folded
from rbops.common.cpulist import list_text
from rbops.common.fabric import output_port
from rbops.node.cmdline import written
from rbops.plan import Kernel, Queue, Server
from rbops.report.sections import View, server_names
from rbops.report.tables import Table

__all__ = ["cores_table", "kernel_table", "steering_table"]

_NAMED_PORTS = 12


def cores_table(servers: Sequence[Server], view: View) -> Table:
    """CPUs with the queues that they own; short, CPUs in a row that own one queue each are one line."""
    rows: list[tuple[str, ...]] = []
    for same in _alike(servers):
        names, server = server_names([one.index for one in same]), same[0]
        for shape, ports in _shapes(same):
            found = core_rows(server.cores.dataplane, shape)
            rows += [
                (names, list_text(row.cpus), list_text(row.rx) or "-", list_text(row.tx) or "-", ports)
                for row in (folded(found) if view.short else found)
            ]
        if server.cores.housekeeping:
            rows.append((names, list_text(server.cores.housekeeping), "-", "-", "housekeeping"))
    return Table("Cores", ("server", "CPU", "rx queue", "tx queue", "of ports"), tuple(rows))


def steering_table(servers: Sequence[Server], view: View) -> Table | None:
    """Receive queue by the fabric MAC's output port, the same on every internal port. None when nothing is steered."""
    rows: list[tuple[str, ...]] = []
    for same in _alike(servers):
        names, server = server_names([one.index for one in same]), same[0]
        first = server.steering[0].port if server.steering else None
        rules = [(rule.mac, rule.queue) for rule in server.steering if rule.port == first]
        rows += [(names, *cells) for cells in (_steered(rules) if view.short else _rules(rules))]
    if not rows:
        return None
    what = "output port" if view.short else "destination MAC"
    return Table("Steering on every internal port", ("server", what, "rx queue"), tuple(rows))


def _rules(rules: Iterable[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    return ((mac, str(queue)) for mac, queue in rules)


def _steered(rules: Iterable[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    """Output ports and their queues; ports in a row whose queues are in a row too are one line."""
    pairs = sorted({(output_port(mac), queue) for mac, queue in rules})
    run: list[tuple[int, int]] = []
    for pair in pairs:
        if run and pair != (run[-1][0] + 1, run[-1][1] + 1):
            yield _run(run)
            run = []
        run.append(pair)
    if run:
        yield _run(run)


def _run(run: Sequence[tuple[int, int]]) -> tuple[str, str]:
    ports, queues = zip(*run, strict=True)
    return list_text(ports), list_text(queues)


def kernel_table(servers: Iterable[Server]) -> Table | None:
    """A row for each kernel setting; servers with the same share it. None when there is none."""
    groups: dict[tuple[str, str], list[int]] = {}
    for server in servers:
        for row in _settings(server.kernel):
            groups.setdefault(row, []).append(server.index)
    rows = tuple((server_names(indexes), what, value) for (what, value), indexes in groups.items())
    return Table("Kernel", ("server", "what", "value"), rows) if rows else None


def _settings(kernel: Kernel) -> list[tuple[str, str]]:
    rows = [("boot parameters", written(kernel.boot))] if kernel.boot else []
    rows += [("governor", kernel.governor)] if kernel.governor else []
    rows += [("irqbalance", kernel.irqbalance)] if kernel.irqbalance != "keep" else []
    rows += [("module", " ".join([module.name, written(module.parameters)]).strip()) for module in kernel.modules]
    rows += [("sysctl", f"{key} = {value}") for key, value in kernel.sysctl]
    return rows


def _alike(servers: Sequence[Server]) -> list[list[Server]]:
    """Groups of servers with equal cores, queues and steering."""
    groups: dict[object, list[Server]] = {}
    for server in servers:
        rules = frozenset((rule.mac, rule.queue) for rule in server.steering)
        key = (server.cores, tuple(port.queues for port in server.ports), rules)
        groups.setdefault(key, []).append(server)
    return list(groups.values())


def _shapes(same: Sequence[Server]) -> list[tuple[tuple[Queue, ...], str]]:
    """The ports of each set of queues: by name, or their count where servers whose ports' names differ share a row."""
    groups: dict[tuple[Queue, ...], list[str]] = {}
    for port in same[0].ports:
        groups.setdefault(port.queues, []).append(port.name)
    if len(groups) == 1 and (len(same) > 1 or len(same[0].ports) > _NAMED_PORTS):
        return [(queues, f"all {len(names)}") for queues, names in groups.items()]
    return [(queues, " ".join(names)) for queues, names in groups.items()]
