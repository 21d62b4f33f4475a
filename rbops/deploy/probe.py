"""A server's identity and rbops's files on it: read before a push, and again after it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rbops.dataplane import registry
from rbops.deploy.ssh import Session
from rbops.errors import Mismatch, Unreachable, Where

__all__ = ["Probe", "check_identities", "probe"]

_TIMEOUT_S = 30.0
_NOT_FOUND = 127

# Runs on the server: standard library only, changes nothing.
_SCRIPT = r"""
import glob, hashlib, json, os, sys

BESIDE = sys.argv[1:]

def text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None

def files():
    found = {}
    paths = {"/usr/sbin/rbops-node", *BESIDE,
             *glob.glob("/etc/systemd/system/rbops*"),
             *glob.glob("/etc/systemd/system/*.wants/rbops*")}
    for folder, _, names in os.walk("/etc/rbops"):
        paths |= {os.path.join(folder, name) for name in names}
    for path in sorted(paths):
        try:
            if os.path.islink(path):
                found[path] = ["link", os.readlink(path)]
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = [oct(os.stat(path).st_mode & 0o7777), hashlib.sha256(file.read()).hexdigest()]
        except OSError as error:
            found[path] = ["error", error.strerror]
    return found

try:
    node = json.loads(text("/etc/rbops/node.json") or "{}")
except ValueError:
    node = {}
print(json.dumps({
    "uid": os.getuid(), "machine_id": text("/etc/machine-id"), "boot_id": text("/proc/sys/kernel/random/boot_id"),
    "kernel": os.uname().release, "python": "{}.{}.{}".format(*sys.version_info),
    "uptime_s": float(text("/proc/uptime").split()[0]),
    "cluster": node.get("cluster"), "server": node.get("server"), "digest": node.get("digest"), "files": files(),
    "index": node.get("index"), "servers": node.get("dataplane", {}).get("servers"),
    "peers": {port["peer"].partition(":")[0]: port["peer_server"] for port in node.get("ports", ()) if "peer" in port},
    "systemd": os.path.isdir("/run/systemd/system"),
}))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was read on a server. ``files`` maps rbops's own files there to (mode, SHA-256).

    Of its configuration: its ``index`` among the cluster's ``servers``, and its ``peers``' indexes by name.
    """

    name: str
    machine_id: str | None
    boot_id: str | None
    kernel: str
    python: str
    uptime_s: float
    cluster: str | None
    server: str | None
    digest: str | None
    files: Mapping[str, tuple[str, str]]
    index: int | None = None
    servers: int | None = None
    peers: Mapping[str, int] = field(default_factory=dict)


def probe(session: Session) -> Probe:
    """Read a server's identity and files.

    Raises Unreachable (4) when it has no Python, Mismatch (3) when rbops cannot be root there or it
    does not run systemd.
    """
    target = session.target
    beside = (path for plane in registry.controllers() for path in plane.places.beside)
    done = session.run([target.python, "-", *beside], _TIMEOUT_S, _SCRIPT.encode())
    if done.returncode == _NOT_FOUND:
        raise Unreachable(
            f"{target.python} is not installed",
            code="probe.no-python",
            where=target.where,
            hint="apt-get install python3",
        )
    if done.returncode != 0:
        raise Unreachable(f"the probe script failed: {done.reason}", code="probe.failed", where=target.where)
    try:
        facts = json.loads(done.stdout)
    except ValueError as error:
        raise Unreachable(
            f"the output of the login is not only the command's: {done.reason}",
            code="probe.output",
            where=target.where,
            hint=f"let the shell profile of {target.user} print nothing without a terminal",
        ) from error
    if facts["uid"] != 0:
        raise Mismatch(
            f"{target.user} is not root", code="probe.not-root", where=target.where, hint="set ansible_become for it"
        )
    if not facts["systemd"]:
        raise Mismatch("systemd is not running, the revert timer needs it", code="probe.no-systemd", where=target.where)
    return Probe(
        name=target.name,
        machine_id=facts["machine_id"],
        boot_id=facts["boot_id"],
        kernel=facts["kernel"],
        python=facts["python"],
        uptime_s=facts["uptime_s"],
        cluster=facts["cluster"],
        server=facts["server"],
        digest=facts["digest"],
        files={path: (mode, digest) for path, (mode, digest) in facts["files"].items()},
        index=facts["index"],
        servers=facts["servers"],
        peers=facts["peers"],
    )


def check_identities(probes: Iterable[Probe], cluster: str) -> None:
    """Mismatch (3) when two names lead to one machine, or a machine is another server of this cluster."""
    seen: dict[str, str] = {}
    for found in probes:
        if found.machine_id and found.machine_id in seen:
            raise Mismatch(
                f"{seen[found.machine_id]} and {found.name} are the same machine (machine id {found.machine_id})",
                code="probe.same-machine",
                where=Where(server=found.name),
                hint="check ansible_host in the inventory; a cloned machine needs an /etc/machine-id of its own",
            )
        if found.machine_id:
            seen[found.machine_id] = found.name
        if found.cluster == cluster and found.server not in (None, found.name):
            raise Mismatch(
                f"the machine at this address is {found.server} of {cluster}, expected {found.name}",
                code="probe.other-server",
                where=Where(server=found.name, file="/etc/rbops/node.json"),
                hint="check ansible_host in the inventory; remove /etc/rbops on it if its name has changed",
            )
