"""What the loader must know of a network device, asked in the caller's network namespace.

By ioctl: /sys/class/net shows the namespace in which sysfs was mounted, which may be another one.
Standard library only. Source: netdevice(7), linux/ethtool.h.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Sequence

from rbops.dataplane.xdp.layout import Device
from rbops.errors import Mismatch, Where
from rbops.nic.device import ask, driver_of
from rbops.nic.drivers import driver

__all__ = ["check_queues", "find_device"]

_SIOCGIFHWADDR, _SIOCGIFMTU = 0x8927, 0x8921
_GCHANNELS = 0x3C
_NAME = 16


def find_device(port: str, name: str) -> Device:
    """The device ``name`` that is planned port ``port``; raises Mismatch when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            index = socket.if_nametoindex(name)
            request = struct.pack(f"{_NAME}s16x", name.encode())
            mac = fcntl.ioctl(sock, _SIOCGIFHWADDR, request)[18:24]
            (mtu,) = struct.unpack_from("i", fcntl.ioctl(sock, _SIOCGIFMTU, request), _NAME)
        except OSError as error:
            raise Mismatch(
                f"port {port}: {error.strerror or error}",
                code="xdp.device",
                where=Where(device=name),
                hint="see `ip link`; the port's selector names the device",
            ) from error
    return Device(name, index, mac, mtu, driver_of(name) or "")


def check_queues(device: Device, cores: Sequence[int]) -> None:
    """Raise Mismatch where XDP could not transmit from a core.

    A redirect picks the transmit ring by CPU id; some drivers have none for ids past their queues and drop the
    frame. Devices and drivers without channels are not checked.
    """
    try:
        fields = struct.unpack_from("9I", ask(device.name, _GCHANNELS, 36))
    except OSError:
        return
    queues = fields[6] + fields[8]  # tx_count and combined_count
    if driver(device.driver).xdp_ring_by_cpu and max(cores) >= queues:
        message = f"{queues} queues ({device.driver}) are too few to send from CPU {max(cores)}"
        hint = f"`ethtool -L {device.name} combined {max(cores) + 1}`, or plan data-plane cores below {queues}"
        raise Mismatch(message, code="xdp.queues", where=Where(device=device.name), hint=hint)
