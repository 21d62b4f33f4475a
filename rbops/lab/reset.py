"""Puts veth devices back as they were made: run inside the patch panel's namespace when a server goes off.

``python -m rbops.lab.reset DEVICE,MAC,QUEUES,MTU ...`` with sysfs of that namespace mounted, as
``ip netns exec`` does. A NIC forgets its settings with the power; a veth moved between
namespaces keeps channels, XPS, RPS, threaded NAPI and features.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

_NET = Path("/sys/class/net")


def main(wanted: list[str]) -> None:
    """Reset every ``DEVICE,MAC,QUEUES,MTU``; devices that are not there are passed over."""
    for item in wanted:
        device, mac, queues, mtu = item.split(",")
        if (_NET / device).exists():
            _reset(device, mac, queues, mtu)


def _reset(device: str, mac: str, queues: str, mtu: str) -> None:
    folder = _NET / device
    # Fails where the channels are as wanted, which is what was asked for.
    _tool("ethtool", "-L", device, "rx", queues, "tx", queues)
    _tool("ethtool", "-K", device, "gro", "off")
    _tool("ip", "link", "set", device, "mtu", mtu, "address", mac, "promisc", "off", "allmulticast", "off")
    for mask in [*folder.glob("queues/tx-*/xps_cpus"), *folder.glob("queues/rx-*/rps_cpus")]:
        _write(mask, "0")
    for name in ("threaded", "gro_flush_timeout", "napi_defer_hard_irqs"):
        _write(folder / name, "0")


def _tool(*args: str) -> None:
    subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value, encoding="ascii")
    except OSError as error:
        sys.stderr.write(f"{path}: {error}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
