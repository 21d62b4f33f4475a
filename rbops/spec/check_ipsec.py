"""The section ``ipsec:`` and its key files. What is in them is never shown."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from rbops.errors import Diagnostic
from rbops.spec.document import TunnelSection
from rbops.spec.validate import Parts, located

__all__ = ["check_ipsec"]

_KEYS = re.compile(rb"\s*[0-9a-fA-F]{32}\s+[0-9a-fA-F]{32}\s*")
_LONGEST = 200


def check_ipsec(parts: Parts, tunnels: Sequence[TunnelSection], base: Path) -> Iterator[Diagnostic]:
    """Tunnels without the application, SPIs and prefixes that two have, key files that cannot be used."""
    if tunnels and parts.application != "ipsec":
        message = f"tunnels are for `application: ipsec`, and the application is {parts.application}"
        yield located(parts.root, ("ipsec",), message)
    spis: set[int] = set()
    prefixes: set[str] = set()
    for number, tunnel in enumerate(tunnels):
        if tunnel.spi in spis:
            yield located(parts.root, ("ipsec", number, "spi"), f"an earlier tunnel has spi {tunnel.spi}")
        spis.add(tunnel.spi)
        for prefix in map(str, tunnel.prefixes):
            if prefix in prefixes:
                yield located(
                    parts.root, ("ipsec", number), f"{prefix} goes through an earlier tunnel or stands here twice"
                )
            prefixes.add(prefix)
        wrong = _wrong(base / tunnel.keys)
        if wrong:
            yield located(parts.root, ("ipsec", number, "keys"), wrong[0], wrong[1])


def _wrong(path: Path) -> tuple[str, str | None] | None:
    """What is wrong with a key file, and what to do."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            return f"this is no file: {path}", None
        mode = stat.S_IMODE(info.st_mode)
        if mode & 0o077:
            return (
                f"others than its owner may use {path} (mode {mode:04o})",
                f"chmod 600 {path}, or new keys if others did",
            )
        with path.open("rb") as file:
            data = file.read(_LONGEST)
    except OSError as error:
        return f"{path}: {error.strerror}", None
    if _KEYS.fullmatch(data):
        return None
    return (
        f"{path} does not hold two words of 32 hex digits",
        "for example: (umask 077; openssl rand -hex 32 | fold -w 32 > FILE)",
    )
