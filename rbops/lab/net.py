"""The lab's networks: the management bridge, the cables, the patch panel, the testers.

A cable is one multi-queue veth pair. While a server is off its ends lie on the patch panel, a
namespace of the lab, set down: neighbours see the carrier go and keep their own ends with all
that is configured on them, as NICs do. Booting a server moves its ends into a fresh namespace.
Addresses, routes and sysctl go with the old namespace; what stays with a device (channels,
XPS, features) is reset before by :mod:`rbops.lab.reset`.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from pathlib import Path
from typing import Any

from rbops.lab.command import ip_batch, run
from rbops.lab.manifest import LabPort, LabServer, LabTester, Manifest

__all__ = [
    "build",
    "cable_line",
    "configure_tester",
    "exists",
    "links",
    "networks_in_use",
    "park",
    "plug",
    "quiet",
    "remove",
    "tester_line",
]

_NETNS = Path("/run/netns")
_QUIET_IPV6 = [
    f"net.ipv6.conf.{scope}.{key}"
    for scope in ("all", "default")
    for key in ("accept_ra=0", "autoconf=0", "addr_gen_mode=1")
]
_NO_IPV6 = ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]


def exists(netns: str) -> bool:
    """Whether a named network namespace is there."""
    return (_NETNS / netns).exists()


def networks_in_use() -> list[ipaddress.IPv4Network]:
    """IPv4 networks this host has addresses in or routes to, the default route left out."""
    networks = [
        f"{address['local']}/{address['prefixlen']}"
        for link in json.loads(run(["ip", "-json", "-4", "addr", "show"]))
        for address in link.get("addr_info", [])
        if "local" in address
    ]
    networks += [
        route["dst"]
        for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]")
        if route.get("dst", "default") != "default"
    ]
    return [ipaddress.IPv4Network(network, strict=False) for network in networks]


def build(manifest: Manifest) -> None:
    """Make the management bridge, the panel with all cables, and the testers."""
    testers = manifest.testers
    ip_batch([f"netns add {netns}" for netns in (manifest.panel, *(tester.netns for tester in testers))])
    for netns in (manifest.panel, *(tester.netns for tester in testers)):
        quiet(netns)
    ip_batch(
        [
            f"link add {manifest.bridge} type bridge stp_state 0 forward_delay 0",
            f"link set {manifest.bridge} addrgenmode none",
            f"addr add {manifest.gateway}/24 dev {manifest.bridge}",
            f"link set {manifest.bridge} up",
            *_cables(manifest),
            *(tester_line(manifest, tester) for tester in testers),
        ]
    )
    for tester in testers:
        configure_tester(tester)


def _cables(manifest: Manifest) -> list[str]:
    ports = {f"{server.name}:{port.name}": port for server in manifest.servers for port in server.ports}
    lines = []
    for name, port in ports.items():
        peer = ports.get(port.peer)
        if peer is None or name > port.peer:
            continue  # an external port, or the end of a cable that its other end has made
        lines.append(cable_line(manifest, port, peer))
    return lines


def cable_line(manifest: Manifest, port: LabPort, peer: LabPort) -> str:
    """What makes a cable between two ports, both ends on the panel."""
    return (
        f"link add {port.panel} netns {manifest.panel} mtu {port.mtu} address {port.mac} "
        f"numtxqueues {port.queues} numrxqueues {port.queues} type veth "
        f"peer name {peer.panel} netns {manifest.panel} mtu {peer.mtu} address {peer.mac} "
        f"numtxqueues {peer.queues} numrxqueues {peer.queues}"
    )


def tester_line(manifest: Manifest, tester: LabTester) -> str:
    """What makes a tester's cable: one end in its namespace, the other on the panel."""
    port = next(port for server in manifest.servers for port in server.ports if port.panel == tester.panel)
    return (
        f"link add {port.panel} netns {manifest.panel} mtu {port.mtu} address {port.mac} "
        f"numtxqueues {port.queues} numrxqueues {port.queues} type veth "
        f"peer name {tester.device} netns {tester.netns} mtu {tester.mtu} address {tester.mac} "
        f"numtxqueues {tester.queues} numrxqueues {tester.queues}"
    )


