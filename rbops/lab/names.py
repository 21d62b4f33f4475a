"""Names and addresses in a lab; pure, so that ``down`` finds what ``up`` made.

Namespaces end in ``-s<index>``, ``-t<port>`` or ``-panel``, so that no two labs share a name.
Device names hold at most 15 characters (IFNAMSIZ), so those on the host carry the lab's subnet
number instead of its name.
"""

from __future__ import annotations

import ipaddress
import re
import zlib
from collections.abc import Iterable
from pathlib import Path

from rbops.errors import Mismatch, UsageError

__all__ = [
    "MANAGEMENT",
    "STATE",
    "bridge",
    "check_device_name",
    "check_lab_name",
    "check_server_name",
    "choose_subnet",
    "device_mac",
    "gateway",
    "machine",
    "management_address",
    "management_mac",
    "management_network",
    "management_port",
    "panel",
    "panel_device",
    "server_netns",
    "tester_netns",
]

STATE = Path("/var/lib/rbops/labs")
"""One folder a lab, removed with it."""

MANAGEMENT = ipaddress.IPv4Network("10.82.0.0/16")
"""Every lab takes one /24 of it: .1 is the host, servers count from .10."""

_LAB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def check_lab_name(name: str) -> str:
    """Return ``name`` when it is valid in paths and namespace names; UsageError otherwise."""
    if not _LAB_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name for a lab",
            code="lab.name",
            hint="up to 32 letters, digits, '-', '_' and '.', beginning with a letter or digit: --name NAME",
        )
    return name


def check_server_name(name: str) -> str:
    """Return ``name`` when it is a valid host name; Mismatch otherwise."""
    if len(name) > 64 or not _HOST_NAME.fullmatch(name):  # noqa: PLR2004 - HOST_NAME_MAX
        raise Mismatch(f"{name!r} is not a valid host name for a lab server", code="lab.host-name")
    return name


def check_device_name(name: str) -> str:
    """Return ``name`` when Linux takes it for a network device; Mismatch otherwise."""
    if not _DEVICE_NAME.fullmatch(name) or name in {"lo", "mgmt0", "all", "default"}:
        raise Mismatch(
            f"{name!r} is not a valid name for a lab server's port",
            code="lab.port-name",
            hint="up to 15 letters, digits, '-', '_' and '.'; lo and mgmt0 are reserved",
        )
    return name


def server_netns(lab: str, index: int) -> str:
    """The network namespace of server ``index``."""
    return f"rbops-{lab}-s{index}"


def tester_netns(lab: str, port: int) -> str:
    """The network namespace of the tester on external port ``port``."""
    return f"rbops-{lab}-t{port}"


def panel(lab: str) -> str:
    """The namespace where the ports of servers that are off lie: the lab's patch panel."""
    return f"rbops-{lab}-panel"


def panel_device(index: int, position: int) -> str:
    """What port ``position`` of server ``index`` is called on the panel."""
    return f"s{index}k{position}"


def machine(subnet: int, index: int) -> str:
    """The name systemd-nspawn knows a server by; unique on the host."""
    return f"rbops-{subnet}-{index}"


def bridge(subnet: int) -> str:
    """The management bridge on the host."""
    return f"rbops-br{subnet}"


def management_port(subnet: int, index: int) -> str:
    """The bridge's port towards server ``index``."""
    return f"rbops-{subnet}s{index}"


def gateway(subnet: int) -> str:
    """The host's address on the lab's management network, without prefix length (/24)."""
    return str(MANAGEMENT.network_address + subnet * 256 + 1)


LAST_INDEX = 244
"""The highest number of a system on a management network: 254 is its last address."""


def management_address(subnet: int, index: int) -> str:
    """The address of server ``index`` on the management network, without prefix length (/24)."""
    return str(MANAGEMENT.network_address + subnet * 256 + 10 + index)


def management_mac(subnet: int, index: int) -> str:
    """A fixed MAC for ``mgmt0``: a server that reboots keeps it, as a NIC does."""
    return f"02:4d:00:{subnet:02x}:{index >> 8:02x}:{index & 0xFF:02x}"


def device_mac(server: int, position: int) -> str:
    """The MAC of a lab server's port: ``02:4c:SS:SS:KK:KK``, server index and port position."""
    return f"02:4c:{server >> 8:02x}:{server & 0xFF:02x}:{position >> 8:02x}:{position & 0xFF:02x}"


def management_network(subnet: int) -> ipaddress.IPv4Network:
    """The /24 with number ``subnet``."""
    return ipaddress.IPv4Network((int(MANAGEMENT.network_address) + subnet * 256, 24))


def choose_subnet(lab: str, taken: Iterable[ipaddress.IPv4Network]) -> int:
    """The third octet of the lab's management network: the first free one, counted from a hash of the name.

    ``taken`` are the networks of other labs, and those the host has addresses in or routes to. Networks
    shorter than /16, as a VPN's 10.0.0.0/8, do not count: the lab's /24 is the longer match.
    Raises Mismatch when all 254 are taken.
    """
    busy = [network for network in taken if network.prefixlen >= MANAGEMENT.prefixlen]
    start = zlib.crc32(lab.encode())
    for step in range(254):
        subnet = 1 + (start + step) % 254
        if not any(management_network(subnet).overlaps(other) for other in busy):
            return subnet
    raise Mismatch(
        f"no management network is free for a lab: every /24 of {MANAGEMENT} is in use on this machine",
        code="lab.no-network",
    )
