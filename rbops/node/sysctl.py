"""Kernel parameters below /proc/sys."""

from __future__ import annotations

from collections.abc import Mapping

from rbops.node.schema import NodeConfig
from rbops.node.settings import Setting, Write
from rbops.node.system import System

_FIRST = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")

__all__ = ["of_the_host", "path_of", "read", "settings"]


def of_the_host(key: str) -> bool:
    """Whether a container cannot set it, because its kernel but for the network is its host's.

    The sizes of socket buffers are the host's too; newer kernels show them in a container, where they cannot be
    written (net/core/sysctl_net_core.c).
    """
    return not key.startswith("net.") or key.startswith(("net.core.rmem_", "net.core.wmem_"))


def path_of(key: str, devices: Mapping[str, str]) -> str:
    """The file of a key; a part that is a planned port becomes the device that it is here."""
    return "/proc/sys/" + "/".join(devices.get(part, part) for part in key.split("."))


def read(system: System, config: NodeConfig, devices: Mapping[str, str]) -> dict[str, str | None]:
    """Key -> value in the kernel, None where it has no such key."""
    return {key: system.read(path_of(key, devices)) for key in config.sysctl}


def settings(
    config: NodeConfig, devices: Mapping[str, str], facts: Mapping[str, str | None], *, contained: bool = False
) -> list[Setting]:
    """``ip_forward`` and its like first: writing it resets others to the defaults of routers (kernel: ip-sysctl).

    ``contained``: in a container.
    """
    found = []
    handed = {port.name for port in config.ports if port.nic.bind}
    for key in sorted(config.sysctl, key=lambda key: (key not in _FIRST, key)):
        if handed.intersection(key.split(".")):
            continue
        want, text = config.sysctl[key], facts.get(key)
        have = "none" if text is None else " ".join(text.split())
        if contained and of_the_host(key):
            found.append(Setting("sysctl", key, have, want, unsupported="it is the container's host's"))
            continue
        if text is None:
            # Without IPv6 in the kernel there is nothing left to turn off.
            quiet = key.startswith("net.ipv6.") and key.endswith(".disable_ipv6")
            reason = None if quiet else "this kernel has no such key"
            found.append(Setting("sysctl", key, want if quiet else have, want, unsupported=reason))
            continue
        path = path_of(key, devices)
        found.append(Setting("sysctl", key, have, want, (Write(path, want),), (Write(path, have),)))
    return found
