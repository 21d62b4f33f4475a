"""What of a lab is there now, read from the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rbops.lab import layout, net
from rbops.lab.access import INVENTORY
from rbops.lab.cgroup import Cgroup, lab_cgroup
from rbops.lab.manifest import LabServer, Manifest
from rbops.lab.model import CableStatus, LabStatus, ServerStatus, TesterStatus
from rbops.lab.ready import ssh_answers

__all__ = ["assemble", "init_of", "read_status"]


def read_status(manifest: Manifest) -> LabStatus:
    """The status of the lab of systemd-nspawn's that ``manifest`` describes."""
    servers = tuple(_server(server, lab_cgroup(manifest.name)) for server in manifest.systems)
    return assemble(manifest, servers, {server.name: net.links(server.netns) for server in manifest.servers})


def assemble(
    manifest: Manifest, servers: tuple[ServerStatus, ...], links: Mapping[str, list[dict[str, Any]]]
) -> LabStatus:
    """The status of a lab from that of its servers and their ``links``, as ``ip -json link`` shows them."""
    carriers = _carriers(manifest, links)
    testers = tuple(
        TesterStatus(
            tester.name, tester.port, tester.netns, tester.device, f"{tester.name}:{tester.device}" in carriers
        )
        for tester in manifest.testers
    )
    whole = all(server.running and server.ssh for server in servers) and all(tester.present for tester in testers)
    state: Literal["up", "degraded", "building"] = "up" if whole else "degraded"
    return LabStatus(
        name=manifest.name,
        provider=manifest.provider,
        state=state if manifest.state == "up" else "building",
        inventory=str(layout.folder(manifest.name) / INVENTORY),
        servers=servers,
        cables=_cables(manifest, carriers),
        testers=testers,
    )


def _server(server: LabServer, lab: Cgroup) -> ServerStatus:
    cgroup = layout.server_cgroup(lab, server)
    payload = cgroup.child("payload")
    running = payload.populated()
    shells = [pid for pid in cgroup.child("supervisor").pids() if _comm(pid) == "systemd-nspawn"]
    return ServerStatus(
        name=server.name,
        running=running,
        ssh=running and ssh_answers(server.address),
        pid=shells[0] if shells else None,
        init=init_of(payload),
        address=server.address,
        release=server.release,
    )


def init_of(payload: Cgroup) -> int | None:
    """The host's pid of a running server's init.

    Its cgroup has short-lived children too, whose numbers are smaller once the host's have gone round.
    """
    return next((pid for pid in payload.child("init.scope").pids() if _inner_pid(pid) == 1), None)


def _inner_pid(pid: int) -> int | None:
    """In its innermost namespace (``NSpid``, proc_pid_status(5)); None when it has ended."""
    try:
        text = Path("/proc", str(pid), "status").read_text(encoding="utf-8")
    except OSError:
        return None
    return next((int(line.split()[-1]) for line in text.splitlines() if line.startswith("NSpid:")), None)


def _comm(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "comm").read_text(encoding="utf-8").strip()
    except OSError:  # it has ended
        return ""


def _carriers(manifest: Manifest, links: Mapping[str, list[dict[str, Any]]]) -> dict[str, bool]:
    """``server:port`` or ``tester:device`` of every end that is plugged in -> whether it has a carrier."""
    found = {}
    for server in manifest.servers:
        own = {link["address"]: link for link in links[server.name]}
        for port in server.ports:
            if port.mac in own:
                found[f"{server.name}:{port.name}"] = "LOWER_UP" in own[port.mac]["flags"]
    for tester in manifest.testers:
        for link in net.links(tester.netns):
            if link["ifname"] == tester.device:
                found[f"{tester.name}:{tester.device}"] = "LOWER_UP" in link["flags"]
    return found


def _cables(manifest: Manifest, carriers: dict[str, bool]) -> tuple[CableStatus, ...]:
    found: dict[str, CableStatus] = {}
    for server in manifest.servers:
        for port in server.ports:
            end = f"{server.name}:{port.name}"
            if port.peer not in found:  # otherwise the cable was met at its other end
                found[end] = CableStatus(end, port.peer, _state(carriers.get(end), carriers.get(port.peer)))
    return tuple(found.values())


def _state(a: bool | None, b: bool | None) -> Literal["up", "down", "unplugged"]:  # noqa: FBT001 - two equal ends
    if a is None or b is None:
        return "unplugged"
    return "up" if a and b else "down"
