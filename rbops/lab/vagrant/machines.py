"""A lab's virtual machines once Vagrant has made them: power, cables' carrier, status."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from rbops.errors import CheckFailed, Where
from rbops.lab import access, layout, status
from rbops.lab.command import ip_batch, run
from rbops.lab.manifest import LabServer, Manifest
from rbops.lab.model import LabStatus, ServerStatus
from rbops.lab.ready import ssh_answers, wait_ready
from rbops.lab.vagrant.libvirt import Libvirt

__all__ = ["boot_s", "libvirt_of", "power_off", "power_on", "read_status", "reboot", "wait"]

_KVM_BOOT_S = 60.0
_EMULATED_BOOT_S = 600.0
_POLL_S = 0.2


def boot_s(manifest: Manifest) -> float:
    """How long a server may take to boot."""
    return _EMULATED_BOOT_S if manifest.emulated else _KVM_BOOT_S


def libvirt_of(manifest: Manifest) -> Libvirt:
    """The lab's libvirt."""
    return Libvirt(layout.folder(manifest.name), manifest.panel)


def wait(manifest: Manifest, servers: Sequence[LabServer], timeout_s: float, *, strict: bool) -> None:
    """Return when ``servers`` take a login and have booted; CheckFailed as ``wait_ready`` has it."""
    libvirt = libvirt_of(manifest)
    wait_ready(manifest, servers, timeout_s, is_on=lambda server: server.name in libvirt.running(), strict=strict)


def power_off(manifest: Manifest, server: LabServer) -> None:
    """Switch it off; the ports at the other ends of its cables lose the carrier, as with cables."""
    libvirt = libvirt_of(manifest)
    if server.name in libvirt.running():
        libvirt.virsh("destroy", server.name)
    _set_far_ends(manifest, server, up=False)


def power_on(manifest: Manifest, server: LabServer) -> None:
    """Switch it on again."""
    libvirt_of(manifest).virsh("start", server.name)
    _set_far_ends(manifest, server, up=True)


def _set_far_ends(manifest: Manifest, server: LabServer, *, up: bool) -> None:
    libvirt = libvirt_of(manifest)
    on = libvirt.running()
    ports = {f"{other.name}:{port.name}": (other, port) for other in manifest.servers for port in other.ports}
    state = "up" if up else "down"
    for port in server.ports:
        far = ports.get(port.peer)
        if far is None:
            tester = next(tester for tester in manifest.testers if tester.panel == port.panel)
            ip_batch([f"link set {tester.name} {state}"], netns=manifest.panel)
        elif far[0].name in on:
            libvirt.virsh("domif-setlink", far[0].name, far[1].mac, state)


def reboot(manifest: Manifest, server: LabServer) -> None:
    """Have it reboot itself; returns when its kernel is another one. CheckFailed when that takes too long."""
    before = _output(manifest, server, "cat", "/proc/sys/kernel/random/boot_id")
    if not before:
        raise CheckFailed(
            "no login over SSH, cannot reboot it", code="lab.reboot-login", where=Where(server=server.name)
        )
    _output(manifest, server, "systemctl", "reboot")
    deadline = time.monotonic() + boot_s(manifest)
    while _output(manifest, server, "cat", "/proc/sys/kernel/random/boot_id") in {"", before}:
        if time.monotonic() > deadline:
            raise CheckFailed(
                f"no reboot within {boot_s(manifest):.0f} s", code="lab.no-reboot", where=Where(server=server.name)
            )
        time.sleep(_POLL_S)


def read_status(manifest: Manifest) -> LabStatus:
    """The status of the lab."""
    on = libvirt_of(manifest).running()
    servers = tuple(_server(manifest, server, on) for server in manifest.servers)
    links = {server.name: _links(manifest, server) if server.name in on else [] for server in manifest.servers}
    return status.assemble(manifest, servers, links)


def _server(manifest: Manifest, server: LabServer, on: frozenset[str]) -> ServerStatus:
    running = server.name in on
    return ServerStatus(
        name=server.name,
        running=running,
        ssh=running and ssh_answers(server.address, timeout_s=2.0),
        pid=_pid(manifest, server) if running else None,
        init=None,
        address=server.address,
        release=server.release,
    )


def _pid(manifest: Manifest, server: LabServer) -> int | None:
    path = layout.folder(manifest.name) / f"libvirt/run/libvirt/qemu/{server.name}.pid"
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # it has just ended
        return None


def _links(manifest: Manifest, server: LabServer) -> list[dict[str, Any]]:
    output = _output(manifest, server, "ip", "-json", "link", "show")
    found: list[dict[str, Any]] = json.loads(output) if output else []
    return found


def _output(manifest: Manifest, server: LabServer, *command: str) -> str:
    """Output of a command on a server; empty when the server is not reachable."""
    args = access.ssh_command(layout.folder(manifest.name), server, command)
    try:
        return run(args, check=False).strip()
    except CheckFailed:  # it took a minute: the connection hangs
        return ""
