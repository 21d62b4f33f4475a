"""The Vagrant box that all servers start from: Debian with its own kernel, built from Debian packages.

There is one for each release, ``/var/cache/rbops/box-<release>-<digest of the recipe>``: ``rbops-<release>.box`` for
anybody's Vagrant, and ``home``, the same box as ``vagrant box add`` unpacks it. What rbops's roles install is in it,
since servers have no access to a mirror.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

from rbops.lab.bootstrap import CACHE, OPTIONS, RELEASE_FILES, TOOLS, bootstrap, built, in_own_namespaces
from rbops.lab.command import require_tools, run
from rbops.lab.progress import Progress
from rbops.lab.vagrant import disk

__all__ = ["box_folder", "box_name", "ensure", "recipe_digest"]

RECIPE = 1
"""Counts up when the code does something new; all else that makes the box is data."""

SIZE_GB = 4

PACKAGES = (
    "linux-image-amd64,grub-pc-bin,grub2-common,systemd,systemd-sysv,dbus,udev,kmod,openssh-server,sudo,python3,"
    "python3-apt,python3-ethtool,iproute2,ethtool,bpftool,libbpf1,procps,pciutils,iputils-ping,tcpdump,nftables"
)

# Drivers that no server of packets has: the box is smaller and quicker to build without them.
_ABSENT_DRIVERS = ("sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/net/wireless", "drivers/iio")

# The disk's driver and the file system is all that the initramfs is there for.
_BOOT_MODULES = "virtio_pci\\nvirtio_blk\\nahci\\nsd_mod\\next4\\n"
_INITRAMFS = (
    'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d" && '
    'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/rbops" && '
    f'printf "{_BOOT_MODULES}" >"$1/usr/share/initramfs-tools/modules.d/rbops"'
)

_BOOTSTRAP = (
    *(f"--dpkgopt=path-exclude=/lib/modules/*/kernel/{name}/*" for name in _ABSENT_DRIVERS),
    f"--essential-hook={_INITRAMFS}",
)

# No terminal, no mirror for updates, nothing to trim.
_MASKED = (
    "apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service "
    "fstrim.timer getty.target systemd-resolved.service"
)

_KERNEL_COMMAND_LINE = "console=ttyS0"

# Ours is the first of two that may match; the last octets of a lab's MACs do not matter here. The slots
# are those of the Vagrantfile's management NIC: libvirt's, and VirtualBox's first.
_MANAGEMENT_LINK = "[Match]\nPath=pci-0000:00:05.0 pci-0000:00:03.0\n\n[Link]\nName=mgmt0\nMACAddressPolicy=none\n"
_MANAGEMENT_NETWORK = (
    "[Match]\nName=mgmt0\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\n"
    "[DHCPv4]\nClientIdentifier=mac\nUseDNS=no\n"
)

# Vagrant's Ruby knows neither curve25519 nor ed25519. Other kinds of keys take long on an emulated machine.
_VAGRANT_KEX = "ecdh-sha2-nistp256"
_HOST_KEYS = """\
#!/bin/sh
for kind in ed25519 ecdsa; do
    file=/etc/ssh/ssh_host_${kind}_key
    [ -e $file ] || ssh-keygen -q -t $kind -N '' -f $file
done
"""

_FILES = {
    "etc/systemd/network/10-mgmt0.link": _MANAGEMENT_LINK,
    "etc/systemd/network/10-mgmt0.network": _MANAGEMENT_NETWORK,
    "etc/systemd/journald.conf.d/rbops-lab.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\nAudit=no\n",
    "etc/systemd/system/ssh.service.d/rbops-lab.conf": (
        "[Service]\nExecStartPre=\nExecStartPre=/usr/lib/rbops-lab/host-keys\nExecStartPre=/usr/sbin/sshd -t\n"
    ),
    "etc/ssh/sshd_config.d/rbops-lab.conf": (
        f"KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,{_VAGRANT_KEX}\n"
        "HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n"
        "PasswordAuthentication no\nMaxStartups 100\nMaxSessions 100\nUseDNS no\nPrintMotd no\n"
    ),
    "usr/lib/rbops-lab/host-keys": _HOST_KEYS,
    "etc/default/grub": (
        'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_DISTRIBUTOR=Debian\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
        f'GRUB_CMDLINE_LINUX="{_KERNEL_COMMAND_LINE}"\nGRUB_TERMINAL=serial\n'
        'GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\nGRUB_DISABLE_RECOVERY=true\n'
        "GRUB_DISABLE_OS_PROBER=true\n"
    ),
    "etc/fstab": f"UUID={disk.FILE_SYSTEM} / ext4 errors=remount-ro 0 1\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/hostname": "rbops\n",
    "etc/machine-id": "",
    "etc/motd": "",
    "etc/sudoers.d/vagrant": "vagrant ALL=(ALL) NOPASSWD: ALL\n",
}

_GRUB = """\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
linux /boot/{kernel} root=UUID={uuid} ro {line} quiet
initrd /boot/{initramfs}
boot
"""

# Vagrant's well-known key: it opens every box to Vagrant, and rbops replaces what it opens when a lab comes up.
_KEY = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct"
    "1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUec"
    "p4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hruc"
    "XzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key\n"
)


def box_name(release: str) -> str:
    """The box's name in a Vagrantfile."""
    return f"rbops-{release}"


