r"""A small binding of libbpf 1.x (Debian's libbpf1) through ctypes; standard library only.

    with Object("router.bpf.o") as obj:            open: nothing is in the kernel yet
        obj.set_variable("limit", b"\x10\0\0\0")   const volatile, .data and .bss variables, before load
        obj.resize("devices", 8)                   or obj.reuse("devices", Map.pinned(path))
        obj.load()                                 into the kernel
        obj.map("devices").update(key, value)      keys and values are bytes, as the kernel sees them
        xdp_attach(ifindex, obj.program("router")) native mode, replaces in place what is there
        obj.program("router").run(frame)           BPF_PROG_RUN: verdict and rewritten frame
        obj.program("gen").send_live(frame, 1000)  BPF_PROG_RUN with live frames

Maps and programs own their file descriptor: ``close()`` or let the last reference go. Whatever an
object loaded lives until its last descriptor, pin and attachment are gone. Every failure is a
BpfError with what libbpf, the verifier and the kernel said in ``log``.

Source: libbpf's bpf.h and libbpf.h (1.1), Documentation/bpf/bpf_prog_run.rst.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rbops.common.versions import MIN_KERNEL
from rbops.dataplane.xdp.ctlibbpf import (
    BatchOpts,
    BpfError,
    CreateOpts,
    MapInfo,
    ProgInfo,
    RunOpts,
    XdpAttachOpts,
    XdpQueryOpts,
    library,
)

__all__ = [
    "BpfError",
    "Map",
    "Object",
    "Program",
    "ProgramRun",
    "behind",
    "possible_cpus",
    "tap_of",
    "xdp_attach",
    "xdp_attached",
    "xdp_context",
    "xdp_detach",
    "xdp_outermost",
]

XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT = range(5)

TAP = "rbops_tap"
"""What a lab's taps are called (rbops/lab/cables/tap.h)."""

_DRV_MODE, _REPLACE = 1 << 2, 1 << 4
_MAX_FRAME = 4096
_ARRAY, _MMAPABLE = 2, 1 << 10
_PER_CPU_TYPES = (5, 6, 10, 21)  # hash, array, LRU hash, cgroup storage
_DATASEC = 15
_ENOENT = 2


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """One BPF_PROG_RUN: the XDP verdict, the frame afterwards, mean nanoseconds per repetition."""

    verdict: int
    frame: bytes
    duration_ns: int


def possible_cpus() -> int:
    """The number of values a per-CPU map entry has: highest possible CPU id plus one."""
    return int(library().call("cannot count CPUs", "libbpf_num_possible_cpus"))


class _Descriptor:
    """Owns a file descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.close = weakref.finalize(self, os.close, fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Keep it alive under ``path`` on a bpf file system, replacing an older pin atomically."""
        new = f"{os.fspath(path)}-new"  # a bpf file system takes no dots
        Path(new).unlink(missing_ok=True)
        hint = "mount -t bpf bpf /sys/fs/bpf"
        library().call(f"cannot pin {path}", "bpf_obj_pin", self.fd, new.encode(), hint=hint)
        Path(new).rename(path)

    @classmethod
    def pinned(cls, path: str | os.PathLike[str]) -> Self:
        """What is pinned at ``path``; raises BpfError with ``errno`` ENOENT when nothing is."""
        return cls(library().call(f"cannot open {path}", "bpf_obj_get", os.fspath(path).encode()))

    def _info(self, info: ctypes.Structure) -> None:
        size = ctypes.c_uint32(ctypes.sizeof(info))
        library().call(
            "cannot read BPF info", "bpf_obj_get_info_by_fd", self.fd, ctypes.byref(info), ctypes.byref(size)
        )


