"""What the kernel's verifier has to do before it runs the programs: it looks at a million instructions and no more."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from rbops.dataplane.xdp.libbpf import Program
from tests.dataplane.router import Router

pytestmark = pytest.mark.root

ENOUGH = 200_000
"""A fifth of BPF_COMPLEXITY_LIMIT_INSNS: other kernels and compilers need more than this one."""


class _Verified(ctypes.Structure):
    """struct bpf_prog_info up to ``verified_insns`` (Linux 5.16)."""

    _fields_ = (("before", ctypes.c_ubyte * 216), ("instructions", ctypes.c_uint32), ("padding", ctypes.c_uint32))


def verified(program: Program) -> int:
    """How many instructions the verifier went through, each as often as it came by."""
    info = _Verified()
    program._info(info)
    return int(info.instructions)


@pytest.mark.parametrize("kind", ["external", "internal"])
def test_the_verifier_is_far_from_its_limit(make_router: Callable[..., Router], kind: str) -> None:
    """Functions that many places call are global: verified once, not again for each call."""
    assert 1000 < verified(make_router().program(kind)) < ENOUGH
