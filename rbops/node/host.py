"""The interface between a data plane that has the ports for itself and this server's kernel.

A tap device that stays when the data plane restarts: it has the router's addresses on this server, the kernel
receives through it what is for the server itself, and sends through it whatever follows the router's table.
"""

from __future__ import annotations

from collections.abc import Mapping

from rbops.node.devices import Device
from rbops.node.schema import HostInterface
from rbops.node.settings import Ip, Setting

__all__ = ["SUBJECT", "settings"]

SUBJECT = "host interface"


def settings(
    host: HostInterface | None, devices: Mapping[str, Device], facts: Mapping[str, tuple[str, ...]]
) -> list[Setting]:
    """``devices`` and ``facts`` (addresses) are by device name. Nothing without a host interface."""
    if host is None:
        return []
    device, name = devices.get(host.device), host.device
    make, gone = Ip(f"tuntap add dev {name} mode tap"), Ip(f"link del dev {name}")
    found = [Setting(SUBJECT, name, "present" if device else "absent", "present", (make,), (gone,))]
    flags = device.flags if device else frozenset()
    wants = (
        ("address", device.mac if device else "", host.mac),
        ("mtu", str(device.mtu) if device else "", str(host.mtu)),
        # No neighbour can be found behind it: whatever is sent there is looked up once more.
        ("arp", "off" if "NOARP" in flags else "on", "off"),
        ("state", "up" if "UP" in flags else "down", "up"),
    )
    for key, have, want in wants:
        line = f"link set dev {name} {want}" if key == "state" else f"link set dev {name} {key} {want}"
        found.append(Setting(SUBJECT, key, have, want, (Ip(line),)))
    have_addresses = facts.get(name, ())
    strangers = sorted(set(have_addresses) - set(host.addresses))
    return [
        *found,
        *(_address(name, address, "present", "absent", "del") for address in strangers),
        *(
            _address(name, address, "present" if address in have_addresses else "absent", "present", "add")
            for address in host.addresses
        ),
    ]


def _address(device: str, address: str, have: str, want: str, verb: str) -> Setting:
    return Setting(SUBJECT, f"IPv4 {address}", have, want, (Ip(f"address {verb} {address} dev {device}"),))
