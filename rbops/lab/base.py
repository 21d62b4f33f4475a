"""The Debian system that all lab servers share: built once by mmdebstrap, then the lower layer of every overlay.

There is one for each Debian release, ``/var/cache/rbops/base-<release>-<digest of the recipe>``. A build happens under
a lock in a folder of another name that is renamed when it is whole, inside mount and pid namespaces of its own: a
build that is killed leaves neither mounts nor processes, and the next one removes its folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rbops.lab.bootstrap import CACHE, OPTIONS, RELEASE_FILES, TOOLS, bootstrap, built
from rbops.lab.command import require_tools
from rbops.lab.progress import Progress

__all__ = ["ensure", "recipe_digest"]

RECIPE = 2
"""Counts up when :func:`_prepare` does something new; all else that makes the image is data."""

PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,kmod,openssh-server,python3,python3-apt,python3-ethtool,iproute2,ethtool,"
    "bpftool,libbpf1,procps,iputils-ping,tcpdump,sudo,nftables,bird2,frr,"
    "charon-systemd,libstrongswan-standard-plugins"
)

# A lab server has no devices of its own, no terminal and no mirror for updates: none of these has work there.
_MASKED = (
    "bird.service frr.service strongswan.service "
    "apt-daily-upgrade.timer apt-daily.timer console-getty.service dpkg-db-backup.timer e2scrub_all.timer "
    "e2scrub_reap.service fstrim.timer getty.target kmod-static-nodes.service modprobe@.service "
    "proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount "
    "sys-kernel-debug.mount sys-kernel-tracing.mount systemd-journald-audit.socket "
    "systemd-machine-id-commit.service systemd-modules-load.service systemd-network-generator.service "
    "systemd-pstore.service systemd-random-seed.service systemd-resolved.service "
    "systemd-tmpfiles-clean.timer systemd-udev-trigger.service systemd-udevd-control.socket "
    "systemd-udevd-kernel.socket systemd-udevd.service systemd-update-utmp-runlevel.service "
    "systemd-update-utmp.service"
)

# systemd-nspawn leaves /proc/sys/net writable and nothing else of the host's kernel. Of sysfs a server needs all of
# its own network namespace, writable, and a bpffs that lasts as long as the boot.
_SYSFS_UNIT = """\
[Unit]
Description=Writable sysfs of this server's network namespace, with bpffs
DefaultDependencies=no
Before=sysinit.target systemd-sysctl.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/rbops-lab/sysfs

[Install]
WantedBy=sysinit.target
"""

_SYSFS_SCRIPT = """\
#!/bin/sh
# Private before it is bound: otherwise taking the first mount away takes what lies on the second one too.
set -e
new=/run/rbops-lab-sysfs
mkdir $new
mount -t sysfs -o nosuid,nodev,noexec sysfs $new
mount -o remount,rw,nosuid,nodev,noexec $new
mount --bind /sys/fs/cgroup $new/fs/cgroup
mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf $new/fs/bpf
mount --make-rprivate $new
mount --rbind $new /sys
umount -R $new
rmdir $new
"""

_FILES = {
    "etc/systemd/system/rbops-lab-sysfs.service": _SYSFS_UNIT,
    "usr/lib/rbops-lab/sysfs": _SYSFS_SCRIPT,
    "etc/systemd/journald.conf.d/rbops-lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\nAudit=no\n",
    # The post-quantum key exchange takes 0.1 s of a login, for traffic that never leaves the host.
    "etc/ssh/sshd_config.d/rbops-lab.conf": (
        "KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nMaxStartups 100\nMaxSessions 100\n"
        "UseDNS no\nPrintMotd no\n"
    ),
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/fstab": "",
    "etc/motd": "",
}


def recipe_digest(release: str) -> str:
    """What the image is made from, as 12 hex digits."""
    recipe = json.dumps(
        [RECIPE, release, PACKAGES, OPTIONS, _MASKED, {**_FILES, **RELEASE_FILES[release]}], sort_keys=True
    )
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def ensure(progress: Progress, release: str, *, cache: Path = CACHE) -> Path:
    """The folder of the image of ``release``; built first when it is not there (about 30 s, needs a Debian mirror).

    Raises Mismatch when mmdebstrap is missing, CheckFailed with the last lines of its log when it fails.
    """
    image = cache / f"base-{release}-{recipe_digest(release)}"
    if image.is_dir():
        return image
    require_tools(TOOLS)
    with built(image) as partial:
        if partial is not None:
            progress(f"build the base image: Debian {release} by mmdebstrap")
            bootstrap(partial, release, PACKAGES, image.with_name(f"{image.name}.log"))
            _prepare(partial, release)
    return image


def _prepare(root: Path, release: str) -> None:
    units = root / "etc/systemd/system"
    for unit in _MASKED.split():
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    # logind starts when `systemctl reboot` or `shutdown` asks for it, not at every boot.
    (root / "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service").unlink(missing_ok=True)
    # These would set the host's kernel.* and fs.*; servers may only set what is their own.
    for folder in ("usr/lib/sysctl.d", "etc/sysctl.d"):
        for path in (root / folder).glob("*.conf"):
            path.unlink()
    for pattern in ("etc/ssh/ssh_host_*", "etc/update-motd.d/*"):
        for path in root.glob(pattern):
            path.unlink()
    for name, text in {**_FILES, **RELEASE_FILES[release]}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "usr/lib/rbops-lab/sysfs").chmod(0o755)
    wants = units / "sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "rbops-lab-sysfs.service").symlink_to("../rbops-lab-sysfs.service")
