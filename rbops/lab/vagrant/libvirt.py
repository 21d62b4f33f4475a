"""A libvirt of the lab's own: its daemon, bridges and machines are in the lab's namespace, cgroup and folder.

The host's libvirt, if there is one, is neither used nor seen, and the host's packet filter never meets the lab's
bridges. What keeps the daemon apart is a mount namespace: the paths that are compiled into it lead to the lab's folder.
It is started by hand, so that no systemd is needed, and ends with the lab's cgroup.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rbops.errors import CheckFailed
from rbops.lab.cgroup import Cgroup
from rbops.lab.command import run

__all__ = ["TOOLS", "Libvirt"]

TOOLS = ("libvirtd", "virsh", "qemu-system-x86_64", "dnsmasq", "iptables", "ip", "ethtool", "nsenter", "unshare")

_START_S = 30.0
_POLL_S = 0.05

# sysfs of the namespace: that is where libvirt finds the bridges it makes.
_START = """\
set -e
mount --make-rprivate /
mount -t sysfs sysfs /sys
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/lib" /var/lib/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$1/run" /run
exec libvirtd
"""

# Root, because the devices of KVM and TUN may be root's alone; no virtlogd, and no cgroups but the lab's.
_CONFIGURATION = {
    "etc/libvirtd.conf": 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_rw_perms = "0700"\n',
    "etc/qemu.conf": (
        'user = "root"\ngroup = "root"\ndynamic_ownership = 0\nremember_owner = 0\nnamespaces = [ ]\n'
        'cgroup_controllers = [ ]\nsecurity_driver = "none"\nstdio_handler = "file"\n'
    ),
}


@dataclass(frozen=True, slots=True)
class Libvirt:
    """The daemon of the lab in ``directory``, running or not; its devices are in namespace ``netns``."""

    directory: Path
    netns: str

    @property
    def uri(self) -> str:
        """What ``virsh -c`` and Vagrant connect to."""
        return f"qemu+unix:///system?socket={self._folder / 'run/libvirt/libvirt-sock'}"

    @property
    def _folder(self) -> Path:
        return self.directory / "libvirt"

    def start(self, cgroup: Cgroup) -> None:
        """Start it in ``cgroup``; returns when it answers.

        Raises CheckFailed with the last lines of its log when it does not.
        """
        for name in ("etc", "lib", "log", "run"):
            (self._folder / name).mkdir(parents=True)
        for name, text in _CONFIGURATION.items():
            (self._folder / name).write_text(text, encoding="ascii")
        cgroup.create()
        log = self._folder / "libvirtd.log"
        inside = ["nsenter", f"--net=/run/netns/{self.netns}", "unshare", "--mount"]
        with log.open("wb") as output:
            cgroup.start([*inside, "sh", "-c", _START, "sh", str(self._folder)], output)
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if time.monotonic() > deadline or not cgroup.populated():
                last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
                raise CheckFailed(f"libvirtd does not answer; the last lines of its log:\n{last}", code="lab.libvirt")
            time.sleep(_POLL_S)

    def answers(self) -> bool:
        """Whether it takes connections."""
        return "libvirt" in run(["virsh", "-q", "-c", self.uri, "version"], check=False)

    def virsh(self, *args: str, check: bool = True) -> str:
        """Output of ``virsh ARGS``. Raises CheckFailed when it fails."""
        return run(["virsh", "-q", "-c", self.uri, *args], check=check)

    def define(self, kind: str, xml: str) -> None:
        """``virsh KIND`` (``net-create``) with ``xml`` as its file."""
        run(["virsh", "-q", "-c", self.uri, kind, "/dev/stdin"], stdin=xml)

    def running(self) -> frozenset[str]:
        """The machines that are on; empty when the daemon is gone."""
        return frozenset(self.virsh("list", "--name", check=False).split())
