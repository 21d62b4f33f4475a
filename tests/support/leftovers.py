"""What a test could leave on the machine: namespaces, mounts, processes, bridges, lab folders."""

from __future__ import annotations

from pathlib import Path

_STATE = Path("/var/lib/rbops/labs")
_OURS = {"systemd-nspawn", "libvirtd", "qemu-system-x86", "vagrant"}


def snapshot() -> frozenset[str]:
    """Every trace of a lab or test network there is now, as text to be compared and shown."""
    return frozenset([*_namespaces(), *_mounts(), *_processes(), *_bridges(), *_labs()])


def _namespaces() -> list[str]:
    folder = Path("/run/netns")
    return [f"network namespace {path.name}" for path in folder.iterdir()] if folder.is_dir() else []


def _mounts() -> list[str]:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [f"mount {point}" for point in points if "rbops" in point]


def _processes() -> list[str]:
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            state = comm.with_name("stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            # Z: it has ended, and its parent has not read the exit code yet.
            name = comm.read_text(encoding="utf-8").strip()
            if name in _OURS and state != "Z":
                found.append(f"process {name} {comm.parent.name}")
        except OSError:  # it ended while we looked
            continue
    return found


def _bridges() -> list[str]:
    return [f"bridge {path.parent.name}" for path in Path("/sys/class/net").glob("*/bridge")]


def _labs() -> list[str]:
    return [f"lab {path}" for path in _STATE.iterdir()] if _STATE.is_dir() else []
