"""Removing a lab in whatever state it is: all that the manifest names and that is there. Can be repeated."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

from rbops.errors import StateUnknown
from rbops.lab import layout, net
from rbops.lab.cgroup import lab_cgroup, remove_empty_parent
from rbops.lab.command import ip_batch, run
from rbops.lab.manifest import LabServer, LabTester, Manifest

__all__ = ["remove", "remove_server", "remove_tester"]

_NSPAWN_RUN = Path("/run/systemd/nspawn")


def remove(manifest: Manifest | None, directory: Path) -> None:
    """Remove the lab's processes, mounts, namespaces, bridge, cgroups and files.

    Without a manifest ``up`` had made nothing but the folder. Raises StateUnknown, naming what is left,
    when a process or a mount cannot be removed; a second call goes on from there.
    """
    if manifest is not None:
        group = lab_cgroup(manifest.name)
        group.kill()
        _end_in_namespaces(manifest.namespaces)
        _remove_nspawn_traces(manifest)
        _unmount_below(directory)
        net.remove(manifest)
        group.remove()
        remove_empty_parent(group)
    _remove_folder(directory)


def remove_server(manifest: Manifest, server: LabServer) -> None:
    """Remove what one server has, which is off; ``manifest`` is of it alone. Can be repeated."""
    group = layout.server_cgroup(lab_cgroup(manifest.name), server)
    group.kill()
    _end_in_namespaces([server.netns])
    _remove_nspawn_traces(manifest)
    folder = layout.server_folder(manifest.name, server)
    _unmount_below(folder)
    if net.exists(server.netns):
        ip_batch([f"netns del {server.netns}"], force=True)
    if Path("/sys/class/net", server.management_port).exists():
        ip_batch([f"link del {server.management_port}"], force=True)
    group.remove()
    shutil.rmtree(folder, ignore_errors=True)


def remove_tester(tester: LabTester) -> None:
    """Remove a tester with its cable. Can be repeated."""
    if net.exists(tester.netns):
        _end_in_namespaces([tester.netns])
        ip_batch([f"netns del {tester.netns}"], force=True)


def _end_in_namespaces(names: Iterable[str]) -> None:
    """SIGKILL what runs in namespaces of the lab without being in its cgroup: agents and shells of testers.

    A process is signalled through a pidfd that was opened before its namespace was looked at, so that a pid that
    was given to another process meanwhile is never hit.
    """
    paths = [Path("/run/netns", name) for name in names]
    namespaces = {(path.stat().st_dev, path.stat().st_ino) for path in paths if path.exists()}
    for pid in [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]:
        if pid == os.getpid():
            continue
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:  # it has ended
            continue
        try:
            status = Path("/proc", str(pid), "ns/net").stat()
            if (status.st_dev, status.st_ino) in namespaces:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        except OSError:  # it has ended, or is a zombie without namespaces
            continue
        finally:
            os.close(descriptor)


def _remove_nspawn_traces(manifest: Manifest) -> None:
    """What a systemd-nspawn that was killed leaves under /run: a lock named by the root's inode, and a folder."""
    for server in manifest.systems:
        root = layout.root_of(manifest.name, server)
        if root.is_mount():
            status = root.stat()
            (_NSPAWN_RUN / f"locks/inode-{status.st_dev}:{status.st_ino}").unlink(missing_ok=True)
        propagate = _NSPAWN_RUN / "propagate" / server.machine
        if propagate.is_dir():
            propagate.rmdir()


def _unmount_below(directory: Path) -> None:
    for point in _mounts_below(directory):
        run(["umount", "--lazy", str(point)], check=False)
    left = _mounts_below(directory)
    if left:
        raise StateUnknown(
            f"still mounted: {', '.join(map(str, left))}",
            code="lab.mounts",
            hint="unmount them, then run lab down again",
        )


def _mounts_below(directory: Path) -> list[Path]:
    """Mount points under the folder, the deepest and latest first."""
    points = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [point for point in reversed(points) if directory in point.parents]


def _remove_folder(directory: Path) -> None:
    # The manifest goes last: a removal that is interrupted can be taken up again.
    try:
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "lab.json":
                path.unlink()
        (directory / "lab.json").unlink(missing_ok=True)
        directory.rmdir()
    except OSError as error:
        raise StateUnknown(
            f"cannot remove {error.filename or directory}: {error.strerror}", code="lab.files"
        ) from error
