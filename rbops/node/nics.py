"""Network devices that packets could go through: driver, firmware, queues, speed, PCIe link, place. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from rbops.node.devices import Device, inventory, management
from rbops.node.ethtool import ask, sections
from rbops.node.facts import Channels, NicFacts, PcieLink
from rbops.node.processors import number
from rbops.node.system import System

__all__ = ["channels", "fastest_mode", "nics", "pcie_path"]

_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
_MODE = re.compile(r"\b(\d+)base\S*/(?:Full|Half)")
_SPEED = re.compile(r"^\s*Speed: (\d+)Mb/s", re.MULTILINE)
_PERMANENT = re.compile(r"Permanent address: ([0-9a-f:]{17})", re.IGNORECASE)
_REPRESENTOR = re.compile(r"(?:c\d+)?pf\d+(?:vf|sf)\d+")


def nics(system: System, environment: Mapping[str, str]) -> tuple[NicFacts, ...]:
    """Every port of a NIC, and every veth that is in no bridge, by PCI address and name.

    ``environment`` holds SSH_CONNECTION, by which the management NIC is known.
    """
    reasons = management(system, environment)
    found = [_nic(device, system, reasons) for device in inventory(system) if _counts(device, system)]
    return tuple(sorted(found, key=lambda nic: (nic.pci is None, nic.pci or "", nic.device)))


def _counts(device: Device, system: System) -> bool:
    """A NIC's port has a device of a bus below it; a veth is a cable when nothing bridges it."""
    there = system.names(f"/sys/class/net/{device.name}")
    return not device.stacked and ("device" in there or (device.driver == "veth" and "master" not in there))


def _nic(device: Device, system: System, reasons: Mapping[str, str]) -> NicFacts:
    base = f"/sys/class/net/{device.name}"
    about = _about(system, device.name)
    modes = system.run(("ethtool", device.name)).stdout
    speed = _SPEED.search(modes)
    most, now = channels(system, device.name)
    pci = f"/sys/bus/pci/devices/{device.pci}" if device.pci else None
    links = pcie_path(system, device.name)
    upper = system.real(f"{base}/master") if "master" in system.names(base) else None
    threaded = system.read(f"{base}/threaded")
    up = "UP" in device.flags
    return NicFacts(
        device=device.name,
        driver=device.driver,
        driver_version=about.get("version"),
        firmware=about.get("firmware-version"),
        mac=_permanent(system, device),
        pci=device.pci,
        pci_id=_pci_id(system, pci) if pci else None,
        slot=_slot(system, tuple(link.address for link in links)),
        links=links,
        numa_node=_node(system, base, pci),
        up=up,
        carrier=system.read(f"{base}/carrier") == "1" if up else None,
        mtu=device.mtu,
        speed_bps=int(speed[1]) * 1_000_000 if speed else None,
        supported_bps=fastest_mode(modes),
        channels=now,
        max_channels=most,
        management=reasons.get(device.name),
        part_of=upper.rsplit("/", 1)[-1] if upper else None,
        virtual_function=_virtual(system, base),
        xdp=device.xdp,
        threaded_napi=None if threaded is None else threaded == "1",
    )


def _about(system: System, device: str) -> dict[str, str]:
    """``ethtool -i`` as key and value; without what is empty or N/A."""
    pairs = (line.split(": ", 1) for line in (ask(system, "-i", device) or "").splitlines() if ": " in line)
    return {key: value.strip() for key, value in pairs if value.strip() not in {"", "N/A"}}


def _permanent(system: System, device: Device) -> str:
    """``ip`` shows the permanent MAC only where another is set; the driver may know none (veth: all zero)."""
    match = _PERMANENT.search(system.run(("ethtool", "-P", device.name)).stdout)
    return match[1].lower() if match and match[1] != "00:00:00:00:00:00" else device.mac


def channels(system: System, device: str) -> tuple[Channels, Channels]:
    """(at most, now); a driver without channels has one queue each way."""
    text = ask(system, "-l", device)
    if text is None:
        return Channels(1, 1, 0), Channels(1, 1, 0)
    most, now = (Channels(*(part.get(kind, 0) for kind in ("rx", "tx", "combined"))) for part in sections(text))
    return most, now


def fastest_mode(text: str) -> int | None:
    """The fastest of the supported link modes in the text of ``ethtool DEVICE``, in bits per second."""
    _, _, rest = text.partition("Supported link modes:")
    supported = rest.partition("Supported pause")[0]
    return max((int(speed) * 1_000_000 for speed in _MODE.findall(supported)), default=None)


def pcie_path(system: System, device: str) -> tuple[PcieLink, ...]:
    """The links from the NIC up to the root port, by the addresses in its place in /sys/devices."""
    addresses = _PCI.findall(system.real(f"/sys/class/net/{device}/device"))
    return tuple(_links(system, reversed(addresses)))


def _links(system: System, addresses: Iterator[str]) -> Iterator[PcieLink]:
    for address in addresses:
        base = f"/sys/bus/pci/devices/{address}"
        speed, most = (_gigatransfers(system.read(f"{base}/{name}_link_speed")) for name in ("current", "max"))
        lanes, most_lanes = (_lanes(number(system, f"{base}/{name}_link_width")) for name in ("current", "max"))
        yield PcieLink(address, speed, lanes, most, most_lanes)


def _gigatransfers(text: str | None) -> float | None:
    """``8.0 GT/s PCIe`` -> 8.0; None for ``Unknown``."""
    match = re.match(r"([0-9.]+) GT/s", text or "")
    return float(match[1]) if match else None


def _lanes(width: int | None) -> int | None:
    """0 and 255 are how the kernel writes an unknown width."""
    return width if width is not None and 0 < width < 255 else None  # noqa: PLR2004 - see above


def _pci_id(system: System, base: str) -> str | None:
    vendor, device = (system.read(f"{base}/{name}") for name in ("vendor", "device"))
    return f"{vendor.removeprefix('0x')}:{device.removeprefix('0x')}" if vendor and device else None


def _slot(system: System, addresses: tuple[str, ...]) -> str | None:
    """The chassis's name for the slot; a card with a switch of its own sits where its uppermost bridge does."""
    base = "/sys/bus/pci/slots"
    slots = {system.read(f"{base}/{name}/address") or "": name for name in system.names(base)}
    return next((slots[short] for address in addresses if (short := address.rsplit(".", 1)[0]) in slots), None)


def _node(system: System, base: str, pci: str | None) -> int | None:
    """None for the kernel's -1: it does not know. virtio has its place in the PCI device above its own."""
    node = number(system, f"{base}/device/numa_node")
    if node is None and pci is not None:
        node = number(system, f"{pci}/numa_node")
    return node if node is not None and node >= 0 else None


def _virtual(system: System, base: str) -> bool:
    name = system.read(f"{base}/phys_port_name") or ""
    return "physfn" in system.names(f"{base}/device") or bool(_REPRESENTOR.fullmatch(name))
