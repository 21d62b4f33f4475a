"""The provider ``vagrant``: virtual machines that Vagrant makes with a libvirt of the lab's own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rbops.errors import CheckFailed, UsageError
from rbops.lab import access, layout
from rbops.lab import manifest as manifests
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.command import require_tools
from rbops.lab.lock import try_locked
from rbops.lab.manifest import Manifest
from rbops.lab.model import Lab, LabStatus, Testers
from rbops.lab.progress import Progress, silent
from rbops.lab.registry import complete, existing, refuse_existing, require_cables, require_root, reserve, take_down
from rbops.lab.releases import Releases
from rbops.lab.rights import require_rights
from rbops.lab.vagrant import box, cables, fit, guest, kvm, libvirt, machines
from rbops.plan import ClusterPlan
from rbops.render.vagrantfile import VagrantServer, vagrantfile

__all__ = ["Kvm", "VagrantProvider"]

Kvm = Literal["auto", "off"]
"""``auto``: KVM where it works; ``off``: emulation."""

MEMORY_MB = 768
"""Of each machine; QEMU itself takes about as much again when it emulates."""

_TOOLS = ("vagrant", "ssh", "ssh-keygen", "sysctl", "setpriv", *libvirt.TOOLS)
_POLL_S = 0.1
_LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class VagrantProvider:
    """Makes labs of virtual machines; see :class:`rbops.lab.model.Provider` for what each method does."""

    kvm: Kvm = "auto"

    @property
    def kind(self) -> str:
        """What ``--provider`` calls it."""
        return "vagrant"

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
        if testers == "systems":
            raise UsageError(
                "the testers of virtual machines are namespaces",
                code="lab.vagrant-testers",
                hint="leave out `--testers systems`, or use `--provider nspawn`",
            )
        directory = layout.folder(name)
        refuse_existing(directory)
        fit.check_fit(plan, MEMORY_MB)
        require_tools(_TOOLS)
        slow = self._why_emulated(progress)
        wanted = (releases or Releases()).of_plan(plan)
        boxes = {release: str(box.ensure(progress, release)) for release in sorted(set(wanted.values()))}
        systems = {server: manifests.System(release, boxes[release]) for server, release in wanted.items()}
        with ExitStack() as held:
            manifest = reserve(
                name, lambda subnet: _manifest(plan, name, subnet, systems, emulated=slow is not None), held, progress
            )
            manifest = complete(manifest, lambda: _build(manifest, progress, slow), progress)
        return Lab(manifest, directory, self)

    def _why_emulated(self, progress: Progress) -> str | None:
        if self.kvm == "off":
            return "KVM is disabled"
        progress("check for KVM")
        return kvm.why_not()

    def down(self, name: str, progress: Progress = silent) -> bool:
        """Remove the lab whatever its state."""
        require_root()
        return take_down(name, progress)

    def status(self, name: str) -> LabStatus:
        """How the lab is."""
        require_root()
        return machines.read_status(existing(name))

    def kill(self, name: str, server: str) -> None:
        """Switch a server off."""
        require_root()
        manifest = existing(name)
        with try_locked(layout.folder(name), f"lab {name}"):
            machines.power_off(manifest, manifest.server(server))

    def restart(self, name: str, server: str) -> None:
        """Power-cycle a server."""
        require_root()
        manifest = existing(name)
        entry = manifest.server(server)
        with try_locked(layout.folder(name), f"lab {name}"):
            require_cables(manifest)
            machines.power_off(manifest, entry)
            machines.power_on(manifest, entry)
            machines.wait(manifest, [entry], machines.boot_s(manifest), strict=False)

    def reboot(self, name: str, server: str) -> None:
        """Have a server reboot itself."""
        require_root()
        manifest = existing(name)
        entry = manifest.server(server)
        with try_locked(layout.folder(name), f"lab {name}"):
            machines.reboot(manifest, entry)
            machines.wait(manifest, [entry], machines.boot_s(manifest), strict=False)

    def wait(self, name: str, server: str, timeout_s: float = 60.0) -> None:
        """Return when a server answers over SSH and has booted."""
        require_root()
        manifest = existing(name)
        machines.wait(manifest, [manifest.server(server)], timeout_s, strict=False)

    def command(self, name: str, target: str, command: Sequence[str] = (), *, tty: bool = False) -> list[str]:
        """The argument list that logs in to ``target`` or runs ``command`` there."""
        require_root()
        return access.command(existing(name), layout.folder(name), target, command, tty=tty)


def _manifest(
    plan: ClusterPlan, name: str, subnet: int, systems: Mapping[str, manifests.System], *, emulated: bool
) -> Manifest:
    manifest = manifests.from_plan(plan, name, subnet, systems, "vagrant")
    cpus = {server.name: fit.cpus(server) for server in plan.servers}
    servers = tuple(dataclasses.replace(server, cpus=cpus[server.name]) for server in manifest.servers)
    return dataclasses.replace(manifest, servers=servers, emulated=emulated)


def _build(manifest: Manifest, progress: Progress, slow: str | None) -> None:
    directory = layout.folder(manifest.name)
    progress("start the lab's own libvirt")
    cables.prepare(manifest)
    virtual = machines.libvirt_of(manifest)
    virtual.start(lab_cgroup(manifest.name).child("libvirt"))
    cables.make_management_network(manifest, virtual)
    progress("make keys and the Vagrantfile")
    client = access.make_client_key(directory, manifest.name)
    keys = {server.address: _prepare(manifest, server.name, client) for server in manifest.servers}
    access.write_known_hosts(directory, keys)
    (directory / "Vagrantfile").write_bytes(_vagrantfile(manifest))
    count = len(manifest.servers)
    progress(f"vagrant up: boot {count} servers{f', {fit.emulation_takes(count)} ({slow})' if slow else ''}")
    _vagrant_up(manifest, virtual)
    cables.connect(manifest, virtual)
    machines.wait(manifest, manifest.servers, machines.boot_s(manifest), strict=True)
    access.write_inventory(directory, manifest)


def _prepare(manifest: Manifest, name: str, client: str) -> str:
    """Make a server's folder with its host key and the script of its first boot; returns the public key."""
    server = manifest.server(name)
    folder = layout.server_folder(manifest.name, server)
    folder.mkdir(parents=True)
    key = folder / "ssh_host_ed25519_key"
    public = access.make_host_key(key, name)
    script = folder / "provision.sh"
    script.write_text(guest.provision_script(server, client, key.read_text(encoding="ascii"), public), encoding="utf-8")
    script.chmod(0o600)
    return public


