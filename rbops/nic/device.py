"""What the driver of a network device says of itself, asked in the caller's network namespace.

/sys/class/net shows the namespace in which sysfs was mounted, which may be another one. Source: linux/ethtool.h.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct

__all__ = ["ask", "driver_of"]

_SIOCETHTOOL = 0x8946
_GDRVINFO, _DRVINFO_BYTES, _DRIVER_AT = 0x03, 196, slice(4, 36)
_NAME = 16


def driver_of(device: str) -> str | None:
    """The driver's name for itself (``ethtool -i``), None without ethtool operations.

    By python-ethtool; where that package is missing by the same ioctl.
    """
    try:
        import ethtool
    except ImportError:
        get_module = _module
    else:
        get_module = ethtool.get_module
    try:
        return str(get_module(device)) or None
    except OSError:
        return None


def ask(device: str, command: int, size: int) -> bytes:
    """The structure of ``size`` bytes that an ETHTOOL_G command fills in; OSError where the driver has none."""
    buffer = array.array("B", struct.pack("I", command) + bytes(size - 4))
    address, _ = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack(f"{_NAME}sQ8x", device.encode(), address))
    return buffer.tobytes()


def _module(device: str) -> str:
    return ask(device, _GDRVINFO, _DRVINFO_BYTES)[_DRIVER_AT].split(b"\0")[0].decode()
