"""The provider ``nspawn``: Debian systems on this kernel, booted by systemd-nspawn on overlays of one image."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rbops.common.cpulist import online_cpus
from rbops.dataplane import registry
from rbops.dataplane.base import Controller
from rbops.errors import CheckFailed, Where
from rbops.lab import access, base, layout, net, status
from rbops.lab import manifest as manifests
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.command import require_tools, run
from rbops.lab.fit import check_fit, check_inotify, check_systems
from rbops.lab.lock import try_locked
from rbops.lab.manifest import LabServer, Manifest
from rbops.lab.merge import changes
from rbops.lab.model import Lab, LabStatus, Testers
from rbops.lab.progress import Progress, silent
from rbops.lab.ready import wait_ready
from rbops.lab.reconcile import Machines, reconcile
from rbops.lab.registry import complete, existing, refuse_existing, require_cables, require_root, reserve, take_down
from rbops.lab.releases import Releases
from rbops.lab.rights import require_rights
from rbops.plan import ClusterPlan

__all__ = ["NspawnProvider"]

_TOOLS = ("systemd-nspawn", "ssh", "ssh-keygen", "ip", "ethtool", "sysctl", "nsenter", "setpriv", "mount")
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_BOOT_S = 180.0
"""A bound: a server that goes off while it boots is named at once, a busy machine needs more than a minute."""
_POWER_OFF_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class NspawnProvider:
    """Makes labs with systemd-nspawn; see :class:`rbops.lab.model.Provider` for what each method does."""

    @property
    def kind(self) -> str:
        """What ``--provider`` calls it."""
        return "nspawn"

    def up(
        self,
        plan: ClusterPlan,
        name: str,
        progress: Progress = silent,
        releases: Releases | None = None,
        testers: Testers | None = None,
    ) -> Lab:
        """Build and boot the lab."""
        require_root()
        require_rights()
        directory = layout.folder(name)
        running = _running(directory)
        if running is None:
            refuse_existing(directory)
        check_fit(plan, online_cpus())
        boots = testers == "systems" or (testers is None and running is not None and bool(running.tester_systems))
        check_inotify(check_systems(plan, testers=boots), int(_INOTIFY.read_text(encoding="ascii")))
        require_tools(_TOOLS)
        plane = registry.controller(plan.forwarding.dataplane)
        folder = plane.lab_folder(plan)
        wanted = (releases or Releases()).of_plan(plan)
        # A server that is there keeps its system.
        wanted |= {server.name: server.release for server in running.servers} if running else {}
        wanted = {server.name: wanted[server.name] for server in plan.servers}
        own = (releases or Releases()).default if boots else None
        images = {
            release: str(base.ensure(progress, release))
            for release in sorted({*wanted.values(), *((own,) if own else ())})
        }
        systems = {server: manifests.System(release, images[release]) for server, release in wanted.items()}
        tester = manifests.System(own, images[own]) if own else None
        if running is not None:
            planned = manifests.from_plan(plan, name, running.subnet, systems, "nspawn", folder, tester)
            return Lab(_changed(running, planned, plane, progress), directory, self)
        with ExitStack() as held:
            manifest = reserve(
                name,
                lambda subnet: manifests.from_plan(plan, name, subnet, systems, "nspawn", folder, tester),
                held,
                progress,
            )
            manifest = complete(manifest, lambda: _build(manifest, plane, progress), progress)
        return Lab(manifest, directory, self)

    def down(self, name: str, progress: Progress = silent) -> bool:
        """Remove the lab whatever its state."""
        require_root()
        return take_down(name, progress)

    def status(self, name: str) -> LabStatus:
        """How the lab is."""
        require_root()
        return status.read_status(existing(name))

    def kill(self, name: str, server: str) -> None:
        """Switch a server off."""
        require_root()
        manifest = existing(name)
        with try_locked(layout.folder(name), f"lab {name}"):
            _power_off(manifest, manifest.system(server))

    def restart(self, name: str, server: str) -> None:
        """Power-cycle a server."""
        require_root()
        manifest = existing(name)
        entry = manifest.system(server)
        with try_locked(layout.folder(name), f"lab {name}"):
            require_cables(manifest)
            _power_off(manifest, entry)
            _boot(manifest, entry)
            _wait(manifest, [entry], _BOOT_S, strict=False)

    def reboot(self, name: str, server: str) -> None:
        """Have a server reboot itself."""
        require_root()
        manifest = existing(name)
        entry = manifest.system(server)
        with try_locked(layout.folder(name), f"lab {name}"):
            payload = layout.server_cgroup(lab_cgroup(name), entry).child("payload")
            before = payload.child("init.scope").pids()
            run(access.ssh_command(layout.folder(name), entry, ["systemctl", "reboot"]), check=False)
            deadline = time.monotonic() + _BOOT_S
            while set(payload.child("init.scope").pids()) & set(before):
                if time.monotonic() > deadline:
                    raise CheckFailed(
                        f"no shutdown within {_BOOT_S:.0f} s", code="lab.no-reboot", where=Where(server=server)
                    )
                time.sleep(_POLL_S)
            _wait(manifest, [entry], _BOOT_S, strict=False)

    def wait(self, name: str, server: str, timeout_s: float = _BOOT_S) -> None:
        """Return when a server answers over SSH and has booted."""
        require_root()
        manifest = existing(name)
        _wait(manifest, [manifest.system(server)], timeout_s, strict=False)

    def command(self, name: str, target: str, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """The argument list that logs in to ``target`` or runs ``command`` there."""
        require_root()
        return access.command(existing(name), layout.folder(name), target, command, tty=tty)


def _running(directory: Path) -> Manifest | None:
    """The lab that is there, complete, and made by this provider."""
    manifest = manifests.read(directory)
    return manifest if manifest is not None and (manifest.state, manifest.provider) == ("up", "nspawn") else None


def _changed(running: Manifest, planned: Manifest, plane: Controller, progress: Progress) -> Manifest:
    """The running lab, made what is planned now."""
    with try_locked(layout.folder(running.name), f"lab {running.name}"):
        require_cables(running)
        todo = changes(running, planned)
        if todo.empty:
            progress(f"lab {running.name} is as planned")
            directory = layout.folder(running.name)
            manifests.write(todo.target, directory)
            return todo.target
        machines = Machines(lambda manifest, servers: _boot_new(manifest, servers, plane, progress), _power_off)
        return reconcile(todo, machines, progress)


def _boot_new(manifest: Manifest, servers: Sequence[LabServer], plane: Controller, progress: Progress) -> None:
    """Servers that join a running lab."""
    directory = layout.folder(manifest.name)
    client = access.client_key(directory)
    for server in servers:
        key = _make_disk(manifest, server, client)
        access.add_known_host(directory, server.address, key)
    if manifest.folder is not None:
        roots = [layout.root_of(manifest.name, server) for server in servers]
        plane.prepare_lab(manifest.folder, directory, [root.with_name("upper") for root in roots], progress)
    for server in servers:
        _boot(manifest, server)
    _wait(manifest, servers, _BOOT_S, strict=True)


def _build(manifest: Manifest, plane: Controller, progress: Progress) -> None:
    directory = layout.folder(manifest.name)
    progress(f"cable {len(manifest.servers)} servers and {len(manifest.testers)} testers")
    net.build(manifest)
    progress("make keys and disks")
    client = access.make_client_key(directory, manifest.name)
    keys = {server.address: _make_disk(manifest, server, client) for server in manifest.systems}
    access.write_known_hosts(directory, keys)
    if manifest.folder is not None:
        roots = [layout.root_of(manifest.name, server) for server in manifest.servers]
        plane.prepare_lab(manifest.folder, directory, [root.with_name("upper") for root in roots], progress)
    and_testers = f" and {len(manifest.tester_systems)} testers" if manifest.tester_systems else ""
    progress(f"boot {len(manifest.servers)} servers{and_testers}")
    for server in manifest.systems:
        _boot(manifest, server)
    _wait(manifest, manifest.systems, _BOOT_S, strict=True)
    access.write_inventory(directory, manifest)


def _make_disk(manifest: Manifest, server: LabServer, client: str) -> str:
    """Make the server's writable layer with name, id and keys; returns its public host key."""
    root = layout.root_of(manifest.name, server)
    upper = root.with_name("upper")
    for folder in ("etc/ssh", "root/.ssh"):
        (upper / folder).mkdir(parents=True)
    root.with_name("work").mkdir()
    root.mkdir()
    # The modes are given apart: the caller's umask must not keep a server's users from its /etc.
    for folder, mode in ((".", 0o755), ("etc", 0o755), ("etc/ssh", 0o755), ("root", 0o700), ("root/.ssh", 0o700)):
        (upper / folder).chmod(mode)
    files = {"etc/hostname": server.name, "etc/machine-id": os.urandom(16).hex(), "root/.ssh/authorized_keys": client}
    for name, text in files.items():
        (upper / name).write_text(f"{text.strip()}\n", encoding="ascii")
        (upper / name).chmod(0o644)
    return access.make_host_key(upper / "etc/ssh/ssh_host_ed25519_key", server.name)


