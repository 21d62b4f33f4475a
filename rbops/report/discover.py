"""Discovered servers and cabling as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rbops.discover.cabling import Cabling
from rbops.discover.run import Discovered
from rbops.node.facts import Facts, NicFacts, PcieLink
from rbops.report.tables import Block, Table

__all__ = ["discover_blocks"]

_GIB = 1 << 30


def discover_blocks(found: Discovered) -> Iterator[Block]:
    """Servers, NICs, kernels, notes; then what is cabled to what."""
    yield Table(
        "Servers",
        ("server", "processors", "clock", "CPUs", "NUMA", "L3", "memory", "machine"),
        tuple(_server(name, facts) for name, facts in found.facts.items()),
    )
    yield Table(
        "NICs",
        ("server", "device", "driver", "firmware", "Gbps", "queues", "PCI", "link now (at most)", "NUMA", "MAC", "use"),
        tuple(_nic(name, nic) for name, facts in found.facts.items() for nic in facts.nics),
    )
    yield Table(
        "Kernels",
        ("server", "release", "has", "lacks or unknown", "isolated", "huge pages"),
        tuple(_kernel(name, facts) for name, facts in found.facts.items()),
    )
    notes = [f"{name}: {text.removeprefix(f'{name}: ')}" for name, lines in found.notes.items() for text in lines]
    if notes:
        yield "Notes\n" + "\n".join(f"  {note}" for note in notes)
    if found.cabling is not None:
        yield _cabling(found.cabling)
        if found.cabling.spare:
            yield "Cables between devices that are not planned ports\n" + "\n".join(
                f"  {c}" for c in found.cabling.spare
            )
    elif found.received is not None:
        yield _received(found)
    if found.moves:
        yield Table(
            "Ports with another device in the spec now",
            ("port", "before", "now"),
            tuple((move.port, move.before or "-", move.after) for move in found.moves),
        )


def _server(name: str, facts: Facts) -> tuple[str, ...]:
    sockets = len({cpu.socket for cpu in facts.cpus})
    cores = len({(cpu.socket, cpu.siblings) for cpu in facts.cpus})
    threads = max((len(cpu.siblings) for cpu in facts.cpus), default=1)
    shape = f"{sockets} x {cores // max(1, sockets)} cores" + (f" x {threads} threads" if threads > 1 else "")
    offline = f", {len(facts.offline)} offline" if facts.offline else ""
    l3 = sum(cache.size_bytes for cache in facts.caches if cache.level == 3)  # noqa: PLR2004
    machine = " ".join(word for word in (facts.vendor, facts.product) if word) or facts.cpu_model or "-"
    virtual = f" ({facts.virtualisation})" if facts.virtualisation not in {None, "none"} else ""
    return (
        name,
        shape,
        f"{facts.clock_hz / 1e9:g} GHz" if facts.clock_hz else "unknown",
        f"{len(facts.online)} online{offline}",
        str(len(facts.nodes) or "unknown"),
        f"{l3 / (1 << 20):g} MiB" if l3 else "unknown",
        f"{facts.memory_bytes / _GIB:.0f} GiB" if facts.memory_bytes else "unknown",
        machine + virtual,
    )


def _nic(server: str, nic: NicFacts) -> tuple[str, ...]:
    most, now = nic.max_channels.pairs, nic.channels.pairs
    return (
        server,
        nic.device,
        nic.driver or "unknown",
        nic.firmware or "-",
        _rate(nic),
        f"{now} of {most}",
        (nic.pci or "-") + (f" (slot {nic.slot})" if nic.slot else ""),
        _link(nic.links),
        "unknown" if nic.numa_node is None else str(nic.numa_node),
        nic.mac,
        _use(nic),
    )


def _rate(nic: NicFacts) -> str:
    most = nic.supported_bps or nic.speed_bps
    if most is None:
        return "unknown"
    if nic.carrier and nic.speed_bps and nic.speed_bps != most:
        return f"{nic.speed_bps / 1e9:g} of {most / 1e9:g}"
    return f"{most / 1e9:g}"


def _link(links: tuple[PcieLink, ...]) -> str:
    if not links or links[0].speed_gts is None or links[0].lanes is None:
        return "-"
    own = links[0]
    return f"{own.speed_gts:g} GT/s x{own.lanes} ({own.max_speed_gts or 0:g} GT/s x{own.max_lanes or 0})"


def _use(nic: NicFacts) -> str:
    if nic.management:
        return f"management: {nic.management}"
    if nic.virtual_function:
        return "SR-IOV function"
    if nic.part_of:
        return f"part of {nic.part_of}"
    return ("up" if nic.carrier else "no carrier") if nic.up else "down"


def _kernel(name: str, facts: Facts) -> tuple[str, ...]:
    features = facts.kernel.features
    lacks = [
        f"{feature.name} (unknown)" if feature.available is None else feature.name
        for feature in features
        if not feature.available
    ]
    pools = [f"{pool.total} x {pool.size_bytes >> 20} MiB" for pool in facts.hugepages if pool.total]
    return (
        name,
        facts.kernel.release,
        ", ".join(feature.name for feature in features if feature.available),
        ", ".join(lacks) or "-",
        ",".join(map(str, facts.kernel.isolated)) or "-",
        ", ".join(pools) or "none",
    )


def _cabling(cabling: Cabling) -> Table:
    states = Counter(verdict.fine for verdict in cabling.verdicts)
    return Table(
        f"Cabling: {states[True]} of {len(cabling.verdicts)} ports as planned",
        ("port", "device", "planned", "found", ""),
        tuple(
            (
                f"{verdict.server}:{verdict.port}",
                verdict.device or "-",
                verdict.planned or "outside",
                ", ".join(verdict.found) or "-",
                verdict.text or ("not on a port of the router" if verdict.state == "nothing" else "as planned"),
            )
            for verdict in cabling.verdicts
        ),
    )


def _received(found: Discovered) -> Table:
    return Table(
        "Cabling",
        ("port", "carrier", "receives from"),
        tuple(
            (
                f"{end.server}:{end.device}",
                "yes" if one.carrier else "no",
                ", ".join(f"{origin.server}:{origin.device}" for origin in one.origins) or one.error or "nothing",
            )
            for end, one in sorted((found.received or {}).items())
        ),
    )