def recipe_digest(release: str) -> str:
    """What the box is made from, as 12 hex digits."""
    files = [_MASKED, {**_FILES, **RELEASE_FILES[release]}, _GRUB, _KERNEL_COMMAND_LINE, _KEY]
    recipe = json.dumps([RECIPE, SIZE_GB, release, PACKAGES, OPTIONS, _BOOTSTRAP, files], sort_keys=True)
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


def box_folder(release: str, cache: Path = CACHE) -> Path:
    """Where the box is, or will be."""
    return cache / f"box-{release}-{recipe_digest(release)}"


def ensure(progress: Progress, release: str, *, force: bool = False, cache: Path = CACHE) -> Path:
    """The box's folder; built first when it is not there or ``force`` is given (needs a Debian mirror).

    Raises Mismatch when a tool is missing, CheckFailed with the last lines of its log when one fails.
    """
    folder = box_folder(release, cache)
    if folder.is_dir() and not force:
        return folder
    require_tools([*TOOLS, *disk.TOOLS, "vagrant"])
    if force and folder.is_dir():
        shutil.rmtree(folder)
    with built(folder) as partial:
        if partial is not None:
            partial.mkdir(mode=0o755)
            _build(partial, release, progress)
    return folder


def _build(folder: Path, release: str, progress: Progress) -> None:
    root, image = folder / "root", folder / "box.img"
    progress(f"build the box: Debian {release} with its kernel by mmdebstrap")
    bootstrap(root, release, PACKAGES, folder.with_suffix(".log"), _BOOTSTRAP)
    progress("make its disk")
    _prepare(root, release)
    disk.make_image(root, image, size_bytes=SIZE_GB * 1024**3)
    shutil.rmtree(root)
    metadata = folder / "metadata.json"
    metadata.write_text(json.dumps({"provider": "libvirt", "format": "qcow2", "virtual_size": SIZE_GB}) + "\n")
    name = box_name(release)
    with tarfile.open(folder / f"{name}.box", "w") as box:
        for path in (metadata, image):
            box.add(path, path.name)
            path.unlink()
    progress("add it to Vagrant")
    log = folder.with_suffix(".log")
    environment = [f"VAGRANT_HOME={folder / 'home'}", "VAGRANT_CHECKPOINT_DISABLE=1"]
    add = ["vagrant", "box", "add", "--name", name, str(folder / f"{name}.box")]
    in_own_namespaces(["env", *environment, *add], log, hint=f"log: {log}")
    log.unlink()


def _prepare(root: Path, release: str) -> None:
    units = root / "etc/systemd/system"
    for unit in _MASKED.split():
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for pattern in ("etc/ssh/ssh_host_*", "etc/update-motd.d/*"):
        for path in root.glob(pattern):
            path.unlink()
    for name, text in {**_FILES, **RELEASE_FILES[release]}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "etc/sudoers.d/vagrant").chmod(0o440)
    (root / "usr/lib/rbops-lab/host-keys").chmod(0o755)
    run(["chroot", str(root), "systemctl", "enable", "--quiet", "systemd-networkd.service"])
    run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "vagrant"])
    _authorize(root / "home/vagrant")
    kernel = max(path.name for path in (root / "boot").glob("vmlinuz-*"))
    names = {"kernel": kernel, "initramfs": kernel.replace("vmlinuz", "initrd.img")}
    (root / "boot/grub").mkdir(exist_ok=True)
    text = _GRUB.format(**names, uuid=disk.FILE_SYSTEM, line=_KERNEL_COMMAND_LINE)
    (root / "boot/grub/grub.cfg").write_text(text, encoding="ascii")


def _authorize(home: Path) -> None:
    owner = home.stat()
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "authorized_keys").write_text(_KEY, encoding="ascii")
    (folder / "authorized_keys").chmod(0o600)
    for path in (folder, folder / "authorized_keys"):
        os.chown(path, owner.st_uid, owner.st_gid)
