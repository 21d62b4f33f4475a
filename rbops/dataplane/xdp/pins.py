"""What is loaded, kept under a bpf file system: one folder per load, and a link to the one that counts.

    ROOT/live -> 3        switched atomically, when everything of a new load is in place
    ROOT/3/arena cores control clocks devices rebuild samples about external internal

Standard library only.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rbops.dataplane.xdp import layout as shape
from rbops.dataplane.xdp.layout import Layout
from rbops.dataplane.xdp.libbpf import BpfError, Map, Program
from rbops.errors import Mismatch

__all__ = ["PROGRAMS", "Loaded", "Pins", "ensure_bpffs"]

_BPF_FS_MAGIC = 0xCAFE4A11
_ENOENT = 2
_MAPS = ("arena", "cores", "control", "clocks", "devices", "rebuild", "samples")
PROGRAMS = ("external", "internal")
"""A load's programs, by the kinds of ports that they are attached to."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A load's maps by name, its programs by port kind, and the layout of its memory.

    ``about``: what is kept beside it (carry.py), which no program uses; None where an earlier version kept nothing.
    """

    maps: dict[str, Map]
    programs: dict[str, Program]
    layout: Layout
    about: Map | None = None

    def memory(self, name: str) -> memoryview:
        """A map's values, shared with the kernel."""
        return memoryview(self.maps[name].memory())

    @property
    def active(self) -> int:
        """The generation in use, 0 or 1."""
        return self.memory("control")[shape.ACTIVE_AT] & 1

    @property
    def object_sha256(self) -> bytes:
        """Of the object file that the programs came from."""
        return bytes(self.memory("control")[shape.OBJECT_AT : shape.OBJECT_AT + 32])

    def head(self) -> tuple[int, int, bytes, bytes]:
        """(magic, serial, table's SHA-256, configuration's SHA-256) of the generation in use."""
        at = self.active * self.layout.generation
        fields = shape.HEAD.unpack_from(self.memory("arena"), at)
        return fields[0], fields[7], fields[12], fields[13]


class Pins:
    """The pins below ``root``, a folder on a bpf file system that belongs to one network namespace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def load(self) -> Loaded | None:
        """What is loaded; None when nothing is, or what another version of the loader left."""
        live = self.root / "live"
        try:
            maps = {name: Map.pinned(live / name) for name in _MAPS}
            programs = {name: Program.pinned(live / name) for name in PROGRAMS}
        except BpfError as error:
            if error.errno == _ENOENT:
                return None
            raise
        if maps["control"].value_size < shape.CONTROL_SIZE:
            return None
        control = memoryview(maps["control"].memory())
        layout = Layout.unpack(bytes(control[shape.LAYOUT_AT : shape.PEERS_AT]))
        return Loaded(maps, programs, layout, _found(live / "about")) if layout else None

    def store(self, loaded: Loaded) -> None:
        """Pin a load and make it the one that counts; the older ones' pins go."""
        self.root.mkdir(parents=True, exist_ok=True)
        older = [path for path in self.root.iterdir() if path.name.isdigit()]
        number = str(max((int(path.name) for path in older), default=0) + 1)
        folder = self.root / number
        folder.mkdir()
        for name, entry in (*loaded.maps.items(), *loaded.programs.items()):
            entry.pin(folder / name)
        if loaded.about is not None:
            loaded.about.pin(folder / "about")
        link = self.root / "live-new"
        link.unlink(missing_ok=True)
        link.symlink_to(number)
        link.rename(self.root / "live")
        for path in older:
            shutil.rmtree(path)

    def instance(self) -> int | None:
        """Which load counts, without opening it; None when nothing is loaded."""
        try:
            return (self.root / "live" / "control").stat().st_ino
        except OSError:
            return None

    def remove(self) -> None:
        """Unpin everything."""
        if self.root.is_dir():
            shutil.rmtree(self.root)


def _found(path: Path) -> Map | None:
    try:
        return Map.pinned(path)
    except BpfError as error:
        if error.errno == _ENOENT:
            return None
        raise


def ensure_bpffs(root: Path) -> bool:
    """Mount the bpf file system that ``root`` is to lie on, /sys/fs/bpf, unless it is there; True when mounted.

    Containers come without. Raises Mismatch when ``root`` lies elsewhere, or when mounting fails.
    """
    if _is_bpffs(root):
        return False
    where = Path("/sys/fs/bpf")
    if where not in root.parents:
        raise Mismatch(
            f"{root} is not on a bpf file system", hint="choose a folder below /sys/fs/bpf", code="xdp.no-bpffs"
        )
    done = subprocess.run(["mount", "-t", "bpf", "bpf", str(where)], capture_output=True, text=True, check=False)
    if done.returncode:
        hint = "the kernel needs CONFIG_BPF_SYSCALL, /sys must be there and writable"
        raise Mismatch(
            f"cannot mount the bpf file system on {where}: {done.stderr.strip()}", hint=hint, code="xdp.no-bpffs"
        )
    return True


def _is_bpffs(path: Path) -> bool:
    """Whether the nearest folder that exists is on a bpf file system."""
    while not path.exists():
        path = path.parent
    # struct statfs starts with the file system's magic, a long.
    buffer = ctypes.create_string_buffer(256)
    ctypes.CDLL(None).statfs(str(path).encode(), buffer)
    return int.from_bytes(buffer.raw[:4], "little") == _BPF_FS_MAGIC
