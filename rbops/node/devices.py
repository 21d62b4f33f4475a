"""Which kernel device is which planned port, and which devices rbops must not take."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rbops.errors import CheckFailed, Mismatch, Where
from rbops.node.schema import NodeConfig, NodePort
from rbops.node.session import environment
from rbops.node.system import NotInstalled, System

__all__ = ["PROTOCOL", "TABLE", "VRF", "Device", "inventory", "management", "resolve", "select"]

PROTOCOL = 82
"""Routes of this protocol number are rbops's own (``ip route ... proto 82``)."""

TABLE = 82
"""The router's own routing table, which data ports use alone (see ``rules.py``)."""

VRF = "rbops"
"""The device of the VRF that data ports are in where the kernel has VRFs (see ``vrf.py``)."""

_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
# Devices made on top of others carry the MAC of what is below them and are never a planned port.
_STACKED = frozenset({"bond", "team", "bridge", "vlan", "macvlan", "macvtap", "ipvlan", "vrf", "vxlan", "dummy"})


@dataclass(frozen=True, slots=True)
class Device:
    """A network device; ``mac`` is the permanent one where the kernel knows it."""

    name: str
    index: int
    mac: str
    driver: str
    pci: str | None
    mtu: int
    flags: frozenset[str]
    stacked: bool = False
    xdp: bool = False
    gro_max: int | None = None
    master: str | None = None


def inventory(system: System) -> tuple[Device, ...]:
    """Every network device of this server (``ip -json -details link show``, sysfs)."""
    done = system.run(("ip", "-json", "-details", "link", "show"))
    if done.returncode:
        raise CheckFailed(f"ip link show: {done.stderr.strip()}", code="node.ip")
    return tuple(_device(link, system) for link in json.loads(done.stdout or "[]") if link)


def _device(link: Mapping[str, Any], system: System) -> Device:
    name = str(link["ifname"])
    base = f"/sys/class/net/{name}/device"
    kind = str(link.get("linkinfo", {}).get("info_kind", ""))
    addresses = _PCI.findall(system.real(base)) if system.names(base) else []
    driver = system.real(f"{base}/driver").rsplit("/", 1)[-1] if addresses or system.names(base) else kind
    # A driver's name for itself is what ethtool users and the plan know: mlx5_core, virtio_net, veth.
    driver = system.driver(name) or driver
    return Device(
        name=name,
        index=int(link["ifindex"]),
        mac=str(link.get("permaddr") or link.get("address", "")).lower(),
        driver=driver,
        pci=addresses[-1] if addresses else None,
        mtu=int(link.get("mtu", 0)),
        flags=frozenset(link.get("flags", ())),
        stacked=kind in _STACKED,
        xdp="xdp" in link,
        gro_max=link.get("gro_max_size"),
        master=link.get("master"),
    )


def select(ports: Iterable[NodePort], devices: Iterable[Device], server: str) -> dict[str, Device]:
    """Port name -> device. Mismatch (3), naming server and port, for none, two, or one device twice."""
    found: dict[str, Device] = {}
    taken: dict[str, str] = {}
    known = tuple(device for device in devices if not device.stacked)
    for port in ports:
        kind, value = port.select
        matches = [device for device in known if _is(port, device)]
        if len(matches) != 1:
            names = ", ".join(device.name for device in matches) or "none"
            raise Mismatch(
                f"port {port.name}: expected one device with {kind} {value}, found {names}",
                code="node.no-device",
                where=Where(server=server, device=port.name),
                hint="name another device under `hosts:` in the spec" if not matches else "select by PCI address",
            )
        device = matches[0]
        if device.name in taken:
            raise Mismatch(
                f"ports {taken[device.name]} and {port.name} are the same device",
                code="node.same-device",
                where=Where(server=server, device=device.name),
            )
        taken[device.name] = port.name
        found[port.name] = device
    return found