def _boot(manifest: Manifest, server: LabServer) -> None:
    _mount(manifest, server)
    cgroup = layout.server_cgroup(lab_cgroup(manifest.name), server)
    cgroup.create()
    with layout.console(manifest.name, server).open("ab") as log:
        cgroup.start([sys.executable, "-P", "-m", "rbops.lab.supervisor", manifest.name, server.name], log)


def _wait(manifest: Manifest, servers: Sequence[LabServer], timeout_s: float, *, strict: bool) -> None:
    group = lab_cgroup(manifest.name)
    wait_ready(
        manifest,
        servers,
        timeout_s,
        is_on=lambda server: layout.server_cgroup(group, server).populated(),
        strict=strict,
    )


def _mount(manifest: Manifest, server: LabServer) -> None:
    root = layout.root_of(manifest.name, server)
    if root.is_mount():
        return
    upper, work = root.with_name("upper"), root.with_name("work")
    # volatile: what a lab server syncs need not outlive the host, and Debian's package tools sync a lot.
    options = f"lowerdir={server.base},upperdir={upper},workdir={work},volatile"
    run(["mount", "-t", "overlay", "-o", options, f"rbops-{manifest.name}", str(root)])


def _power_off(manifest: Manifest, server: LabServer) -> None:
    cgroup = layout.server_cgroup(lab_cgroup(manifest.name), server)
    for part in ("supervisor", "payload"):
        cgroup.child(part).kill()
    # The supervisor sees its system end, unplugs it and leaves; one that was killed cannot.
    deadline = time.monotonic() + _POWER_OFF_S
    while cgroup.populated() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    cgroup.kill()
    if net.exists(server.netns):
        net.park(manifest, server)
