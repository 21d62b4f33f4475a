"""Resets veth devices when their server goes off, as a NIC that has no power loses its settings.

``ip netns exec NAMESPACE python -m rbops.lab.reset DEVICE,MAC,QUEUES,MTU ...`` in the server's namespace, before its
devices are moved to the patch panel. Moving takes addresses, routes, neighbours, queueing disciplines and the
device's sysctl away; it keeps what is reset here: XDP, channels, XPS, RPS, threaded NAPI, features, flags, MTU.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

_NET = Path("/sys/class/net")
_FEATURES = ("rx", "on", "tx", "on", "sg", "on", "tso", "on", "gso", "on", "gro")


def main(wanted: list[str]) -> None:
    """Reset every ``DEVICE,MAC,QUEUES,MTU`` and leave it down; devices that are not there are passed over."""
    for item in wanted:
        device, mac, queues, mtu = item.split(",")
        if (_NET / device).exists():
            _reset(device, mac, queues, mtu)


def _reset(device: str, mac: str, queues: str, mtu: str) -> None:
    folder = _NET / device
    # Before XDP and the link go: a veth that has neither XDP nor GRO has no NAPI, and refuses this then.
    if (folder / "threaded").read_text(encoding="ascii").strip() != "0" and not _write(folder / "threaded", "0"):
        _tool("ethtool", "-K", device, "gro", "on")
        _tool("ip", "link", "set", device, "up")
        _write(folder / "threaded", "0")
    for mode in ("xdpdrv", "xdpgeneric"):
        _tool("ip", "link", "set", device, mode, "off")
    _tool("ip", "link", "set", device, "down", "arp", "on", "promisc", "off", "allmulticast", "off")
    _tool("ip", "link", "set", device, "txqueuelen", "1000")
    _tool("ip", "link", "set", device, "address", mac, "mtu", mtu)
    # Fails where the channels are as wanted, which is what was asked for.
    _tool("ethtool", "-L", device, "rx", queues, "tx", queues)
    _tool("ethtool", "-K", device, *_FEATURES, "off")
    for mask in [*folder.glob("queues/tx-*/xps_cpus"), *folder.glob("queues/rx-*/rps_cpus")]:
        _write(mask, "0")
    for name in ("gro_flush_timeout", "napi_defer_hard_irqs"):
        _write(folder / name, "0")


def _tool(*args: str) -> None:
    subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _write(path: Path, value: str) -> bool:
    try:
        path.write_text(value, encoding="ascii")
    except OSError:  # the device does not have it as it is now
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
