"""Where a lab's files and cgroups are."""

from __future__ import annotations

from pathlib import Path

from rbops.lab import names
from rbops.lab.cgroup import Cgroup
from rbops.lab.manifest import LabServer

__all__ = ["console", "folder", "root_of", "server_cgroup", "server_folder"]


def folder(lab: str) -> Path:
    """The lab's folder."""
    return names.STATE / names.check_lab_name(lab)


def server_folder(lab: str, server: LabServer) -> Path:
    """A server's part of it: ``upper``, ``work`` and ``root`` of the overlay, and the console's log."""
    return folder(lab) / "servers" / server.name


def root_of(lab: str, server: LabServer) -> Path:
    """The server's root file system while it is mounted."""
    return server_folder(lab, server) / "root"


def console(lab: str, server: LabServer) -> Path:
    """The log of the server's console, over all its boots."""
    return server_folder(lab, server) / "console.log"


def server_cgroup(lab: Cgroup, server: LabServer) -> Cgroup:
    """The cgroup of a server's supervisor; systemd-nspawn makes ``supervisor`` and ``payload`` below it."""
    return lab.child(f"s{server.index}")
