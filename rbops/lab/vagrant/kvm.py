"""Whether KVM works here: asked by running a few instructions on it, since /dev/kvm can be there and hang."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from rbops.lab.interrupts import uninterrupted

__all__ = ["why_not"]

_DEVICE = Path("/dev/kvm")
_TIMEOUT_S = 5.0
_EXIT_PORT = 0xF4
_SAID = 33

# A boot sector in real mode: `mov al, 16; out 0xf4, al; hlt; jmp`. QEMU's isa-debug-exit makes 16 an exit code of 33.
_BOOT_SECTOR = bytes.fromhex("b010e6f4f4ebfd").ljust(510, b"\0") + b"\x55\xaa"


def why_not() -> str | None:
    """Why KVM cannot be used, or None when a virtual machine ran its first instructions on it (takes up to 5 s)."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} {'cannot be opened' if _DEVICE.exists() else 'is not there'}"
    with tempfile.NamedTemporaryFile(prefix="rbops-kvm-") as disk:
        disk.write(_BOOT_SECTOR)
        disk.flush()
        command = [
            *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "pc", "-m", "64", "-display", "none"),
            *("-nodefaults", "-no-user-config", "-no-reboot", "-drive", f"file={disk.name},format=raw,if=ide"),
            *("-device", f"isa-debug-exit,iobase={_EXIT_PORT},iosize=1"),
        ]
        try:
            with uninterrupted():
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
                )
        except subprocess.TimeoutExpired:
            return f"{_DEVICE} is there, and a virtual machine hangs on it"
    if done.returncode != _SAID:
        return f"QEMU cannot use {_DEVICE}: {_error(done.stderr)}"
    return None


def _error(output: str) -> str:
    lines = output.strip().splitlines() or ["no output"]
    return next((line for line in lines if "error" in line), lines[-1]).removeprefix("qemu-system-x86_64: ")