def quiet(netns: str) -> None:
    """Without IPv6 a namespace sends nothing by itself."""
    _sysctl(netns, _NO_IPV6)


def configure_tester(tester: LabTester) -> None:
    """Set the tester's device up, with its address and its route to the router."""
    # A frame redirected into a veth whose peer has neither XDP nor GRO is dropped without a trace.
    # A veth computes no checksums: with tx on, TCP segments would leave unfinished and be forwarded so.
    # With txvlan on, a veth hands a tag over beside the frame, where XDP does not see it.
    features = ("gro", "on", "tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off")
    run(["ip", "netns", "exec", tester.netns, "ethtool", "-K", tester.device, *features])
    lines = ["link set lo up"]
    if tester.address:
        lines.append(f"addr add {tester.address} dev {tester.device}")
    lines.append(f"link set {tester.device} up")
    if tester.gateway:
        lines.append(f"route add default via {tester.gateway} dev {tester.device}")
    ip_batch(lines, netns=tester.netns)


def plug(manifest: Manifest, server: LabServer) -> None:
    """Give a server that boots a fresh namespace with its ports (down) and ``mgmt0`` (up); a tester ``mgmt0`` alone."""
    if not _is_tester(manifest, server):
        ip_batch([f"netns add {server.netns}"])
        _sysctl(server.netns, _QUIET_IPV6)
    host, mac = server.management_port, server.management_mac
    ip_batch(
        [
            f"link add {host} type veth peer name mgmt0 netns {server.netns} address {mac}",
            f"link set {host} addrgenmode none master {manifest.bridge}",
            f"link set {host} up",
        ]
    )
    ip_batch(
        [f"link set {port.panel} netns {server.netns} name {port.device}" for port in server.ports],
        netns=manifest.panel,
    )
    ip_batch(
        ["link set lo up", f"addr add {server.address}/24 dev mgmt0", "link set mgmt0 up"],
        netns=server.netns,
    )


def park(manifest: Manifest, server: LabServer) -> None:
    """Unplug a server that is off: ports go to the panel as when new, namespace and ``mgmt0`` are removed.

    Can be repeated; a port that was renamed inside the server is found by its MAC.
    """
    if not exists(server.netns):
        return
    if _is_tester(manifest, server):
        if Path("/sys/class/net", server.management_port).exists():
            ip_batch([f"link del {server.management_port}"], force=True)
        return
    names = {link["address"]: link["ifname"] for link in links(server.netns)}
    devices = {port: names.get(port.mac, port.device) for port in server.ports}
    if devices:
        wanted = [f"{device},{port.mac},{port.queues},{port.mtu}" for port, device in devices.items()]
        run(["ip", "netns", "exec", server.netns, sys.executable, "-P", "-m", "rbops.lab.reset", *wanted], check=False)
    moves = [f"link set {device} netns {manifest.panel} name {port.panel}" for port, device in devices.items()]
    ip_batch(moves, netns=server.netns, force=True)
    ip_batch([f"link del {server.management_port}", f"netns del {server.netns}"], force=True)


def _is_tester(manifest: Manifest, server: LabServer) -> bool:
    """Whether its namespace is a tester's, which is there also while no system runs in it."""
    return server in manifest.tester_systems


def links(netns: str) -> list[dict[str, Any]]:
    """The devices of a namespace as ``ip -json link`` shows them; empty when it is not there."""
    if not exists(netns):
        return []
    found: list[dict[str, Any]] = json.loads(run(["ip", "-json", "-n", netns, "link", "show"], check=False) or "[]")
    return found


def remove(manifest: Manifest) -> None:
    """Remove namespaces, cables and the bridge, as far as they exist. Can be repeated."""
    spaces = [*manifest.namespaces, manifest.panel]
    devices = [manifest.bridge, *(server.management_port for server in manifest.systems)]
    ip_batch(
        [f"netns del {netns}" for netns in spaces if exists(netns)]
        + [f"link del {device}" for device in devices if Path("/sys/class/net", device).exists()],
        force=True,
    )


def _sysctl(netns: str, settings: list[str]) -> None:
    run(["ip", "netns", "exec", netns, "sysctl", "-q", "-w", *settings])
