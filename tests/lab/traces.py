"""Everything on the machine that bears the mark of one lab, found without asking the code under test."""

from __future__ import annotations

import json
import os
from pathlib import Path

_STATE = Path("/var/lib/rbops/labs")


def subnet_of(name: str) -> int:
    """The lab's subnet number, from its manifest."""
    return int(json.loads((_STATE / name / "lab.json").read_text(encoding="utf-8"))["subnet"])


def traces(name: str, subnet: int) -> list[str]:
    """Namespaces, devices, mounts, processes, cgroups and files of the lab, as text."""
    return sorted(
        [
            *(f"netns {path.name}" for path in _children("/run/netns") if path.name.startswith(f"rbops-{name}-")),
            *(f"link {path.name}" for path in _children("/sys/class/net") if _ours(path.name, subnet)),
            *(f"mount {point}" for point in _mounts() if f"/labs/{name}/" in point),
            *_processes(name, subnet),
            *(f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/rbops/{name}")),
            *(f"nspawn {path}" for path in Path("/run/systemd/nspawn").glob(f"propagate/rbops-{subnet}-*")),
            *(f"temporary {path}" for path in Path("/tmp").glob("nspawn-*")),
            *(f"file {path}" for path in [_STATE / name] if path.exists()),
        ]
    )


def nspawn_locks(name: str) -> list[Path]:
    """systemd-nspawn's own locks on the roots of a lab that is up: they are named by device and inode."""
    roots = [path.stat() for path in (_STATE / name).glob("servers/*/root")]
    return [Path(f"/run/systemd/nspawn/locks/inode-{root.st_dev}:{root.st_ino}") for root in roots]


def _children(folder: str) -> list[Path]:
    return list(Path(folder).iterdir()) if Path(folder).is_dir() else []


def _ours(device: str, subnet: int) -> bool:
    return device == f"rbops-br{subnet}" or device.startswith(f"rbops-{subnet}s")


def _mounts() -> list[str]:
    return [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]


def _processes(name: str, subnet: int) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            group = (folder / "cgroup").read_text(encoding="utf-8")
            ended = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
        except OSError:  # it has ended
            continue
        # Its parent, the machine's first process, may take its time to read the exit code of one that has ended.
        if ended:
            continue
        if f"/rbops/{name}/" in group or f"--machine=rbops-{subnet}-" in command:
            found.append(f"process {folder.name} {command}")
    return found
