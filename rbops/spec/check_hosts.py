"""What must hold within and between hosts, and within a server's hardware."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from rbops.errors import Diagnostic
from rbops.spec.hardware import Hardware
from rbops.spec.hosts import Selector
from rbops.spec.source import Path
from rbops.spec.units import nearest
from rbops.spec.validate import Parts, located

__all__ = ["check_hardware", "check_hosts", "check_servers"]

_WAYS = ("name", "pci", "mac")


def check_hosts(parts: Parts) -> Iterator[Diagnostic]:
    """Names unlike each other, one selector a port, no device and no MAC twice, no management device."""
    spellings: dict[str, str] = {}
    macs: dict[str, Path] = {}
    for name, host in parts.hosts.items():
        path: Path = ("hosts", name)
        other = spellings.setdefault(name.lower(), name)
        if other != name:
            line = parts.key_line(("hosts", other))
            yield located(
                parts.root,
                path,
                f"differs from {other} on line {line} by upper and lower case only",
                key=True,
                code="spec.duplicate",
            )
        if host.profile and host.hardware:
            yield located(
                parts.root, (*path, "profile"), "expected either profile or hardware, not both", code="spec.conflict"
            )
        seen: dict[tuple[str, str], str] = {}
        for port, selector in host.ports.items():
            yield from _selector(parts, (*path, "ports", port), selector, seen, macs)
        yield from _management(parts, path, host.ports, host.hardware or parts.hardware)


def check_servers(parts: Parts) -> Iterator[Diagnostic]:
    """Servers are of a profile or of hardware, not both."""
    servers = parts.root.child("servers")
    if servers and servers.child("profile") and servers.child("hardware"):
        yield located(
            parts.root, ("servers", "profile"), "expected either profile or hardware, not both", code="spec.conflict"
        )


def check_hardware(parts: Parts) -> Iterator[Diagnostic]:
    """The CPU ids, slots and NUMA nodes that a server's hardware names are there."""
    if parts.hardware:
        yield from _hardware(parts, ("servers", "hardware"), parts.hardware)
    for name, host in parts.hosts.items():
        if host.hardware:
            yield from _hardware(parts, ("hosts", name, "hardware"), host.hardware)


def _selector(
    parts: Parts, path: Path, selector: Selector, seen: dict[tuple[str, str], str], macs: dict[str, Path]
) -> Iterator[Diagnostic]:
    port = str(path[-1])
    given = [(way, str(value)) for way in _WAYS if (value := getattr(selector, way)) is not None]
    if len(given) != 1:
        found = f"found {' and '.join(way for way, _ in given)}" if given else "found none"
        yield located(
            parts.root, path, f"expected exactly one of name, pci and mac, {found}", key=True, code="spec.selector"
        )
    if port.startswith("ext") and parts.external_ports is not None and int(port[3:]) >= parts.external_ports:
        last = parts.external_ports - 1
        yield located(
            parts.root, path, f"the router's external ports are ext0 to ext{last}", key=True, code="spec.unknown-port"
        )
    for way, value in given:
        other = seen.setdefault((way, value), port)
        if other != port:
            line = parts.key_line((*path[:-1], other))
            yield located(parts.root, (*path, way), f"{value} is also {other} on line {line}", code="spec.duplicate")
        elif way == "mac" and macs.setdefault(value, path) != path:
            first = macs[value]
            message = f"{value} is also {first[-1]} of {first[1]} on line {parts.key_line(first)}"
            yield located(parts.root, (*path, way), message, code="spec.duplicate")


def _management(
    parts: Parts, path: Path, ports: Mapping[str, Selector], hardware: Hardware | None
) -> Iterator[Diagnostic]:
    devices = [device for nic in hardware.nics for device in nic.devices if device.management] if hardware else []
    for port, selector in ports.items():
        for way in _WAYS:
            value = getattr(selector, way)
            if value is not None and any(getattr(device, way) == value for device in devices):
                message = f"{value} is the management device of {path[1]}"
                yield located(
                    parts.root,
                    (*path, "ports", port, way),
                    message,
                    "give the data plane another one",
                    code="spec.management-device",
                )


def _hardware(parts: Parts, path: Path, hardware: Hardware) -> Iterator[Diagnostic]:
    yield from _cpus(parts, path, hardware)
    slots: dict[str, int] = {}
    nodes = hardware.numa_nodes or hardware.sockets
    for index, slot in enumerate(hardware.slots):
        if slot.name in slots:
            line = parts.line((*path, "slots", slots[slot.name]))
            yield located(
                parts.root,
                (*path, "slots", index, "name"),
                f"{slot.name} is a duplicate of line {line}",
                code="spec.duplicate",
            )
        slots.setdefault(slot.name, index)
        yield from _node(parts, (*path, "slots", index), slot.numa_node, nodes)
    for index, nic in enumerate(hardware.nics):
        here = (*path, "nics", index)
        yield from _node(parts, here, nic.numa_node, nodes)
        if nic.slot and nic.slot not in slots:
            near = nearest(nic.slot, slots)
            hint = f"did you mean {near}?" if near else f"slots are {', '.join(slots) or 'not listed'}"
            yield located(parts.root, (*here, "slot"), f"there is no slot {nic.slot}", hint, code="spec.unknown-slot")
        if len(nic.devices) > nic.ports:
            message = f"{len(nic.devices)} devices on a card with {nic.ports} ports"
            yield located(parts.root, (*here, "devices"), message, code="spec.range")


def _cpus(parts: Parts, path: Path, hardware: Hardware) -> Iterator[Diagnostic]:
    count = hardware.sockets * hardware.cores_per_socket * hardware.threads_per_core
    ids = {cpu.id for cpu in hardware.cpus} or set(range(count))
    if hardware.cpus:
        # The kernel shows no place of an offline CPU, so a list of CPUs may lack those: in gaps, and right behind it.
        last = max(ids)
        ids |= {cpu for cpu in hardware.offline if cpu <= last + sum(other > last for other in hardware.offline)}
    span = f"CPUs are {min(ids)} to {max(ids)}"
    repeated = [cpu for cpu, times in Counter(cpu.id for cpu in hardware.cpus).items() if times > 1]
    if repeated:
        yield located(parts.root, (*path, "cpus"), f"CPU {repeated[0]} is listed twice", code="spec.duplicate")
    kept = hardware.housekeeping or ()
    for name, listed in (("housekeeping", kept), ("offline", hardware.offline)):
        absent = sorted(set(listed) - ids)
        if absent:
            yield located(parts.root, (*path, name), f"there is no CPU {absent[0]}", span, code="spec.unknown-cpu")
    both = sorted(set(kept) & set(hardware.offline))
    if both:
        yield located(parts.root, (*path, "housekeeping"), f"CPU {both[0]} is offline", code="spec.conflict")
    if not ids - set(kept) - set(hardware.offline):
        where = "housekeeping" if kept else "offline"
        yield located(parts.root, (*path, where), "no CPU is left for packets", span, code="spec.no-cpu")


def _node(parts: Parts, path: Path, node: int | None, nodes: int) -> Iterator[Diagnostic]:
    if node is not None and node >= nodes:
        message = f"there is no NUMA node {node}"
        hint = f"nodes are 0 to {nodes - 1} (numa_nodes, or one a socket); -1 is unknown"
        yield located(parts.root, (*path, "numa_node"), message, hint, code="spec.unknown-node")
