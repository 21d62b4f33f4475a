"""known_hosts files as paramiko reads them: plain lines of known kinds of key, see sshd(8).

A pattern, ``@cert-authority``, ``@revoked`` or a broken line is OpenSSH's: paramiko takes no pattern, ignores markers,
and refuses a whole file for a line that it cannot decode.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

__all__ = ["beyond_paramiko"]

_FIELDS = 3


def beyond_paramiko(files: Iterable[Path]) -> str | None:
    """Why paramiko cannot read one of the files as OpenSSH does; None when it reads all. OSError as of reading."""
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            why = _unlike(line.split())
            if why:
                return f"{path}:{number} {why}"
    return None


def _unlike(words: list[str]) -> str | None:
    if not words or words[0].startswith("#"):
        return None
    if words[0].startswith("@"):
        return f"is a line of {words[0]}"
    if not words[0].startswith("|") and set(words[0]) & set("*?!"):
        return "has a pattern"
    return None if len(words) >= _FIELDS and _is_key(words[1], words[2]) else "is not a line with a key"


def _is_key(kind: str, text: str) -> bool:
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    # RFC 4253, section 6.6: the blob begins with the name of its kind.
    length = int.from_bytes(blob[:4], "big")
    return kind.encode() == blob[4 : 4 + length]