def management(system: System, environment: Mapping[str, str]) -> dict[str, str]:
    """Device -> why it carries management: default routes, the SSH session, and the devices below them."""
    reasons: dict[str, str] = {}
    for family in ("-4", "-6"):
        done = system.run(("ip", family, "-json", "-N", "route", "show", "default"))
        for route in json.loads(done.stdout or "[]") if done.returncode == 0 else []:
            if str(route.get("protocol")) != str(PROTOCOL):
                hops = route.get("nexthops") or [route]
                reasons.update({hop["dev"]: "it carries the default route" for hop in hops if "dev" in hop})
    session = environment.get("SSH_CONNECTION", "").split()
    if len(session) == 4:  # noqa: PLR2004 - client address and port, server address and port
        done = system.run(("ip", "-json", "address", "show", "to", session[2]))
        for link in json.loads(done.stdout or "[]") if done.returncode == 0 else []:
            if link.get("ifname"):
                reasons[link["ifname"]] = "the SSH session runs over it"
    queue = list(reasons)
    while queue:
        upper = queue.pop()
        for name in system.names(f"/sys/class/net/{upper}"):
            lower = name.removeprefix("lower_")
            if name.startswith("lower_") and lower not in reasons:
                reasons[lower] = f"it is below {upper}: {reasons[upper]}"
                queue.append(lower)
    return reasons


def _check_drivers(config: NodeConfig, found: Mapping[str, Device]) -> None:
    """Queues, steering and XDP were planned for a driver: another one would behave differently."""
    for port in config.kernel_ports:
        device = found[port.name]
        if device.driver and port.driver and device.driver != port.driver:
            raise Mismatch(
                f"port {port.name} has driver {device.driver}, expected {port.driver}",
                code="node.driver",
                where=Where(server=config.server, device=device.name),
                hint="correct the NIC's driver in the spec's hardware section, or name the right device",
            )


def resolve(config: NodeConfig, system: System) -> dict[str, Device]:
    """Port name -> device of every port that the kernel keeps, never the management NIC; Mismatch (3) otherwise."""
    devices = inventory(system)
    found = select(config.kernel_ports, devices, config.server)
    reasons = management(system, environment(system, os.environ))
    switched = _open_vswitch(system)
    bound = {port.name: device for port in config.ports for device in devices if port.nic.bind and _is(port, device)}
    for port, device in {**found, **bound}.items():
        if device.name in reasons:
            raise Mismatch(
                f"port {port} is the management NIC: {reasons[device.name]}",
                code="node.management",
                where=Where(server=config.server, device=device.name),
                hint="plan another device: the data plane would cut this server off",
            )
        _check_free(port, device.name, config.server, system)
        if device.name in switched:
            raise _in_open_vswitch(port, device.name, config.server, system)
    _check_drivers(config, found)
    return found


def _check_free(port: str, device: str, server: str, system: System) -> None:
    """A bridge, bond or switch takes a port's packets away, a VLAN or macvlan on it gets none of its own any more."""
    uppers = (name.removeprefix("upper_") for name in system.names(f"/sys/class/net/{device}") if "upper_" in name)
    for upper in (upper for upper in uppers if upper != VRF):
        raise Mismatch(
            f"port {port} is in use: device {upper} is on top of it",
            code="node.port-in-use",
            where=Where(server=server, device=device),
            hint=f"plan another device, or take this one out of {upper}",
        )


def _open_vswitch(system: System) -> frozenset[str]:
    """The devices that Open vSwitch has. With its datapath in userspace (packet sockets) sysfs shows nothing of it."""
    if "db.sock" not in system.names("/run/openvswitch"):
        return frozenset()
    try:
        done = system.run(("ovs-vsctl", "--timeout=5", "--bare", "--columns=name", "list", "interface"))
    except NotInstalled:
        return frozenset()
    return frozenset(done.stdout.split())


def _in_open_vswitch(port: str, device: str, server: str, system: System) -> Mismatch:
    bridge = system.run(("ovs-vsctl", "--timeout=5", "iface-to-br", device)).stdout.strip()
    return Mismatch(
        f"port {port} is in use: Open vSwitch has it in its bridge {bridge}",
        code="node.port-in-use",
        where=Where(server=server, device=device),
        hint=f"plan another device, or `ovs-vsctl del-port {bridge} {device}`",
    )


def _is(port: NodePort, device: Device) -> bool:
    kind, value = port.select
    return not device.stacked and bool(getattr(device, kind) == value)
