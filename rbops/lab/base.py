"""The Debian system that all lab servers share: built once by mmdebstrap, then the lower layer of every overlay.

It lies in ``/var/cache/rbops/base-<digest of the recipe>``. A build happens under a lock in a folder of
another name that is renamed when it is whole, inside mount and pid namespaces of its own: a build that
is killed leaves neither mounts nor processes, and the next one removes its folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from pathlib import Path

from rbops.errors import CheckFailed
from rbops.lab.command import require_tools
from rbops.lab.interrupts import uninterrupted
from rbops.lab.lock import locked
from rbops.lab.progress import Progress

__all__ = ["CACHE", "ensure", "recipe_digest"]

CACHE = Path("/var/cache/rbops")

_DISCARD_S = 5.0
_POLL_S = 0.05

RECIPE = 2
"""Counts up when :func:`_prepare` does something new; all else that makes the image is data."""

SUITE = "bookworm"

PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,kmod,openssh-server,python3,python3-apt,python3-ethtool,iproute2,ethtool,"
    "bpftool,libbpf1,procps,iputils-ping,tcpdump"
)

_OPTIONS = (
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--aptopt=Acquire::Languages "none"',
)

# A lab server has no devices of its own, no terminal and no way out to fetch updates: none of these has work there.
_MASKED = (
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


def recipe_digest() -> str:
    """What the image is made from, as 12 hex digits."""
    recipe = json.dumps([RECIPE, SUITE, PACKAGES, _OPTIONS, _MASKED, _FILES], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def ensure(progress: Progress, *, cache: Path = CACHE) -> Path:
    """The image's folder; built first when it is not there (about 30 s, needs a Debian mirror).

    Raises Mismatch when mmdebstrap is missing, CheckFailed with its last words when it fails.
    """
    image = cache / f"base-{recipe_digest()}"
    if image.is_dir():
        return image
    require_tools(["mmdebstrap", "unshare", "setpriv"])
    with locked(cache):
        if image.is_dir():  # another rbops has built it while this one waited
            return image
        partial = cache / f"{image.name}.partial"
        _discard(partial)
        progress(f"build the base image: Debian {SUITE} by mmdebstrap")
        try:
            _build(partial, cache / f"{image.name}.log")
            _prepare(partial)
            partial.rename(image)
        finally:
            _discard(partial)
    return image


def _discard(partial: Path) -> None:
    # Mounts made by a build are in its own mount namespace: nothing of the host is below the folder.
    deadline = time.monotonic() + _DISCARD_S
    while partial.exists():
        try:
            shutil.rmtree(partial)
        except OSError:  # the last processes of a build that was killed are still writing
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def _build(root: Path, log: Path) -> None:
    command = [
        # The build ends with rbops however rbops ends, and everything in its pid namespace with it.
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", *_OPTIONS, SUITE, str(root)),
    ]
    with log.open("w", encoding="utf-8") as output:
        process = None
        try:
            with uninterrupted():
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
            code = process.wait()
        finally:
            if process is not None:
                process.kill()
                process.wait()
    if code != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise CheckFailed(
            f"mmdebstrap failed with {code}, its last words:\n{last}",
            hint=f"it needs a way to a Debian mirror (http_proxy is respected); the whole log is {log}",
        )
    log.unlink()


def _prepare(root: Path) -> None:
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
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "usr/lib/rbops-lab/sysfs").chmod(0o755)
    wants = units / "sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "rbops-lab-sysfs.service").symlink_to("../rbops-lab-sysfs.service")
