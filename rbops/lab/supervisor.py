"""The supervisor of one lab server: runs its systemd-nspawn, boot after boot, until it is switched off.

``python -m rbops.lab.supervisor LAB SERVER``, started by the provider in the server's cgroup, with its console
log as output. A boot gets a fresh network namespace and the server's ports; whatever ends it, the ports go back
to the patch panel, so that neighbours see the carrier go. A server that reboots itself is booted again; one
that powers off, fails or is killed stays off.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rbops.lab import net
from rbops.lab.cgroup import lab_cgroup
from rbops.lab.layout import root_of, server_cgroup
from rbops.lab.manifest import LabServer
from rbops.lab.registry import existing

__all__ = ["main", "nspawn_command"]

REBOOT = 133
"""What systemd-nspawn --keep-unit exits with when its system reboots (EXIT_FORCE_RESTART)."""

_NSPAWN_ENVIRONMENT = {
    # /sys and /proc/sys/net can be written, the rest of /proc/sys is the host's and cannot.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
    # Hosts with cgroup v1 would hand that on, and the system inside wants v2.
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
}


def nspawn_command(server: LabServer, root: Path, folder: str | None = None) -> list[str]:
    """The command that boots ``server`` from ``root`` inside its network namespace.

    ``folder`` is one of this machine that the server sees at the same place, read-only.

    systemd-nspawn is started inside the namespace instead of naming it with an option: otherwise the server's
    sysfs shows the host's devices.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{server.netns}"),
        *("systemd-nspawn", f"--directory={root}", f"--machine={server.machine}", f"--hostname={server.name}"),
        *("--boot", "--register=no", "--keep-unit", "--link-journal=no", "--timezone=off", "--resolv-conf=off"),
        *("--capability=all", "--system-call-filter=bpf perf_event_open"),
        *([f"--bind-ro={folder}"] if folder else []),
    ]


def main(args: list[str]) -> int:
    """Run the server named by ``args`` (lab, server) until it stays off."""
    lab, name = args
    code = REBOOT
    while code == REBOOT:
        code = _boot(lab, name)
    return code


def _boot(lab: str, name: str) -> int:
    # Read anew each time: a changed spec may have given the lab other cables meanwhile.
    manifest = existing(lab)
    server = manifest.system(name)
    cgroup = server_cgroup(lab_cgroup(lab), server)
    net.park(manifest, server)
    net.plug(manifest, server)
    try:
        command = nspawn_command(server, root_of(manifest.name, server), manifest.folder)
        environment = {**os.environ, **_NSPAWN_ENVIRONMENT}
        return subprocess.run(command, stdin=subprocess.DEVNULL, env=environment, check=False).returncode
    finally:
        # The system outlives a systemd-nspawn that was killed.
        cgroup.child("payload").kill()
        manifest = existing(lab)
        net.park(manifest, manifest.system(name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