def _vagrantfile(manifest: Manifest) -> bytes:
    servers = [
        VagrantServer(
            name=server.name,
            release=server.release,
            box=box.box_name(server.release),
            cpus=server.cpus or 1,
            memory_mb=MEMORY_MB,
            mac=server.management_mac,
            console=f"servers/{server.name}/console.log",
            provision=f"servers/{server.name}/provision.sh",
            ports=cables.vagrant_ports(server),
        )
        for server in manifest.servers
    ]
    return vagrantfile(
        manifest.name,
        manifest.plan_digest,
        servers,
        management=f"{manifest.gateway.rpartition('.')[0]}.0/24",
        emulated=manifest.emulated,
        boot_timeout_s=int(machines.boot_s(manifest)),
    )


def _vagrant_up(manifest: Manifest, virtual: libvirt.Libvirt) -> None:
    directory = layout.folder(manifest.name)
    home = directory / "vagrant.d"
    home.mkdir()
    (home / "boxes").mkdir()
    for base in {server.base for server in manifest.servers}:
        for path in (Path(base) / "home/boxes").iterdir():
            (home / "boxes" / path.name).symlink_to(path)
    environment = [
        *(f"VAGRANT_HOME={home}", f"VAGRANT_CWD={directory}", f"LIBVIRT_DEFAULT_URI={virtual.uri}"),
        *("VAGRANT_DEFAULT_PROVIDER=libvirt", "VAGRANT_CHECKPOINT_DISABLE=1", "VAGRANT_NO_COLOR=1"),
    ]
    code, log = directory / "vagrant.code", directory / "vagrant.log"
    run_to_code = 'file=$1; shift; "$@"; echo $? >"$file.new"; mv "$file.new" "$file"'
    cgroup = lab_cgroup(manifest.name).child("vagrant")
    cgroup.create()
    with log.open("wb") as output:
        cgroup.start(["sh", "-c", run_to_code, "sh", str(code), "env", *environment, "vagrant", "up"], output)
    while not code.exists():
        if not cgroup.populated() and not code.exists():
            raise CheckFailed(f"vagrant up was killed{_last_lines(log)}", code="lab.vagrant")
        time.sleep(_POLL_S)
    if code.read_text(encoding="ascii").strip() != "0":
        raise CheckFailed(f"vagrant up failed{_last_lines(log)}", code="lab.vagrant")


def _last_lines(log: Path) -> str:
    """The last lines of the log, without Ruby's traces."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if ":in `" not in line]
    return ":\n" + "\n".join(lines[-_LAST_LINES:])
