"""A tunnel's key file on this machine. What is in it is never shown."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from pathlib import Path

from rbops.errors import Mismatch
from rbops.spec.units import InvalidValue

__all__ = ["check_keys", "click_keys"]

_KEYS = re.compile(rb"\s*([0-9a-fA-F]{32})\s+([0-9a-fA-F]{32})\s*")
_LONGEST = 200


def check_keys(path: Path) -> None:
    """Raises InvalidValue with what is wrong with the file, and what to do."""
    _words(path)


def click_keys(paths: Iterable[str]) -> bytes:
    """What the role ``click`` makes of these key files for Click; Mismatch (3) for one that cannot be used.

    In memory, to compare with what a server has: it belongs into no file and no message.
    """
    text = b""
    for number, path in enumerate(paths):
        try:
            key, authentication = _words(Path(path))
        except InvalidValue as wrong:
            raise Mismatch(f"key file: {wrong.message}", hint=wrong.hint, code="spec.key-file") from None
        text += b"define($ESP_KEY%d \\<%b>);\ndefine($ESP_AUTH%d \\<%b>);\n" % (number, key, number, authentication)
    return text


def _words(path: Path) -> tuple[bytes, bytes]:
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise InvalidValue(f"not a regular file: {path}", code="spec.key-file")
        mode = stat.S_IMODE(info.st_mode)
        if mode & 0o077:
            raise InvalidValue(
                f"others than its owner may use {path} (mode {mode:04o})",
                f"chmod 600 {path}, or new keys if others did",
                code="spec.key-file",
            )
        with path.open("rb") as file:
            found = _KEYS.fullmatch(file.read(_LONGEST))
    except OSError as error:
        raise InvalidValue(f"{path}: {error.strerror}", code="spec.key-file") from None
    if not found:
        raise InvalidValue(
            f"{path} does not hold two words of 32 hex digits",
            "for example: (umask 077; openssl rand -hex 32 | fold -w 32 > FILE)",
            code="spec.key-file",
        )
    return found[1], found[2]
