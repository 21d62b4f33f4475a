"""A bootable disk image from a folder with a Debian system, without loop devices or mounts.

The layout is GRUB's own for BIOS and an MBR: boot.img in the first sector, core.img in the gap before the
first partition (GNU GRUB manual, 3.4), one ext4 partition. boot.img and core.img as GRUB ships and makes them
find each other at sectors 1 and 2, so nothing has to be patched.
"""

from __future__ import annotations

from pathlib import Path

from rbops.errors import CheckFailed
from rbops.lab.bootstrap import in_own_namespaces
from rbops.lab.command import run

__all__ = ["FILE_SYSTEM", "TOOLS", "make_image"]

FILE_SYSTEM = "5b0d7d7e-6f0c-4e9b-8f6a-726270730001"
"""The UUID of the root file system."""

TOOLS = ("mkfs.ext4", "sfdisk", "qemu-img", "chroot", "unshare")

_SECTOR = 512
_START = 2048
_MODULES = "biosdisk part_msdos ext2 normal linux configfile echo search search_fs_uuid serial terminal test"
_BOOT_CODE = 440
_TABLE = f"label: dos\nstart={_START}, type=83, bootable\n"


def make_image(root: Path, image: Path, *, size_bytes: int) -> None:
    """Write the system in ``root`` to ``image``, a compressed qcow2 of ``size_bytes``; ``root`` gets GRUB's files.

    Raises CheckFailed when a tool fails or the system does not fit.
    """
    raw = image.with_suffix(".raw")
    try:
        core = _grub(root)
        with raw.open("wb") as disk:
            disk.truncate(size_bytes)
        blocks = (size_bytes - _START * _SECTOR) // 4096
        _make_file_system(root, raw, blocks)
        run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", str(raw)], stdin=_TABLE)
        _write_boot_code(root, raw, core)
        _tool(["qemu-img", "convert", "-c", "-O", "qcow2", str(raw), str(image)], image)
    finally:
        raw.unlink(missing_ok=True)


def _grub(root: Path) -> bytes:
    """Make core.img, and put the modules that update-grub's configuration loads where it looks for them."""
    modules = root / "boot/grub/i386-pc"
    modules.mkdir(parents=True)
    for path in (root / "usr/lib/grub/i386-pc").iterdir():
        if path.suffix in {".mod", ".lst"}:
            (modules / path.name).write_bytes(path.read_bytes())
    target = ["-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", "/boot/grub/core.img"]
    run(["chroot", str(root), "grub-mkimage", *target, *_MODULES.split()])
    core = (root / "boot/grub/core.img").read_bytes()
    if len(core) > (_START - 1) * _SECTOR:
        raise CheckFailed(
            f"GRUB's core.img has {len(core)} bytes, at most {(_START - 1) * _SECTOR} fit before a partition",
            code="lab.box-grub",
        )
    return core


def _make_file_system(root: Path, raw: Path, blocks: int) -> None:
    options = ["-q", "-F", "-b", "4096", "-U", FILE_SYSTEM, "-L", "root", "-d", str(root)]
    _tool(["mkfs.ext4", *options, "-E", f"offset={_START * _SECTOR}", str(raw), str(blocks)], raw)


def _write_boot_code(root: Path, raw: Path, core: bytes) -> None:
    with raw.open("r+b") as disk:
        disk.write((root / "usr/lib/grub/i386-pc/boot.img").read_bytes()[:_BOOT_CODE])
        disk.seek(_SECTOR)
        disk.write(core)


def _tool(command: list[str], image: Path) -> None:
    log = image.with_name(f"{image.name}.log")
    in_own_namespaces(command, log, hint=f"log: {log}")
    log.unlink()
