"""Counters out of the CPUs' blocks, in the form that `rbops-node counters` prints. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.guard import PUNTED
from rbops.dataplane.xdp.layout import Layout
from rbops.dataplane.xdp.sampling import read_sampled
from rbops.node.schema.dataplane import Fabric, FabricPort

__all__ = ["added", "read_counters", "shown"]

_PORT_FIELDS = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")


def read_counters(
    ports: Sequence[FabricPort], planned: Collection[int], layout: Layout, memory: memoryview
) -> dict[str, Any]:
    """All counters since the maps were made; ``ports`` by number.

    ``cores`` has the ``planned`` ones, and others that packets have come to; ``served`` what they received at each
    port; ``paths`` those that were taken (``via`` None: direct). ``punted`` and ``dropped`` name every reason; what was
    not given to the kernel for more than the rate is dropped as ``policed_REASON``. ``sampled``: external ports' frames
    that sFlow's sampling took, and those that were lost.
    """
    cores: dict[str, dict[str, Any]] = {}
    paths: dict[tuple[int, int], tuple[int, int]] = {}
    traffic = {port.name: dict.fromkeys(_PORT_FIELDS, 0) for port in ports}
    served: dict[str, dict[str, int]] = {name: {} for name in traffic}
    sampled = {port.name: {"taken": 0, "lost": 0} for port in ports if port.kind == "external"}
    for cpu in range(layout.cpus):
        block = memory[cpu * layout.core : (cpu + 1) * layout.core]
        taken = _paths(layout, block)
        touched = _ports(ports, block)
        core = _core(ports, block, taken, touched)
        if cpu in planned or any(core["received"].values()):
            cores[str(cpu)] = core
        for path, (packets, size) in taken.items():
            before = paths.get(path, (0, 0))
            paths[path] = (before[0] + packets, before[1] + size)
        for name, fields in touched.items():
            if fields["rx_packets"]:
                served[name][str(cpu)] = fields["rx_packets"]
            for field, number in fields.items():
                traffic[name][field] += number
        for number, port in enumerate(ports):
            for what, count in read_sampled(number, block).items() if port.kind == "external" else ():
                sampled[port.name][what] += count
    return {"cores": cores, "paths": _listed(paths), "ports": traffic, "served": served, "sampled": sampled}


def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What both counted together; each as :func:`read_counters` gives it, or empty."""
    paths: dict[tuple[int, int], tuple[int, int]] = {}
    for path in (*one.get("paths", ()), *other.get("paths", ())):
        key = (path["to"], path["to"] if path["via"] is None else path["via"])
        before = paths.get(key, (0, 0))
        paths[key] = (before[0] + path["packets"], before[1] + path["bytes"])
    return {**_sum({**one, "paths": 0}, {**other, "paths": 0}), "paths": _listed(paths)}


def shown(fabric: Fabric, found: Mapping[str, Any]) -> dict[str, Any]:
    """With the ``total`` of all cores; ports and servers that are not there any more are in that alone."""
    names = {port.name for port in fabric.ports}
    return {
        "cores": found["cores"],
        "total": _total(list(found["cores"].values())),
        "paths": [path for path in found["paths"] if max(path["to"], path["via"] or 0) < fabric.servers],
        "ports": {name: fields for name, fields in found["ports"].items() if name in names},
        "served": {name: fields for name, fields in found["served"].items() if name in names},
        "sampled": {name: fields for name, fields in found["sampled"].items() if name in names},
    }


def _listed(paths: Mapping[tuple[int, int], tuple[int, int]]) -> list[dict[str, Any]]:
    return [
        {"to": dest, "via": None if via == dest else via, "packets": packets, "bytes": size}
        for (dest, via), (packets, size) in sorted(paths.items())
    ]


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Number by number, in the order of the first; what one has alone is as it is there."""
    both = {
        key: value + other[key] if isinstance(value, int) else _sum(value, other[key])
        for key, value in one.items()
        if key in other
    }
    return {**one, **both, **{key: value for key, value in other.items() if key not in one}}


def _core(
    listed: Sequence[FabricPort],
    block: memoryview,
    paths: Mapping[tuple[int, int], tuple[int, int]],
    ports: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    counts = iter(shape.CORE_COUNTS.unpack_from(block))
    forwarded = tuple(islice(counts, shape.FORWARDED_COUNT))
    punted = tuple(islice(counts, shape.PUNTED_COUNT))
    dropped = tuple(islice(counts, shape.DROPPED_COUNT))
    policed = tuple(counts)
    received = {"external": 0, "internal": 0}
    for port in listed:
        received[port.kind] += ports[port.name]["rx_packets"]
    direct = sum(packets for (dest, via), (packets, _) in paths.items() if dest == via)
    by_kind = dict(zip(shape.FORWARDED, forwarded, strict=False))
    total = sum(packets for packets, _ in paths.values())
    return {
        "received": received,
        "forwarded": {
            "local": by_kind["local"],
            "direct": direct,
            "phase1": total - direct,
            "phase2": by_kind["phase2"],
            "egress": by_kind["egress"],
        },
        "punted": dict(zip(PUNTED, punted, strict=False)),
        "dropped": dict((*zip(shape.DROPPED, dropped, strict=False), *zip(shape.POLICED, policed, strict=False))),
        "bytes": sum(fields["tx_bytes"] for fields in ports.values()),
    }


def _paths(layout: Layout, block: memoryview) -> dict[tuple[int, int], tuple[int, int]]:
    """(destination, first server) -> (packets, bytes), where any."""
    found = {}
    end = shape.PATHS_AT + shape.TRAFFIC.size * layout.servers**2
    for number, (packets, size) in enumerate(shape.TRAFFIC.iter_unpack(block[shape.PATHS_AT : end])):
        if packets:
            found[divmod(number, layout.servers)] = (packets, size)
    return found


def _ports(ports: Sequence[FabricPort], block: memoryview) -> dict[str, dict[str, int]]:
    found = {}
    for number, port in enumerate(ports):
        at = shape.PORT_TRAFFIC_AT + number * 2 * shape.TRAFFIC.size
        fields = (*shape.TRAFFIC.unpack_from(block, at), *shape.TRAFFIC.unpack_from(block, at + shape.TRAFFIC.size))
        found[port.name] = dict(zip(_PORT_FIELDS, fields, strict=True))
    return found


def _total(cores: list[dict[str, Any]]) -> dict[str, Any]:
    """The sum over cores of each number in the same place."""
    if not cores:
        return {}
    return {
        key: sum(core[key] for core in cores) if isinstance(value, int) else _total([core[key] for core in cores])
        for key, value in cores[0].items()
    }
