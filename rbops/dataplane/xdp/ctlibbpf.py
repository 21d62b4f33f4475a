"""libbpf.so.1 as ctypes sees it: its structures, its functions, its messages. Used by libbpf.py only.

Source: libbpf's bpf.h and libbpf.h (1.1), linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections import deque
from typing import Any

from rbops.errors import Mismatch, Where

__all__ = [
    "BatchOpts",
    "BpfError",
    "CreateOpts",
    "MapInfo",
    "ProgInfo",
    "RunOpts",
    "XdpAttachOpts",
    "XdpQueryOpts",
    "library",
]

_SONAME = "libbpf.so.1"
_LOG_LINES = 60
_LOG_BYTES = 1 << 24
"""The longest log of the kernel's verifier that libbpf asks for: what is wrong stands at its end."""
_DEBUG = 2  # libbpf's levels: 0 warning, 1 information


class BpfError(Mismatch):
    """The server's kernel or libbpf refused; ``errno`` is the kernel's number (0: none), ``log`` what it said."""

    def __init__(
        self,
        message: str,
        *,
        errno: int = 0,
        log: str = "",
        code: str,
        where: Where | None = None,
        hint: str | None = None,
    ) -> None:
        reason = f": {os.strerror(errno)}" if errno else ""
        super().__init__(f"{message}{reason}" + (f"\n{log}" if log else ""), code=code, where=where, hint=hint)
        self.errno = errno
        self.log = log


class MapInfo(ctypes.Structure):
    """The first fields of struct bpf_map_info."""

    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("type", "id", "key_size", "value_size", "max_entries", "map_flags")),
        ("name", ctypes.c_char * 16),
    ]


class ProgInfo(ctypes.Structure):
    """The first fields of struct bpf_prog_info."""

    _fields_ = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("tag", ctypes.c_ubyte * 8),
        ("lengths", ctypes.c_uint32 * 2),
        ("insns", ctypes.c_uint64 * 3),
        ("uid", ctypes.c_uint32),
        ("map_count", ctypes.c_uint32),
        ("map_ids", ctypes.c_uint64),
        ("name", ctypes.c_char * 16),
    ]


class CreateOpts(ctypes.Structure):
    """struct bpf_map_create_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        *(
            (name, ctypes.c_uint32)
            for name in ("btf_fd", "key_type", "value_type", "vmlinux_type", "inner_fd", "flags")
        ),
        ("map_extra", ctypes.c_uint64),
        ("numa_node", ctypes.c_uint32),
        ("ifindex", ctypes.c_uint32),
    ]


class BatchOpts(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_ = [("sz", ctypes.c_size_t), ("elem_flags", ctypes.c_uint64), ("flags", ctypes.c_uint64)]


class RunOpts(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_char_p),
        ("ctx_out", ctypes.c_void_p),
        *((name, ctypes.c_uint32) for name in ("ctx_size_in", "ctx_size_out", "retval")),
        ("repeat", ctypes.c_int),
        *((name, ctypes.c_uint32) for name in ("duration", "flags", "cpu", "batch_size")),
    ]


class XdpAttachOpts(ctypes.Structure):
    """struct bpf_xdp_attach_opts."""

    _fields_ = [("sz", ctypes.c_size_t), ("old_prog_fd", ctypes.c_int), ("pad", ctypes.c_int)]


class XdpQueryOpts(ctypes.Structure):
    """struct bpf_xdp_query_opts."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        *((name, ctypes.c_uint32) for name in ("prog_id", "drv_prog_id", "hw_prog_id", "skb_prog_id")),
        ("attach_mode", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 7),
    ]


