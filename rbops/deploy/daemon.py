"""The routing daemon's own checker over its configuration, here, before anything changes on any server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rbops.common.daemons import DAEMONS, PORT_FILES
from rbops.common.frrfile import filled, passwords
from rbops.errors import Mismatch, Where
from rbops.plan import ClusterPlan, Server
from rbops.render.daemons import daemon_files
from rbops.render.speaking import node_part
from rbops.spec.keyfile import daemon_keys

__all__ = ["check_daemon"]

_PATH = f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"
_LONGEST_S = 120
_PROGRAMS = {"bird": "bird", "frr": "vtysh"}


def check_daemon(plan: ClusterPlan) -> bool:
    """False where its program is not installed here; True where no daemon is planned.

    Mismatch (3) with the daemon's words where it refuses a server's configuration, or a key file cannot be used.
    """
    if plan.routing is None or plan.routing.speaks is None:
        return True
    kind = plan.routing.daemon
    program = shutil.which(_PROGRAMS[kind], path=_PATH)
    if program is None:
        return False
    for server in plan.servers:
        part = node_part(plan, server)
        if part is not None:
            files = {Path(file.path).name: file.content for file in daemon_files(plan, server, plan.digest)}
            keys = daemon_keys(part.keys)
            own = plan.routing.speaks.own is not None
            {"bird": _bird, "frr": _frr}[kind](program, server, files, keys, own=own)
    return True


def _bird(program: str, server: Server, files: dict[str, bytes], keys: bytes, *, own: bool) -> None:
    files = {**files, "keys.conf": keys, "vrf.conf": b""}
    for number in server.external_ports:
        files |= {f"{name}{number}.conf": f"{text.format('lo')}\n".encode() for name, text in PORT_FILES.items()}
    hint = "own.conf is the file that `config:` names" if own else None
    _check([program, "-p", "-c", "bird.conf"], "bird", server, files, hint)


def _frr(program: str, server: Server, files: dict[str, bytes], keys: bytes, *, own: bool) -> None:
    # What it refuses it repeats: no password may be in there.
    words = {name: "x" * len(word) for name, word in passwords(keys.decode()).items()}
    devices = dict.fromkeys(server.external_ports, "lo")
    text = filled(files["frr.conf"].decode(), words, vrf=None, devices=devices, routes=())
    hint = "its lines are those of the file that `config:` names" if own else None
    command = [program, "--config_dir", ".", "-C", "-f", "frr.conf"]
    _check(command, "frr", server, {"frr.conf": text.encode(), "vtysh.conf": b""}, hint)


def _check(command: list[str], kind: str, server: Server, files: dict[str, bytes], hint: str | None) -> None:
    # mkdtemp makes it 0700: there are passwords in it.
    with tempfile.TemporaryDirectory(prefix=f"rbops-{kind}-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_S, check=False, cwd=folder, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Mismatch(f"{kind} cannot check its configuration: {error}", code="daemon.checker") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).replace(f"{folder}/", "").splitlines()]
        said = "; ".join([line for line in lines if line][-3:])
        raise Mismatch(
            f"{kind} refuses its configuration: {said.removeprefix('bird: ') or 'without a reason'}",
            code="daemon.refused",
            where=Where(server=server.name, file=DAEMONS[kind].config),
            hint=hint,
        )
