"""Running system tools: argument lists, captured output, errors with the command and its output."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from rbops.errors import CheckFailed, Mismatch
from rbops.lab.interrupts import uninterrupted

__all__ = ["ip_batch", "require_tools", "run"]

_TIMEOUT_S = 60

_PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "vagrant": "vagrant vagrant-libvirt",
    "mkfs.ext4": "e2fsprogs",
    "sfdisk": "fdisk",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "dnsmasq": "dnsmasq-base",
    "iptables": "iptables",
    "chroot": "coreutils",
}


def require_tools(tools: Iterable[str]) -> None:
    """Raise Mismatch naming the Debian packages to install when one of ``tools`` is not on PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES[tool] for tool in missing}))
        raise Mismatch(
            f"not installed on this machine: {', '.join(missing)}",
            code="lab.tools",
            hint=f"apt-get install --no-install-recommends {packages}",
        )


def run(args: Sequence[str], *, stdin: str | None = None, check: bool = True) -> str:
    """Run a tool that ends soon and return its stdout; an interrupt waits until it has ended.

    The tool is out of reach of the terminal's Ctrl-C, and dies when rbops is killed.
    Raises CheckFailed with the command and its stderr when it fails, unless ``check`` is false, or takes a minute.
    """
    command = ["setpriv", "--pdeathsig", "KILL", *args]
    try:
        with uninterrupted():
            result = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                process_group=0,
                timeout=_TIMEOUT_S,
            )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(
            f"`{shlex.join(args)}` did not end within {_TIMEOUT_S} s and was killed", code="lab.timeout"
        ) from error
    if check and result.returncode != 0:
        output = result.stderr.strip() or result.stdout.strip() or "no output"
        raise CheckFailed(
            f"`{shlex.join(args)}` failed with exit code {result.returncode}: {output}", code="lab.command"
        )
    return result.stdout


def ip_batch(lines: Sequence[str], *, netns: str | None = None, force: bool = False) -> None:
    """Run ``ip`` commands in one process, in ``netns`` or on the host.

    ``force`` goes on after a line that fails and ignores it: for taking things away.
    """
    if not lines:
        return
    args = ["ip", *(["-n", netns] if netns else []), *(["-force"] if force else []), "-batch", "-"]
    run(args, stdin="\n".join(lines) + "\n", check=not force)