PTR, INT, U32, STR = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_char_p
_SIGNATURES: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
    ("bpf_object__open_file", PTR, (STR, PTR)),
    ("bpf_object__load", INT, (PTR,)),
    ("bpf_object__close", None, (PTR,)),
    ("bpf_object__btf", PTR, (PTR,)),
    ("bpf_object__find_map_by_name", PTR, (PTR, STR)),
    ("bpf_object__find_program_by_name", PTR, (PTR, STR)),
    ("bpf_object__next_map", PTR, (PTR, PTR)),
    ("bpf_map__name", STR, (PTR,)),
    ("bpf_map__fd", INT, (PTR,)),
    ("bpf_map__value_size", U32, (PTR,)),
    ("bpf_map__initial_value", PTR, (PTR, ctypes.POINTER(ctypes.c_size_t))),
    ("bpf_map__reuse_fd", INT, (PTR, INT)),
    ("bpf_map__set_max_entries", INT, (PTR, U32)),
    ("bpf_program__fd", INT, (PTR,)),
    ("bpf_program__set_autoload", INT, (PTR, ctypes.c_bool)),
    ("btf__find_by_name_kind", INT, (PTR, STR, U32)),
    ("btf__type_by_id", PTR, (PTR, U32)),
    ("btf__name_by_offset", STR, (PTR, U32)),
    ("bpf_map_create", INT, (INT, STR, U32, U32, U32, PTR)),
    ("bpf_map_lookup_elem", INT, (INT, STR, PTR)),
    ("bpf_map_update_elem", INT, (INT, STR, STR, ctypes.c_uint64)),
    ("bpf_map_delete_elem", INT, (INT, STR)),
    ("bpf_map_update_batch", INT, (INT, PTR, PTR, ctypes.POINTER(U32), PTR)),
    ("bpf_map_get_fd_by_id", INT, (U32,)),
    ("bpf_prog_get_fd_by_id", INT, (U32,)),
    ("bpf_obj_get", INT, (STR,)),
    ("bpf_obj_pin", INT, (INT, STR)),
    ("bpf_obj_get_info_by_fd", INT, (INT, PTR, ctypes.POINTER(U32))),
    ("bpf_prog_test_run_opts", INT, (INT, PTR)),
    ("bpf_xdp_attach", INT, (INT, INT, U32, PTR)),
    ("bpf_xdp_detach", INT, (INT, U32, PTR)),
    ("bpf_xdp_query", INT, (INT, INT, PTR)),
    ("libbpf_num_possible_cpus", INT, ()),
    ("ring_buffer__new", PTR, (INT, PTR, PTR, PTR)),
    ("ring_buffer__consume", INT, (PTR,)),
    ("ring_buffer__free", None, (PTR,)),
)


class Library:
    """libbpf with its messages collected; one per process, because libbpf's print hook is process-wide."""

    def __init__(self) -> None:
        try:
            self.dll = ctypes.CDLL(_SONAME, use_errno=True)
        except OSError as error:
            raise BpfError(
                f"{_SONAME} cannot be loaded: {error}", hint="apt-get install libbpf1", code="xdp.no-libbpf"
            ) from error
        for name, result, arguments in _SIGNATURES:
            try:
                function = getattr(self.dll, name)
            except AttributeError as error:
                raise BpfError(
                    f"{_SONAME} has no {name}", hint="libbpf 1.1 or newer is needed", code="xdp.old-libbpf"
                ) from error
            function.restype, function.argtypes = result, arguments
        self.lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._vsnprintf = ctypes.CDLL(None).vsnprintf
        self._vsnprintf.argtypes = (PTR, ctypes.c_size_t, STR, PTR)
        # On x86-64 and arm64 a va_list argument is passed by address, so a plain pointer carries it.
        self._printer = ctypes.CFUNCTYPE(INT, INT, STR, PTR)(self._print)
        self.dll.libbpf_set_print(self._printer)

    def _print(self, level: int, text: bytes, arguments: int) -> int:
        if level != _DEBUG:
            buffer = ctypes.create_string_buffer(_LOG_BYTES)
            self._vsnprintf(buffer, len(buffer), text, arguments)
            self.lines.extend(buffer.value.decode(errors="replace").splitlines())
        return 0

    def call(self, what: str, function: str, *arguments: Any, hint: str | None = None) -> Any:
        """Call ``function``; raises BpfError saying that ``what`` failed on NULL or a negative result."""
        self.lines.clear()
        ctypes.set_errno(0)
        entry = getattr(self.dll, function)
        result = entry(*arguments)
        null = result is None and entry.restype is not None
        if null or (isinstance(result, int) and result < 0):
            number = ctypes.get_errno() or (-result if result else 0)
            raise BpfError(what, errno=number, log="\n".join(self.lines), code="xdp.bpf", hint=hint)
        return result


@functools.cache
def library() -> Library:
    """The process's libbpf; raises BpfError where it is not installed or too old."""
    return Library()