class Map(_Descriptor):
    """A BPF map. Keys and values are bytes of ``key_size`` and ``value_size``; ``flags`` are the creation flags."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        info = MapInfo()
        self._info(info)
        self.type: int = info.type
        self.id: int = info.id
        self.name: str = info.name.decode()
        self.key_size: int = info.key_size
        self.value_size: int = info.value_size
        self.max_entries: int = info.max_entries
        self.flags: int = info.map_flags

    @classmethod
    def create(cls, name: str, map_type: int, *, key_size: int, value_size: int, entries: int, flags: int = 0) -> Self:
        """A new map of a BPF_MAP_TYPE_ number; memory is charged to the calling process's cgroup."""
        opts = CreateOpts(sz=ctypes.sizeof(CreateOpts), flags=flags)
        what = f"cannot create map {name} ({entries} x {value_size} bytes)"
        arguments = (map_type, name.encode()[:15], key_size, value_size, entries, ctypes.byref(opts))
        return cls(library().call(what, "bpf_map_create", *arguments))

    @classmethod
    def shared(cls, name: str, size: int) -> Self:
        """An array of one value of so many bytes, for :meth:`memory`."""
        return cls.create(name, _ARRAY, key_size=4, value_size=size, entries=1, flags=_MMAPABLE)

    @classmethod
    def from_id(cls, number: int) -> Self:
        """The map with that id; raises BpfError (ENOENT) when there is none."""
        return cls(library().call(f"no BPF map {number}", "bpf_map_get_fd_by_id", number))

    def lookup(self, key: bytes) -> bytes | None:
        """The value, or None without that key. A per-CPU map gives all CPUs' values, each padded to 8 bytes."""
        self._check(key, self.key_size, "key")
        buffer = ctypes.create_string_buffer(self._value_bytes())
        try:
            library().call(f"cannot read map {self.name}", "bpf_map_lookup_elem", self.fd, key, buffer)
        except BpfError as error:
            if error.errno == _ENOENT:
                return None
            raise
        return buffer.raw

    def lookup_cpus(self, key: bytes) -> list[bytes]:
        """One value per possible CPU, in CPU order; an empty list without that key. Per-CPU maps only."""
        raw, step = self.lookup(key), -(-self.value_size // 8) * 8
        return [] if raw is None else [raw[at : at + self.value_size] for at in range(0, len(raw), step)]

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set one entry; ``flags`` are BPF_ANY 0, BPF_NOEXIST 1, BPF_EXIST 2."""
        self._check(key, self.key_size, "key")
        self._check(value, self._value_bytes(), "value")
        library().call(f"cannot write map {self.name}", "bpf_map_update_elem", self.fd, key, value, flags)

    def update_batch(self, keys: bytes, values: bytes) -> None:
        """Set many entries with one system call; ``keys`` and ``values`` are concatenated."""
        count = ctypes.c_uint32(len(keys) // self.key_size)
        self._check(values, count.value * self._value_bytes(), "value batch")
        opts = BatchOpts(sz=ctypes.sizeof(BatchOpts))
        arguments = (self.fd, keys, values, ctypes.byref(count), ctypes.byref(opts))
        library().call(f"cannot write map {self.name}", "bpf_map_update_batch", *arguments)

    def delete(self, key: bytes) -> bool:
        """Remove one entry; False when it was not there."""
        self._check(key, self.key_size, "key")
        try:
            library().call(f"cannot remove an entry of map {self.name}", "bpf_map_delete_elem", self.fd, key)
        except BpfError as error:
            if error.errno == _ENOENT:
                return False
            raise
        return True

    def memory(self) -> mmap.mmap:
        """The values of a BPF_F_MMAPABLE array (and .bss, .data) as shared memory, each padded to 8 bytes."""
        size = -(-self.value_size // 8) * 8 * self.max_entries
        try:
            return mmap.mmap(self.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        except OSError as error:
            raise BpfError(f"cannot map {self.name} into memory", errno=error.errno or 0, code="xdp.map") from error

    def _value_bytes(self) -> int:
        return -(-self.value_size // 8) * 8 * possible_cpus() if self.type in _PER_CPU_TYPES else self.value_size

    def _check(self, value: bytes, size: int, what: str) -> None:
        if len(value) != size:
            raise BpfError(f"map {self.name}: {what} has {len(value)} bytes, expected {size}", code="xdp.map")


class Program(_Descriptor):
    """A loaded BPF program; ``id`` and ``tag`` (hex, a hash of its instructions) as bpftool shows them."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        info = ProgInfo()
        self._info(info)
        self.type: int = info.type
        self.id: int = info.id
        self.tag: str = bytes(info.tag).hex()
        self.name: str = info.name.decode()

    @classmethod
    def from_id(cls, number: int) -> Self:
        """The program with that id; raises BpfError (ENOENT) when there is none."""
        return cls(library().call(f"no BPF program {number}", "bpf_prog_get_fd_by_id", number))

    def maps(self) -> list[Map]:
        """The maps that it uses."""
        info, count = ProgInfo(), ProgInfo()
        self._info(count)
        numbers = (ctypes.c_uint32 * count.map_count)()
        info.map_count, info.map_ids = count.map_count, ctypes.addressof(numbers)
        self._info(info)
        return [Map.from_id(number) for number in numbers]

    def run(self, frame: bytes, *, context: bytes = b"", repeat: int = 1) -> ProgramRun:
        """BPF_PROG_RUN on ``frame`` (>= 14 bytes for XDP); nothing is sent, maps do change.

        ``context`` is a struct xdp_md, whose ingress device must be up with XDP (see ``xdp_context``).
        """
        out = ctypes.create_string_buffer(_MAX_FRAME)
        opts = RunOpts(sz=ctypes.sizeof(RunOpts), data_in=frame, data_size_in=len(frame), repeat=repeat)
        opts.data_out, opts.data_size_out = ctypes.addressof(out), len(out)
        if context:
            opts.ctx_in, opts.ctx_size_in = context, len(context)
        what = f"cannot run BPF program {self.name} on {len(frame)} bytes"
        library().call(what, "bpf_prog_test_run_opts", self.fd, ctypes.byref(opts))
        return ProgramRun(opts.retval, out.raw[: opts.data_size_out], opts.duration)

    def call(self) -> int:
        """Run a ``SEC("syscall")`` program once; returns what it returned."""
        opts = RunOpts(sz=ctypes.sizeof(RunOpts))
        what = f"cannot call BPF program {self.name}"
        library().call(what, "bpf_prog_test_run_opts", self.fd, ctypes.byref(opts))
        return int(opts.retval)

    def send_live(self, frame: bytes, repeat: int, *, context: bytes = b"", batch: int = 64) -> int:
        """Run it ``repeat`` times with frames that are really sent or redirected (BPF_F_TEST_XDP_LIVE_FRAMES).

        Pages are recycled and not rewritten in between: the program must write every header field.
        ``batch`` is at most 256. Blocks without holding the interpreter lock; returns mean ns a frame.
        Source: Documentation/bpf/bpf_prog_run.rst.
        """
        opts = RunOpts(sz=ctypes.sizeof(RunOpts), data_in=frame, data_size_in=len(frame), repeat=repeat)
        opts.flags, opts.batch_size = 1 << 1, batch
        if context:
            opts.ctx_in, opts.ctx_size_in = context, len(context)
        what = f"cannot send live frames with {self.name}"
        library().call(what, "bpf_prog_test_run_opts", self.fd, ctypes.byref(opts))
        return int(opts.duration)


def xdp_context(length: int, ifindex: int, queue: int = 0) -> bytes:
    """A struct xdp_md for ``Program.run`` and ``send_live``: ``length`` bytes received on a device's queue."""
    return b"".join(number.to_bytes(4, "little") for number in (0, length, 0, ifindex, queue, 0))


def _close_object(handle: Any, resized: dict[str, int]) -> None:
    """Close an object. libbpf unmaps a data section by the size of its map, so that must be the first one again."""
    for name, size in resized.items():
        entry = library().dll.bpf_object__find_map_by_name(handle, name.encode())
        with Map.shared("placeholder", size) as small:
            library().call(f"cannot put back map {name}", "bpf_map__reuse_fd", entry, small.fd)
    library().dll.bpf_object__close(handle)


class Object:
    """A compiled BPF object file. A context manager: closing drops what is neither kept, pinned nor attached."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        if not Path(self.path).is_file():
            raise BpfError(f"the BPF object {self.path} does not exist", code="xdp.no-object")
        self._lib = library()
        self._handle = self._lib.call(
            f"{self.path} is no BPF object", "bpf_object__open_file", self.path.encode(), None
        )
        self._resized: dict[str, int] = {}
        self.close = weakref.finalize(self, _close_object, self._handle, self._resized)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map_names(self) -> tuple[str, ...]:
        """The names of its maps, in the order of the file (``.bss`` and the like under libbpf's names)."""
        names, entry = [], self._lib.dll.bpf_object__next_map(self._handle, None)
        while entry:
            names.append(self._lib.dll.bpf_map__name(entry).decode())
            entry = self._lib.dll.bpf_object__next_map(self._handle, entry)
        return tuple(names)

    def set_variable(self, name: str, value: bytes) -> None:
        """Give a global variable its first value, before ``load``; raises BpfError for a wrong name or size."""
        section, offset, size = self.variable(name)
        if len(value) != size:
            raise BpfError(f"{self.path}: variable {name} has {size} bytes, expected {len(value)}", code="xdp.object")
        memory = self._lib.call(
            f"{self.path} lacks {section}",
            "bpf_map__initial_value",
            self._map(section),
            ctypes.byref(ctypes.c_size_t()),
        )
        ctypes.memmove(memory + offset, value, size)

    def variable(self, name: str) -> tuple[str, int, int]:
        """(section, offset, size) of a global variable: where it is in ``map(section)``; from the object's BTF."""
        btf, dll = self._lib.call(f"{self.path} has no BTF", "bpf_object__btf", self._handle), self._lib.dll
        for section in (".rodata", ".data", ".bss"):
            number = dll.btf__find_by_name_kind(btf, section.encode(), _DATASEC)
            if number <= 0:
                continue
            head = (ctypes.c_uint32 * 3).from_address(dll.btf__type_by_id(btf, number))
            count = head[1] & 0xFFFF
            entries = (ctypes.c_uint32 * (3 * count)).from_address(ctypes.addressof(head) + 12)
            for kind, offset, size in zip(entries[0::3], entries[1::3], entries[2::3], strict=True):
                text = (ctypes.c_uint32).from_address(dll.btf__type_by_id(btf, kind)).value
                if dll.btf__name_by_offset(btf, text) == name.encode():
                    return section, offset, size
        raise BpfError(f"{self.path} has no global variable {name}", code="xdp.object")

    def resize(self, name: str, entries: int) -> None:
        """Set a map's number of entries, before ``load``."""
        self._lib.call(f"cannot resize map {name}", "bpf_map__set_max_entries", self._map(name), entries)

    def reuse(self, name: str, other: Map) -> None:
        """Use an existing map instead of a new one, before ``load``.

        A data section (``.data.x``) may get an array of one larger value: a variable's address then
        leads into it, and constants of the program must say how far the program may go.
        """
        if name.startswith("."):
            self._resized[name] = int(self._lib.dll.bpf_map__value_size(self._map(name)))
        self._lib.call(f"cannot reuse map {name}", "bpf_map__reuse_fd", self._map(name), other.fd)

    def skip(self, program: str) -> None:
        """Leave a program out of ``load``."""
        self._lib.call(f"cannot skip {program}", "bpf_program__set_autoload", self._program(program), False)  # noqa: FBT003

    def load(self) -> None:
        """Create the maps and load the programs; raises BpfError with the end of the verifier's log."""
        hint = f"it needs root (CAP_BPF, CAP_NET_ADMIN) and Linux {MIN_KERNEL} or newer"
        self._lib.call(f"the kernel does not load {self.path}", "bpf_object__load", self._handle, hint=hint)

    def map(self, name: str) -> Map:
        """A loaded map, with a descriptor of its own that outlives the object."""
        fd = self._lib.call(f"map {name} is not loaded", "bpf_map__fd", self._map(name))
        return Map(os.dup(fd))

    def program(self, name: str) -> Program:
        """A loaded program, with a descriptor of its own that outlives the object."""
        fd = self._lib.call(f"program {name} is not loaded", "bpf_program__fd", self._program(name))
        return Program(os.dup(fd))

    def _map(self, name: str) -> Any:
        return self._lib.call(
            f"{self.path} has no map {name}", "bpf_object__find_map_by_name", self._handle, name.encode()
        )

    def _program(self, name: str) -> Any:
        what = f"{self.path} has no program {name}"
        return self._lib.call(what, "bpf_object__find_program_by_name", self._handle, name.encode())


def xdp_attach(ifindex: int, program: Program, *, replaces: Program | None = None) -> None:
    """Attach in native mode, in the caller's network namespace; what is attached is replaced in place.

    With ``replaces`` only if that program is the one attached. Raises BpfError when the driver has
    no native XDP or refuses (too few queues, MTU too large, a generic program attached).
    """
    flags, opts = _DRV_MODE, XdpAttachOpts(sz=ctypes.sizeof(XdpAttachOpts))
    if replaces is not None:
        flags, opts.old_prog_fd = flags | _REPLACE, replaces.fd
    hint = "see `ip -d link`: the driver must support native XDP, with a queue per CPU and no XDP in generic mode"
    what = f"cannot attach {program.name} natively to interface {ifindex}"
    library().call(what, "bpf_xdp_attach", ifindex, program.fd, flags, ctypes.byref(opts), hint=hint)


def xdp_detach(ifindex: int) -> None:
    """Detach whatever is attached in native mode; nothing attached is fine."""
    library().call(f"cannot detach XDP from interface {ifindex}", "bpf_xdp_detach", ifindex, _DRV_MODE, None)


def xdp_attached(ifindex: int) -> tuple[int, str]:
    """(program id, mode) on a device: mode is native, generic, offload, several or none (id 0).

    Looks through a lab's taps (``rbops lab capture`` and ``impair``): they hand on to the program that is meant. 0 with
    mode ``none`` also where a tap is alone.
    """
    number, mode = xdp_outermost(ifindex)
    try:
        while number and (tapped := tap_of(Program.from_id(number))) is not None:
            number = behind(tapped)
    except BpfError:  # it was replaced meanwhile, or this process may not look at programs: no tap that is known of
        return number, mode
    return number, mode if number else "none"


def xdp_outermost(ifindex: int) -> tuple[int, str]:
    """As :func:`xdp_attached`, the tap itself where there is one."""
    opts = XdpQueryOpts(sz=ctypes.sizeof(XdpQueryOpts))
    library().call(f"cannot query XDP of interface {ifindex}", "bpf_xdp_query", ifindex, 0, ctypes.byref(opts))
    modes = ("none", "native", "generic", "offload", "several")
    return int(opts.prog_id or opts.drv_prog_id), modes[opts.attach_mode]


def tap_of(program: Program) -> Map | None:
    """The map in which a tap keeps the program behind it; None for any other program."""
    if program.name != TAP:
        return None
    return next((found for found in program.maps() if found.name == "behind"), None)


def behind(tapped: Map) -> int:
    """The id of the program that a tap hands on to, 0: none."""
    return int.from_bytes(tapped.lookup(bytes(4)) or bytes(4), "little")
