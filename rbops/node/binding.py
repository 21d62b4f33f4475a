"""Devices of userspace drivers (DPDK): bound to vfio-pci, as driverctl does it.

``driver_override`` and ``drivers_probe`` of the PCI bus (Documentation/ABI/testing/sysfs-bus-pci); the device's
IOMMU group must be whole (Documentation/driver-api/vfio.rst).
"""

from __future__ import annotations

from rbops.errors import Mismatch, Where
from rbops.node.prior import Prior
from rbops.node.schema import NodeConfig, NodePort
from rbops.node.settings import Run, Setting, Write
from rbops.node.system import System

__all__ = ["driver_of", "hand_back", "settings"]

_NAME = "driver"
_DEVICES = "/sys/bus/pci/devices"
_PROBE = "/sys/bus/pci/drivers_probe"
_NOIOMMU = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
# Drivers that leave a group viable: they do no DMA of their own (drivers/vfio/vfio.c).
_HARMLESS = frozenset({"", "vfio-pci", "pci-stub", "pcieport"})


def driver_of(system: System, address: str) -> str:
    """The kernel driver of a PCI device, empty for none."""
    link = f"{_DEVICES}/{address}/driver"
    target = system.real(link)
    return "" if target == link else target.rsplit("/", 1)[-1]


def settings(config: NodeConfig, system: System) -> list[Setting]:
    """One setting a port with a userspace driver. Mismatch (3), naming server and device, when it cannot have one."""
    bound = [port for port in config.ports if port.nic.bind]
    addresses = frozenset(port.select[1] for port in bound)
    for port in bound:
        _check(config, port, system, addresses)
    return [_bound(port, system) for port in bound]


def hand_back(config: NodeConfig, system: System, prior: Prior, *, check: bool) -> None:
    """Return to the kernel the devices that an earlier plan bound and this one does not: only then are they found.

    With ``check`` nothing is done: Mismatch (3) names the port.
    """
    bound = {port.subject for port in config.ports if port.nic.bind}
    left = [entry for entry in prior.leftovers([]) if entry.name == _NAME and entry.subject not in bound]
    if left and check:
        raise Mismatch(
            f"{left[0].subject} is still bound to a userspace driver",
            code="node.still-bound",
            where=Where(server=config.server),
            hint="`rbops apply` returns it to the kernel; only then can the rest be compared",
        )
    if left:
        prior.drop(system, left)
        # The kernel has made the devices; udev may still be naming them.
        system.run(("udevadm", "settle", "--timeout=10"))


def _bound(port: NodePort, system: System) -> Setting:
    address, want = port.select[1], port.nic.bind or ""
    place = f"{_DEVICES}/{address}"
    have = driver_of(system, address)
    load: tuple[Run | Write, ...] = (Run(("modprobe", want)),)
    if not system.names(f"{place}/iommu_group"):
        load += (Write(_NOIOMMU, "Y"),)
    leave = (Write(f"{place}/driver/unbind", address),) if have else ()
    probe = Write(_PROBE, address)
    do = (*load, Write(f"{place}/driver_override", want), *leave, probe)
    # An override of one newline is none: the kernel then chooses the driver again.
    back = (Write(f"{place}/driver_override", "\n"), Write(f"{place}/driver/unbind", address))
    return Setting(port.subject, _NAME, have or "none", want, do, (*back, probe) if have else back)


def _check(config: NodeConfig, port: NodePort, system: System, bound: frozenset[str]) -> None:
    address = port.select[1]
    place = f"{_DEVICES}/{address}"
    if not system.names(place):
        raise Mismatch(
            f"port {port.name}: the PCI device does not exist",
            code="node.no-pci-device",
            where=Where(server=config.server, device=address),
            hint="name another device under `hosts:` in the spec",
        )
    group = system.names(f"{place}/iommu_group/devices")
    if not group and port.nic.bind == "vfio-pci" and not config.userspace.noiommu:
        raise Mismatch(
            f"port {port.name}: the PCI device has no IOMMU group, vfio-pci needs one",
            code="node.no-iommu",
            where=Where(server=config.server, device=address),
            hint="enable the IOMMU in the firmware and boot with intel_iommu=on (or amd_iommu=on) and iommu=pt; "
            "or write `nic: {unsafe_noiommu: true}`, with which the program can read and write all memory",
        )
    strangers = {near: driver_of(system, near) for near in group if near != address and near not in bound}
    busy = sorted((near, driver) for near, driver in strangers.items() if driver not in _HARMLESS)
    if busy:
        near, driver = busy[0]
        raise Mismatch(
            f"port {port.name}: the PCI device shares its IOMMU group with {near}, which driver {driver} uses",
            code="node.iommu-group",
            where=Where(server=config.server, device=address),
            hint="put the card into another slot, or plan that device for the data plane too",
        )
