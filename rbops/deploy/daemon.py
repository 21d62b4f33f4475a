"""The routing daemon's own checker over its configuration, here, before anything changes on any server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rbops.errors import Mismatch, Where
from rbops.plan import ClusterPlan
from rbops.render.bird import CONFIG, bird_files, node_part
from rbops.spec.keyfile import daemon_keys

__all__ = ["check_daemon"]

_PATH = f"{os.defpath}:/usr/local/sbin:/usr/sbin:/sbin"
_LONGEST_S = 120


def check_daemon(plan: ClusterPlan) -> bool:
    """False where its program is not installed here; True where no daemon is planned.

    Mismatch (3) with the daemon's words where it refuses a server's configuration, or a key file cannot be used.
    """
    if plan.routing is None or plan.routing.speaks is None:
        return True
    program = shutil.which("bird", path=_PATH)
    if program is None:
        return False
    for server in plan.servers:
        files = {Path(file.path).name: file.content for file in bird_files(plan, server, plan.digest)}
        part = node_part(plan, server)
        if part is not None:
            files |= {"keys.conf": daemon_keys(part.keys), "vrf.conf": b""}
            files |= {f"port{number}.conf": b'interface "lo";\n' for number in server.external_ports}
            _check(program, server.name, files)
    return True


def _check(program: str, server: str, files: dict[str, bytes]) -> None:
    # mkdtemp makes it 0700: there are passwords in it.
    with tempfile.TemporaryDirectory(prefix="rbops-bird-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        main = Path(folder) / Path(CONFIG).name
        try:
            done = subprocess.run(
                [program, "-p", "-c", main], capture_output=True, text=True, timeout=_LONGEST_S, check=False, cwd=folder
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Mismatch(f"bird cannot check its configuration: {error}", code="daemon.checker") from None
    if done.returncode:
        said = "; ".join((done.stderr or done.stdout).replace(f"{folder}/", "").strip().splitlines()[-3:])
        own = "own.conf is the file that `config:` names" if "own.conf" in files else None
        raise Mismatch(
            f"bird refuses its configuration: {said.removeprefix('bird: ') or 'without a reason'}",
            code="daemon.refused",
            where=Where(server=server, file=CONFIG),
            hint=own,
        )
