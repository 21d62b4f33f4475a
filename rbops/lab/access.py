"""How people and tools get into a lab's servers: keys, known hosts, SSH options, the inventory.

The lab makes every server's host key itself, so ``known_hosts`` is complete before the first login and
host key checking is never off.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rbops.lab.command import run
from rbops.lab.manifest import LabServer, Manifest

__all__ = [
    "INVENTORY",
    "add_known_host",
    "client_key",
    "command",
    "make_client_key",
    "make_host_key",
    "ssh_command",
    "write_inventory",
    "write_known_hosts",
]

INVENTORY = "inventory.yml"
_CLIENT_KEY = "id_ed25519"
_KNOWN_HOSTS = "known_hosts"


def make_client_key(directory: Path, lab: str) -> str:
    """Make the lab's client key in its folder; returns the public half."""
    return _make_key(directory / _CLIENT_KEY, f"rbops lab {lab}")


def make_host_key(path: Path, server: str) -> str:
    """Make a server's host key at ``path``; returns the public half."""
    return _make_key(path, server)


def _make_key(path: Path, comment: str) -> str:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    return path.with_name(path.name + ".pub").read_text(encoding="ascii")


def client_key(directory: Path) -> str:
    """The public half of the lab's client key."""
    return (directory / f"{_CLIENT_KEY}.pub").read_text(encoding="ascii")


def add_known_host(directory: Path, address: str, key: str) -> None:
    """One server more."""
    with (directory / _KNOWN_HOSTS).open("a", encoding="ascii") as file:
        file.write(f"{address} {' '.join(key.split()[:2])}\n")


def write_known_hosts(directory: Path, keys: dict[str, str]) -> None:
    """``keys``: management address -> public host key."""
    lines = [f"{address} {' '.join(key.split()[:2])}\n" for address, key in keys.items()]
    (directory / _KNOWN_HOSTS).write_text("".join(lines), encoding="ascii")


def ssh_command(directory: Path, server: LabServer, command: Sequence[str] = ()) -> list[str]:
    """The ``ssh`` command line for a login, or for ``command`` with its arguments quoted."""
    args = ["ssh", "-i", str(directory / _CLIENT_KEY), *_options(directory, server)]
    # The user's own ssh_config knows nothing of a lab, and agents would offer their keys first.
    args += ["-F", "none", "-o", "LogLevel=ERROR", f"root@{server.address}"]
    return [*args, "--", shlex.join(command)] if command else args


def command(
    manifest: Manifest, directory: Path, target: str, words: Sequence[str] = (), *, tty: bool = False
) -> list[str]:
    """The argument list that logs in to ``target`` (a server or a tester), or runs the command ``words`` there."""
    if target not in {system.name for system in manifest.systems}:
        tester = manifest.tester(target)
        return ["ip", "netns", "exec", tester.netns, *(words or [os.environ.get("SHELL", "/bin/sh")])]
    args = ssh_command(directory, manifest.system(target), words)
    return [args[0], "-t", *args[1:]] if tty else args


def _options(directory: Path, server: LabServer) -> list[str]:
    known_hosts = f"UserKnownHostsFile={directory / _KNOWN_HOSTS}"
    timeout = f"ConnectTimeout={_connect_s(server)}"
    return ["-o", known_hosts, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", timeout]


def _connect_s(server: LabServer) -> int:
    """A virtual machine may be emulated, and then takes long to greet and to compute keys."""
    return 60 if server.cpus else 10


def write_inventory(directory: Path, manifest: Manifest) -> Path:
    """Write the lab's Ansible inventory; returns its path."""
    import yaml

    servers = {server.name: _server_vars(directory, server) for server in manifest.servers}
    booted = {system.name: _server_vars(directory, system) for system in manifest.tester_systems}
    testers = {
        tester.name: {
            **booted.get(tester.name, {"ansible_connection": "local", "rbops_netns": tester.netns}),
            "rbops_device": tester.device,
            "rbops_port": tester.port,
        }
        for tester in manifest.testers
    }
    groups = {"rbops_servers": {"hosts": servers}, "rbops_testers": {"hosts": testers}}
    path = directory / INVENTORY
    path.write_text(yaml.safe_dump({"all": {"children": groups}}, sort_keys=False, width=1000), encoding="utf-8")
    return path


def _server_vars(directory: Path, server: LabServer) -> dict[str, Any]:
    return {
        "ansible_host": server.address,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(directory / _CLIENT_KEY),
        "ansible_ssh_common_args": shlex.join(_options(directory, server)),
        "ansible_timeout": _connect_s(server),
        "ansible_python_interpreter": "/usr/bin/python3",
        "rbops_known_hosts": str(directory / _KNOWN_HOSTS),
    }
