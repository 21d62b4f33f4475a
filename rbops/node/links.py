"""Links: MTU, ARP, promiscuous mode, up."""

from __future__ import annotations

from rbops.node.devices import Device
from rbops.node.schema import NodePort
from rbops.node.settings import Ip, Setting

__all__ = ["settings"]


_UNMERGED = 1
"""Bytes of the largest packet that GRO makes: none."""


def settings(port: NodePort, device: Device) -> list[Setting]:
    """From the flags and MTU of ``ip link``. Up comes last: a port takes no packet half-configured."""
    flags = device.flags
    switches = (
        ("arp", "NOARP" not in flags, port.arp),
        ("promisc", "PROMISC" in flags, port.promiscuous),
    )
    mtu = f"link set dev {device.name} mtu"
    found = [
        Setting(
            port.subject,
            "mtu",
            str(device.mtu),
            str(port.mtu),
            (Ip(f"{mtu} {port.mtu}"),),
            (Ip(f"{mtu} {device.mtu}"),),
        )
    ]
    if port.closed and device.gro_max is not None:
        # GRO may have to be on, for it turns veth's NAPI on, but a program is to get frames as they came.
        line = f"link set dev {device.name} gro_max_size"
        do, undo = (Ip(f"{line} {_UNMERGED}"),), (Ip(f"{line} {device.gro_max}"),)
        found.append(Setting(port.subject, "GRO size", str(device.gro_max), str(_UNMERGED), do, undo))
    for name, have, want in switches:
        line = f"link set dev {device.name} {name}"
        do, undo = (Ip(f"{line} {_word(on=want)}"),), (Ip(f"{line} {_word(on=have)}"),)
        found.append(Setting(port.subject, name, _word(on=have), _word(on=want), do, undo))
    up = "up" if "UP" in flags else "down"
    state = f"link set dev {device.name}"
    found.append(Setting(port.subject, "state", up, "up", (Ip(f"{state} up"),), (Ip(f"{state} {up}"),)))
    return found


def _word(*, on: bool) -> str:
    return "on" if on else "off"
