"""``Hardware`` as the YAML of a file of its own: what ``rbops discover`` writes and the spec's reader reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rbops.spec.edit import quoted
from rbops.spec.hardware import Bound, Cpu, Device, Hardware, Nic, Slot

__all__ = ["blocks", "hardware_text"]

_HEADER = "# Written by `rbops discover`; what it does not know (housekeeping, bounds, power, price) is kept.\n"


def hardware_text(hardware: Hardware) -> str:
    """The whole file."""
    return _HEADER + "".join(blocks(hardware).values())


def blocks(hardware: Hardware) -> Mapping[str, str]:
    """Key -> its lines, in the order of the file; keys that have their default are left out."""
    return dict(_blocks(hardware))


def _blocks(hardware: Hardware) -> Iterator[tuple[str, str]]:
    for key, value in _scalars(hardware):
        yield key, f"{key}: {value}\n"
    for key, rows in (
        ("cpus", [_cpu(cpu) for cpu in hardware.cpus]),
        ("slots", [_slot(slot) for slot in hardware.slots]),
    ):
        if rows:
            yield key, f"{key}:\n" + "".join(f"  - {row}\n" for row in rows)
    yield "nics", "nics:\n" + "".join(_nic(nic) for nic in hardware.nics)
    bounds = {
        name: bound
        for name in ("memory", "io", "inter_socket", "pcie")
        if (bound := getattr(hardware.bounds, name)) is not None
    }
    if bounds:
        yield "bounds", "bounds:\n" + "".join(f"  {name}: {_bound(bound)}\n" for name, bound in bounds.items())


def _scalars(hardware: Hardware) -> Iterator[tuple[str, str]]:
    yield "name", quoted(hardware.name)
    yield "sockets", str(hardware.sockets)
    yield "cores_per_socket", str(hardware.cores_per_socket)
    yield "threads_per_core", str(hardware.threads_per_core)
    yield "clock", _frequency(hardware.clock_hz)
    if hardware.numa_nodes is not None:
        yield "numa_nodes", str(hardware.numa_nodes)
    if hardware.l3_bytes_per_socket is not None:
        yield "l3_per_socket", _size(hardware.l3_bytes_per_socket)
    if hardware.housekeeping is not None:
        yield "housekeeping", _ids(hardware.housekeeping) if hardware.housekeeping else "[]"
    if hardware.offline:
        yield "offline", _ids(hardware.offline)
    if hardware.power_w is not None:
        yield "power", f"{_decimal(hardware.power_w)}W"
    if hardware.price_usd is not None:
        yield "price", f"{_decimal(hardware.price_usd)}USD"
    if hardware.rack_units != 1:
        yield "rack_units", str(hardware.rack_units)


def _cpu(cpu: Cpu) -> str:
    return f"{{id: {cpu.id}, socket: {cpu.socket}, core: {cpu.core}, numa_node: {cpu.numa_node}}}"


def _slot(slot: Slot) -> str:
    node = "" if slot.numa_node is None else f", numa_node: {slot.numa_node}"
    return f"{{name: {quoted(slot.name)}, pcie: {slot.generation}, lanes: {slot.lanes}{node}}}"


def _nic(nic: Nic) -> str:
    pairs = [("driver", quoted(nic.driver)), ("ports", str(nic.ports)), ("port_rate", _rate(nic.port_rate_bps))]
    pairs.append(("queues", str(nic.queues)))
    if nic.slot is not None:
        pairs.append(("slot", quoted(nic.slot)))
    if nic.numa_node is not None:
        pairs.append(("numa_node", str(nic.numa_node)))
    if nic.achievable_bps is not None:
        pairs.append(("achievable", _rate(nic.achievable_bps)))
    lines = [f"    {key}: {value}\n" for key, value in pairs]
    lines[0] = "  - " + lines[0].lstrip()
    if nic.devices:
        lines.append("    devices:\n")
        lines += [f"      - {_device(device)}\n" for device in nic.devices]
    return "".join(lines)


def _device(device: Device) -> str:
    ways = (("name", device.name), ("pci", device.pci), ("mac", device.mac))
    pairs = [f"{way}: {quoted(value)}" for way, value in ways if value is not None]
    return "{" + ", ".join([*pairs, *(["management: true"] if device.management else [])]) + "}"


def _bound(bound: Bound) -> str:
    pairs = (("nominal", bound.nominal_bps), ("empirical", bound.empirical_bps))
    return "{" + ", ".join(f"{name}: {_rate(bps)}" for name, bps in pairs if bps is not None) + "}"


def _ids(cpus: tuple[int, ...]) -> str:
    """``"0,2-5"``, quoted: ``0,2`` is a number to some readers."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][-1] == cpu - 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return '"' + ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts) + '"'


def _rate(bps: int) -> str:
    return _largest(bps, (("Gbps", 10**9), ("Mbps", 10**6), ("kbps", 10**3)), "bps")


def _frequency(hertz: int) -> str:
    return _largest(hertz, (("GHz", 10**9), ("MHz", 10**6), ("kHz", 10**3)), "Hz")


def _size(count: int) -> str:
    return _largest(count, (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)), "B")


def _largest(value: int, units: tuple[tuple[str, int], ...], rest: str) -> str:
    """In the largest unit that leaves a whole number."""
    for unit, factor in units:
        if value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}{rest}"


def _decimal(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".")
