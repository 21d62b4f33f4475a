"""The keys of the tunnels that a server's Click encrypts with: those that it has, and those in its file.

Both are compared here, on the server and in memory, and neither is ever told. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rbops.errors import Mismatch, Where

__all__ = ["NAME", "SETTING", "Keys", "planned", "running"]

NAME = "ipsec.click"
"""The file beside the configuration that the role ``click`` writes: ``$ESP_KEYn`` and ``$ESP_AUTHn`` of tunnel n."""

SETTING = "keys of the tunnels"

Keys = dict[int, tuple[str, str]]
"""SPI -> encryption key and authentication key, in lower-case hex."""

_USED = re.compile(r" ([0-9]+) \$ESP_KEY([0-9]+) \$ESP_AUTH\2 ")
_LOADED = re.compile(r" ([0-9]+) \\<([0-9a-fA-F]{32})> \\<([0-9a-fA-F]{32})> ")
_DEFINED = re.compile(r"^define\(\$ESP_(KEY|AUTH)([0-9]+) \\<([0-9a-fA-F]{32})>\);$", re.MULTILINE)


def planned(configuration: str, path: Path) -> Keys:
    """The keys that ``configuration`` takes from the file ``path``; empty where it has no tunnels.

    Mismatch (3) when the file is not there or lacks one.
    """
    used = {int(spi): number for spi, number in _USED.findall(configuration)}
    if not used:
        return {}
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "not a text file"
        raise Mismatch(
            reason,
            hint="`rbops apply` installs the tunnels' keys",
            code="click.keys",
            where=Where(file=str(path)),
        ) from error
    words = {(kind, number): word.lower() for kind, number, word in _DEFINED.findall(text)}
    try:
        return {spi: (words["KEY", number], words["AUTH", number]) for spi, number in used.items()}
    except KeyError as error:
        number = error.args[0][1]
        raise Mismatch(
            f"no keys of tunnel {number}",
            hint="`rbops apply` installs them",
            code="click.keys",
            where=Where(file=str(path)),
        ) from None


def running(configurations: Iterable[str]) -> Keys:
    """The keys in what ``RadixIPsecLookup`` elements say of their own configuration."""
    return {
        int(spi): (key.lower(), authentication.lower())
        for text in configurations
        for spi, key, authentication in _LOADED.findall(text)
    }
