"""A running lab made what a changed plan says: what is missing is added, then what is surplus goes; the rest stays.

Until everything new is there an interruption takes it away again. From then on only what is surplus is removed, and the
next `lab up` goes on with that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rbops.lab import access, layout, net, removal
from rbops.lab import manifest as manifests
from rbops.lab.command import ip_batch
from rbops.lab.manifest import LabPort, LabServer, LabTester, Manifest
from rbops.lab.merge import Changes
from rbops.lab.progress import Progress

__all__ = ["Machines", "reconcile"]


@dataclass(frozen=True, slots=True)
class Machines:
    """What the provider does with whole servers: make disks and boot them until they answer, switch one off."""

    boot: Callable[[Manifest, tuple[LabServer, ...]], None]
    power_off: Callable[[Manifest, LabServer], None]


def reconcile(todo: Changes, machines: Machines, progress: Progress) -> Manifest:
    """Carry the changes out, under the lab's lock; the lab's new manifest."""
    directory = layout.folder(todo.old.name)
    manifests.write(todo.both, directory)
    whole = False
    try:
        _add(todo, machines, progress)
        whole = True
    finally:
        if not whole:
            progress("remove what was added")
            _take_away(todo, machines)
            manifests.write(todo.old, directory)
            _write_access(todo.old, directory)
    if todo.gone_servers or todo.gone_testers or todo.gone_ports:
        progress(f"remove {len(todo.gone_servers)} servers and {len(todo.gone_testers)} testers")
        _remove(todo, machines)
    manifests.write(todo.target, directory)
    _write_access(todo.target, directory)
    return todo.target


def _add(todo: Changes, machines: Machines, progress: Progress) -> None:
    progress(f"add {len(todo.new_servers)} servers, {len(todo.new_cables)} cables, {len(todo.new_testers)} testers")
    # The ends of cables that take others' places: their devices' names are to be free.
    replaced = {(server.name, port.name) for server, port in todo.gone_ports}
    for server in todo.target.servers:
        for port in server.ports:
            if (server.name, port.name) in replaced:
                _unplug(todo, server.name, port.name)
    for cable in todo.new_cables:
        ip_batch([net.cable_line(todo.target, cable.port, cable.other_port)])
        _plug(todo.target, cable.one, cable.port)
        _plug(todo.target, cable.other, cable.other_port)
    for tester in todo.new_testers:
        _add_tester(todo.target, tester)
    for tester in todo.readdressed:
        ip_batch([f"addr flush dev {tester.device}"], netns=tester.netns, force=True)
        net.configure_tester(tester)
    if todo.new_servers:
        progress(f"boot {', '.join(server.name for server in todo.new_servers)}")
        machines.boot(todo.target, todo.new_servers)


def _add_tester(target: Manifest, tester: LabTester) -> None:
    if net.exists(tester.netns):
        removal.remove_tester(tester)
    ip_batch([f"netns add {tester.netns}"])
    net.quiet(tester.netns)
    ip_batch([net.tester_line(target, tester)])
    server, port = next(
        (server, port) for server in target.servers for port in server.ports if port.panel == tester.panel
    )
    _plug(target, server, port)
    net.configure_tester(tester)


def _plug(manifest: Manifest, server: LabServer, port: LabPort) -> None:
    """Into a running server; the ports of one that is off lie on the panel."""
    if net.exists(server.netns):
        ip_batch([f"link set {port.panel} netns {server.netns} name {port.device}"], netns=manifest.panel)


def _unplug(todo: Changes, server_name: str, port_name: str) -> None:
    server = todo.old.server(server_name)
    port = next(port for port in server.ports if port.name == port_name)
    _delete(todo.old, server, port)


def _delete(manifest: Manifest, server: LabServer, port: LabPort) -> None:
    """A cable, by one of its ends, wherever that is; found by its MAC in a server, where it may have been renamed."""
    if net.exists(server.netns):
        found = {link["address"]: link["ifname"] for link in net.links(server.netns)}
        if port.mac in found:
            ip_batch([f"link del {found[port.mac]}"], netns=server.netns, force=True)
    ip_batch([f"link del {port.panel}"], netns=manifest.panel, force=True)


def _take_away(todo: Changes, machines: Machines) -> None:
    """What was added, as far as that went. Cables that were to be replaced are made anew."""
    for server in todo.new_servers:
        _remove_server(todo.both, server, machines)
    for cable in todo.new_cables:
        _delete(todo.both, cable.one, cable.port)
    for tester in todo.new_testers:
        removal.remove_tester(tester)
    ends = {f"{server.name}:{port.name}": (server, port) for server in todo.old.servers for port in server.ports}
    for server, port in todo.gone_ports:
        peer = ends.get(port.peer)
        if peer is not None and f"{server.name}:{port.name}" < port.peer and not _there(todo.old, server, port):
            ip_batch([net.cable_line(todo.old, port, peer[1])])
            _plug(todo.old, server, port)
            _plug(todo.old, *peer)
    for tester in todo.gone_testers:
        if not net.exists(tester.netns):
            _add_tester(todo.old, tester)


def _there(manifest: Manifest, server: LabServer, port: LabPort) -> bool:
    places = (server.netns, manifest.panel)
    return any(link["address"] == port.mac for netns in places for link in net.links(netns))


def _remove(todo: Changes, machines: Machines) -> None:
    replaced = {(server.name, port.name) for server in todo.target.servers for port in server.ports}
    for server in todo.gone_servers:
        _remove_server(todo.both, server, machines)
    for server, port in todo.gone_ports:
        if (server.name, port.name) not in replaced:
            _delete(todo.both, server, port)
    new = {tester.name for tester in todo.new_testers}
    for tester in todo.gone_testers:
        if tester.name not in new:
            removal.remove_tester(tester)


def _remove_server(manifest: Manifest, server: LabServer, machines: Machines) -> None:
    machines.power_off(manifest, server)
    for port in server.ports:
        _delete(manifest, server, port)
    removal.remove_server(dataclasses.replace(manifest, servers=(server,), testers=()), server)


def _write_access(manifest: Manifest, directory: Path) -> None:
    """Inventory and known hosts of the servers there are."""
    keys = {}
    for server in manifest.servers:
        public = layout.root_of(manifest.name, server).with_name("upper") / "etc/ssh/ssh_host_ed25519_key.pub"
        keys[server.address] = public.read_text(encoding="ascii")
    access.write_known_hosts(directory, keys)
    access.write_inventory(directory, manifest)
